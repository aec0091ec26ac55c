"""What TLS and WebSocket cost the broker: CPU per message against plain TCP in one run, and memory for each
client that does nothing.

    target/third-party/venv/bin/python tests/tls/cost.py [--rounds 60] [--idle 2000]

A publisher sends chunks of QoS 0 messages of 100 bytes and a subscriber takes them, over the same kind of
listener; kinds take turns, so that what else the machine does meets all of them. `single` waits for each
message, as a device that sends now and then.
"""

import argparse
import pathlib
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import peers as tls
from harness.broker import find_binary

PAYLOAD = bytes(100)
MESSAGE = b"\x30" + bytes([2 + 4 + len(PAYLOAD)]) + b"\x00\x04cost" + PAYLOAD
SUBSCRIBE = b"\x82\x09\x00\x01\x00\x04cost\x00"
CHUNK = 500
CHUNKS = 40


class Line:
    """A connection of one kind."""

    def __init__(self, kind, port, place, name):
        self.kind = kind
        self._opens = kind.startswith("ws")
        stream = tls.tls_socket(port, place) if kind in ("tls", "wss") else tls.plain_socket(port)
        self._stream = tls.upgrade(stream)[0] if self._opens else stream
        self._left = 0
        connect = b"\x10" + bytes([12 + len(name)]) + b"\x00\x04MQTT\x04\x02\x00\x00\x00" + bytes([len(name)]) + name
        self.send(connect)
        self.receive(4)

    def wrapped(self, packet):
        """A packet as it goes over this kind of line."""
        return tls.frame(packet) if self._opens else packet

    def send(self, packet):
        """Sends a packet."""
        self._stream.sendall(self.wrapped(packet))

    def send_raw(self, data):
        """Sends what is wrapped already."""
        self._stream.sendall(data)

    def receive(self, count):
        """Takes so many bytes of packets."""
        while count > 0:
            if self._opens and self._left == 0:
                _, length = tls.read(self._stream, 2)
                if length == 126:
                    length = int.from_bytes(tls.read(self._stream, 2), "big")
                elif length == 127:
                    length = int.from_bytes(tls.read(self._stream, 8), "big")
                self._left = length
            most = min(count, self._left) if self._opens else count
            came = len(self._stream.recv(min(most, 1 << 18)))
            if came == 0:
                raise RuntimeError("the connection has ended")
            count -= came
            if self._opens:
                self._left -= came


def cpu_seconds(pid):
    """What the broker's threads have used, to the nanosecond."""
    tasks = pathlib.Path(f"/proc/{pid}/task").iterdir()
    return sum(int((task / "schedstat").read_text().split()[0]) for task in tasks) / 1e9


def main():
    """Prints what it finds."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--rounds", type=int, default=60)
    parser.add_argument("--idle", type=int, default=2000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="midge-cost-") as folder:
        place = tls.Place(folder, "")
        websockets = "protocol websockets\n"
        kinds = {
            "tcp": "",
            "ws": websockets,
            "tls": place.certificates,
            "wss": websockets + place.certificates,
        }
        print(f"broker {find_binary(tls.ROOT)}", flush=True)
        with tls.Listeners("worker_threads 1\nlog_type error\n", **kinds) as listeners:
            messages(listeners, place, options.rounds)
        for kind in kinds:
            with tls.Listeners("worker_threads 1\nlog_type error\n", **{kind: kinds[kind]}) as listeners:
                idle(listeners, place, kind, options.idle)


def messages(listeners, place, rounds):
    """CPU per message of each kind."""
    lines = {}
    for kind, port in listeners.ports.items():
        subscriber = Line(kind, port, place, f"s{kind}".encode())
        publisher = Line(kind, port, place, f"p{kind}".encode())
        own = MESSAGE.replace(b"cost", kind.encode().ljust(4, b"-"))
        subscriber.send(SUBSCRIBE.replace(b"cost", kind.encode().ljust(4, b"-")))
        subscriber.receive(5)
        chunk = b"".join(publisher.wrapped(own) for _ in range(CHUNK))
        lines[kind] = (publisher, subscriber, chunk, publisher.wrapped(own))
    pid = listeners.broker.pid
    for way, size, count in (("chunks", CHUNK, CHUNKS), ("single", 1, 1000)):
        used = dict.fromkeys(lines, 0.0)
        for _ in range(rounds):
            for kind, (publisher, subscriber, chunk, one) in lines.items():
                data = chunk if size > 1 else one
                before = cpu_seconds(pid)
                for _ in range(count):
                    publisher.send_raw(data)
                    subscriber.receive(size * len(MESSAGE))
                used[kind] += cpu_seconds(pid) - before
        total = rounds * count * size
        for kind, seconds in used.items():
            print(
                f"{way}: {kind} {seconds / total * 1e6:.3f} us per message, {seconds / used['tcp']:.2f} of tcp, "
                f"{seconds / used['tls']:.2f} of tls",
                flush=True,
            )


def idle(listeners, place, kind, count):
    """Memory for each client that does nothing."""
    port = listeners.ports[kind]
    warm = [Line(kind, port, place, f"w{number}".encode()) for number in range(50)]
    before = listeners.rss()
    lines = [Line(kind, port, place, f"i{number}".encode()) for number in range(count)]
    time.sleep(1)
    grown = (listeners.rss() - before) / len(lines)
    print(f"idle: {kind} {grown / 1024:.1f} KiB per client ({len(lines) + len(warm)} clients)", flush=True)


if __name__ == "__main__":
    main()
