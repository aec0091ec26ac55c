"""Logins to the built broker: tokens of a real provider by paho, and SCRAM by hand."""

import base64
import hashlib
import hmac
import json
import struct
import subprocess
import threading
import time
import urllib.request

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties

from harness.report import require, require_equal
from harness.wire import CONNACK, CONNECT, DISCONNECT, PINGREQ, PINGRESP, Peer, packet, string, variable_integer

#: Seconds that a client waits for anything it must get.
DEADLINE = 20

#: Between two fetches of the broker because of keys that it does not know.
UNKNOWN_KEY_INTERVAL = 30

NOT_AUTHORIZED = 0x87

#: The packet of enhanced authentication.
AUTH = 15

#: The first message of SCRAM without its header.
SCRAM_FIRST = b"n=alice,r=rOprNGfwEbeRWgbNEkqO"


class Client:
    """A client of 5.0 that notes how it fared."""

    def __init__(self, broker, token, user_name="any", bearer=False, header=False):
        self.code = self.end = None
        self._answered, self._ended = threading.Event(), threading.Event()
        self._client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id="sensor-7",
            protocol=mqtt.MQTTv5,
            transport="websockets" if header else "tcp",
            reconnect_on_failure=False,
        )
        self._client.on_connect = self._on_connect
        self._client.on_disconnect = self._on_disconnect
        properties = Properties(PacketTypes.CONNECT)
        if header:
            self._client.ws_set_options(headers={"Authorization": f"Bearer {token}"})
        elif bearer:
            properties.AuthenticationMethod = "OAUTHBEARER"
            properties.AuthenticationData = f"n,,\x01auth=Bearer {token}\x01\x01".encode()
        else:
            self._client.username_pw_set(user_name, token)
        self._client.connect(broker.host, broker.port, 60, properties=properties)
        self._client.loop_start()
        require(self._answered.wait(DEADLINE), "no CONNACK")

    def _on_connect(self, _client, _data, _flags, code, _properties):
        self.code = code.value
        self._answered.set()

    def _on_disconnect(self, _client, _data, _flags, code, _properties):
        self.end = code.value
        self._ended.set()

    def publish(self, topic):
        """The reason code of the PUBACK."""
        codes, came = [], threading.Event()

        def on_publish(_client, _data, _id, code, _properties):
            codes.append(code.value)
            came.set()

        self._client.on_publish = on_publish
        self._client.publish(topic, b"x", 1)
        require(came.wait(DEADLINE), "no PUBACK")
        return codes[0]

    def await_end(self):
        """The reason code of the DISCONNECT that must come."""
        require(self._ended.wait(DEADLINE), "the broker does not end the connection")
        return self.end

    def stop(self):
        """Disconnects."""
        self._client.disconnect()
        self._client.loop_stop()


def log_in(broker, token, **options):
    """The reason code that a login gets."""
    client = Client(broker, token, **options)
    client.stop()
    return client.code


def by_password(setting):
    """A client-credentials token as password lets paho in, with the rules that it holds."""
    broker = setting.broker()
    client = Client(broker, setting.provider.token("ES256"))
    require_equal(client.code, 0, "the login")
    require(client.publish("garden/sensor-7/soil") < 0x80, "what its scope allows is denied")
    require_equal(client.publish("garden/sensor-8/soil"), NOT_AUTHORIZED, "another topic")
    client.stop()
    require_equal(setting.provider.count("/jwks"), 1, "requests for keys")


def by_bearer(setting):
    """The same token lets paho in by OAUTHBEARER."""
    broker = setting.broker()
    token = setting.provider.token("RS256")
    require_equal(log_in(broker, token, bearer=True), 0, "the login")
    require_equal(log_in(broker, token[:-8] + "AAAAAAAA", bearer=True), NOT_AUTHORIZED, "another")


def by_header(setting):
    """The same token lets paho in by the header of its WebSocket upgrade, and no other does."""
    broker = setting.broker("protocol websockets\n")
    token = setting.provider.token("ES256")
    require_equal(log_in(broker, token, header=True), 0, "the login")
    require_equal(log_in(broker, token[:-8] + "AAAAAAAA", header=True), NOT_AUTHORIZED, "another")


def await_line(broker, part):
    """Waits for a line of the log, which a thread of its own writes."""
    deadline = time.monotonic() + DEADLINE
    while part not in broker.log.read_text():
        require(time.monotonic() < deadline, broker.log.read_text()[-500:])
        time.sleep(0.01)


