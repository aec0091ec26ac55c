"""TLS, WebSocket and PROXY listeners against clients that others have written.

    tests/tls/main.py <folder of MQTT.js> [--test WORDS]

Certificates are made with openssl for each run. Every part has a broker of its own.
"""

import argparse
import base64
import contextlib
import os
import pathlib
import shutil
import signal
import socket
import ssl
import struct
import subprocess
import sys
import tempfile
import threading
import time

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))

import paho.mqtt.client as mqtt

from authority import Authority
from harness.broker import Broker, find_binary, free_port
from harness.install import nginx_folder
from harness.report import Report, Skip, require, require_equal

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


# TLS


def versions(place):
    """Both versions, and none that is older."""
    only_13 = f"{place.certificates}tls_version tlsv1.3\n"
    with Listeners(tls=place.certificates, newest=only_13) as listeners:
        port = listeners.ports["tls"]
        for option, name in (("-tls1_2", "TLSv1.2"), ("-tls1_3", "TLSv1.3")):
            status, text = s_client(port, option, "-CAfile", place.ca.certificate, "-verify_return_error")
            require_equal(status, 0, text[-300:])
            require(f"New, {name}" in text and "Verify return code: 0" in text, text)
        status, _ = s_client(port, "-tls1_1", "-cipher", "ALL@SECLEVEL=0")
        require(status != 0, "TLS 1.1 was let in")
        listeners.await_log("no shared TLS version")
        status, _ = s_client(listeners.ports["newest"], "-tls1_2")
        require(status != 0, "TLS 1.2 was let in although tls_version is tlsv1.3")
        status, text = s_client(listeners.ports["newest"], "-tls1_3")
        require_equal(status, 0, text)


def ciphers(place):
    """Lists in OpenSSL's language decide."""
    options = "ciphers ECDHE-ECDSA-CHACHA20-POLY1305\nciphers_tls1.3 TLS_AES_128_GCM_SHA256\n"
    with Listeners(tls=place.certificates + options) as listeners:
        port = listeners.ports["tls"]
        _, text = s_client(port, "-tls1_2")
        require("Cipher is ECDHE-ECDSA-CHACHA20-POLY1305" in text, text)
        _, text = s_client(port, "-tls1_3")
        require("Cipher is TLS_AES_128_GCM_SHA256" in text, text)


def tools(place):
    """mosquitto_pub and mosquitto_sub in both versions."""
    with Listeners(tls=place.certificates) as listeners:
        port = listeners.ports["tls"]
        for version in ("tlsv1.2", "tlsv1.3"):
            command = ["mosquitto_sub", "-h", "localhost", "-p", port, "--cafile", place.ca.certificate]
            command += ["--tls-version", version, "-t", f"tls/{version}", "-C", "1", "-q", "1", "-d"]
            before = listeners.log().count(f"1 tls/{version}")
            subscriber = subprocess.Popen(
                list(map(str, command)), stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
            )
            await_that(lambda v=version, b=before: listeners.log().count(f"1 tls/{v}") > b, "a subscription")
            status, text = publish(port, place, "--tls-version", version, "-t", f"tls/{version}")
            require_equal(status, 0, text)
            text, _ = subscriber.communicate(timeout=DEADLINE)
            require("hello" in text, text)


def wrong_host(place):
    """A client that looks for another host goes away, and the broker says what it heard."""
    with Listeners(tls=place.certificates) as listeners:
        status, _ = publish(listeners.ports["tls"], place, host="127.0.0.1")
        require(status != 0, "the certificate is not for 127.0.0.1")
        status, text = publish(listeners.ports["tls"], place, "--insecure", host="127.0.0.1")
        require_equal(status, 0, text)


