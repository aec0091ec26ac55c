#!/usr/bin/env python3
"""Kills a broker under load again and again, and accounts for every message.

    tests/crash/kill.py                        300 kills
    tests/crash/kill.py --kills 5000 -v        a longer run
    tests/crash/kill.py --lossy                what was not synced is lost with the process
    tests/crash/kill.py --how drop             the connections end, not the broker
    MIDGE_BIN=mosquitto tests/crash/kill.py    another broker, which should be found to lose messages

Seeds choose moments and clients; what the system makes of them differs from run to run.
"""

import argparse
import asyncio
import pathlib
import random
import signal
import statistics
import sys
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))

from load import Load
from lossy import LossyDisk
from victim import BrokerEnded, Victim

#: How a life of the broker ends: killed; asked to end; not at all, but all connections do; not at
#: all, but it reads its configuration again.
HOWS = ("kill", "term", "drop", "reload")

#: Seconds of traffic before the end of a life.
TRAFFIC = 0.4

#: Of all kills: within the start, and while the clients come back. And the seconds that this takes.
IN_START, AT_RETURN = 0.1, 0.1
START, RETURN = 0.03, 0.02

#: Of all starts: followed by a look at the retained messages before anybody can publish new ones.
LOOKS = 0.3

#: What the store may take at the end, with little more in it than sessions and retained messages.
STORE_BYTES_MAX = 512 << 20


class KillLoop:
    """One run: a broker, its load, and the moments of its ends."""

    def __init__(self, options):
        self.options = options
        self.generator = random.Random(options.seed)
        settings = f"persistence_sync {options.sync}\n" + "".join(f"{line}\n" for line in options.setting)
        self.victim = Victim(settings)
        self.disk = None
        if options.lossy:
            self.disk = LossyDisk(self.victim, random.Random(options.seed + 1), options.torn)
        self.load = None
        self.kills = 0
        #: Seconds from each start to the first CONNACK.
        self.starts = []
        self._started_at = 0.0
        self.store_bytes = 0

    @property
    def ledger(self):
        """What was sent and delivered."""
        return self.load.ledger

    async def run(self):
        """The whole run; its failures are in the ledger."""
        options = self.options
        self.load = Load(self.victim.host, self.victim.port, options.seed, any_order=options.any_order)
        end = time.monotonic() + options.seconds
        try:
            await self._start()
            await self.load.settle()
            while self.kills < self.options.kills and time.monotonic() < end and not self.ledger.failure_count:
                await self._one_life()
                if self.options.verbose and self.kills % 10 == 0:
                    print(f"   {self.kills} kills, {self._figures()}", flush=True)
            await self._last_life()
        except BrokerEnded as error:
            self.ledger.fail(str(error))
        except OSError as error:
            self.ledger.fail(f"{type(error).__name__}: {error}; the log: {self.victim.log_tail(3)}")
        finally:
            self.load.expects_loss = True
            self.load.drop_all()

    def _spawn(self):
        if self.disk:
            self.disk.before_start()
        self.load.up_at = None
        self._started_at = time.monotonic()
        self.victim.spawn()
        self.ledger.begin_life()

    async def _start(self):
        self._spawn()
        await self.victim.ready()
        if self.generator.random() < LOOKS:
            await self.load.judge_retained()

    async def _one_life(self):
        """Traffic up to a random moment, then the end, then the next start."""
        self.load.expects_loss = self.options.how == "drop"
        choice = self.generator.random()
        if choice < AT_RETURN:
            returning = asyncio.create_task(self.load.live())
            await asyncio.sleep(self.generator.uniform(0, RETURN))
            returning.cancel()
        else:
            await self.load.live()
            await self.load.disturb(self.generator.uniform(0, TRAFFIC))
        self.victim.check_alive()
        if self.load.up_at:
            self.starts.append(self.load.up_at - self._started_at)
        await self._end_life()
        while self.options.how == "kill" and self.generator.random() < IN_START and self.kills < self.options.kills:
            self._spawn()
            await asyncio.sleep(self.generator.uniform(0, START))
            self._kill()
        if self.options.how in ("kill", "term"):
            await self._start()

    async def _end_life(self):
        if self.options.how == "kill":
            self.load.expects_loss = True
            self._kill()
        elif self.options.how == "term":
            self.load.expects_loss = True
            await self.victim.terminate()
            self.kills += 1
        elif self.options.how == "reload":
            self.victim.send(signal.SIGHUP)
            self.kills += 1
        else:
            self.load.drop_all()
            self.kills += 1
        if self.options.how != "reload":
            # What had reached this side before the end is still read.
            await asyncio.sleep(0.01)
            self.load.drop_all()

    def _kill(self):
        self.victim.kill()
        self.kills += 1
        if self.disk:
            self.disk.after_kill()

    async def _last_life(self):
        self.load.expects_loss = False
        await self.load.finish()
        self.store_bytes = self.victim.store_bytes()
        if self.store_bytes > STORE_BYTES_MAX:
            self.ledger.fail(f"the store takes {self.store_bytes >> 20} MiB when all has been delivered")

    def _figures(self):
        ledger = self.ledger
        return (
            f"{ledger.sent} messages sent, {ledger.acknowledged} acknowledged, {ledger.resent} sent again, "
            f"{ledger.delivered} deliveries, {ledger.repeated} repeated"
        )

    def summary(self):
        """What the run did, in one line."""
        lost = f", {self.disk.writes_lost} writes lost, {self.disk.writes_torn} torn" if self.disk else ""
        starts = f"{self.kills} ends by {self.options.how}"
        if self.starts:
            median, slowest = statistics.median(self.starts) * 1e3, max(self.starts) * 1e3
            starts += f", starts to the first CONNACK {median:.0f} ms, at most {slowest:.0f} ms"
        return f"{starts}, {self._figures()}, store {self.store_bytes >> 20} MiB{lost}"

    def verdict(self):
        """None if all was well; else what was wrong, with all that is needed to look at it."""
        ledger = self.ledger
        if not ledger.failure_count:
            if not (ledger.acknowledged and ledger.delivered):
                return "nothing was acknowledged or nothing delivered, so nothing is shown"
            return None
        for text in ledger.failures:
            print(f"   {text}", flush=True)
        first = f"{ledger.failure_count} failures, the first in {ledger.failures[0]}"
        return f"seed {self.options.seed}, {self.kills} kills: {first}"