def refused(setting):
    """Tokens that are over, changed or for somebody else are refused, and the log says why."""
    broker = setting.broker("oauth_leeway 0\n")
    short = setting.provider.token("ES256:1")
    deadline = time.monotonic() + DEADLINE
    while log_in(broker, short) == 0:
        require(time.monotonic() < deadline, "it never ends")
        time.sleep(0.1)
    token = setting.provider.token("ES256")
    require_equal(log_in(broker, token[:-8] + "AAAAAAAA"), NOT_AUTHORIZED, "a changed token")
    await_line(broker, "token: the token expired")
    await_line(broker, "Login failed: address 127.0.0.1, failures ")
    other = setting.broker(audience="urn:midge:other")
    require_equal(log_in(other, token), NOT_AUTHORIZED, "a token for somebody else")


def goes(setting):
    """A connected client whose token ends has to go."""
    broker = setting.broker("oauth_leeway 0\n")
    client = Client(broker, setting.provider.token("ES256:3"))
    require_equal(client.code, 0, "the login")
    require_equal(client.await_end(), NOT_AUTHORIZED, "the end")
    client.stop()


def renewed(setting):
    """A client that authenticates anew stays beyond the end of its first token; with a bad token it goes, and
    one of 3.1.1, which cannot renew, is closed."""
    broker = setting.broker("oauth_leeway 0\n")

    def bearer(token):
        data = f"n,,\x01auth=Bearer {token}\x01\x01".encode()
        return authentication(data, "OAUTHBEARER")

    def connected(name):
        peer = Peer(broker.host, broker.port)
        header = string("MQTT") + bytes([5, 2]) + struct.pack("!H", 60)
        peer.send(packet(CONNECT, header + bearer(setting.provider.token("ES256:3")) + string(name)))
        require_equal(peer.expect(CONNACK)[1], 0, "the login")
        return peer

    renews, fails = connected("renews"), connected("fails")
    old = Peer(broker.host, broker.port)
    header = string("MQTT") + bytes([4, 0xC2]) + struct.pack("!H", 60)
    password = string(setting.provider.token("ES256:3"))
    old.send(packet(CONNECT, header + string("old") + string("any") + password))
    require_equal(old.expect(CONNACK)[1], 0, "the login of 3.1.1")

    renews.send(packet(AUTH, b"\x19" + bearer(setting.provider.token("ES256"))))
    require_equal(renews.expect(AUTH)[0], 0, "the second authentication")
    fails.send(packet(AUTH, b"\x19" + bearer("no.good.token")))
    require_equal(fails.expect(DISCONNECT)[0], NOT_AUTHORIZED, "the end for a bad token")
    # All three tokens end in the same seconds, and the one that cannot be renewed tells when.
    try:
        first, _ = old.read()
        raise AssertionError(f"packet {first:#x} for a client of 3.1.1")
    except ConnectionError:
        pass
    left = connected("left")
    require_equal(left.expect(DISCONNECT)[0], NOT_AUTHORIZED, "the end of a token that was not renewed")
    renews.send(packet(PINGREQ, b""))
    renews.expect(PINGRESP)
    for peer in (renews, fails, old, left):
        peer.close()


def rotation(setting):
    """New keys are taken as soon as the broker may ask for them, and old tokens are good until then."""
    broker = setting.broker()
    old = setting.provider.token("ES256")
    require_equal(log_in(broker, old), 0, "before the rotation")
    setting.provider.rotate()
    require_equal(log_in(broker, old), 0, "the old token, by the cached key")
    new = setting.provider.token("ES256")
    deadline = time.monotonic() + UNKNOWN_KEY_INTERVAL + DEADLINE
    while log_in(broker, new) != 0:
        require(time.monotonic() < deadline, "the new key is never fetched")
        time.sleep(0.5)
    require_equal(log_in(broker, old), NOT_AUTHORIZED, "the old token")
    require_equal(setting.provider.count("/jwks"), 2, "requests for keys")


def down(setting):
    """A provider that is down locks out nobody whose key is known."""
    broker = setting.broker()
    tokens = [setting.provider.token(kind) for kind in ("ES256", "RS256")]
    require_equal(log_in(broker, tokens[0]), 0, "while it is up")
    setting.provider.stop()
    require_equal(log_in(broker, tokens[1]), 0, "a token that was never seen before")
    require_equal(log_in(setting.broker(), tokens[0]), NOT_AUTHORIZED, "without keys")


def introspection(setting):
    """Opaque tokens are asked about, once for a while, and refused when the provider is down."""
    secret = setting.folder / "secret"
    secret.write_text("the broker\n")
    options = (
        "oauth_token_username token\noauth_introspection_client_id broker\n"
        f"oauth_introspection_secret_file {secret}\n"
        f"oauth_introspection_uri {setting.provider.issuer}/token/introspection\n"
    )
    broker = setting.broker(options)
    token, other, late = [setting.provider.token("opaque") for _ in range(3)]
    for _ in range(3):
        require_equal(log_in(broker, token, user_name="token"), 0, "an opaque token")
    require_equal(setting.provider.count("/token/introspection"), 1, "questions")
    require_equal(log_in(broker, token, user_name="any"), NOT_AUTHORIZED, "as another user")
    setting.provider.revoke(other)
    require_equal(log_in(broker, other, user_name="token"), NOT_AUTHORIZED, "a revoked token")
    require_equal(log_in(broker, late, bearer=True), 0, "by OAUTHBEARER")
    setting.provider.stop()
    require_equal(log_in(broker, "unseen", user_name="token"), NOT_AUTHORIZED, "without provider")
    require_equal(log_in(broker, token, user_name="token"), 0, "by the answer that was kept")