def mutual(place):
    """Certificates of clients: good ones come in, others do not, and the log says why."""
    with Listeners(tls=place.mutual) as listeners:
        port = listeners.ports["tls"]
        status, text = publish(port, place, *shows(place.device))
        require_equal(status, 0, text)
        for pair, words in (
            (place.revoked, "revoked"),
            (place.expired, "expired"),
            (place.stranger, "unknown CA"),
        ):
            status, _ = publish(port, place, *shows(pair))
            require(status != 0, f"the certificate that is {words} was let in")
            listeners.await_log(f"the peer's certificate: {words}")
        status, _ = publish(port, place)
        require(status != 0, "no certificate was let in")
        listeners.await_log("the peer did not provide a certificate")


def dates_ignored(place):
    """disable_client_cert_date_checks lets an expired certificate in, and a revoked one not."""
    options = f"{place.mutual}disable_client_cert_date_checks true\n"
    with Listeners(tls=options) as listeners:
        status, text = publish(listeners.ports["tls"], place, *shows(place.expired))
        require_equal(status, 0, text)
        status, _ = publish(listeners.ports["tls"], place, *shows(place.revoked))
        require(status != 0, "a revoked certificate was let in")


def authority_folder(place):
    """A capath with a file that openssl rehash has named."""
    folder = place.folder / "capath"
    folder.mkdir()
    shutil.copy(place.ca.certificate, folder / "ca.pem")
    status, text = run(["openssl", "rehash", folder])
    require_equal(status, 0, text)
    options = f"{place.certificates}capath {folder}\nrequire_certificate true\n"
    with Listeners(tls=options) as listeners:
        status, text = publish(listeners.ports["tls"], place, *shows(place.device))
        require_equal(status, 0, text)


def several_hosts(place):
    """Clients get the certificate of the host that they ask for."""
    other = place.ca.sign("other", "/CN=other", "DNS:broker.example.org,DNS:*.example.net")
    options = f"{place.certificates}additional_certificate {other[0]} {other[1]}\n"
    with Listeners(tls=options) as listeners:
        for host in ("localhost", "broker.example.org", "a.example.net"):
            mqtt_works(tls_socket(listeners.ports["tls"], place, host))
        try:
            tls_socket(listeners.ports["tls"], place, "elsewhere.example.org")
        except ssl.SSLCertVerificationError as error:
            require("localhost" in str(error) or "Hostname mismatch" in str(error), str(error))
        else:
            raise AssertionError("a certificate for a host that there is none for")


def user_names(place):
    """The user name is what the certificate says, whatever CONNECT does."""
    kinds = {
        "common": ("use_identity_as_username true\n", "device 7"),
        "subject": ("use_subject_as_username true\n", "CN=device 7,O=Example,C=DE"),
        "san": ("use_san_as_username uri\n", "urn:device:7"),
    }
    options = {name: place.mutual + option for name, (option, _) in kinds.items()}
    optional = place.mutual.replace("require_certificate true", "use_identity_as_username true")
    with Listeners(**options, optional=optional) as listeners:
        for name, (_, user) in kinds.items():
            login = ["-u", "somebody", "-P", "anything"]
            status, text = publish(listeners.ports[name], place, *shows(place.device), *login)
            require_equal(status, 0, text)
            listeners.await_log(f"u'{user}')")
        status, text = publish(listeners.ports["optional"], place, "-u", "device 7")
        require(status != 0 and "bad user name or password" in text, text)


