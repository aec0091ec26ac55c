"""What a handshake costs the broker, beside Debian's mosquitto in the same run.

    target/third-party/venv/bin/python tests/tls/handshakes.py [--rounds 20] [--each 100]

A client of OpenSSL makes a handshake, sends CONNECT, awaits CONNACK and goes; brokers take turns, so that
what else the machine does meets both. Handshakes a second and core are one by the processor time that the
broker has used for each. A worker more does not make one cheaper, so each broker has one.
"""

import argparse
import contextlib
import pathlib
import socket
import ssl
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import peers as tls
from cost import cpu_seconds
from harness.broker import find_binary
from harness.install import mosquitto_program

#: Of the brokers that are compared.
GENERAL = {"midge": "worker_threads 1\nlog_type error\n", "mosquitto": "log_type error\n"}

KINDS = {
    "1.3": ssl.TLSVersion.TLSv1_3,
    "1.2": ssl.TLSVersion.TLSv1_2,
    "1.3 resumed": ssl.TLSVersion.TLSv1_3,
    "1.2 resumed": ssl.TLSVersion.TLSv1_2,
    "1.3 with a client certificate": ssl.TLSVersion.TLSv1_3,
}


class Visitor:
    """A client of one kind."""

    def __init__(self, kind, place):
        version = KINDS[kind]
        self._context = ssl.create_default_context(cafile=str(place.ca.certificate))
        self._context.minimum_version = self._context.maximum_version = version
        if "certificate" in kind:
            self._context.load_cert_chain(*map(str, place.device))
        self._resumes = "resumed" in kind
        self._session = None
        self.resumed = 0

    def visit(self, port):
        """A handshake and a login."""
        with tls.plain_socket(port) as plain:
            # CONNECT must not wait for the acknowledgement of what ends the handshake.
            plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            stream = self._context.wrap_socket(plain, server_hostname="localhost", session=self._session)
            self.resumed += stream.session_reused
            stream.sendall(tls.CONNECT)
            tls.require_equal(tls.read(stream, 4), tls.CONNACK, "CONNACK")
            # The ticket of 1.3 has come with it.
            self._session = stream.session if self._resumes else None
            stream.sendall(tls.DISCONNECT)


def main():
    """Prints what it finds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=20)
    parser.add_argument("--each", type=int, default=100)
    options = parser.parse_args()
    brokers = {"midge": find_binary(tls.ROOT), "mosquitto": mosquitto_program("mosquitto")}
    brokers = {name: pathlib.Path(path) for name, path in brokers.items() if path}
    with tempfile.TemporaryDirectory(prefix="midge-handshakes-") as folder, contextlib.ExitStack() as stack:
        place = tls.Place(folder, "")
        # Mosquitto takes no limit on CONNECT.
        tls.LIMITS = "user root\nallow_anonymous true\n"
        running = {
            name: stack.enter_context(
                tls.Listeners(GENERAL[name], binary=binary, tls=place.certificates, mutual=place.mutual)
            )
            for name, binary in brokers.items()
        }
        for kind in KINDS:
            measure(kind, place, running, options)


def measure(kind, place, running, options):
    """One kind of handshake at all brokers."""
    listener = "mutual" if "certificate" in kind else "tls"
    visitors = {name: Visitor(kind, place) for name in running}
    used = dict.fromkeys(running, 0.0)
    for name, listeners in running.items():
        for _ in range(5):
            visitors[name].visit(listeners.ports[listener])
    for _ in range(options.rounds):
        for name, listeners in running.items():
            before = cpu_seconds(listeners.broker.pid)
            for _ in range(options.each):
                visitors[name].visit(listeners.ports[listener])
            used[name] += cpu_seconds(listeners.broker.pid) - before
    count = options.rounds * options.each
    for name, seconds in used.items():
        resumed = f", {visitors[name].resumed} resumed" if "resumed" in kind else ""
        rate = count / seconds if seconds else 0
        print(f"TLS {kind}: {name} {rate:.0f} a second and core, {seconds / count * 1e6:.0f} us each{resumed}", flush=True)


if __name__ == "__main__":
    main()