def run_loop(options):
    """Runs and cleans up; returns the run and its verdict."""
    begin = time.monotonic()
    loop = KillLoop(options)
    try:
        asyncio.run(loop.run())
        problem = loop.verdict()
        print(f"   {loop.summary()}, {time.monotonic() - begin:.0f} s", flush=True)
    except BaseException:
        loop.victim.keep()
        raise
    if problem and not options.expects_failure:
        loop.victim.keep()
    else:
        loop.victim.clean_up()
    if loop.disk:
        loop.disk.clean_up()
    return loop, problem


def parser():
    """The options of a run."""
    result = argparse.ArgumentParser(description="Kills a broker under load and accounts for every message.")
    result.add_argument("--kills", type=int, default=300)
    result.add_argument("--seconds", type=float, default=float("inf"), help="begin no further life after this time")
    result.add_argument("--seed", type=int, default=None)
    result.add_argument("--how", choices=HOWS, default="kill", help="how a life of the broker ends")
    result.add_argument("--lossy", action="store_true", help="lose what was not synced")
    result.add_argument("--torn", type=float, default=0.5, help="of the losses, the share that is partial")
    result.add_argument("--sync", default="always", help="persistence_sync")
    result.add_argument("--setting", action="append", default=[], help="a further line of the configuration")
    result.add_argument("--any-order", action="store_true", help="Mosquitto 2.0.11 breaks the order unprovoked")
    result.add_argument("--verbose", "-v", action="store_true")
    result.set_defaults(expects_failure=False)
    return result


def options_for(*arguments, expects_failure=False):
    """The options of a run, as if given on the command line."""
    options = parser().parse_args(list(arguments))
    options.expects_failure = expects_failure
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 31)
    return options


def main():
    """Runs once as the command line says."""
    _, problem = run_loop(options_for(*sys.argv[1:]))
    print(f"FAILED crash kill: {problem}" if problem else "ok crash kill", flush=True)
    return 1 if problem else 0


if __name__ == "__main__":
    sys.exit(main())
