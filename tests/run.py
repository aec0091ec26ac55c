#!/usr/bin/env python3
"""Third-party clients and hostile peers against a built broker.

Each group gets a broker of its own on a free port. One line per test; the last line is
`N passed, N failed, N skipped`.

    tests/run.py                                   every group, against the broker last built
    tests/run.py --group python --group debian     some groups
    tests/run.py --group python -- paho --qos 2    the rest goes to the group's own program
    tests/run.py --broker-address 127.0.0.1:1883   a broker that already runs
    MIDGE_BIN=mosquitto tests/run.py               another broker
"""

import argparse
import os
import pathlib
import signal
import subprocess
import sys
import threading

from harness import install
from harness.broker import Broker, find_binary

ROOT = pathlib.Path(__file__).resolve().parent.parent
TESTS = ROOT / "tests"

#: What to do when there is nothing to test.
NO_BROKER = "no broker: build it with `cargo build --release -p midge` or set MIDGE_BIN"

#: The oldest Python that the tests are written for.
PYTHON_MIN = (3, 11)


def program(name):
    """The main file of a group."""
    return str(TESTS / name)


#: What each group needs, how it is started, and the seconds that it may take.
GROUPS = {
    "python": (install.python, lambda: [str(install.venv_python(ROOT)), program("python/main.py")], 900),
    "node": (install.node, lambda: ["node", program("node/main.mjs"), str(install.node_folder(ROOT))], 600),
    "debian": (install.debian, lambda: [sys.executable, program("debian/main.py")], 600),
    "tools": (install.tools, lambda: [sys.executable, program("tools/main.py")], 600),
    "top": (None, lambda: [sys.executable, program("tools/top.py")], 300),
    "dynsec": (None, lambda: [sys.executable, program("debian/dynsec.py")], 300),
    "oauth": (
        lambda root: install.oauth(root) or install.python(root),
        lambda: [str(install.venv_python(ROOT)), program("oauth/main.py"), str(install.oauth_folder(ROOT))],
        600,
    ),
    "tls": (
        install.tls,
        lambda: [str(install.venv_python(ROOT)), program("tls/main.py"), str(install.node_folder(ROOT))],
        600,
    ),
    "browser": (
        install.browser,
        lambda: [str(install.venv_python(ROOT)), program("tls/browser.py"), str(install.node_folder(ROOT))],
        300,
    ),
    "psk": (
        lambda root: install.python(root) or install.psk(root),
        lambda: [str(install.venv_python(ROOT)), program("tls/psk.py")],
        600,
    ),
    "doors": (
        lambda root: install.python(root) or install.debian_tool("openssl", "openssl"),
        lambda: [str(install.venv_python(ROOT)), program("tls/hostile.py")],
        300,
    ),
    "hostile": (None, lambda: [sys.executable, program("hostile/main.py")], 600),
    "limits": (None, lambda: [sys.executable, program("limits/main.py")], 300),
    "files": (install.mosquitto, lambda: [sys.executable, program("files/main.py")], 300),
    "board": (install.board, lambda: [str(install.venv_python(ROOT)), program("board/main.py")], 600),
    "crash": (install.crash, lambda: [sys.executable, program("crash/main.py")], 900),
}

#: Groups that start what they need themselves, and end it as they like.
WITH_OWN_BROKERS = {"board", "browser", "crash", "doors", "dynsec", "files", "limits", "oauth", "psk", "tls", "tools", "top"}


class Totals:
    """What the lines of all groups add up to."""

    def __init__(self):
        self.passed = self.failed = self.skipped = 0

    def take(self, line):
        """Prints a line and counts it."""
        print(line, flush=True)
        if line.startswith("ok "):
            self.passed += 1
        elif line.startswith("FAILED "):
            self.failed += 1
        elif line.startswith("skipped: "):
            self.skipped += 1


