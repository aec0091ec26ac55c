"""Hostile peers at every door: TLS, WebSocket, PROXY, passwords, rules.

    tests/tls/hostile.py [--test WORDS]

During every attack a pair of good clients exchanges QoS 1 messages on another listener and must lose none,
and the broker's memory may grow by 64 MiB at most. Each line tells what the pair has noticed.
"""

import argparse
import os
import pathlib
import socket
import ssl
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))
sys.path.append(str(HERE.parent / "hostile"))

import peers as tls
from harness import wire
from harness.broker import find_binary
from harness.report import Report, require, require_equal
from witness import Memory, Pair

#: Bytes by which a broker may grow in an attack.
GROWTH_MAX = 64 * tls.MIB

#: Seconds that a flood lasts.
FLOOD_SECONDS = 4

#: Rules of the user that topics are made slow for.
RULES = 1_000

#: The longest name or password that MQTT knows.
BYTES_MAX = 65_535


class Watch:
    """A pair of good clients and a look at the memory, from now to the end of the block."""

    def __init__(self, name, listeners, growth_max=GROWTH_MAX):
        self._name = name
        self._growth_max = growth_max
        self._listeners = listeners
        self.told = ""

    def __enter__(self):
        broker = self._listeners.broker
        self._pair = Pair(broker.host, broker.port, "good")
        self._memory = Memory(broker.pid)
        return self

    def __exit__(self, kind, *_):
        growth = self._memory.finish()
        self._pair.finish()
        if kind is not None:
            print(self._listeners.broker.log_tail()[-1500:], flush=True)
            return
        require(self._pair.count > 0, "the good clients exchanged nothing")
        print(
            f"   {self._name}: {self.told}; {self._pair.count} good messages, the slowest took "
            f"{self._pair.slowest * 1e3:.0f} ms; memory grew by {growth / 1e6:.1f} MB",
            flush=True,
        )
        require(growth < self._growth_max, f"memory grew by {growth / 1e6:.0f} MB")


def client_hello(host="localhost"):
    """What a client of TLS says first."""
    context = ssl.create_default_context()
    goes = ssl.MemoryBIO()
    connection = context.wrap_bio(ssl.MemoryBIO(), goes, server_hostname=host)
    try:
        connection.do_handshake()
    except ssl.SSLWantReadError:
        pass
    return goes.read()


def begun_handshakes(place, name):
    """Clients that make the server sign and go away, as fast as they come."""
    with tls.Listeners(tls=place.certificates) as listeners:
        port = listeners.ports["tls"]
        hello = client_hello()
        with Watch(name, listeners) as watch:
            counts = []

            def flood():
                count = 0
                deadline = time.monotonic() + FLOOD_SECONDS
                while time.monotonic() < deadline:
                    with tls.plain_socket(port) as stream:
                        stream.sendall(hello)
                        # The server's part of the handshake is made; nobody takes it to its end.
                        count += bool(stream.recv(1))
                counts.append(count)

            threads = [threading.Thread(target=flood) for _ in range(4)]
            for thread in threads:
                thread.start()
            for thread in threads:
                thread.join()
            watch.told = f"{sum(counts) / FLOOD_SECONDS:.0f} handshakes a second were begun"
            require(sum(counts) > 0, "no handshake was begun")
        tls.mqtt_works(tls.tls_socket(port, place))


def renegotiation(place, name):
    """A client of TLS 1.2 that wants the handshake again, and again, does not get it."""
    with tls.Listeners(tls=place.certificates) as listeners:
        port = listeners.ports["tls"]
        with Watch(name, listeners) as watch:
            refused = 0
            for _ in range(10):
                process = subprocess.Popen(
                    ["openssl", "s_client", "-tls1_2", "-connect", f"localhost:{port}"],
                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
                )
                # A line that begins with R is the wish; what follows is only read when it was dealt with.
                text, _ = process.communicate(b"R\n" * 50, timeout=2 * tls.DEADLINE)
                require(b"RENEGOTIATING" in text, text[-300:])
                refused += b"no renegotiation" in text or b"alert" in text or b"closed" in text
                require(text.count(b"verify return:1") < 5, "the handshake was made again")
            watch.told = f"10 connections asked, {refused} were told no"
            require_equal(refused, 10, "refusals")
        tls.mqtt_works(tls.tls_socket(port, place))