def reload(place):
    """A certificate that changes is used for those who come from then on; a faulty one is not."""
    certificate, key = place.folder / "changing.pem", place.folder / "changing.key"
    shutil.copy(place.server[0], certificate)
    shutil.copy(place.server[1], key)
    second = place.ca.sign("second", "/CN=localhost", "DNS:localhost")
    third = place.ca.sign("third", "/CN=localhost", "DNS:localhost")
    options = f"certfile {certificate}\nkeyfile {key}\n"
    with Listeners(tls=options) as listeners:
        port = listeners.ports["tls"]
        with paho(port, place) as (client, came):
            first = serial(port, place)
            shutil.copy(second[1], key)
            shutil.copy(second[0], certificate)
            await_that(lambda: serial(port, place) != first, "the new certificate is used")
            echo(client, came, b"still here")
            now = serial(port, place)

            certificate.write_text("no certificate\n")
            listeners.await_log("no certificate in this file")
            time.sleep(5)
            require_equal(listeners.log().count("no certificate in this file"), 1, "told")
            require_equal(serial(port, place), now, "serial")
            os.kill(listeners.broker.pid, signal.SIGHUP)
            listeners.await_log("no certificate in this file", 2)
            require_equal(serial(port, place), now, "serial")

            shutil.copy(third[1], key)
            shutil.copy(third[0], certificate)
            await_that(lambda: serial(port, place) != now, "the third certificate is used")
            echo(client, came, b"and still")


def revoked_later(place):
    """A list that grows keeps out who is on it now, resumed sessions included; who is in stays."""
    ca = Authority(place.folder, "Growing CA")
    server = ca.sign("server", "/CN=localhost", "DNS:localhost")
    device = ca.sign("device", "/CN=device")
    crl = ca.revocation_list()
    options = f"certfile {server[0]}\nkeyfile {server[1]}\ncafile {ca.certificate}\ncrlfile {crl}\n"
    here = argparse.Namespace(ca=ca)
    with Listeners(tls=options + "require_certificate true\n") as listeners:
        port = listeners.ports["tls"]
        with paho(port, here, pair=device) as (client, came):
            session = place.folder / "session"
            shown = ["-cert", device[0], "-key", device[1], "-tls1_2"]
            status, text = s_client(port, *shown, "-sess_out", session)
            require_equal(status, 0, text)
            _, text = s_client(port, *shown, "-sess_in", session)
            require("Reused, TLSv1.2" in text, text)
            ca.revoke(device[0])
            ca.revocation_list()
            listeners.await_log("have changed and were read again")
            status, text = s_client(port, *shown, "-sess_in", session)
            require("Reused" not in text and status != 0, text)
            echo(client, came, b"still here")


def resumption(place):
    """Sessions are resumed after a restart, by seeds that only the owner can read."""
    state = place.folder / "state"
    state.mkdir()
    general = f"persistence true\npersistence_location {state}/\n"
    session = place.folder / "resumed"
    for version in ("-tls1_2", "-tls1_3"):
        with Listeners(general, tls=place.certificates) as listeners:
            keeps = [version, "-sess_out", session, "-ign_eof"]
            # The ticket of 1.3 comes behind the handshake; the broker closes after DISCONNECT.
            status, text = s_client(listeners.ports["tls"], *keeps, given=CONNECT + DISCONNECT)
            require_equal(status, 0, text)
        with Listeners(general, tls=place.certificates) as listeners:
            _, text = s_client(listeners.ports["tls"], version, "-sess_in", session)
            require("Reused, " in text, text[-900:])
    (seeds,) = state.rglob("midge-tls-tickets")
    require_equal(seeds.stat().st_mode & 0o777, 0o600, "mode")


def faulty_start(place):
    """What is wrong is told by file before anything runs, with the status of a faulty configuration."""
    binary = find_binary(ROOT)
    encrypted = place.folder / "encrypted.key"
    run(["openssl", "pkey", "-in", place.server[1], "-aes128", "-passout", "pass:x", "-out", encrypted])
    for certificate, key, words in (
        (place.server[0], encrypted, "the key is encrypted"),
        (place.server[0], place.device[1], "this is not the key of the certificate"),
        (place.folder / "nowhere.pem", place.server[1], "No such file"),
    ):
        configuration = place.folder / "faulty.conf"
        configuration.write_text(f"listener {free_port()} 127.0.0.1\ncertfile {certificate}\nkeyfile {key}\n")
        status, text = run([binary, "broker", "-c", configuration])
        require_equal(status, 3, text)
        require(words in text, text)


