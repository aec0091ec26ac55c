"""What bad peers do. Each attack runs in a process of its own and ends by itself.

An attack fails only where the broker owes its peer something: an answer, or an end.
"""

import random
import resource
import select
import socket
import time

from harness import wire

#: Random bytes: connections, and the most bytes that each sends.
NOISE_CONNECTIONS = 2_000
NOISE_BYTES = 4_096

#: Connections that stop in the middle of a packet, and that never begin one.
SILENT_CONNECTIONS = 1_000

#: Peers that send one byte at a time.
SLOW_CONNECTIONS = 50

#: What is published to a subscriber that never reads.
FLOOD_BYTES = 200_000_000
FLOOD_PAYLOAD = 65_000

#: Connections that vanish.
VANISHING_PER_SECOND = 5_000
VANISHING_SECONDS = 5

#: Vanishing peers come from several addresses, or closed ones would use up the ports of one.
VANISHING_ADDRESSES = [f"127.0.0.{number}" for number in range(2, 18)]

#: Seconds that an attack lasts which holds what it has.
HOLD_SECONDS = 3


def random_bytes(host, port, _connect_timeout):
    """Noise, also behind a good CONNECT and inside of good packets."""
    generator = random.Random(5)
    for number in range(NOISE_CONNECTIONS):
        noise = generator.randbytes(generator.randint(1, NOISE_BYTES))
        begin = wire.connect(f"noise{number}")
        match number % 4:
            case 0:
                data = noise
            case 1:
                data = begin + noise
            case 2:
                data = mutated(begin, generator) + noise
            case _:
                packets = [
                    wire.subscribe(1, "noise/#", 1),
                    wire.publish("noise/x", noise[:99], 1, 7),
                    wire.packet(wire.PINGREQ, b""),
                ]
                data = begin + b"".join(mutated(packet, generator) for packet in packets)
        peer = wire.Peer(host, port)
        try:
            peer.send(data)
            peer.socket.shutdown(socket.SHUT_WR)
        except OSError:
            pass  # The broker has closed already: quite right.
        peer.await_end()
        peer.close()


def mutated(packet, generator):
    """`packet` with a few bytes changed, lost or doubled."""
    data = bytearray(packet)
    for _ in range(generator.randint(1, 3)):
        at = generator.randrange(len(data))
        match generator.randrange(3):
            case 0:
                data[at] = generator.randrange(256)
            case 1 if len(data) > 1:
                del data[at]
            case _:
                data.insert(at, data[at])
    return bytes(data)


