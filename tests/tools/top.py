"""`midge top` on a terminal, which tmux plays, and without one."""

import os
import pathlib
import re
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness import install
from harness.broker import Broker, find_binary
from harness.report import Report, Skip, require, require_equal

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DEADLINE = 20
OPTIONS = "allow_anonymous true\nsys_interval 1\n"


class Terminal:
    """A shell in a terminal of its own."""

    def __init__(self, width, height):
        self._name = f"midge-top-{os.getpid()}"
        self._tmux("new-session", "-d", "-x", width, "-y", height, "env", "PS1=ready$ ", "sh")
        self.await_text("ready$")

    def _tmux(self, *words):
        command = ["tmux", "-L", self._name, "-f", "/dev/null", *map(str, words)]
        result = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, check=False)
        require_equal(result.returncode, 0, f"{command} {result.stderr}")
        return result.stdout

    def type(self, text, enter=True):
        """Types text, and the enter key."""
        self._tmux("send-keys", "-l", text)
        if enter:
            self._tmux("send-keys", "Enter")

    def interrupt(self):
        """Presses Ctrl-C."""
        self._tmux("send-keys", "C-c")

    def text(self):
        """What the terminal shows."""
        return self._tmux("capture-pane", "-p")

    def await_text(self, pattern, missing=False):
        """Waits until the terminal shows, or no longer shows, what the pattern says."""
        end = time.monotonic() + DEADLINE
        pattern = pattern if isinstance(pattern, re.Pattern) else re.compile(re.escape(pattern))
        while time.monotonic() < end:
            text = self.text()
            if bool(pattern.search(text)) != missing:
                return text
            time.sleep(0.05)
        raise AssertionError(f"{pattern.pattern!r} {'still' if missing else 'not'} in:\n{text}")

    def resize(self, width, height):
        """Gives the terminal another size."""
        self._tmux("resize-window", "-x", width, "-y", height)

    def state(self):
        """Whether another page is shown, and whether the cursor is."""
        return self._tmux("display-message", "-p", "#{alternate_on} #{cursor_flag}").strip()

    def settings(self):
        """What stty says, of a shell that is ready."""
        self.type("clear; stty -a; echo over")
        text = self.await_text(re.compile(r"^over$", re.M))
        # The size is not what a program sets.
        return re.sub(r"rows \d+; columns \d+;", "", text)

    def close(self):
        """Ends the terminal and all in it."""
        subprocess.run(["tmux", "-L", self._name, "kill-server"], capture_output=True, check=False)


def with_terminal(test):
    """Runs a test with a broker and a terminal."""
    problem = install.debian_tool("tmux", "tmux")
    if problem:
        raise Skip(problem)
    binary = find_binary(ROOT).resolve()
    broker = Broker(binary, OPTIONS)
    terminal = Terminal(100, 30)
    try:
        test(binary, broker, terminal)
    finally:
        terminal.close()
        broker.stop()
        broker.clean_up()


def publish(binary, broker, count):
    """Publishes so many messages."""
    command = [binary, "pub", "-h", broker.host, "-p", str(broker.port), "-t", "load/a", "-m", "x" * 10]
    subprocess.run([*command, "--repeat", str(count)], check=True, timeout=DEADLINE)


def live_view(binary, broker, terminal):
    """It shows figures, follows them and the size of the terminal, and leaves everything as it was."""
    before = terminal.settings()
    terminal.type(f"{binary} top -h {broker.host} -p {broker.port} -t 'load/#'; echo ended with $?")
    text = terminal.await_text("1 connected")
    require_equal(terminal.state(), "1 0", "another page without a cursor")
    require("q quit" in text and f"{broker.host}:{broker.port}" in text, text)
    for _ in range(3):
        publish(binary, broker, 500)
    terminal.await_text(re.compile(r"^published in +[1-9]", re.M))
    terminal.await_text(re.compile(r"1\.50k.*load/a", re.M))
    for width, height in ((60, 12), (140, 40), (30, 5)):
        terminal.resize(width, height)
        terminal.await_text(re.compile(r"midge top[^\n]*\n(.*\n){%d}q quit" % (height - 2)))
    terminal.resize(100, 30)
    terminal.await_text("published out")
    terminal.type("q", enter=False)
    terminal.await_text("ended with 0")
    require_equal(terminal.state(), "0 1", "the first page with its cursor")
    require_equal(terminal.settings(), before, "settings of the terminal")


def ended_by_signals(binary, broker, terminal):
    """Ctrl-C and SIGTERM end it as cleanly."""
    before = terminal.settings()
    for how in ("C-c", "TERM"):
        terminal.type(f"clear; {binary} top -h {broker.host} -p {broker.port}; echo ended with $?")
        terminal.await_text("1 connected")
        if how == "C-c":
            terminal.interrupt()
        else:
            pid = subprocess.run(
                ["pgrep", "-n", "-f", f"midge top -h {broker.host} -p {broker.port}"],
                capture_output=True, text=True, check=True,
            ).stdout.strip()
            os.kill(int(pid), 15)
        terminal.await_text(re.compile(r"ended with 0"))
        require_equal(terminal.state(), "0 1", f"page and cursor after {how}")
    require_equal(terminal.settings(), before, "settings of the terminal")


def lost_connection(binary, broker, terminal):
    """It says that the broker is gone."""
    terminal.type(f"{binary} top -h {broker.host} -p {broker.port}; echo ended with $?")
    terminal.await_text("1 connected")
    broker.stop()
    terminal.await_text("CONNECTION LOST")
    terminal.type("q", enter=False)
    terminal.await_text("ended with 0")


def without_a_terminal():
    """Where the output is no terminal there are lines, without anything that steers one."""
    binary = find_binary(ROOT).resolve()
    broker = Broker(binary, OPTIONS)
    try:
        command = [binary, "top", "-h", broker.host, "-p", str(broker.port), "--count", "3"]
        result = subprocess.run(command, capture_output=True, timeout=DEADLINE, check=False, stdin=subprocess.DEVNULL)
        require_equal((result.returncode, result.stderr), (0, b""), "end")
        require(b"\x1b" not in result.stdout, f"{result.stdout}")
        header, *lines = result.stdout.decode().splitlines()
        require_equal(header.split()[:4], ["clients", "away", "in/s", "out/s"], "header")
        require_equal([len(line.split()) for line in lines], [len(header.split())] * 3, "columns")
        require_equal([line.split()[0] for line in lines], ["1"] * 3, "clients")
    finally:
        broker.stop()
        broker.clean_up()


def main():
    """Runs everything."""
    report = Report()
    for test in (live_view, ended_by_signals, lost_connection):
        report.run(f"top {test.__name__}", with_terminal, test)
    report.run("top without_a_terminal", without_a_terminal)
    report.exit()


if __name__ == "__main__":
    main()
