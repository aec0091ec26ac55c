"""Packets of MQTT 3.1.1 and 5.0 for clients that keep their session: little code, quickly run."""

import struct

from harness.wire import CONNECT, SUBSCRIBE, packet, string, variable_integer

CONNACK, PUBLISH, PUBACK, PUBREC, PUBREL, PUBCOMP = 2, 3, 4, 5, 6, 7
SUBACK, UNSUBSCRIBE, UNSUBACK, DISCONNECT = 9, 10, 11, 14

#: A session that outlives every test.
SESSION_EXPIRY = 24 * 3600

#: Properties of CONNACK: the bytes that their values take; None for a string, "pair" for two.
PROPERTY_SIZES = {
    0x11: 4, 0x12: None, 0x13: 2, 0x15: None, 0x16: None, 0x1A: None, 0x1C: None, 0x1F: None,
    0x21: 2, 0x22: 2, 0x24: 1, 0x25: 1, 0x26: "pair", 0x27: 4, 0x28: 1, 0x29: 1, 0x2A: 1,
}  # fmt: skip
RECEIVE_MAXIMUM = 0x21


def connect(client_id, level, is_clean, receive_maximum=None, *, begins_anew=False):
    """CONNECT without keep alive; a session that is not clean is kept for a day."""
    properties = b""
    if level == 5:
        if not is_clean:
            properties += b"\x11" + struct.pack("!I", SESSION_EXPIRY)
        if receive_maximum:
            properties += b"\x21" + struct.pack("!H", receive_maximum)
        properties = variable_integer(len(properties)) + properties
    header = string("MQTT") + bytes([level, 2 if is_clean or begins_anew else 0, 0, 0])
    return packet(CONNECT, header + properties + string(client_id))


def publish(level, topic, payload, qos, packet_id, retain=False, dup=False):
    """PUBLISH of QoS 1 or 2, or of QoS 0 without a packet id."""
    name = topic.encode()
    identifier = struct.pack("!H", packet_id) if qos else b""
    body = struct.pack("!H", len(name)) + name + identifier + (b"\x00" if level == 5 else b"") + payload
    return bytes([0x30 | dup << 3 | qos << 1 | retain]) + variable_integer(len(body)) + body


def subscribe(level, packet_id, topic_filter, qos):
    """SUBSCRIBE with one filter."""
    properties = b"\x00" if level == 5 else b""
    return packet(SUBSCRIBE, struct.pack("!H", packet_id) + properties + string(topic_filter) + bytes([qos]), flags=2)


def unsubscribe(level, packet_id, topic_filter):
    """UNSUBSCRIBE with one filter."""
    properties = b"\x00" if level == 5 else b""
    return packet(UNSUBSCRIBE, struct.pack("!H", packet_id) + properties + string(topic_filter), flags=2)


def acknowledge(kind, packet_id):
    """PUBACK, PUBREC, PUBREL or PUBCOMP that reports success."""
    return bytes([kind << 4 | (2 if kind == PUBREL else 0), 2, packet_id >> 8, packet_id & 0xFF])


def disconnect(level):
    """DISCONNECT that keeps the session."""
    return b"\xe0\x00" if level == 4 else b"\xe0\x02\x00\x00"


def cut_packets(buffer):
    """The whole packets at the beginning of `buffer`, which loses them, as first bytes and bodies."""
    found = []
    at = 0
    end_of_data = len(buffer)
    while end_of_data - at >= 2:
        length = 0
        shift = 0
        index = at + 1
        while index < end_of_data:
            digit = buffer[index]
            index += 1
            length |= (digit & 0x7F) << shift
            shift += 7
            if digit < 0x80:
                break
        else:
            break
        if end_of_data - index < length:
            break
        found.append((buffer[at], bytes(buffer[index : index + length])))
        at = index + length
    if at:
        del buffer[:at]
    return found


def read_variable_integer(body, at):
    """A length and where it ends."""
    value = shift = 0
    while True:
        digit = body[at]
        at += 1
        value |= (digit & 0x7F) << shift
        shift += 7
        if digit < 0x80:
            return value, at


def read_publish(level, first, body):
    """Topic, packet id (0 in QoS 0) and payload."""
    size = body[0] << 8 | body[1]
    topic = body[2 : 2 + size].decode()
    at = 2 + size
    packet_id = 0
    if first & 0x06:
        packet_id = body[at] << 8 | body[at + 1]
        at += 2
    if level == 5:
        length, at = read_variable_integer(body, at)
        at += length
    return topic, packet_id, body[at:]


def read_connack(level, body):
    """Session present, reason, and the receive maximum that the broker asks for."""
    receive_maximum = 65535
    if level == 5:
        length, at = read_variable_integer(body, 2)
        end = at + length
        while at < end:
            name, size = body[at], PROPERTY_SIZES[body[at]]
            at += 1
            if name == RECEIVE_MAXIMUM:
                receive_maximum = body[at] << 8 | body[at + 1]
            if isinstance(size, int):
                at += size
            else:
                for _ in range(2 if size == "pair" else 1):
                    at += 2 + (body[at] << 8 | body[at + 1])
    return bool(body[0] & 1), body[1], receive_maximum


def read_reasons(level, body):
    """The codes of SUBACK, or of UNSUBACK of 5.0."""
    at = 2
    if level == 5:
        length, at = read_variable_integer(body, at)
        at += length
    return body[at:]
