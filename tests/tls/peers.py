"""Certificates, brokers and peers that the tests of TLS, WebSocket and PROXY share."""

import base64
import contextlib
import os
import pathlib
import socket
import ssl
import struct
import subprocess
import sys
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))

import paho.mqtt.client as mqtt

from authority import Authority
from harness.broker import Broker, find_binary, free_port
from harness.report import require, require_equal

#: Seconds that anything which must happen may take.
DEADLINE = 20

MIB = 1024 * 1024

#: Bytes by which a broker may grow for a client that does not read.
GROWTH_MAX = 64 * MIB

#: CONNECT of 3.1.1 as `me`, its CONNACK, PINGREQ and its answer, DISCONNECT.
CONNECT = b"\x10\x0e\x00\x04MQTT\x04\x02\x00\x00\x00\x02me"
CONNACK = b"\x20\x02\x00\x00"
PINGREQ, PINGRESP = b"\xc0\x00", b"\xd0\x00"
DISCONNECT = b"\xe0\x00"

#: Certificates of the tests are for their owner, so that is who the broker is to be.
LIMITS = "user root\nmax_packet_size 33554432\nconnect_timeout 3\nallow_anonymous true\n"


class Place:
    """Certificates for all tests, and the programs."""

    def __init__(self, folder, node_folder):
        self.folder = pathlib.Path(folder)
        self.node_folder = node_folder
        self.ca = Authority(folder, "Test CA")
        self.other_ca = Authority(folder, "Other CA")
        self.server = self.ca.sign("server", "/CN=localhost", "DNS:localhost")
        self.device = self.ca.sign("device", "/C=DE/O=Example/CN=device 7", "URI:urn:device:7")
        self.revoked = self.ca.sign("revoked", "/CN=revoked")
        self.expired = self.ca.sign(
            "expired", "/CN=expired", dates=("-startdate", "20200101000000Z", "-enddate", "20210101000000Z")
        )
        self.stranger = self.other_ca.sign("stranger", "/CN=stranger")
        self.ca.revoke(self.revoked[0])
        self.crl = self.ca.revocation_list()
        self.certificates = f"certfile {self.server[0]}\nkeyfile {self.server[1]}\n"
        self.mutual = (
            f"{self.certificates}cafile {self.ca.certificate}\ncrlfile {self.crl}\n"
            "require_certificate true\n"
        )


class Listeners:
    """A broker with one more listener for each of `kinds`: options by name."""

    def __init__(self, general="", binary=None, **kinds):
        self.ports = {}
        text = LIMITS + general
        for name, options in kinds.items():
            self.ports[name] = free_port()
            text += f"listener {self.ports[name]} 127.0.0.1\n{options}"
        self._start = lambda: Broker(binary or find_binary(ROOT), text)
        self.broker = self._start()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._end()

    def restart(self):
        """Ends the broker and starts it again with the same listeners."""
        self._end()
        self.broker = self._start()

    def _end(self):
        survived = self.broker.is_alive()
        tail = self.broker.log_tail(40)
        code = self.broker.stop()
        self.broker.clean_up()
        require(survived and code == 0, f"the broker ended with {code}: {tail}")

    def log(self):
        """Everything that the broker has said."""
        return self.broker.log.read_text(errors="replace")

    def await_log(self, words, count=1):
        """Waits until the log has `words` as often as that."""
        await_that(lambda: self.log().count(words) >= count, f"the log says '{words}': {self.broker.log_tail()}")

    def rss(self):
        """Resident bytes."""
        for line in pathlib.Path(f"/proc/{self.broker.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS"):
                return int(line.split()[1]) * 1024
        return 0


