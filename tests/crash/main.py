"""Whether anything acknowledged is lost: brokers that are killed, restarted, and short of disk."""

import argparse
import pathlib
import random
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import kill
import lossy
import order
from harness import install
from harness.report import Report, Skip, require

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent

#: Kills of the loop, and of the one on a disk that forgets.
KILLS = 300
LOSSY_KILLS = 60

#: Restarts and reloads under load.
RESTARTS = 20

#: Kills after which a broker that does not sync must have been caught.
CAUGHT_WITHIN = 40

#: Seconds after which no further kill begins; a broker that starts quickly needs half of them.
SECONDS = 300

#: Seconds that a part which is a program of its own may take.
PART_DEADLINE = 240


class Failed(AssertionError):
    """A verdict of the kill loop."""


def run_loop(*arguments):
    """One run of the kill loop."""
    options = kill.options_for("--seconds", str(SECONDS), *arguments)
    _, problem = kill.run_loop(options)
    if problem:
        raise Failed(problem)


def kill_loop(seed, kills):
    """SIGKILL at random moments."""
    run_loop("--kills", str(kills), *seed)


def lossy_disk(seed):
    """SIGKILL, and what was not synced is lost or torn."""
    check_preload()
    run_loop("--kills", str(LOSSY_KILLS), "--lossy", *seed)


def lossy_disk_notices(seed):
    """The same finds a broker that acknowledges before it syncs, so it can find one."""
    check_preload()
    arguments = ["--kills", str(CAUGHT_WITHIN), "--lossy", "--sync", "os", "--seconds", str(SECONDS), *seed]
    _, problem = kill.run_loop(kill.options_for(*arguments, expects_failure=True))
    require(problem is not None, f"{CAUGHT_WITHIN} kills on a disk that forgets did no harm without any sync")


def check_preload():
    """Skips where the library cannot be made; fails where it does not work."""
    try:
        lossy.check_library(random.Random(1))
    except lossy.CannotPreload as problem:
        raise Skip(str(problem)) from None


def restart(seed):
    """SIGTERM under load."""
    run_loop("--kills", str(RESTARTS), "--how", "term", *seed)


def reload(seed):
    """SIGHUP under load."""
    run_loop("--kills", str(RESTARTS), "--how", "reload", *seed)


def dropped(seed):
    """All connections end at once and come back: what is found here is no matter of the disk."""
    run_loop("--kills", str(RESTARTS), "--how", "drop", *seed)


def clients_part():
    """The program of the real clients, with paho where that is possible."""
    problem = install.python(ROOT)
    if problem:
        print(f"   no paho: {problem}", flush=True)
    python = sys.executable if problem else str(install.venv_python(ROOT))
    return [python, str(HERE / "clients.py")]


def disk_part():
    """The program of the troubles with the disk, where it may mount something if that is possible."""
    program = [sys.executable, str(HERE / "disk.py")]
    for namespace in (["unshare", "--mount"], ["unshare", "--map-root-user", "--mount"]):
        if shutil.which("unshare") and can_mount(namespace):
            return [*namespace, *program, "--may-mount"]
    return program


def can_mount(namespace):
    """Whether a tmpfs can be mounted in such a namespace."""
    with tempfile.TemporaryDirectory(prefix="midge-mount-") as folder:
        command = [*namespace, "mount", "-t", "tmpfs", "midge-crash", folder]
        return subprocess.run(command, stderr=subprocess.DEVNULL, check=False).returncode == 0


def run_part(report, name, command, tests):
    """Runs a program whose lines are those of tests."""
    for test in tests or ():
        command += ["--test", test]
    try:
        code = subprocess.run(command, stdin=subprocess.DEVNULL, timeout=PART_DEADLINE, check=False).returncode
    except subprocess.TimeoutExpired:
        code = f"no end within {PART_DEADLINE} s"
    if code != 0:
        report.failed += 1
    # 1 is a verdict that its lines have already told.
    if code not in (0, 1):
        print(f"FAILED crash {name} runs to its end: {code}", flush=True)


def main():
    """Runs the tests that the command line chooses; without a choice, all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--test", action="append")
    parser.add_argument("--kills", type=int, default=KILLS)
    parser.add_argument("--seed", type=int)
    options = parser.parse_args()
    seed = [] if options.seed is None else ["--seed", str(options.seed)]
    tests = {
        "kill": lambda: kill_loop(seed, options.kills),
        "lossy disk": lambda: lossy_disk(seed),
        "lossy disk notices a missing sync": lambda: lossy_disk_notices(seed),
        "restart under load": lambda: restart(seed),
        "reload under load": lambda: reload(seed),
        "lost connections under load": lambda: dropped(seed),
        "acknowledgements follow their sync": order.acknowledged_after_sync,
    }
    report = Report()
    for name, test in tests.items():
        name = f"crash {name}"
        if any(part in name for part in options.test or ("",)):
            report.run(name, test)
    for name, command in (("clients", clients_part), ("disk", disk_part)):
        run_part(report, name, command(), options.test)
    report.exit()


if __name__ == "__main__":
    main()
