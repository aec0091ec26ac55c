#!/usr/bin/env python3
"""Makes a database with Mosquitto: make.py FILE [mosquitto program]

Sessions of both kinds with every sort of subscription, messages that wait, messages in each step of
QoS 1 and 2, properties, expiry and retained messages. The README says which files came from it.
"""

import pathlib
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

CONNECT, PUBLISH, PUBACK, PUBREC, PUBREL, SUBSCRIBE, DISCONNECT = 1, 3, 4, 5, 6, 8, 14
TEN_YEARS = 315_360_000


def main():
    target = pathlib.Path(sys.argv[1])
    program = sys.argv[2] if len(sys.argv) > 2 else "/usr/sbin/mosquitto"
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        folder.chmod(0o777)
        port = free_port()
        configuration = folder / "mosquitto.conf"
        configuration.write_text(
            f"listener {port} 127.0.0.1\nallow_anonymous true\nmax_inflight_messages 3\n"
            f"persistence true\npersistence_location {folder}/\nuser root\n"
        )
        broker = subprocess.Popen([program, "-c", str(configuration)], stderr=subprocess.DEVNULL)
        try:
            await_listener(port)
            fill(port)
        finally:
            broker.send_signal(signal.SIGTERM)
            broker.wait(timeout=20)
        shutil.copy(folder / "mosquitto.db", target)
    print(f"{target}: {target.stat().st_size} bytes, listener port {port}")


def fill(port):
    waiting = Client(port, "meter-7", level=5, clean=False, user="alice", expiry=604_800)
    # No Local, Retain As Published and retain handling 1, then plain ones, one of them shared.
    waiting.subscribe(1, "plant/+/temp", 1 | 4 | 8 | 16, identifier=42)
    waiting.subscribe(2, "plant/#", 2)
    waiting.subscribe(3, "$share/crew/jobs/#", 1, identifier=7)
    waiting.end()

    old = Client(port, "old client", level=4, clean=False)
    old.subscribe(1, "plant/#", 1)
    old.subscribe(2, "/", 0)
    old.end()

    flight = Client(port, "flight", level=5, clean=False, expiry=0xFFFF_FFFF)
    flight.subscribe(1, "flight/#", 2)

    source = Client(port, "source", level=5, clean=True, user="bob")
    source.publish(1, "plant/1/temp", b"21.5", qos=1, properties=(
        bytes([1, 1, 2]) + struct.pack("!I", TEN_YEARS) + bytes([3]) + text("text/plain")
        + bytes([8]) + text("plant/answers") + bytes([9]) + text(b"\x00\xff\x10")
        + bytes([38]) + text("unit") + text("°C") + bytes([38]) + text("unit") + text("K")
    ))
    source.publish(2, "plant/name", "Werk Süd".encode(), qos=1, retain=True)
    source.publish(3, "plant/logo", bytes(range(32)), qos=2, retain=True)
    source.publish(4, "jobs/1", b"", qos=1)
    source.publish(5, "flight/one", b"waits for PUBACK", qos=1)
    source.publish(6, "flight/two", b"waits for PUBREC", qos=2)
    source.publish(7, "flight/three", b"waits for PUBCOMP", qos=2)
    source.publish(8, "flight/four", b"waits in the queue", qos=1)
    source.publish(0, "retained/zero", b"0", qos=0, retain=True)

    for _ in range(3):
        kind, body = flight.read()
        assert kind == PUBLISH
        length = struct.unpack("!H", body[:2])[0]
        if body[2:2 + length] == b"flight/three":
            flight.send(PUBREC, body[2 + length:4 + length])
            assert flight.read()[0] == PUBREL
    flight.send(PUBLISH, text("flight/in") + struct.pack("!H", 99) + b"\0" + b"waits for PUBREL", 4)
    assert flight.read()[0] == PUBREC
    flight.socket.close()
    source.end()


class Client:
    def __init__(self, port, client_id, level, clean, user=None, expiry=0):
        self.socket = socket.create_connection(("127.0.0.1", port), timeout=10)
        self.level = level
        body = text("MQTT") + bytes([level, (2 if clean else 0) | (0x80 if user else 0), 0, 0])
        if level == 5:
            body += bytes([5, 17]) + struct.pack("!I", expiry)
        self.send(CONNECT, body + text(client_id) + (text(user) if user else b""))
        kind, answer = self.read()
        assert kind == 2 and answer[1] == 0, answer

    def subscribe(self, packet_id, topic_filter, options, identifier=None):
        body = struct.pack("!H", packet_id)
        if self.level == 5:
            body += bytes([2, 11, identifier]) if identifier else b"\0"
        self.send(SUBSCRIBE, body + text(topic_filter) + bytes([options]), 2)
        assert self.read()[0] == 9

    def publish(self, packet_id, topic, payload, qos, retain=False, properties=b""):
        assert len(properties) < 128
        body = text(topic) + (struct.pack("!H", packet_id) if qos else b"")
        self.send(PUBLISH, body + bytes([len(properties)]) + properties + payload, qos << 1 | retain)
        if qos == 1:
            assert self.read()[0] == PUBACK
        elif qos == 2:
            assert self.read()[0] == PUBREC
            self.send(PUBREL, struct.pack("!H", packet_id), 2)
            assert self.read()[0] == 7

    def end(self):
        self.send(DISCONNECT, b"")
        while self.socket.recv(4096):
            pass
        self.socket.close()

    def send(self, kind, body, flags=0):
        length, rest = b"", len(body)
        while True:
            rest, digit = rest >> 7, rest & 0x7F
            length += bytes([digit | (0x80 if rest else 0)])
            if not rest:
                break
        self.socket.sendall(bytes([kind << 4 | flags]) + length + body)

    def read(self):
        kind = self.exactly(1)[0] >> 4
        length, shift = 0, 0
        while True:
            digit = self.exactly(1)[0]
            length |= (digit & 0x7F) << shift
            shift += 7
            if not digit & 0x80:
                return kind, self.exactly(length)

    def exactly(self, count):
        data = b""
        while len(data) < count:
            more = self.socket.recv(count - len(data))
            assert more, "the broker closed the connection"
            data += more
        return data


def text(value):
    data = value.encode() if isinstance(value, str) else value
    return struct.pack("!H", len(data)) + data


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def await_listener(port):
    deadline = time.monotonic() + 10
    while True:
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            assert time.monotonic() < deadline, "the broker does not listen"
            time.sleep(0.05)


if __name__ == "__main__":
    main()