def key_log(place):
    """--tls-keylog writes what Wireshark reads, for its owner alone."""
    file = place.folder / "keys"
    port = free_port()
    configuration = place.folder / "keylog.conf"
    configuration.write_text(f"listener {port} 127.0.0.1\nallow_anonymous true\n{place.certificates}")
    broker = subprocess.Popen(
        [str(find_binary(ROOT)), "broker", "-c", str(configuration), "--tls-keylog", str(file)],
        stderr=subprocess.DEVNULL,
    )
    try:
        await_that(lambda: s_client(port)[0] == 0, "the broker listens")
        await_that(lambda: "CLIENT_TRAFFIC_SECRET_0 " in file.read_text(), "a secret is written")
        require_equal(file.stat().st_mode & 0o777, 0o600, "mode")
    finally:
        broker.terminate()
        broker.wait(DEADLINE)


# WebSocket


def paho_everywhere(place):
    """paho over TLS, ws and wss, in both versions, with 20 MiB."""
    websockets = "protocol websockets\n"
    with Listeners(tls=place.certificates, ws=websockets, wss=websockets + place.certificates) as listeners:
        for name, port in listeners.ports.items():
            transport = "tcp" if name == "tls" else "websockets"
            for version in (mqtt.MQTTv311, mqtt.MQTTv5):
                where = None if name == "ws" else place
                with paho(port, where, transport=transport, version=version) as (client, came):
                    echo(client, came, b"hello")
                    echo(client, came, os.urandom(MIB))
                    # paho masks frames byte by byte, which takes minutes for so many; MQTT.js does not.
                    if name == "tls":
                        echo(client, came, os.urandom(20 * MIB))


def node_everywhere(place):
    """MQTT.js over ws and wss."""
    websockets = "protocol websockets\n"
    with Listeners(ws=websockets, wss=websockets + place.certificates) as listeners:
        for version in ("4", "5"):
            for bytes_ in ("10", str(20 * MIB)):
                for name, port in listeners.ports.items():
                    ca = [place.ca.certificate] if name == "wss" else []
                    url = f"{name}://localhost:{port}/mqtt"
                    command = ["node", HERE / "client.mjs", place.node_folder, url, version, bytes_]
                    status, text = run([*command, *ca])
                    require_equal((status, text.strip()), (0, f"{bytes_} bytes"), url)


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


def frames(place):
    """Packets span and share frames, pings are answered, and the end is a close frame."""
    with Listeners(ws="protocol websockets\n") as listeners:
        stream, answer = upgrade(listeners.ports["ws"])
        require("101" in answer, answer)
        for byte in CONNECT[:-1]:
            stream.sendall(frame(bytes([byte])))
        stream.sendall(frame(CONNECT[-1:] + PINGREQ) + frame(b"ping", 9))
        # Answers of MQTT share a frame or not; the pong comes before or behind them.
        answers = read_frames(stream, len(CONNACK + PINGRESP) + len(b"ping"))
        require_equal(answers[2], CONNACK + PINGRESP, "answers")
        require_equal(answers[10], b"ping", "pong")
        stream.sendall(frame(PINGREQ[:1], fin=0) + frame(PINGREQ[1:], opcode=0))
        require_equal(read(stream, 4), b"\x82\x02" + PINGRESP, "answer to a ping in fragments")
        stream.sendall(frame(DISCONNECT))
        require_equal(read(stream, 4), b"\x88\x02\x03\xe8", "close frame")
        require(ended(stream), "the connection goes on")