def main():
    """Runs what the command line asks for."""
    options = parse_arguments()
    totals = Totals()
    if sys.version_info < PYTHON_MIN:
        print(f"skipped: third-party clients: they need Python {'.'.join(map(str, PYTHON_MIN))}")
        return 0
    groups = options.group or list(GROUPS)
    if options.install:
        for name in groups:
            problem = prepare(name)
            if problem:
                print(f"skipped: {name}: {problem}", flush=True)
        return 0
    for name in groups:
        print(f"-- {name}", flush=True)
        problem = prepare(name)
        if problem:
            totals.take(f"skipped: {name}: {problem}")
        elif name in WITH_OWN_BROKERS:
            if options.broker_address:
                totals.take(f"skipped: {name}: it starts what it needs itself")
            elif find_binary(ROOT) is None:
                totals.take(f"FAILED {name}: {NO_BROKER}")
            else:
                run_group(name, [], options.rest, totals)
        elif options.broker_address:
            host, _, port = options.broker_address.rpartition(":")
            run_group(name, ["--host", host, "--port", port], options.rest, totals)
        else:
            with_own_broker(name, options.rest, totals)
    print(f"{totals.passed} passed, {totals.failed} failed, {totals.skipped} skipped")
    return 1 if totals.failed else 0


def parse_arguments():
    """Reads the command line."""
    parser = argparse.ArgumentParser(description="Third-party clients and hostile peers.")
    parser.add_argument("--group", action="append", choices=list(GROUPS))
    parser.add_argument("--broker-address", metavar="HOST:PORT", help="a broker that already runs")
    parser.add_argument("--install", action="store_true", help="only get what the groups need")
    parser.add_argument("rest", nargs="*", help="options for the programs of the groups, after --")
    return parser.parse_args()


def prepare(name):
    """Gets what the group needs; returns why that was not possible."""
    installer = GROUPS[name][0]
    return installer(ROOT) if installer else None


def with_own_broker(name, rest, totals):
    """Starts a broker, runs the group and sees that the broker has survived it."""
    binary = find_binary(ROOT)
    if binary is None:
        totals.take(f"FAILED {name}: {NO_BROKER}")
        return
    try:
        broker = Broker(binary)
    except (OSError, RuntimeError) as error:
        totals.take(f"FAILED {name}: {error}")
        return
    failed_before = totals.failed
    try:
        address = ["--host", broker.host, "--port", str(broker.port), "--pid", str(broker.pid)]
        run_group(name, address, rest, totals)
        survived = broker.is_alive()
        code = broker.stop()
        if not survived:
            totals.take(f"FAILED {name} broker survives: it ended with {code}")
        elif code != 0:
            why = "had to be killed" if code is None else f"ended with {code}"
            totals.take(f"FAILED {name} broker ends when asked: it {why}")
        else:
            totals.take(f"ok {name} broker survives and ends when asked")
        if totals.failed > failed_before:
            print(f"the broker's last lines:\n{broker.log_tail()}", flush=True)
    finally:
        broker.stop()
        broker.clean_up()


def run_group(name, address, rest, totals):
    """Runs the program of a group and counts its lines."""
    _, command, seconds = GROUPS[name]
    process = subprocess.Popen(
        command() + address + rest,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        text=True,
        errors="replace",
        cwd=ROOT,
        # A group of its own, so that whatever a failed test leaves behind can be ended with it.
        start_new_session=True,
    )
    limit = threading.Timer(seconds, os.killpg, (process.pid, signal.SIGKILL))
    limit.start()
    lines = 0
    try:
        for line in process.stdout:
            totals.take(line.rstrip("\n"))
            lines += 1
        # The process is not reaped yet, so its number is still its own.
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
    finally:
        limit.cancel()
        os.killpg(process.pid, signal.SIGKILL)
        code = process.wait()
    # 1 is a verdict that its lines have already told.
    if code not in (0, 1) or lines == 0:
        totals.take(f"FAILED {name} runs to its end: it ended with {code} after {lines} lines")


if __name__ == "__main__":
    sys.exit(main())
