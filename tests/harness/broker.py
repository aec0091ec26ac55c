"""Starts a broker for one group of tests and ends it."""

import os
import pathlib
import shutil
import signal
import socket
import subprocess
import tempfile
import time

#: Seconds that a broker may take to accept its first connection, or to end.
START_DEADLINE = 20
STOP_DEADLINE = 20

#: Seconds after which our broker closes a connection that has not sent its CONNECT.
CONNECT_TIMEOUT = 3

#: What every broker has.
LISTENER = """\
listener {port} 127.0.0.1
log_type all
log_dest stderr
"""

#: Large enough for payloads of 20 MiB and for 10,000 messages waiting for one client.
CONFIGURATION = """\
allow_anonymous true
max_packet_size 33554432
max_queued_messages 20000
set_tcp_nodelay true
"""

#: Options that Mosquitto does not have.
OWN_OPTIONS = f"connect_timeout {CONNECT_TIMEOUT}\n"


class Broker:
    """A running broker with a log of its own."""

    def __init__(self, binary, options=None, cwd=None):
        """Starts `binary`; `options` take the place of the usual ones beside listener and log."""
        self.host = "127.0.0.1"
        self.port = free_port()
        self._folder = tempfile.TemporaryDirectory(prefix="midge-clients-")
        folder = pathlib.Path(self._folder.name)
        self.log = folder / "log"
        configuration = folder / "broker.conf"
        if options is None:
            text = (LISTENER + CONFIGURATION).format(port=self.port)
            if is_ours(binary):
                text += OWN_OPTIONS
        else:
            text = LISTENER.format(port=self.port) + options
        configuration.write_text(text)
        arguments = [str(binary)] + (["broker"] if is_ours(binary) else [])
        with self.log.open("wb") as log:
            self._process = subprocess.Popen(
                arguments + ["-c", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=cwd or folder,
            )
        self.pid = self._process.pid
        try:
            self._await_listener()
        except BaseException:
            self._process.kill()
            self._process.wait()
            raise

    def _await_listener(self):
        deadline = time.monotonic() + START_DEADLINE
        while True:
            if self._process.poll() is not None:
                raise RuntimeError(f"the broker ended with {self._process.returncode}: {self.log_tail()}")
            try:
                socket.create_connection((self.host, self.port), timeout=1).close()
                return
            except OSError:
                if time.monotonic() > deadline:
                    raise RuntimeError(f"the broker does not listen: {self.log_tail()}") from None
                time.sleep(0.02)

    def is_alive(self):
        """Whether the process still runs."""
        return self._process.poll() is None

    def stop(self):
        """Asks the broker to end; returns its exit code, or None if it had to be killed."""
        if self.is_alive():
            self._process.send_signal(signal.SIGTERM)
        try:
            return self._process.wait(STOP_DEADLINE)
        except subprocess.TimeoutExpired:
            return None
        finally:
            if self.is_alive():
                self._process.kill()
                self._process.wait()

    def clean_up(self):
        """Removes what the broker wrote."""
        self._folder.cleanup()

    def log_tail(self, lines=15):
        """The last lines that the broker wrote."""
        text = self.log.read_text(errors="replace").splitlines()
        return "\n".join(text[-lines:])


def is_ours(binary):
    """Whether `binary` understands the options of Midge."""
    return pathlib.Path(binary).name.startswith("midge")


def find_binary(root):
    """The broker to test: MIDGE_BIN, or what was built; None if nothing was."""
    named = os.environ.get("MIDGE_BIN")
    if named:
        return pathlib.Path(shutil.which(named) or named)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or root / "target")
    for profile in ("release", "debug"):
        binary = target / profile / "midge"
        if binary.exists():
            return binary
    return None


def free_port():
    """A port that nobody listens on right now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]