def oversized_heads(place, name):
    """Heads of HTTP and PROXY without an end are cut off where the limit is."""
    kinds = {
        "ws": "protocol websockets\n",
        "one": "enable_proxy_protocol 1\n",
        "two": "enable_proxy_protocol 2\n",
        "wss": "protocol websockets\n" + place.certificates,
    }
    with tls.Listeners(**kinds) as listeners:
        with Watch(name, listeners) as watch:
            sent = []
            for _ in range(30):
                for kind, begin, more in (
                    ("ws", b"GET /mqtt HTTP/1.1\r\n", b"X: " + b"y" * 1000 + b"\r\n"),
                    ("ws", b"GET /", b"y" * 1000),
                    ("wss", b"GET /mqtt HTTP/1.1\r\n", b"X: y\r\n" * 200),
                    ("one", b"PROXY TCP4 ", b"1" * 1000),
                    ("two", b"\r\n\r\n\0\r\nQUIT\n\x21\x11\xff\xff", bytes(1000)),
                ):
                    port = listeners.ports[kind]
                    stream = tls.tls_socket(port, place) if kind == "wss" else tls.plain_socket(port)
                    count = 0
                    try:
                        stream.sendall(begin)
                        while count < 10 * tls.MIB:
                            stream.sendall(more)
                            count += len(more)
                    except OSError:
                        pass
                    # What is between the sockets' buffers was taken by nobody.
                    require(count < 10 * tls.MIB, f"{kind}: {count} bytes of head were taken")
                    require(tls.ended(stream), f"{kind}: the connection goes on")
                    sent.append(count)
            watch.told = f"{len(sent)} heads without an end"


def broken_frames(place, name):
    """Frames that are not masked, too long, never finished, or by the hundred thousand and empty."""
    with tls.Listeners(ws="protocol websockets\n") as listeners:
        port = listeners.ports["ws"]
        tiny = tls.frame(tls.PINGREQ[:1], fin=0)
        cases = [
            (b"\x82\x02\xc0\x00", 1002),
            (b"\x82\x02\xc0\x00" * 1000, 1002),
            (b"\x82\xfe\x00\x01", 1002),
            (b"\x82\xff\x7f\xff\xff\xff\xff\xff\xff\xff" + bytes(4) + os.urandom(1000), None),
            (b"\x89\xfe\x01\x00" + bytes(260), 1002),
            (tls.frame(b"", 0), 1002),
            (tiny * 3, 1002),
            (tls.frame(b"", 11), 1002),
            (b"\xa2\x80" + bytes(4), 1002),
        ]
        with Watch(name, listeners) as watch:
            for _ in range(20):
                for bad, code in cases:
                    stream, _ = tls.upgrade(port)
                    stream.sendall(tls.frame(tls.CONNECT))
                    require_equal(tls.read(stream, 6), b"\x82\x04" + tls.CONNACK, "CONNACK")
                    try:
                        stream.sendall(bad)
                        if code is None:
                            stream.shutdown(socket.SHUT_WR)
                        else:
                            answer = tls.read(stream, 4)
                            require_equal(answer, b"\x88\x02" + code.to_bytes(2, "big"), f"{bad[:6]}")
                    except ConnectionError:
                        pass
                    require(tls.ended(stream), "the connection goes on")
            empty = tls.frame(b"", fin=0) + tls.frame(b"", opcode=0, fin=0) * 100_000
            stream, _ = tls.upgrade(port)
            stream.sendall(tls.frame(tls.CONNECT) + empty + tls.frame(tls.PINGREQ, opcode=0))
            require_equal(tls.read(stream, 6), b"\x82\x04" + tls.CONNACK, "CONNACK")
            require_equal(tls.read(stream, 4), b"\x82\x02" + tls.PINGRESP, "answer behind 100,000 empty frames")
            stream.sendall(tls.frame(tls.DISCONNECT))
            watch.told = f"{20 * len(cases)} broken frames, 100,000 empty ones"


def login(user, password):
    """CONNECT of 3.1.1 with a user name and a password."""
    header = wire.string("MQTT") + b"\x04\xc2" + (60).to_bytes(2, "big")
    return wire.packet(wire.CONNECT, header + wire.string(b"long") + wire.string(user) + wire.string(password))


