"""Hostile peers: the broker's memory stays bounded and good clients notice nothing."""

import argparse
import multiprocessing
import os
import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from attacks import ATTACKS
from harness.broker import CONNECT_TIMEOUT, is_ours
from harness.report import Report, require
from witness import Memory, Pair, resident_bytes

#: By how much the broker may grow in one attack, and over its size at rest in all of them.
GROWTH_BYTES_MAX = 64 * 1024 * 1024

#: Seconds that an attack may take.
ATTACK_DEADLINE = 120


class Target:
    """The broker under attack."""

    def __init__(self, host, port, pid):
        self.host = host
        self.port = port
        # Memory can be read, and our own options be relied on, only where the broker is ours to look at.
        self.pid = pid if pid and pathlib.Path(f"/proc/{pid}/status").exists() else None
        self.at_rest = resident_bytes(self.pid) if self.pid else 0
        is_midge = self.pid is not None and is_ours(os.readlink(f"/proc/{pid}/exe"))
        self.connect_timeout = CONNECT_TIMEOUT if is_midge else None


def withstand(target, name, attack):
    """Carries out one attack and looks at everyone else meanwhile."""
    pair = Pair(target.host, target.port, "during")
    memory = Memory(target.pid) if target.pid else None
    complaint = carry_out(attack, target)
    growth = memory.finish() if memory else 0
    pair.finish()
    require(complaint is None, complaint)
    require(pair.count > 0, "the good clients exchanged nothing")
    print(
        f"   {name}: {pair.count} good messages, the slowest took {pair.slowest * 1e3:.0f} ms; "
        f"memory grew by {growth / 1e6:.1f} MB",
        flush=True,
    )
    require_bounded(growth)
    newcomer = Pair(target.host, target.port, "after")
    newcomer.finish()
    require(newcomer.count > 0, "a new client was not served")


def settled(target):
    """After all attacks the broker is no larger than one of them may make it."""
    require_bounded(resident_bytes(target.pid) - target.at_rest)


def require_bounded(growth):
    """Fails if the broker grew by more than it may."""
    require(growth <= GROWTH_BYTES_MAX, f"memory grew by {growth / 1e6:.0f} MB")


def carry_out(attack, target):
    """Runs the attack in a process of its own, so that its work delays no good client."""
    context = multiprocessing.get_context("spawn")
    receiver, sender = context.Pipe(duplex=False)
    arguments = (attack.__name__, target.host, target.port, target.connect_timeout, sender)
    process = context.Process(target=attack_process, args=arguments, daemon=True)
    process.start()
    sender.close()
    try:
        if not receiver.poll(ATTACK_DEADLINE):
            return f"the attack was not over after {ATTACK_DEADLINE} s"
        return receiver.recv()
    except EOFError:
        return "the attack ended without a word"
    finally:
        process.kill()
        process.join()


def attack_process(name, host, port, connect_timeout, sender):
    """The other side of `carry_out`."""
    attack = next(attack for attack in ATTACKS.values() if attack.__name__ == name)
    try:
        attack(host, port, connect_timeout)
    except (OSError, AssertionError) as error:
        sender.send(f"{type(error).__name__}: {error}")
    else:
        sender.send(None)


def main():
    """Runs the attacks that the command line chooses; without a choice, all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int)
    parser.add_argument("--test", action="append")
    options = parser.parse_args()

    target = Target(options.host, options.port, options.pid)
    if target.pid is None:
        print("   the broker's memory cannot be read, so only its behaviour is judged", flush=True)
    report = Report()
    for name, attack in ATTACKS.items():
        if any(part in name for part in options.test or ("",)):
            report.run(f"hostile {name}", withstand, target, name, attack)
    if target.pid:
        report.run("hostile memory when all is over", settled, target)
    report.exit()


if __name__ == "__main__":
    main()
