"""System calls show that no acknowledgement is written before the sync that covers it.

The broker runs under strace. Payloads, filters and client ids are unique, so that the write to the
store that holds them can be found.
"""

import asyncio
import os
import shutil
import struct
import time

import packets
import trace
from harness import install, wire
from harness.report import Skip, require
from victim import Victim

#: Messages of each publisher, half QoS 1 and half QoS 2, and how many are sent before the first answer.
MESSAGES = 40
WINDOW = 8

#: Seconds that strace may take to write all that it has seen.
TRACE_DEADLINE = 20


def acknowledged_after_sync(sync="always"):
    """Every PUBACK, PUBREC, PUBCOMP, SUBACK and CONNACK, and every QoS 2 message to a subscriber."""
    problem = install.debian_tool("strace", "strace")
    if problem:
        raise Skip(problem)
    run = os.urandom(4).hex()
    victim = Victim(f"persistence_sync {sync}\n")
    output = victim.folder / "trace"
    victim.prefix = [*trace.COMMAND, "-o", str(output)]
    try:
        victim.start()
        talk(victim, run)
        asyncio.run(victim.terminate())
        await_trace(output)
        judge(output, victim, run)
    except AssertionError:
        shutil.copy(output, victim.folder.with_suffix(".trace"))
        print(f"   the trace: {victim.folder.with_suffix('.trace')}", flush=True)
        raise
    finally:
        victim.clean_up()


def await_trace(output):
    """Waits until strace has written its last line."""
    deadline = time.monotonic() + TRACE_DEADLINE
    size = -1
    while size != output.stat().st_size and time.monotonic() < deadline:
        size = output.stat().st_size
        time.sleep(0.3)


def talk(victim, run):
    """Sessions that subscribe, two that then wait for messages, and publishers of both kinds."""
    peers = [persistent(victim, f"session-{run}-{number}", 4 + number % 2) for number in range(6)]
    for number, peer in enumerate(peers):
        topic_filter = f"filter-{run}-{number}/#" if number else f"topic-{run}/#"
        peer.send(packets.subscribe(peer.level, 7, topic_filter, 2))
        peer.expect(wire.SUBACK)
    keeper = persistent(victim, f"keeper-{run}", 5)
    keeper.send(packets.subscribe(5, 7, f"topic-{run}/+", 2))
    keeper.expect(wire.SUBACK)
    keeper.close()
    for number, level in enumerate((4, 5)):
        publisher = persistent(victim, f"publisher-{run}-{number}", level)
        publish(publisher, run, number)
        publisher.close()
    take(peers[0], 2 * MESSAGES)
    for peer in peers:
        peer.close()


def persistent(victim, client_id, level):
    """A connected client whose session is kept."""
    peer = wire.Peer(victim.host, victim.port)
    peer.level = level
    peer.send(packets.connect(client_id, level, False))
    peer.expect(packets.CONNACK)
    return peer


def publish(peer, run, publisher):
    """Sends the messages of one publisher in a small window and finishes each."""
    unfinished = set()
    number = 0
    while number < MESSAGES or unfinished:
        while number < MESSAGES and len(unfinished) < WINDOW:
            qos = 1 + number % 2
            packet_id = number + 1
            payload = payload_of(run, publisher, number)
            peer.send(packets.publish(peer.level, f"topic-{run}/{publisher}", payload, qos, packet_id))
            unfinished.add(packet_id)
            number += 1
        first, body = peer.read()
        packet_id = struct.unpack("!H", body[:2])[0]
        require(len(body) < 3 or body[2] < 0x80, f"packet {first:#x} with {body!r}")
        if first >> 4 == packets.PUBREC:
            peer.send(packets.acknowledge(packets.PUBREL, packet_id))
        else:
            unfinished.discard(packet_id)


def take(peer, count):
    """Receives and acknowledges messages until so many are finished."""
    while count:
        first, body = peer.read()
        if first >> 4 == packets.PUBLISH:
            _, packet_id, _ = packets.read_publish(peer.level, first, body)
            kind = packets.PUBREC if first & 4 else packets.PUBACK
            peer.send(packets.acknowledge(kind, packet_id))
            count -= kind == packets.PUBACK
        elif first >> 4 == packets.PUBREL:
            peer.send(packets.acknowledge(packets.PUBCOMP, struct.unpack("!H", body[:2])[0]))
            count -= 1


def payload_of(run, publisher, number):
    """A text that is nowhere else."""
    return f"payload-{run}-{publisher}-{number:04}-".encode()


def judge(output, victim, run):
    """Goes through all that was sent to the clients."""
    calls = trace.read_calls(output)
    store = trace.Store(calls, victim.store)
    found = trace.connections(calls)
    counts = {}

    def must_follow(packet, text, word):
        counts[word] = counts.get(word, 0) + 1
        safe = store.safe_since(text)
        if safe is None:
            is_held = any(text in write.data for write in store.writes)
            problem = "its write was never synced" if is_held else "no write holds it"
            raise AssertionError(f"{word} for {text!r}: {problem}")
        require(safe < packet.call.begin, f"{word} for {text!r} was written before its sync had returned")

    for client_id, connection in found.items():
        if run not in client_id:
            continue
        connack = next(packet for packet in connection.sent if packet.first >> 4 == packets.CONNACK)
        must_follow(connack, client_id.encode(), "CONNACK")
        for packet in connection.sent:
            judge_packet(packet, connection, store, must_follow, counts)
    require(counts.get("CONNACK") == 9, f"the trace shows {counts}")
    require(counts.get("SUBACK") == 7, f"the trace shows {counts}")
    for word in ("PUBACK", "PUBREC", "PUBCOMP", "PUBLISH of QoS 2"):
        require(counts.get(word) == MESSAGES, f"the trace shows {counts}")
    print(f"   {counts}, {len(store.writes)} writes, {len(store.syncs)} syncs", flush=True)


def judge_packet(packet, connection, store, must_follow, counts):
    """Judges one packet that the broker has sent."""
    kind = packet.first >> 4
    level = connection.received[0].body[6]
    if kind == packets.SUBACK:
        text = next(sent.body for sent in connection.received if sent.first >> 4 == wire.SUBSCRIBE)
        at = 2 + (level == 5)
        must_follow(packet, text[at + 2 : -1], "SUBACK")
    elif kind in (packets.PUBACK, packets.PUBREC):
        for sent in connection.received:
            if sent.first >> 4 == packets.PUBLISH:
                _, packet_id, payload = packets.read_publish(level, sent.first, sent.body)
                if packet.body[:2] == struct.pack("!H", packet_id):
                    must_follow(packet, payload, "PUBACK" if kind == packets.PUBACK else "PUBREC")
    elif kind == packets.PUBCOMP:
        counts["PUBCOMP"] = counts.get("PUBCOMP", 0) + 1
        releases = [sent for sent in connection.received if sent.first >> 4 == packets.PUBREL]
        release = next(sent for sent in releases if sent.body[:2] == packet.body[:2])
        is_safe = store.synced_between(release.call.end, packet.call.begin)
        require(is_safe, "PUBCOMP was written without a sync after its PUBREL")
    elif kind == packets.PUBLISH and packet.first & 4:
        _, _, payload = packets.read_publish(level, packet.first, packet.body)
        must_follow(packet, payload, "PUBLISH of QoS 2")
