"""MQTT 3.1.1 and 5.0 by hand: a client that can also do what no client should."""

import socket
import struct

CONNECT, CONNACK, PUBLISH, PUBACK, SUBSCRIBE, SUBACK = 1, 2, 3, 4, 8, 9
PINGREQ, PINGRESP, DISCONNECT = 12, 13, 14

#: Seconds that a client waits for anything it must get.
DEADLINE = 20


def packet(kind, body, flags=0):
    """A whole packet with the length that it has."""
    return bytes([kind << 4 | flags]) + variable_integer(len(body)) + body


def variable_integer(value):
    """A length as MQTT writes it."""
    encoded = bytearray()
    while True:
        value, digit = divmod(value, 128)
        encoded.append(digit | (0x80 if value else 0))
        if not value:
            return bytes(encoded)


def string(text):
    """A string, or bytes, with its length in front."""
    data = text.encode() if isinstance(text, str) else text
    return struct.pack("!H", len(data)) + data


def connect(client_id, keep_alive=60, level=4, clean=True):
    """CONNECT without user name and will."""
    properties = b"\x00" if level == 5 else b""
    header = string("MQTT") + bytes([level, 2 if clean else 0]) + struct.pack("!H", keep_alive)
    return packet(CONNECT, header + properties + string(client_id))


def subscribe(packet_id, topic_filter, qos=0):
    """SUBSCRIBE of 3.1.1 with one filter."""
    return packet(SUBSCRIBE, struct.pack("!H", packet_id) + string(topic_filter) + bytes([qos]), flags=2)


def publish(topic, payload, qos=0, packet_id=0):
    """PUBLISH of 3.1.1."""
    identifier = struct.pack("!H", packet_id) if qos else b""
    return packet(PUBLISH, string(topic) + identifier + payload, flags=qos << 1)


class Peer:
    """A socket to the broker that reads whole packets."""

    def __init__(self, host, port, receive_buffer=None):
        self.socket = socket.socket()
        if receive_buffer:
            # Must be set before the connection: the window is agreed on there.
            self.socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        self.socket.settimeout(DEADLINE)
        self.socket.connect((host, port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._unread = bytearray()

    @classmethod
    def connected(cls, host, port, client_id, **options):
        """A peer whose CONNECT of 3.1.1 was accepted."""
        peer = cls(host, port, **options)
        peer.send(connect(client_id))
        kind, body = peer.read()
        if (kind >> 4, body) != (CONNACK, b"\x00\x00"):
            raise AssertionError(f"CONNACK is {kind:#x} {body!r}")
        return peer

    def send(self, data):
        """Writes everything."""
        self.socket.sendall(data)

    def read(self):
        """The next packet as its first byte and its body."""
        while (found := self._cut_packet()) is None:
            data = self.socket.recv(65536)
            if not data:
                raise ConnectionError("the broker closed the connection")
            self._unread += data
        return found

    def _cut_packet(self):
        length = 0
        for index in range(1, min(len(self._unread), 5)):
            digit = self._unread[index]
            length |= (digit & 0x7F) << 7 * (index - 1)
            if digit < 0x80:
                end = index + 1 + length
                if len(self._unread) < end:
                    return None
                first, body = self._unread[0], bytes(self._unread[index + 1 : end])
                del self._unread[:end]
                return first, body
        return None

    def expect(self, kind):
        """The body of the next packet, which must be of this kind."""
        first, body = self.read()
        if first >> 4 != kind:
            raise AssertionError(f"packet {first:#x} {body[:40]!r} instead of kind {kind}")
        return body

    def subscribe(self, topic_filter, qos=0):
        """Subscribes and awaits SUBACK."""
        self.send(subscribe(1, topic_filter, qos))
        body = self.expect(SUBACK)
        if body != struct.pack("!HB", 1, qos):
            raise AssertionError(f"SUBACK is {body!r}")

    def await_end(self):
        """Reads until the broker closes; fails if it does not in time."""
        try:
            while self.socket.recv(65536):
                pass
        except ConnectionError:
            pass

    def close(self):
        """Closes the socket without a word."""
        self.socket.close()