def hostile(setting):
    """Made-up key ids, alg none, swapped keys and huge passwords are refused, cost the provider next to nothing, and
    leave the broker as it was."""
    broker = setting.broker()
    good = setting.provider.token("ES256")
    require_equal(log_in(broker, good), 0, "a good token")
    begin = time.monotonic()
    for number in range(1000):
        forged = ".".join((encoded({"alg": "ES256", "kid": f"made-up-{number}"}), "e30", "AA"))
        require_equal(raw_login(broker, forged.encode()), 5, forged)
    allowed = 2 + (time.monotonic() - begin) / UNKNOWN_KEY_INTERVAL
    require(setting.provider.count("/jwks") <= allowed, "too many requests for keys")
    claims = encoded({"sub": "device:7", "aud": setting.provider.audience, "exp": 1 << 40})
    header, real, signature = good.split(".")
    with urllib.request.urlopen(f"{setting.provider.issuer}/jwks", timeout=DEADLINE) as answer:
        keys = json.load(answer)["keys"]
    # The public key as the secret of an HMAC, in every form that a careless broker might have it in.
    swapped = []
    for key in keys:
        signed = f'{encoded({"alg": "HS256", "kid": key["kid"]})}.{claims}'
        for secret in (json.dumps(key), json.dumps(key, separators=(",", ":")), key.get("n") or key["x"]):
            mac = hmac.digest(secret.encode(), signed.encode(), "sha256")
            swapped.append(f"{signed}.{base64.urlsafe_b64encode(mac).decode().rstrip('=')}")
    for password in (
        *swapped,
        # Signed well, under the name of another key.
        *(".".join((encoded({"alg": "ES256", "kid": key["kid"]}), real, signature)) for key in keys),
        ".".join((encoded({"alg": "none"}), claims, "")),
        ".".join((encoded({"alg": "HS256"}), claims, signature)),
        ".".join((header, claims, signature)),
        ".".join((header, real, "")),
        ".".join((header, "A" * 60_000, signature)),
        ".".join(("eyJ" + "A" * 60_000, real, signature)),
        "\0" * 65_535,
        "",
    ):
        require_equal(raw_login(broker, password.encode()), 5, password[:60])
    require_equal(log_in(broker, good), 0, "the good token afterwards")
    require(broker.is_alive(), "the broker has ended")


def encoded(value):
    """A part of a token."""
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode().rstrip("=")


def raw_login(broker, password):
    """The return code of a login with 3.1.1."""
    peer = Peer(broker.host, broker.port)
    header = string("MQTT") + bytes([4, 0xC2]) + struct.pack("!H", 60)
    peer.send(packet(CONNECT, header + string("raw") + string("user") + string(password)))
    body = peer.expect(CONNACK)
    peer.close()
    return body[1]


def scram(setting):
    """A user of a file of midge passwd logs in by SCRAM-SHA-256 and again, and not with another password."""
    path = setting.folder / "passwords"
    command = [setting.midge, "passwd", "-H", "scram-sha-256", "-c", "-b", str(path), "alice", "pencil"]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    broker = setting.broker(f"password_file {path}\nallow_anonymous false\n", tokens=False)
    require_equal(scram_login(broker, b"pencil"), 0, "the right password")
    require_equal(scram_login(broker, b"pen"), NOT_AUTHORIZED, "a wrong one")


def scram_login(broker, password):
    """The reason code of a login as alice; one that is let in authenticates again."""
    peer = Peer(broker.host, broker.port)
    header = string("MQTT") + bytes([5, 2]) + struct.pack("!H", 60)
    peer.send(packet(CONNECT, header + authentication(b"n,," + SCRAM_FIRST) + string("scram")))
    signature = scram_answer(peer, password)
    body = peer.expect(CONNACK)
    if body[1] == 0:
        require_equal(data_of(body[2:]), signature, "what shows that the broker has the keys")
        peer.send(packet(AUTH, b"\x19" + authentication(b"n,," + SCRAM_FIRST)))
        signature = scram_answer(peer, password)
        again = peer.expect(AUTH)
        require_equal(again[0], 0, "the second authentication")
        require_equal(data_of(again[1:]), signature, "what shows it once more")
    peer.close()
    return body[1]


