"""A broker with its state on disk that is killed and started again, on one port and one directory."""

import asyncio
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

from harness.broker import find_binary, free_port, is_ours

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

#: Seconds that a start, or an end that was asked for, may take.
START_DEADLINE = 20
STOP_DEADLINE = 20

#: Seconds between two attempts to connect to a broker that starts.
PAUSE = 0.002

CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
persistence true
persistence_location {store}/
max_queued_messages 0
log_dest stderr
"""

#: As root a broker would become somebody else, who may not write where we do.
AS_ROOT = "user root\n" if os.geteuid() == 0 else ""

MOSQUITTO_OPTIONS = "log_type error\nlog_type warning\n"


class BrokerEnded(Exception):
    """The broker ended although nobody had asked for it."""


def binary_to_test():
    """The broker that MIDGE_BIN names, or the one last built."""
    binary = find_binary(ROOT)
    if binary is None:
        raise SystemExit("no broker: build it with `cargo build --release -p midge` or set MIDGE_BIN")
    return binary


class Victim:
    """One broker, one life after the other; `life` counts them."""

    def __init__(self, settings="", store=None, environment=None):
        self.binary = binary_to_test()
        self.is_ours = is_ours(self.binary)
        self.host = "127.0.0.1"
        self.port = free_port()
        self.life = 0
        self.folder = pathlib.Path(tempfile.mkdtemp(prefix="midge-crash-"))
        self.store = pathlib.Path(store) if store else self.folder / "store"
        if not store:
            self.store.mkdir()
        self.log = self.folder / "log"
        self.environment = dict(os.environ, **(environment or {}))
        #: What the broker is run by, for example strace.
        self.prefix = []
        self._process = None
        self._configuration = self.folder / "broker.conf"
        text = CONFIGURATION.format(port=self.port, store=self.store) + AS_ROOT
        text += settings if self.is_ours else MOSQUITTO_OPTIONS + _known_to_mosquitto(settings)
        self._configuration.write_text(text)

    @property
    def pid(self):
        """The process."""
        return self._process.pid

    def command(self):
        """How the broker is started."""
        own = ["broker"] if self.is_ours else []
        return [*self.prefix, str(self.binary), *own, "-c", str(self._configuration)]

    def spawn(self):
        """Begins the next life without waiting for it."""
        self.life += 1
        with self.log.open("ab") as log:
            log.write(f"--- life {self.life}\n".encode())
            log.flush()
            self._process = subprocess.Popen(
                self.command(),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=self.folder,
                env=self.environment,
            )

    def check_alive(self):
        """Raises if the broker has ended by itself."""
        code = self._process.poll()
        if code is not None:
            raise BrokerEnded(f"the broker ended with {code} in life {self.life}: {self.log_tail(3)}")

    def _listens(self):
        try:
            socket.create_connection((self.host, self.port), timeout=1).close()
        except OSError:
            return False
        return True

    async def ready(self):
        """Waits until the broker takes connections; it may still be busy with its store then."""
        begin = time.monotonic()
        while not self._listens():
            self._check_start(begin)
            await asyncio.sleep(PAUSE)

    def store_bytes(self):
        """The size of all files of the store."""
        return sum(path.stat().st_size for path in self.store.rglob("*") if path.is_file())

    def start(self):
        """Begins the next life and waits until it takes connections."""
        self.spawn()
        begin = time.monotonic()
        while not self._listens():
            self._check_start(begin)
            time.sleep(PAUSE)

    def _check_start(self, begin):
        self.check_alive()
        if time.monotonic() - begin > START_DEADLINE:
            raise BrokerEnded(f"the broker does not listen in life {self.life}: {self.log_tail(3)}")

    def send(self, number):
        """Sends a signal."""
        self._process.send_signal(number)

    def kill(self):
        """SIGKILL; returns when the process is gone."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()

    def ends_by_itself(self):
        """Waits for an end that nobody asked for; returns the code, or None if there is none."""
        try:
            return self._process.wait(START_DEADLINE)
        except subprocess.TimeoutExpired:
            return None

    async def terminate(self):
        """SIGTERM; raises unless the broker ends well and in time."""
        self.send(signal.SIGTERM)
        deadline = time.monotonic() + STOP_DEADLINE
        while (code := self._process.poll()) is None:
            if time.monotonic() > deadline:
                raise BrokerEnded(f"the broker did not end within {STOP_DEADLINE} s of SIGTERM")
            await asyncio.sleep(PAUSE)
        if code != 0:
            raise BrokerEnded(f"the broker ended with {code} after SIGTERM: {self.log_tail(3)}")

    def log_text(self):
        """All that the broker has written to its log."""
        return self.log.read_text(errors="replace")

    def log_tail(self, lines=15):
        """The last lines of the log in one."""
        return " | ".join(self.log_text().splitlines()[-lines:])

    def clean_up(self):
        """Ends the broker and removes all that it wrote."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)

    def keep(self):
        """Ends the broker and says where its remains are."""
        self.kill()
        print(f"   kept for analysis: store {self.store}, log {self.log}", file=sys.stdout, flush=True)


def _known_to_mosquitto(settings):
    """The lines of `settings` without the options that only we have."""
    lines = [line for line in settings.splitlines() if not line.startswith("persistence_sync")]
    return "".join(f"{line}\n" for line in lines)