def half_packets(host, port, _connect_timeout):
    """Packets that announce much, begin, and stop; held open for a while."""
    allow_many_sockets()
    peers = []
    for number in range(SILENT_CONNECTIONS):
        whole = wire.connect(f"half{number}")
        match number % 4:
            case 0:  # Half a CONNECT.
                data = whole[: len(whole) // 2]
            case 1:  # A CONNECT that announces the largest length there is.
                data = b"\x10\xff\xff\xff\x7f" + whole[2:]
            case 2:  # A PUBLISH that announces 20 MiB, which is allowed, and sends 1 KiB.
                data = whole + b"\x30" + wire.variable_integer(20 * 1024 * 1024) + wire.string("half") + bytes(1024)
            case _:  # A SUBSCRIBE that ends within its filter.
                data = whole + wire.subscribe(1, "half/" + "x" * 1000)[:500]
        peer = wire.Peer(host, port)
        try:
            peer.send(data)
        except OSError:
            pass
        peers.append(peer)
    hold(peers)


def never_connect(host, port, connect_timeout):
    """Connections that say nothing at all; a broker with a time limit must end them."""
    allow_many_sockets()
    peers = [wire.Peer(host, port) for _ in range(SILENT_CONNECTIONS)]
    if connect_timeout is None:
        hold(peers)
        return
    deadline = time.monotonic() + connect_timeout + wire.DEADLINE
    waiting = {peer.socket: peer for peer in peers}
    while waiting:
        poller = select.poll()
        for held in waiting:
            poller.register(held, select.POLLIN)
        events = poller.poll(max(0, deadline - time.monotonic()) * 1000)
        if not events:
            raise AssertionError(f"{len(waiting)} connections without a CONNECT are still open")
        ended = {number for number, _ in events}
        for held in [held for held in waiting if held.fileno() in ended]:
            waiting.pop(held).await_end()
            held.close()


def one_byte_at_a_time(host, port, _connect_timeout):
    """Good packets in the smallest pieces: slow, but to be served."""
    peers = [wire.Peer(host, port) for _ in range(SLOW_CONNECTIONS)]
    streams = []
    for number, _ in enumerate(peers):
        topic = f"slow/{number}"
        packets = [
            wire.connect(f"slow{number}"),
            wire.subscribe(1, topic, 1),
            wire.publish(topic, b"payload", 1, 2),
        ]
        streams.append(b"".join(packets))
    for index in range(max(map(len, streams))):
        for peer, stream in zip(peers, streams):
            peer.send(stream[index : index + 1])
    for number, peer in enumerate(peers):
        peer.expect(wire.CONNACK)
        peer.expect(wire.SUBACK)
        # The acknowledgement and the message may come in either order.
        kinds = sorted(first >> 4 for first, _ in (peer.read(), peer.read()))
        if kinds != [wire.PUBLISH, wire.PUBACK]:
            raise AssertionError(f"peer {number} got packets {kinds}")
        peer.close()


def never_read(host, port, _connect_timeout):
    """A subscriber that never reads while somebody publishes much to it."""
    deaf = wire.Peer.connected(host, port, "deaf", receive_buffer=4096)
    deaf.subscribe("flood/#", 0)
    publisher = wire.Peer.connected(host, port, "flood")
    message = wire.publish("flood/a", bytes(FLOOD_PAYLOAD))
    for _ in range(FLOOD_BYTES // FLOOD_PAYLOAD):
        publisher.send(message)
    # The answer comes after everything before it has been handled.
    publisher.send(wire.packet(wire.PINGREQ, b""))
    publisher.expect(wire.PINGRESP)
    publisher.close()
    deaf.close()


def vanish(host, port, _connect_timeout):
    """Thousands of connections a second that are gone before anyone can answer."""
    reset = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
    total = VANISHING_PER_SECOND * VANISHING_SECONDS
    begin = time.monotonic()
    for number in range(total):
        ahead = number / VANISHING_PER_SECOND - (time.monotonic() - begin)
        if ahead > 0.005:
            time.sleep(ahead)
        peer = socket.socket()
        try:
            peer.bind((VANISHING_ADDRESSES[number % len(VANISHING_ADDRESSES)], 0))
            peer.setblocking(False)
            peer.connect_ex((host, port))
            hello = wire.connect(f"gone{number}")
            match number % 4:
                case 0:
                    pass
                case 1:
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                case 2:
                    peer.send(hello[:5])
                    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, reset)
                case _:
                    peer.send(hello)
        except OSError:
            pass  # The handshake was not over yet; gone is gone.
        finally:
            peer.close()
    rate = total / (time.monotonic() - begin)
    print(f"   {total} connections, {rate:.0f} a second", flush=True)


def hold(peers):
    """Keeps what was opened for a while, so that its cost can be seen."""
    time.sleep(HOLD_SECONDS)
    for peer in peers:
        peer.close()


def allow_many_sockets():
    """Raises the number of open files to what this user may have."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


ATTACKS = {
    "random bytes": random_bytes,
    "half a packet and silence": half_packets,
    "a connection that never sends CONNECT": never_connect,
    "one byte at a time": one_byte_at_a_time,
    "a client that never reads": never_read,
    "5,000 connections per second that vanish": vanish,
}