def long_passwords(place, name):
    """Passwords and user names of 64 KiB: hashed beside the data path, and refused when too many wait."""
    passwords = place.folder / "passwords"
    midge = place.folder / "midge"
    midge.symlink_to(find_binary(tls.ROOT).resolve())
    for number, kind in enumerate(("argon2id", "sha512-pbkdf2", "scram-sha-256")):
        create = ["-c"] if number == 0 else []
        status, text = tls.run([midge, "passwd", "-H", kind, *create, "-b", passwords, f"user{number}", "right"])
        require_equal(status, 0, text)
    general = f"password_file {passwords}\nauth_fail_delay 0\nauth_fail_delay_max 0\nauth_fail_max 0\nauth_fail_user_max 0\n"
    # Hashes of a build for debugging take their time.
    general += "connect_timeout 30\n"
    with tls.Listeners(general) as listeners:
        broker = listeners.broker
        # Each thread that hashes needs the memory that argon2id is made to need.
        with Watch(name, listeners, GROWTH_MAX + (os.cpu_count() or 1) * 32 * tls.MIB) as watch:
            begin = time.monotonic()
            count = 0
            for _ in range(3):
                peers = []
                for number in range(30):
                    peer = wire.Peer(broker.host, broker.port)
                    user = f"user{number % 3}" if number < 20 else "u" * BYTES_MAX
                    # Without a limit of its own the packet is 196 KiB; larger ones than 100,000 bytes are
                    # not waited for.
                    password = os.urandom(BYTES_MAX if number < 20 else 30_000)
                    peer.send(login(user, password))
                    peers.append(peer)
                for peer in peers:
                    try:
                        require(peer.expect(wire.CONNACK)[1] != 0, "somebody was let in")
                        count += 1
                    except ConnectionError:
                        pass
                    peer.close()
            watch.told = f"{count / (time.monotonic() - begin):.0f} refusals a second, {count} of 90 by CONNACK"
            require(count >= 60, f"only {count} were answered")
        for number in range(3):
            peer = wire.Peer(broker.host, broker.port)
            peer.send(login(f"user{number}", "right"))
            require_equal(peer.expect(wire.CONNACK)[1], 0, "the right password")
            peer.close()


def slow_topics(place, name):
    """Topics of 64 KiB in 200 levels against a thousand rules with wildcards, and against as many patterns."""
    rules = place.folder / "rules"
    # As deep as topics may be: 201 levels with those around it.
    deep = "/".join(["+"] * 196)
    lines = ["topic readwrite witness/#", "topic write free/#"]
    lines += [f"topic readwrite +/{deep}/{number}/#" for number in range(RULES)]
    lines += [f"pattern readwrite +/%c/{deep}/{number}/%c/#" for number in range(RULES)]
    rules.write_text("\n".join(lines) + "\n")
    with tls.Listeners(f"acl_file {rules}\n") as listeners:
        broker = listeners.broker
        with Watch(name, listeners) as watch:
            level = "a" * 320
            peer = wire.Peer.connected(broker.host, broker.port, "a")
            times = {}
            for kind, topics in (
                ("short", [f"free/{number}" for number in range(300)]),
                ("long", [f"{level}/" * 200 + str(number) for number in range(300)]),
            ):
                packets = b"".join(wire.publish(topic, b"x") for topic in topics)
                begin = time.monotonic()
                peer.send(packets + wire.packet(wire.PINGREQ, b""))
                peer.expect(wire.PINGRESP)
                times[kind] = (time.monotonic() - begin) / len(topics)
            # Filters may be as long, and a client may ask for many.
            begin = time.monotonic()
            for number in range(50):
                peer.send(wire.subscribe(number + 1, f"{level}/" * 100 + f"+/{number}/#"))
                peer.expect(wire.SUBACK)
            subscribing = (time.monotonic() - begin) / 50
            peer.close()
            watch.told = (
                f"{times['long'] * 1e6:.0f} us for a topic of 64 KiB against {2 * RULES} rules, "
                f"{times['short'] * 1e6:.0f} us for a short one, {subscribing * 1e6:.0f} us for a filter of 32 KiB"
            )
            require(times["long"] < 0.02, f"a message takes {times['long'] * 1e3:.0f} ms")


TESTS = {
    "handshakes that are only begun": begun_handshakes,
    "renegotiation": renegotiation,
    "heads without an end": oversized_heads,
    "broken frames": broken_frames,
    "passwords of 64 KiB": long_passwords,
    "topics that are slow against rules": slow_topics,
}


def main():
    """Runs the attacks that the command line chooses; without a choice, all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--test", default="")
    options = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="midge-doors-") as folder:
        place = tls.Place(folder, "")
        for name, attack in TESTS.items():
            if options.test in name:
                report.run(f"doors {name}", attack, place, name)
    report.exit()


if __name__ == "__main__":
    main()
