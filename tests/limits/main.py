"""Limits against abuse: who exceeds them is held back, the others notice nothing, and `$SYS` counts it."""

import argparse
import pathlib
import struct
import sys
import threading
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
sys.path.insert(0, str(ROOT / "hostile"))

from harness import wire
from harness.broker import Broker, find_binary, is_ours
from harness.report import Report, require
from witness import Pair, resident_bytes

#: What the slowest message of the good clients may take while somebody floods.
SLOWEST_GOOD = 0.5

ANYBODY = "allow_anonymous true\nsys_interval 1\n"


def connect5(client_id, keep_alive=60):
    """CONNECT of 5.0."""
    return wire.connect(client_id, keep_alive, level=5)


def publish5(topic, payload, qos=0, packet_id=0, retain=False):
    """PUBLISH of 5.0 without properties."""
    identifier = struct.pack("!H", packet_id) if qos else b""
    flags = qos << 1 | (1 if retain else 0)
    return wire.packet(wire.PUBLISH, wire.string(topic) + identifier + b"\x00" + payload, flags)


class Client5(wire.Peer):
    """A client of 5.0."""

    def __init__(self, broker, client_id):
        super().__init__(broker.host, broker.port)
        self.send(connect5(client_id))
        self.connack = self.expect(wire.CONNACK)[1]

    def subscribe5(self, topic_filter, qos=0):
        """The reason code of SUBACK."""
        options = wire.string(topic_filter) + bytes([qos])
        self.send(wire.packet(wire.SUBSCRIBE, struct.pack("!HB", 1, 0) + options, flags=2))
        return self.expect(wire.SUBACK)[-1]

    def publish5(self, topic, payload, retain=False):
        """The reason code of PUBACK."""
        self.send(publish5(topic, payload, 1, 1, retain))
        body = self.expect(wire.PUBACK)
        return body[2] if len(body) > 2 else 0


def sys_value(broker, topic, wanted):
    """Waits until a value of `$SYS` is as it is wanted, and gives it."""
    peer = wire.Peer.connected(broker.host, broker.port, "sys-watcher")
    peer.subscribe(f"$SYS/broker/{topic}")
    header = wire.string(f"$SYS/broker/{topic}")
    deadline = time.monotonic() + wire.DEADLINE
    last = None
    while time.monotonic() < deadline:
        body = peer.expect(wire.PUBLISH)
        last = int(body[len(header) :])
        if wanted(last):
            return last
    raise AssertionError(f"{topic} is {last}")


def good_through(broker, bad, limit):
    """Lets a pair of good clients talk while `bad` goes on; the limit must have been counted."""
    pair = Pair(broker.host, broker.port, "good")
    bad()
    pair.finish()
    require(pair.count > 50, f"the good clients exchanged {pair.count} messages only")
    require(pair.slowest < SLOWEST_GOOD, f"a good message took {pair.slowest:.2f} s")
    count = sys_value(broker, f"limits/{limit}", lambda value: value > 0)
    line = f"Limit {limit} reached by"
    require(line in broker.log.read_text(errors="replace"), f"the log does not tell: {line}")
    return f"{pair.count} good messages, the slowest took {pair.slowest * 1e3:.0f} ms; counted {count} times"