def refused_upgrades(place):
    """What is no upgrade gets an answer of HTTP."""
    options = "protocol websockets\nwebsockets_origin https://good.example\nwebsockets_path /mqtt\n"
    general = "websockets_headers_size 2048\n"
    with Listeners(general, ws=options) as listeners:
        port = listeners.ports["ws"]
        for status, arguments in (
            ("101", {}),
            ("101", {"more": "Origin: https://good.example\r\n"}),
            ("403", {"more": "Origin: https://bad.example\r\n"}),
            ("404", {"path": "/other"}),
            ("400", {"protocol": "chat"}),
            ("431", {"more": f"X-Long: {'x' * 3000}\r\n"}),
        ):
            stream, answer = upgrade(port, **arguments)
            require(f" {status} " in answer, f"{arguments}: {answer}")
            stream.close()
        stream = plain_socket(port)
        stream.sendall(b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\n\r\n")
        require(b" 426 " in read(stream, 40), "an HTTP request is told to upgrade")
        require(ended(stream), "the connection goes on")


def broken_frames(place):
    """Frames that break the rules end the connection with the code for it."""
    with Listeners(ws="protocol websockets\n") as listeners:
        for bad, code in (
            (b"\x82\x02\xc0\x00", 1002),
            (frame(b"text", 1), 1003),
            (frame(b"", 3), 1002),
            (b"\xc2\x80\x00\x00\x00\x00", 1002),
            (b"\x82\xff\xff\xff\xff\xff\xff\xff\xff\xff", 1002),
        ):
            stream, _ = upgrade(listeners.ports["ws"])
            stream.sendall(frame(CONNECT))
            require_equal(read(stream, 6), b"\x82\x04" + CONNACK, "CONNACK")
            stream.sendall(bad)
            require_equal(read(stream, 4), b"\x88\x02" + struct.pack(">H", code), f"{bad[:4]}")
            require(ended(stream), "the connection goes on")


def forwarded(place):
    """The client's address comes from the header of a proxy that is trusted."""
    options = "protocol websockets\nwebsockets_forwarded_header x-forwarded-for\n"
    trusting = options + "websockets_trusted_proxy 127.0.0.0/8\n"
    other = options + "websockets_trusted_proxy 192.0.2.1\n"
    with Listeners(trusting=trusting, other=other) as listeners:
        for name, address in (("trusting", "203.0.113.9"), ("other", "127.0.0.1")):
            header = "X-Forwarded-For: 198.51.100.1, 203.0.113.9\r\n"
            stream, _ = upgrade(listeners.ports[name], more=header)
            stream.sendall(frame(CONNECT))
            require_equal(read(stream, 6), b"\x82\x04" + CONNACK, "CONNACK")
            listeners.await_log(f"New client connected from {address}:")
            stream.sendall(frame(DISCONNECT))
            require(ended(stream), "the connection goes on")


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


def proxy_headers(place):
    """Both versions tell the client's address; anything else is turned away without a word."""
    with Listeners(
        one="enable_proxy_protocol 1\n",
        two="enable_proxy_protocol 2\n",
        wrapped=f"enable_proxy_protocol 2\n{place.certificates}",
    ) as listeners:
        for name, header in (("one", PROXY1), ("two", proxy2())):
            before = listeners.log().count("New client connected from 203.0.113.9:5555")
            stream = plain_socket(listeners.ports[name])
            # A byte at a time: headers may come in any pieces.
            for byte in header:
                stream.sendall(bytes([byte]))
            mqtt_works(stream)
            listeners.await_log("New client connected from 203.0.113.9:5555", before + 1)
        for name, header in (("one", b"PROXY UNKNOWN\r\n"), ("two", proxy2(command=0x20))):
            stream = plain_socket(listeners.ports[name])
            stream.sendall(header)
            mqtt_works(stream)
        for name, header in (
            ("one", proxy2()),
            ("two", PROXY1),
            ("one", CONNECT),
            ("two", CONNECT),
            ("one", b"PROXY TCP4 " + b"9" * 200),
            ("two", proxy2()[:14] + b"\xff\xff"),
        ):
            stream = plain_socket(listeners.ports[name])
            stream.sendall(header)
            require_equal(stream.recv(1), b"", f"an answer to {header[:12]}")
        stream = plain_socket(listeners.ports["wrapped"])
        stream.sendall(proxy2())
        context = ssl.create_default_context(cafile=str(place.ca.certificate))
        mqtt_works(context.wrap_socket(stream, server_hostname="localhost"))


def proxied_certificates(place):
    """Version 2 tells of the client's TLS, and the common name is the user name."""
    options = (
        "enable_proxy_protocol 2\nproxy_protocol_v2_require_tls true\nrequire_certificate true\n"
        "use_identity_as_username true\n"
    )
    with Listeners(two=options) as listeners:
        port = listeners.ports["two"]
        stream = plain_socket(port)
        stream.sendall(proxy2(tls="device 9"))
        mqtt_works(stream)
        listeners.await_log("u'device 9')")
        for tls, words in ((None, "proxy_protocol_v2_require_tls"), ("", "require_certificate")):
            stream = plain_socket(port)
            stream.sendall(proxy2(tls=tls))
            require_equal(stream.recv(1), b"", "an answer")
            listeners.await_log(words)


def all_layers(place):
    """A PROXY header, TLS with a certificate in it, and WebSocket in that."""
    options = f"protocol websockets\nenable_proxy_protocol 2\n{place.mutual}use_identity_as_username true\n"
    with Listeners(all=options) as listeners:
        plain = plain_socket(listeners.ports["all"])
        plain.sendall(proxy2())
        context = ssl.create_default_context(cafile=str(place.ca.certificate))
        context.load_cert_chain(*map(str, place.device))
        stream, answer = upgrade(context.wrap_socket(plain, server_hostname="localhost"))
        require("101" in answer, answer)
        stream.sendall(frame(CONNECT))
        require_equal(read(stream, 6), b"\x82\x04" + CONNACK, "CONNACK")
        listeners.await_log("New client connected from 203.0.113.9:5555 as me (p4, c1, k0, u'device 7')")


def haproxy(place):
    """HAProxy in front, with both versions; for version 2 it ends TLS."""
    if not shutil.which("haproxy"):
        raise Skip("haproxy is not installed")
    names = "use_identity_as_username true\n"
    both = place.folder / "haproxy.pem"
    both.write_text(place.server[0].read_text() + place.server[1].read_text())
    with Listeners(one="enable_proxy_protocol 1\n", two=f"enable_proxy_protocol 2\n{names}") as listeners:
        front_one, front_two = free_port(), free_port()
        configuration = place.folder / "haproxy.cfg"
        configuration.write_text(f"""\
defaults
  mode tcp
  timeout connect 5s
  timeout client 60s
  timeout server 60s
listen one
  bind 127.0.0.1:{front_one}
  server broker 127.0.0.1:{listeners.ports["one"]} send-proxy
listen two
  bind 127.0.0.1:{front_two} ssl crt {both} ca-file {place.ca.certificate} verify required
  server broker 127.0.0.1:{listeners.ports["two"]} send-proxy-v2-ssl-cn
""")
        process = subprocess.Popen(
            ["haproxy", "-db", "-f", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            await_that(lambda: run(["mosquitto_pub", "-p", front_one, "-t", "a", "-m", "b"])[0] == 0, "HAProxy")
            status, text = publish(front_two, place, *shows(place.device))
            require_equal(status, 0, text)
            listeners.await_log("u'device 7')")
        finally:
            process.terminate()
            process.wait(DEADLINE)


def nginx(place):
    """nginx in front: as a proxy of WebSocket that ends TLS, and of TCP with a PROXY header."""
    folder = nginx_folder(ROOT)
    program = folder / "usr" / "sbin" / "nginx"
    if not program.exists():
        raise Skip("nginx is not unpacked")
    forwarded = (
        "protocol websockets\nwebsockets_forwarded_header x-forwarded-for\nwebsockets_trusted_proxy 127.0.0.0/8\n"
    )
    with Listeners(ws=forwarded, one="enable_proxy_protocol 1\n") as listeners:
        front_wss, front_tcp = free_port(), free_port()
        own = place.folder / "nginx"
        own.mkdir()
        temporary = "".join(
            f"  {kind}_temp_path {own}/{kind};\n" for kind in ("client_body", "proxy", "fastcgi", "uwsgi", "scgi")
        )
        configuration = own / "nginx.conf"
        configuration.write_text(f"""\
load_module {folder}/usr/lib/nginx/modules/ngx_stream_module.so;
daemon off;
user root;
worker_processes 1;
pid {own}/pid;
error_log {own}/error.log;
events {{ }}
http {{
  access_log off;
{temporary}
  server {{
    listen 127.0.0.1:{front_wss} ssl;
    ssl_certificate {place.server[0]};
    ssl_certificate_key {place.server[1]};
    location /mqtt {{
      proxy_pass http://127.0.0.1:{listeners.ports["ws"]};
      proxy_http_version 1.1;
      proxy_set_header Upgrade $http_upgrade;
      proxy_set_header Connection "upgrade";
      proxy_set_header X-Forwarded-For "198.51.100.1, 203.0.113.9";
    }}
  }}
}}
stream {{
  server {{
    listen 127.0.0.1:{front_tcp};
    proxy_pass 127.0.0.1:{listeners.ports["one"]};
    proxy_protocol on;
  }}
}}
""")
        process = subprocess.Popen(
            [str(program), "-p", str(own), "-c", str(configuration)],
            stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )
        try:
            await_that(lambda: run(["mosquitto_pub", "-p", front_tcp, "-t", "a", "-m", "b"])[0] == 0, "nginx")
            mqtt_works(plain_socket(front_tcp))
            with paho(front_wss, place, transport="websockets") as (client, came):
                echo(client, came, os.urandom(MIB))
                listeners.await_log("New client connected from 203.0.113.9:")
        finally:
            process.terminate()
            process.wait(DEADLINE)


# Hostile


def wrong_protocols(place):
    """What does not speak as it should is turned away, and the log says what it looks like."""
    with Listeners(tls=place.certificates, ws="protocol websockets\n") as listeners:
        tls, ws, plain = listeners.ports["tls"], listeners.ports["ws"], listeners.broker.port
        for port, data, words in (
            (tls, CONNECT, "not TLS: this looks like plain MQTT"),
            (tls, b"GET / HTTP/1.1\r\n\r\n", "not TLS: this looks like HTTP"),
            (tls, PROXY1, "not TLS: this looks like a PROXY header"),
            (tls, os.urandom(1).replace(b"\x16", b"\x00") + os.urandom(MIB), "not TLS"),
            (tls, b"\x16\x03\x01\x40\x00" + os.urandom(20000), "closed: "),
            (ws, CONNECT, "not WebSocket: this looks like plain MQTT"),
            (ws, b"\x16\x03\x01\x02\x00\x01\x00", "not WebSocket: this looks like TLS"),
        ):
            stream = plain_socket(port)
            with contextlib.suppress(ConnectionError):
                stream.sendall(data)
            require(ended(stream), f"{words}: the connection goes on")
            listeners.await_log(words)
        mqtt_works(plain_socket(plain))
        mqtt_works(tls_socket(tls, place))


def silent_handshakes(place):
    """Those who begin a handshake and fall silent are sent away in time, and hold nobody up."""
    with Listeners(tls=place.certificates) as listeners:
        port = listeners.ports["tls"]
        silent = []
        for number in range(400):
            stream = plain_socket(port)
            stream.sendall(b"\x16\x03\x01\x02\x00\x01\x00"[: number % 8])
            silent.append(stream)
        begun = time.monotonic()
        mqtt_works(tls_socket(port, place))
        require(time.monotonic() - begun < 2, "a client waited for the silent ones")
        listeners.await_log("no CONNECT within connect_timeout", 400)
        for stream in silent:
            require(ended(stream), "a silent one is still there")


def never_reads(place):
    """A subscriber that reads nothing costs a bounded amount of memory over TLS and wss."""
    websockets = "protocol websockets\n"
    with Listeners(tls=place.certificates, wss=websockets + place.certificates) as listeners:
        subscribe = b"\x82\x08\x00\x01\x00\x03big\x00"
        stream = tls_socket(listeners.ports["tls"], place)
        stream.sendall(CONNECT + subscribe)
        require_equal(read(stream, 9), CONNACK + b"\x90\x03\x00\x01\x00", "SUBACK")
        with paho(listeners.ports["wss"], place, transport="websockets") as (client, came):
            before = listeners.rss()
            payload = os.urandom(MIB)
            for number in range(150):
                client.publish("big", payload, 0)
                if number % 10 == 0:
                    echo(client, came, str(number).encode())
            grown = listeners.rss() - before
            require(grown < GROWTH_MAX, f"the broker has grown by {grown // MIB} MiB")
            listeners.await_log("Outgoing messages are being dropped")
        stream.close()


def asks_and_never_reads(place):
    """Pings without end whose answers are not read cost a bounded amount of memory, and nobody else."""
    with Listeners(ws="protocol websockets\n") as listeners:
        stream, _ = upgrade(listeners.ports["ws"])
        stream.sendall(frame(CONNECT))
        before = listeners.rss()
        stream.settimeout(2)
        pings = b"".join(frame(os.urandom(125), 9) for _ in range(500))
        sent = 0
        with contextlib.suppress(TimeoutError):
            while sent < 100 * MIB:
                sent += stream.send(pings)
        grown = listeners.rss() - before
        require(grown < GROWTH_MAX, f"the broker has grown by {grown // MIB} MiB")
        other, _ = upgrade(listeners.ports["ws"])
        other.sendall(frame(CONNECT.replace(b"me", b"oh")))
        require_equal(read(other, 6), b"\x82\x04" + CONNACK, "CONNACK")
        # What was asked is answered when it is read at last.
        stream.settimeout(DEADLINE)
        require_equal(read(stream, 6), b"\x82\x04" + CONNACK, "CONNACK")
        require_equal(read(stream, 2), b"\x8a\x7d", "an answer")


TESTS = [
    ("TLS versions", versions),
    ("TLS ciphers", ciphers),
    ("TLS mosquitto_pub and mosquitto_sub", tools),
    ("TLS wrong host name", wrong_host),
    ("TLS mutual", mutual),
    ("TLS dates ignored", dates_ignored),
    ("TLS capath", authority_folder),
    ("TLS several hosts", several_hosts),
    ("TLS user names", user_names),
    ("TLS certificates change", reload),
    ("TLS revoked later", revoked_later),
    ("TLS resumption after a restart", resumption),
    ("TLS faulty start", faulty_start),
    ("TLS key log", key_log),
    ("paho over TLS, ws and wss", paho_everywhere),
    ("MQTT.js over ws and wss", node_everywhere),
    ("WebSocket frames", frames),
    ("WebSocket refused upgrades", refused_upgrades),
    ("WebSocket broken frames", broken_frames),
    ("WebSocket forwarded addresses", forwarded),
    ("PROXY headers", proxy_headers),
    ("PROXY certificates", proxied_certificates),
    ("PROXY, TLS and WebSocket together", all_layers),
    ("PROXY HAProxy", haproxy),
    ("PROXY nginx", nginx),
    ("hostile wrong protocols", wrong_protocols),
    ("hostile silent handshakes", silent_handshakes),
    ("hostile never reads", never_reads),
    ("hostile asks and never reads", asks_and_never_reads),
]


def main():
    """Runs the tests that the command line chooses; without a choice, all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("node_folder")
    parser.add_argument("--test", action="append")
    options = parser.parse_args()
    report = Report()
    with tempfile.TemporaryDirectory(prefix="midge-tls-") as folder:
        place = Place(folder, options.node_folder)
        for name, test in TESTS:
            if any(part in name for part in options.test or ("",)):
                report.run(name, test, place)
    report.exit()


if __name__ == "__main__":
    main()