def await_that(condition, what):
    """Waits for a condition."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        require(time.monotonic() < deadline, f"waited in vain: {what}")
        time.sleep(0.02)


# Tools


def run(command, given=None):
    """A program to its end; its status and all that it said."""
    result = subprocess.run(
        list(map(str, command)),
        input=given,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        timeout=2 * DEADLINE,
        check=False,
    )
    return result.returncode, result.stdout.decode(errors="replace")


def s_client(port, *options, given=b""):
    """openssl s_client, which ends when it has said what is given."""
    return run(["openssl", "s_client", "-connect", f"localhost:{port}", *options], given)


def publish(port, place, *options, host="localhost"):
    """mosquitto_pub with QoS 1."""
    common = ["mosquitto_pub", "-h", host, "-p", port, "--cafile", place.ca.certificate]
    return run([*common, "-q", "1", "-t", "tls/test", "-m", "hello", *options])


def shows(pair):
    """The options by which mosquitto_pub shows a certificate."""
    return ["--cert", pair[0], "--key", pair[1]]


def paho_client(place=None, transport="tcp", version=mqtt.MQTTv311, pair=None):
    """A paho client that is not connected."""
    client = mqtt.Client(mqtt.CallbackAPIVersion.VERSION2, protocol=version, transport=transport)
    if place:
        certificate = {"certfile": str(pair[0]), "keyfile": str(pair[1])} if pair else {}
        client.tls_set(ca_certs=str(place.ca.certificate), **certificate)
    return client


@contextlib.contextmanager
def paho(port, *arguments, **options):
    """A connected paho client and the list of payloads that come to it."""
    client = paho_client(*arguments, **options)
    came = []
    events = {name: threading.Event() for name in ("connected", "subscribed")}
    client.on_connect = lambda *_: events["connected"].set()
    client.on_subscribe = lambda *_: events["subscribed"].set()
    client.on_message = lambda _client, _data, message: came.append(message.payload)
    client.connect("localhost", port)
    client.loop_start()
    try:
        require(events["connected"].wait(DEADLINE), "no CONNACK")
        client.subscribe(f"tls/paho/{id(client)}", 1)
        require(events["subscribed"].wait(DEADLINE), "no SUBACK")
        yield client, came
    finally:
        client.disconnect()
        client.loop_stop()


def echo(client, came, payload):
    """Publishes to the client itself."""
    before = len(came)
    client.publish(f"tls/paho/{id(client)}", payload, 1)
    await_that(lambda: len(came) > before, "the message comes back")
    require_equal(came[-1], payload, "payload")


def tls_socket(port, place, host="localhost", **options):
    """A socket of Python's own TLS."""
    context = ssl.create_default_context(cafile=str(place.ca.certificate))
    for name, value in options.items():
        setattr(context, name, value)
    plain = socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)
    return context.wrap_socket(plain, server_hostname=host)


def plain_socket(port):
    """A socket without anything."""
    return socket.create_connection(("127.0.0.1", port), timeout=DEADLINE)


def read(stream, count):
    """So many bytes, or fewer if the connection ends."""
    data = b""
    while len(data) < count:
        more = stream.recv(count - len(data))
        if not more:
            break
        data += more
    return data


def ended(stream):
    """Whether the peer has closed; whatever it still says is passed over."""
    try:
        while stream.recv(65536):
            pass
    except ConnectionResetError:
        pass
    except TimeoutError:
        return False
    return True


def mqtt_works(stream):
    """CONNECT, PINGREQ and DISCONNECT, and their answers."""
    stream.sendall(CONNECT + PINGREQ)
    require_equal(read(stream, 6), CONNACK + PINGRESP, "CONNACK and PINGRESP")
    stream.sendall(DISCONNECT)


def serial(port, place):
    """The serial number of the certificate that new connections see."""
    with tls_socket(port, place) as stream:
        return stream.getpeercert()["serialNumber"]


# WebSocket


def upgrade(where, more="", path="/mqtt", protocol="mqtt"):
    """A WebSocket request to a port or on a socket; the socket and the first line of the answer."""
    key = base64.b64encode(os.urandom(16)).decode()
    stream = plain_socket(where) if isinstance(where, int) else where
    stream.sendall(
        f"GET {path} HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\n"
        f"Sec-WebSocket-Protocol: {protocol}\r\n{more}\r\n".encode()
    )
    answer = b""
    while b"\r\n\r\n" not in answer:
        more_bytes = stream.recv(1)
        if not more_bytes:
            break
        answer += more_bytes
    return stream, answer.split(b"\r\n")[0].decode()


def frame(payload, opcode=2, fin=0x80):
    """A masked frame of fewer than 126 bytes."""
    mask = os.urandom(4)
    masked = bytes(byte ^ mask[place % 4] for place, byte in enumerate(payload))
    return bytes([fin | opcode, 0x80 | len(payload)]) + mask + masked


def read_frames(stream, count):
    """Payloads of short frames by opcode, until there are so many bytes."""
    payloads = {2: b"", 8: b"", 10: b""}
    while sum(map(len, payloads.values())) < count:
        opcode, length = read(stream, 2)
        payloads[opcode & 15] += read(stream, length)
    return payloads


# PROXY


def proxy2(client="203.0.113.9", command=0x21, tls=None):
    """A header of version 2; `tls` is the common name that a good certificate had, or "" without one."""
    body = socket.inet_aton(client) + socket.inet_aton("192.0.2.1") + struct.pack(">HH", 5555, 1883)
    if tls is not None:
        verified = struct.pack(">BI", 7 if tls else 1, 0)
        name = struct.pack(">BH", 0x22, len(tls)) + tls.encode() if tls else b""
        version = struct.pack(">BH", 0x21, 7) + b"TLSv1.3"
        field = verified + version + name
        body += struct.pack(">BH", 0x20, len(field)) + field
    return b"\r\n\r\n\0\r\nQUIT\n" + bytes([command, 0x11]) + struct.pack(">H", len(body)) + body


PROXY1 = b"PROXY TCP4 203.0.113.9 192.0.2.1 5555 1883\r\n"