def scram_answer(peer, password):
    """Answers a challenge; returns what the broker has to send if it has the keys."""
    body = peer.expect(AUTH)
    require_equal(body[0], 0x18, "the challenge")
    challenge = data_of(body[1:]).decode()
    fields = dict(part.split("=", 1) for part in challenge.split(","))
    salted = hashlib.pbkdf2_hmac("sha256", password, base64.b64decode(fields["s"]), int(fields["i"]))
    client_key = hmac.digest(salted, b"Client Key", "sha256")
    without_proof = f"c=biws,r={fields['r']}"
    message = SCRAM_FIRST + f",{challenge},{without_proof}".encode()
    signature = hmac.digest(hashlib.sha256(client_key).digest(), message, "sha256")
    proof = bytes(one ^ other for one, other in zip(client_key, signature))
    last = f"{without_proof},p={base64.b64encode(proof).decode()}".encode()
    peer.send(packet(AUTH, b"\x18" + authentication(last)))
    server_key = hmac.digest(salted, b"Server Key", "sha256")
    return b"v=" + base64.b64encode(hmac.digest(server_key, message, "sha256"))


def authentication(data, method="SCRAM-SHA-256"):
    """Properties with method and data."""
    inner = b"\x15" + string(method) + b"\x16" + string(data)
    return variable_integer(len(inner)) + inner


def data_of(properties):
    """The authentication data among properties, which are told by the method before it."""
    start = properties.index(b"\x15" + string("SCRAM-SHA-256")) + 3 + len("SCRAM-SHA-256")
    require_equal(properties[start], 0x16, "authentication data behind the method")
    (length,) = struct.unpack("!H", properties[start + 1 : start + 3])
    return properties[start + 3 : start + 3 + length]


def tools(setting):
    """pub, bench and ctrl get a token of the provider by client credentials, or read one from a file, and are let in
    with it."""
    broker = setting.broker("enable_control_api true\n")
    secret, wrong, token = (setting.folder / name for name in ("secret", "wrong", "token"))
    secret.write_text("a secret & more\n")
    wrong.write_text("another\n")
    token.write_text(setting.provider.token("ES256", "mqtt.publish:bench/# mqtt.subscribe:bench/#") + "\n")
    client = [
        "--oauth-token-url", f"{setting.provider.issuer}/token", "--oauth-client-id", "device:7",
        "--oauth-client-secret-file", str(secret), "--oauth-resource", "urn:midge:ES256",
        "--oauth-scope", "mqtt.publish:bench/# mqtt.publish:$CONTROL/# mqtt.subscribe:$CONTROL/#",
    ]

    def midge(*words):
        command = [setting.midge, *words[0].split(), "-h", broker.host, "-p", broker.port, *words[1:]]
        return subprocess.run(list(map(str, command)), capture_output=True, text=True, timeout=DEADLINE, check=False)

    done = midge("pub", "-V", "5", "-t", "bench/a", "-m", "x", "-q", "1", *client)
    require_equal((done.returncode, done.stderr), (0, ""), "pub")
    words = ["--quiet", *client, "broker", "listListeners"]
    done = midge("ctrl", *words)
    require_equal((done.returncode, str(broker.port) in done.stdout), (0, True), f"ctrl {done}")
    done = midge("ctrl", *[str(wrong) if word == str(secret) else word for word in words])
    require_equal((done.returncode, "invalid_client" in done.stderr), (1, True), f"ctrl {done}")
    file = ["--oauth-token-file", str(token), "--seconds", "1", "--quiet"]
    for scenario in ("bench p2p --pairs 3 --warm-up 0", "bench p2p --pairs 3 --warm-up 0 --processes 2",
                     "bench conn --clients 3"):
        before = setting.provider.count("/token")
        done = midge(scenario, *file)
        require_equal(done.returncode, 0, f"{scenario}: {done.stdout} {done.stderr}")
        require_equal(setting.provider.count("/token"), before, "questions for a token that is in a file")
    require("refused" in midge("bench conn --clients 3", "--seconds", "1").stderr, "a client without a token is let in")
    done = midge("bench p2p", "--processes", "2", *client, "--oauth-device-url", "http://127.0.0.1/")
    require_equal((done.returncode, "--oauth-token-file" in done.stderr), (1, True), f"{done}")


TESTS = {
    "tokens for the tools": tools,
    "paho logs in with a token": by_password,
    "paho logs in by OAUTHBEARER": by_bearer,
    "paho logs in by the header of its WebSocket": by_header,
    "tokens that the broker refuses": refused,
    "a client goes with its token": goes,
    "a client stays that authenticates anew": renewed,
    "a broker and key rotation": rotation,
    "a broker and a provider that is down": down,
    "a broker and opaque tokens": introspection,
    "hostile logins at a broker": hostile,
    "SCRAM": scram,
}