def flood(broker, seconds, message):
    """Sends without end for a while; gives how many bytes the broker took."""
    peer = wire.Peer.connected(broker.host, broker.port, "flood")
    peer.socket.setblocking(False)
    end = time.monotonic() + seconds
    taken = 0
    chunk = message * (1 + 65536 // len(message))
    offset = 0
    while time.monotonic() < end:
        try:
            count = peer.socket.send(chunk[offset:])
            taken += count
            offset = (offset + count) % len(message)
        except BlockingIOError:
            time.sleep(0.01)
    return peer, taken


def publish_rate(broker):
    """1,000 messages per second: the flood of one client is read at that rate, whatever it sends."""
    watcher = wire.Peer.connected(broker.host, broker.port, "watcher")
    watcher.subscribe("flood")
    received = 0
    stop = threading.Event()

    def watch():
        nonlocal received
        watcher.socket.settimeout(0.2)
        while not stop.is_set():
            try:
                watcher.expect(wire.PUBLISH)
                received += 1
            except TimeoutError:
                pass

    thread = threading.Thread(target=watch)
    thread.start()
    begin = time.monotonic()

    def bad():
        peer, _ = flood(broker, 4, wire.publish("flood", b"x" * 20))
        stop.set()
        thread.join()
        peer.socket.close()

    try:
        told = good_through(broker, bad, "max_publish_rate")
    finally:
        stop.set()
    took = time.monotonic() - begin
    require(received > 1000, f"{received} messages came through")
    require(received < 1000 * (took + 2), f"{received} messages came through in {took:.1f} s")
    print(f"   max_publish_rate: {received} messages in {took:.1f} s; {told}", flush=True)


def bytes_rate(broker):
    """100,000 bytes per second: what is above waits at the client, and the broker does not grow."""
    before = resident_bytes(broker.pid)
    taken = 0

    def bad():
        nonlocal taken
        peer, taken = flood(broker, 4, wire.publish("flood", b"x" * 5000))
        peer.socket.close()

    told = good_through(broker, bad, "max_bytes_rate")
    grown = resident_bytes(broker.pid) - before
    # What the kernel buffers on both sides is not the broker's.
    require(taken < 100_000 * 6 + 8_000_000, f"{taken} bytes were taken")
    require(grown < 16 << 20, f"the broker grew by {grown} bytes")
    print(f"   max_bytes_rate: {taken} bytes were taken; {told}", flush=True)


def total_rate(broker):
    """500 messages per second for a listener: forty clients share them about evenly."""
    peers = [wire.Peer.connected(broker.host, broker.port, f"c{number}") for number in range(40)]
    batch = b"".join(wire.publish("t", b"x", 1, number + 1) for number in range(200))
    for peer in peers:
        peer.send(batch)
    time.sleep(4)
    counts = []
    for peer in peers:
        peer.socket.settimeout(0.05)
        count = 0
        try:
            while True:
                peer.expect(wire.PUBACK)
                count += 1
        except TimeoutError:
            counts.append(count)
    total = sum(counts)
    require(1500 < total < 4500, f"{total} messages were taken in four seconds and a half")
    # A second's worth is there at the start, for who comes first.
    require(min(counts) >= 50, f"unevenly: {sorted(counts)}")
    print(f"   max_publish_rate_total: {total} messages of forty clients, {min(counts)} to {max(counts)} each")


def quiet_client(broker):
    """A client whose messages wait for long is not taken for dead, and its ping is answered at last."""
    peer = wire.Peer(broker.host, broker.port)
    peer.send(wire.connect("slow", keep_alive=1))
    peer.expect(wire.CONNACK)
    peer.send(b"".join(wire.publish("t", b"x", 1, number + 1) for number in range(8)))
    peer.send(wire.packet(wire.PINGREQ, b""))
    for _ in range(8):
        peer.expect(wire.PUBACK)
    peer.expect(wire.PINGRESP)


def address_rate(broker):
    """Ten connections per second from an address; the others are closed at once."""
    lost = 0
    for number in range(60):
        peer = wire.Peer(broker.host, broker.port)
        try:
            peer.send(wire.connect(f"a{number}"))
            peer.read()
        except (ConnectionError, OSError):
            lost += 1
    require(40 <= lost <= 55, f"{lost} of 60 were turned away")
    time.sleep(0.5)
    sys_value(broker, "limits/max_connect_rate_per_address", lambda value: value == lost)


def retained(broker):
    """As many retained messages as are allowed, and 0x97 for more."""
    client = Client5(broker, "r")
    codes = [client.publish5(f"r/{number}", b"x", retain=True) for number in range(300)]
    require(codes[0] in (0, 0x10), f"the first got {codes[0]:#x}")
    require(codes[-1] == 0x97, f"the last got {codes[-1]:#x}")
    require(client.publish5("r/0", b"", retain=True) < 0x80, "nothing could be removed")
    require(client.publish5("r/new", b"x", retain=True) < 0x80, "there was no room after that")


def levels(broker):
    """Topics and filters of four levels at most."""
    client = Client5(broker, "l")
    require(client.publish5("a/b/c/d", b"x") < 0x80, "four levels were refused")
    require(client.publish5("a/b/c/d/e", b"x") == 0x90, "five levels were taken")
    require(client.subscribe5("a/b/c/#") == 0, "four levels were refused")
    require(client.subscribe5("a/b/c/d/#") == 0x8F, "five levels were taken")


def memory(broker):
    """Above the watermark nothing new is taken on; when what waited has been delivered, it is again."""
    taker = wire.Peer(broker.host, broker.port)
    taker.send(wire.connect("taker", clean=False))
    taker.expect(wire.CONNACK)
    taker.subscribe("big", 1)
    taker.socket.close()
    filler = Client5(broker, "filler")
    refused = 0
    for _ in range(3000):
        code = filler.publish5("big", b"x" * 100_000)
        if code == 0x97:
            refused += 1
            break
    require(refused, "memory was never short")
    require(Client5(broker, "newcomer").connack == 0x89, "a newcomer was let in")
    require(filler.subscribe5("more") == 0x97, "a subscription was taken")
    # Who takes what waits comes in, and gets all of it.
    taker = wire.Peer(broker.host, broker.port)
    taker.send(wire.connect("taker", clean=False))
    require(taker.expect(wire.CONNACK) == b"\x01\x00", "the taker was not let in")
    taker.socket.settimeout(5)
    came = 0
    try:
        while True:
            body = taker.expect(wire.PUBLISH)
            taker.send(wire.packet(wire.PUBACK, body[5:7]))
            came += 1
    except TimeoutError:
        pass
    deadline = time.monotonic() + wire.DEADLINE
    while filler.publish5("other", b"x") == 0x97:
        require(time.monotonic() < deadline, "memory stays short though nothing waits any more")
        time.sleep(0.1)
    print(f"   memory_limit: {came} messages of 100 kB were delivered, then new ones taken again", flush=True)
    sys_value(broker, "limits/memory_limit", lambda value: value >= 3)
    sys_value(broker, "heap/current", lambda value: value > 0)


TESTS = {
    "publish rate": ("max_publish_rate 1000\n", publish_rate),
    "bytes rate": ("max_bytes_rate 100000\n", bytes_rate),
    "publish rate of a listener": ("max_publish_rate_total 500\n", total_rate),
    "keep alive while waiting": ("max_publish_rate 2\n", quiet_client),
    "connections per address": ("auth_fail_exempt none\nmax_connect_rate_per_address 10\n", address_rate),
    "retained messages": ("max_retained_messages 200\n", retained),
    "topic levels": ("max_topic_levels 4\n", levels),
    "memory": ("memory_limit 150000000\nmax_queued_messages 0\nmax_queued_bytes_total 0\n", memory),
}


def with_broker(binary, options, test):
    """Runs one test against a broker of its own."""
    broker = Broker(binary, ANYBODY + options)
    try:
        test(broker)
    except (OSError, AssertionError) as error:
        raise AssertionError(f"{type(error).__name__}: {error}\n{broker.log_tail()}") from error
    finally:
        code = broker.stop()
        broker.clean_up()
    require(code == 0, f"the broker ended with {code}")


def main():
    """Runs the tests that the command line chooses; without a choice, all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--test", action="append")
    options = parser.parse_args()
    report = Report()
    binary = find_binary(ROOT.parent)
    for name, (settings, test) in TESTS.items():
        if any(part in name for part in options.test or ("",)):
            if is_ours(binary):
                report.run(f"limits {name}", with_broker, binary, settings, test)
            else:
                print(f"skipped: limits {name}: the options are Midge's own", flush=True)
    report.exit()


if __name__ == "__main__":
    main()
