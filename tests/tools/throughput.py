#!/usr/bin/env python3
"""How much processor time a message costs that `midge sub` writes into a file.

A bare feeder, which is no broker, sends messages over the loopback as fast as they are taken. The same
bytes go to `midge sub`, to mosquitto_sub, and to a program that only reads and writes.

    tests/tools/throughput.py [--messages 3000000] [--payload 16] [--qos 0]
"""

import argparse
import os
import pathlib
import shutil
import socket
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness.broker import find_binary

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
TOPIC = b"bench/topic"
BLOCK = 512


def varint(value):
    """A variable byte integer."""
    out = bytearray()
    while True:
        value, byte = divmod(value, 128)
        out.append(byte | (128 if value else 0))
        if not value:
            return bytes(out)


def publish(payload, qos, packet_id):
    """A PUBLISH of 3.1.1."""
    body = len(TOPIC).to_bytes(2, "big") + TOPIC + (packet_id.to_bytes(2, "big") if qos else b"") + payload
    return bytes([0x30 | qos << 1]) + varint(len(body)) + body


def feed(listener, options, speaks_mqtt):
    """Accepts one client and sends it everything."""
    peer, _ = listener.accept()
    with peer:
        if speaks_mqtt:
            peer.recv(4096)
            peer.sendall(b"\x20\x02\x00\x00")
            request = peer.recv(4096)
            peer.sendall(b"\x90\x03" + request[2:4] + bytes([options.qos]))
        payload = b"x" * options.payload
        block = b"".join(publish(payload, options.qos, 1 + i) for i in range(BLOCK))
        blocks = block * max(1, (1 << 20) // len(block))
        left = -(-options.messages // BLOCK) * len(block)
        drain = threading.Thread(target=swallow, args=(peer,), daemon=True)
        drain.start()
        try:
            while left > 0:
                left -= peer.send(memoryview(blocks)[: min(left, len(blocks))])
            # What has all it wants says goodbye; what only reads waits for the end.
            if not speaks_mqtt:
                peer.shutdown(socket.SHUT_WR)
            drain.join(60)
        except ConnectionError:
            pass


def swallow(peer):
    """Takes acknowledgements, until the client goes."""
    try:
        while peer.recv(1 << 16):
            pass
    except OSError:
        pass


READER = """
import os, socket, sys
s = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
b = bytearray(1 << 18); v = memoryview(b)
while n := s.recv_into(b): os.write(1, v[:n])
"""


def measure(name, command, options, speaks_mqtt=True):
    """Runs a program against a feeder; gives wall and processor time for each message."""
    with socket.create_server(("127.0.0.1", 0)) as listener, tempfile.TemporaryFile() as output:
        thread = threading.Thread(target=feed, args=(listener, options, speaks_mqtt), daemon=True)
        thread.start()
        words = [str(word).replace("$PORT", str(listener.getsockname()[1])) for word in command]
        began = time.perf_counter()
        pid = os.posix_spawnp(words[0], words, os.environ, file_actions=[
            (os.POSIX_SPAWN_DUP2, output.fileno(), 1),
        ])
        _, status, usage = os.wait4(pid, 0)
        wall = time.perf_counter() - began
        cpu = usage.ru_utime + usage.ru_stime
        size = os.fstat(output.fileno()).st_size
        thread.join(60)
    print(
        f"{name:<14} {options.messages / wall:>12,.0f} messages/s, {1e6 * cpu / options.messages:.3f} us of processor "
        f"time each ({options.messages / cpu:,.0f} a second of one core), status {os.waitstatus_to_exitcode(status)}, "
        f"{size} bytes",
        flush=True,
    )
    return cpu / options.messages


def main():
    """Measures all three."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--messages", type=int, default=3_000_000)
    parser.add_argument("--payload", type=int, default=16)
    parser.add_argument("--qos", type=int, default=0)
    parser.add_argument("--others", type=int, default=300_000, help="messages for slower programs")
    options = parser.parse_args()
    binary = find_binary(ROOT)
    words = ["-p", "$PORT", "-h", "127.0.0.1", "-t", "#", "-q", options.qos, "-C", options.messages]
    bare = measure("bare reader", [sys.executable, "-c", READER, "$PORT"], options, speaks_mqtt=False)
    costs = {}
    for name, more in (("midge sub", []), ("midge sub -v", ["-v"]), ("midge sub -F", ["-F", "%t %q %p"])):
        costs[name] = measure(name, [binary, "sub", *words, *more], options)
    other = shutil.which("mosquitto_sub")
    if other:
        options.messages = options.others
        words[-1] = options.messages
        costs["mosquitto_sub"] = measure("mosquitto_sub", [other, *words], options)
    for name, cost in costs.items():
        print(f"{name:<14} {cost / bare:.2f} times the bare reader")


if __name__ == "__main__":
    main()
