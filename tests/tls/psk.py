"""TLS with pre-shared keys: the broker against openssl and Debian's mosquitto_pub and mosquitto_sub, and midge
pub, sub and rr against the broker and Debian's mosquitto.

    tests/tls/psk.py [--test WORDS]

It builds a program with the cargo feature `tls-psk`, which the usual build does without, beside the usual one.
"""

import argparse
import os
import pathlib
import shutil
import signal
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import peers as tls
from authority import Authority
from harness import install
from harness.broker import Broker, find_binary, free_port
from harness.report import Report, Skip, require, require_equal

KEY = "00112233445566778899aabbccddeeff"
OTHER_KEY = "ffeeddccbbaa99887766554433221100"

VERSIONS = ("-tls1_2", "-tls1_3")


class Place:
    """The broker, and a folder with its keys."""

    def __init__(self, program, folder):
        self.broker = program
        self.folder = pathlib.Path(folder)
        self.keys = self.folder / "keys"
        self.keys.write_text(f"# devices\ndevice 7:{KEY}\nother:{OTHER_KEY}\n")

    def listeners(self, **options):
        """A broker with listeners for pre-shared keys, and what else each of them is to have."""
        kinds = {name: f"psk_hint midge\n{more}" for name, more in options.items()}
        return tls.Listeners(f"psk_file {self.keys}\n", binary=self.broker, **kinds)


def s_client(port, version, *options, identity="device 7", key=KEY, given=tls.CONNECT + tls.DISCONNECT):
    """openssl s_client with a key; it ends when the broker closes, or has had enough."""
    shows = ["-psk_identity", identity, "-psk", key] if key else []
    return tls.s_client(port, version, "-ign_eof", *shows, *options, given=given)


def tool(name, port, *options, identity="device 7", key=KEY):
    """The command line of a tool; ours are two words."""
    command = [*([name] if isinstance(name, str) else name), "-h", "localhost", "-p", port]
    command += ["--psk", key, "--psk-identity", identity, "-q", "1", *options]
    return [*map(str, command)]


def openssl(place):
    """openssl s_client logs in with both versions, and MQTT goes through."""
    with place.listeners(psk="") as listeners:
        port = listeners.ports["psk"]
        for version, cipher in (("-tls1_2", "ECDHE-PSK-CHACHA20-POLY1305"), ("-tls1_3", "TLS_CHACHA20_POLY1305_SHA256")):
            before = listeners.log().count("New client connected")
            _, text = s_client(port, version)
            require(f"Cipher is {cipher}" in text, text)
            listeners.await_log("New client connected", before + 1)
        _, text = s_client(port, "-tls1_2")
        require("PSK identity hint: midge" in text, text)


def refused(place):
    """Who has no key, another's, or none that is known does not come in, and the log says why."""
    with place.listeners(psk="") as listeners:
        port = listeners.ports["psk"]
        for version in VERSIONS:
            for words, shown in (
                ("no identity 'nobody' is known", {"identity": "nobody"}),
                ("not that of identity 'other'", {"identity": "other"}),
                ("no cipher with a pre-shared key that both have", {"key": None}),
            ):
                before = listeners.log().count(words)
                status, text = s_client(port, version, **shown)
                require(status != 0, f"{words}: {text[-300:]}")
                listeners.await_log(words, before + 1)
        require("New client connected" not in listeners.log(), "somebody came in")


def guesses(place):
    """Who guesses keys is banned, before the next handshake; a right key is of no use then."""
    options = f"psk_file {place.keys}\nauth_fail_max 3\nauth_fail_exempt none\n"
    with tls.Listeners(options, binary=place.broker, psk="psk_hint midge\n") as listeners:
        port = listeners.ports["psk"]
        for version in VERSIONS:
            s_client(port, version)
        listeners.await_log("New client connected", len(VERSIONS))
        for _ in range(3):
            s_client(port, "-tls1_3", key=OTHER_KEY)
        listeners.await_log("is banned for", 1)
        for version in VERSIONS:
            status, text = s_client(port, version)
            require(status != 0 and "Cipher is (NONE)" in text, text[-300:])


def options(place):
    """Versions and ciphers are those of the configuration."""
    with place.listeners(
        newest="tls_version tlsv1.3\n",
        chosen="ciphers PSK-AES128-CBC-SHA256\nciphers_tls1.3 TLS_CHACHA20_POLY1305_SHA256\n",
    ) as listeners:
        status, _ = s_client(listeners.ports["newest"], "-tls1_2")
        require(status != 0, "TLS 1.2 was let in although tls_version is tlsv1.3")
        _, text = s_client(listeners.ports["newest"], "-tls1_3")
        require("TLSv1.3, Cipher is" in text, text)
        _, text = s_client(listeners.ports["chosen"], "-tls1_2")
        require("Cipher is PSK-AES128-CBC-SHA256" in text, text)
        _, text = s_client(listeners.ports["chosen"], "-tls1_3")
        require("Cipher is TLS_CHACHA20_POLY1305_SHA256" in text, text)


def tools(place):
    """mosquitto_pub and mosquitto_sub, also with a payload of many records."""
    large = place.folder / "large"
    large.write_bytes(os.urandom(3 * tls.MIB))
    with place.listeners(psk="") as listeners:
        port = listeners.ports["psk"]
        for number, payload in enumerate((["-m", "hello"], ["-f", str(large)])):
            topic = f"psk/{number}"
            subscriber = subprocess.Popen(
                tool("mosquitto_sub", port, "-t", topic, "-C", "1", "-N", identity="other", key=OTHER_KEY),
                stdout=subprocess.PIPE,
            )
            tls.await_that(lambda t=topic: f"1 {t}" in listeners.log(), "a subscription")
            status, text = tls.run(tool("mosquitto_pub", port, "-t", topic, *payload))
            require_equal(status, 0, text)
            came, _ = subscriber.communicate(timeout=tls.DEADLINE)
            require_equal(came, large.read_bytes() if number else b"hello", "payload")
        status, _ = tls.run(tool("mosquitto_pub", port, "-t", "a", "-m", "b", key=OTHER_KEY))
        require(status != 0, "a wrong key was let in")


def carried(place, port, log):
    """`midge pub` and `midge sub` carry a small message and one of many records, over both versions."""
    large = place.folder / "large"
    large.write_bytes(os.urandom(tls.MIB))
    ours = {"identity": "other", "key": OTHER_KEY}
    for number, (payload, version) in enumerate(
        [(["-m", "hello"], "tlsv1.2"), (["-m", "hello"], "tlsv1.3"), (["-f", str(large)], "tlsv1.2")]
    ):
        topic = f"ours/{number}"
        words = ["-t", topic, "-C", "1", "-N", "--tls-version", version]
        subscriber = subprocess.Popen(tool([place.broker, "sub"], port, *words, **ours), stdout=subprocess.PIPE)
        tls.await_that(lambda t=topic: f" 1 {t}" in log(), "a subscription")
        status, text = tls.run(tool([place.broker, "pub"], port, "-t", topic, *payload))
        require_equal(status, 0, text)
        came, _ = subscriber.communicate(timeout=tls.DEADLINE)
        require(came == (large.read_bytes() if number == 2 else b"hello"), f"{len(came)} bytes came")
    words = ["-t", "ours/rr", "-e", "ours/rr", "-m", "asked", "-W", "10"]
    status, text = tls.run(tool([place.broker, "rr"], port, *words))
    require_equal((status, text.strip()), (0, "asked"), "rr")


def wrong_keys(place, port):
    """A wrong key and an identity that is not known end with code 8, and what to try."""
    for shown in ({"key": OTHER_KEY}, {"identity": "nobody"}):
        status, text = tls.run(tool([place.broker, "pub"], port, "-t", "a", "-m", "b", **shown))
        require_equal(status, 8, text)
        require("does not take the pre-shared key" in text and "psk_file" in text, text)


def our_tools(place):
    """midge pub, sub, rr and bench with a key: against this broker, also within WebSocket."""
    with place.listeners(psk="", wss="protocol websockets\n", newest="tls_version tlsv1.3\n") as listeners:
        port = listeners.ports["psk"]
        carried(place, port, listeners.log)
        wrong_keys(place, port)
        wss = listeners.ports["wss"]
        status, text = tls.run(tool([place.broker, "pub"], wss, "--ws", "-t", "a", "-m", "b"))
        require_equal(status, 0, text)
        status, text = tls.run(tool([place.broker, "bench", "p2p"], port, "--pairs", "2", "--seconds", "1"))
        require_equal(status, 0, text)
        log = place.folder / "secrets"
        status, text = tls.run(tool([place.broker, "pub"], port, "-t", "a", "-m", "b", "--tls-keylog", log))
        require_equal(status, 0, text)
        require("SECRET" in log.read_text(), "no secrets")


def other_server(place):
    """midge pub, sub and rr against Debian's mosquitto with a psk_file."""
    program = install.mosquitto_program("mosquitto")
    if not program:
        raise Skip(install.mosquitto(tls.ROOT))
    port = free_port()
    options = f"allow_anonymous true\nlistener {port} 127.0.0.1\npsk_hint h\npsk_file {place.keys}\n"
    server = Broker(program, "user root\n" + options)
    try:
        carried(place, port, server.log.read_text)
        wrong_keys(place, port)
    finally:
        server.stop()
        server.clean_up()


def refusals(place):
    """A server that has certificates alone is not taken for one with the key; what is wrong is told."""
    authority = Authority(place.folder, "Key CA")
    certificate, key = authority.sign("server", "/CN=localhost", "DNS:localhost")
    with tls.Listeners(binary=place.broker, tls=f"certfile {certificate}\nkeyfile {key}\n", plain="") as listeners:
        for version in ("tlsv1.2", "tlsv1.3"):
            words = ["-t", "a", "-m", "secret", "--tls-version", version]
            status, text = tls.run(tool([place.broker, "pub"], listeners.ports["tls"], *words))
            require_equal(status, 8, text)
            require("pre-shared key" in text, text)
        require("New client connected" not in listeners.log(), "somebody came in")
        status, text = tls.run(tool([place.broker, "pub"], listeners.ports["plain"], "-t", "a", "-m", "b"))
        require_equal(status, 8, text)
    base = [place.broker, "pub", "-t", "a", "-m", "b"]
    for words, told in (
        (["--psk", "00"], "--psk-identity required if --psk used."),
        (["--psk", "00", "--psk-identity", "a", "--cafile", "x"], "Only one of --psk or --cafile/--capath may"),
        (["--psk", "xyz", "--psk-identity", "a"], "Problem setting TLS-PSK options: the key is not in hexadecimal"),
        (["--psk"], "--psk argument given but no key specified."),
    ):
        status, text = tls.run([*base, *words])
        require_equal(status, 1, text)
        require(text.startswith(f"Error: {told}"), text)
    usual = find_binary(tls.ROOT)
    if usual:
        status, text = tls.run([usual, "pub", "-t", "a", "-m", "b", "--psk", "00", "--psk-identity", "a"])
        require_equal(status, 1, text)
        require("--features tls-psk" in text, text)


def user_names(place):
    """The identity is the user name, and rules hold for it, whatever CONNECT says."""
    rules = place.folder / "rules"
    rules.write_text("user device 7\ntopic readwrite own/#\n")
    general = f"psk_file {place.keys}\nacl_file {rules}\n"
    with tls.Listeners(
        general, binary=place.broker, psk="psk_hint h\nuse_identity_as_username true\n"
    ) as listeners:
        port = listeners.ports["psk"]
        login = ["-u", "somebody", "-P", "anything", "-V", "5"]
        status, text = tls.run(tool("mosquitto_pub", port, "-t", "own/a", "-m", "x", *login))
        require_equal(status, 0, text)
        require("uthori" not in text, text)
        listeners.await_log("u'device 7')")
        _, text = tls.run(tool("mosquitto_pub", port, "-t", "another/a", "-m", "x", *login))
        require("Not authorized" in text, text)


def websockets(place):
    """WebSocket inside of it."""
    with place.listeners(wss="protocol websockets\n") as listeners:
        request = (
            b"GET /mqtt HTTP/1.1\r\nHost: localhost\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Version: 13\r\n"
            b"Sec-WebSocket-Protocol: mqtt\r\n\r\n"
        )
        given = request + tls.frame(tls.CONNECT) + tls.frame(tls.DISCONNECT)
        _, text = s_client(listeners.ports["wss"], "-tls1_3", given=given)
        require("101 Switching Protocols" in text, text)
        listeners.await_log("New client connected")


def changes(place):
    """Keys that are added or taken away count for who comes then; a bad line is told by its number."""
    keys = place.folder / "changing"
    keys.write_text(f"device 7:{KEY}\n")
    with tls.Listeners(f"psk_file {keys}\n", binary=place.broker, psk="psk_hint h\n") as listeners:
        port = listeners.ports["psk"]
        subscriber = subprocess.Popen(
            tool("mosquitto_sub", port, "-t", "stays", "-C", "1", "-N"), stdout=subprocess.PIPE
        )
        tls.await_that(lambda: "1 stays" in listeners.log(), "a subscription")
        words = "have changed and were read again"
        for text in (f"new:{OTHER_KEY}\n", f"nonsense\nnew:{OTHER_KEY}\nbad:xyz\n"):
            before = listeners.log().count(words)
            keys.write_text(text)
            listeners.await_log(words, before + 1)
        listeners.await_log(f"psk_file {keys}:1: no colon")
        listeners.await_log(f"psk_file {keys}:3: the key is not in hexadecimal digits")
        status, _ = tls.run(tool("mosquitto_pub", port, "-t", "stays", "-m", "old"))
        require(status != 0, "a key that was taken away was let in")
        status, text = tls.run(tool("mosquitto_pub", port, "-t", "stays", "-m", "new", identity="new", key=OTHER_KEY))
        require_equal(status, 0, text)
        came, _ = subscriber.communicate(timeout=tls.DEADLINE)
        require_equal(came, b"new", "payload for the client that has stayed")
        keys.unlink()
        os.kill(listeners.broker.pid, signal.SIGHUP)
        listeners.await_log("Unable to open psk_file")
        status, text = tls.run(tool("mosquitto_pub", port, "-t", "a", "-m", "b", identity="new", key=OTHER_KEY))
        require_equal(status, 0, text)


def faulty_start(place):
    """What is wrong is told before anything runs, and so is a build without the feature."""
    binary = find_binary(tls.ROOT)
    for program, text, words in (
        (place.broker, "psk_hint h\n", "without 'psk_file'"),
        (place.broker, f"psk_hint h\npsk_file {place.folder}/nowhere\n", "Unable to open psk_file"),
        (place.broker, f"psk_hint h\npsk_file {place.keys}\nciphers nonsense\n", "nonsense"),
        (place.broker, f"psk_hint h\npsk_file {place.keys}\nrequire_certificate true\n", "require_certificate"),
        (binary, f"psk_hint h\npsk_file {place.keys}\n", "--features tls-psk"),
    ):
        if program is None:
            raise Skip("the usual build is not there")
        configuration = place.folder / "faulty.conf"
        configuration.write_text(f"user root\nlistener {free_port()} 127.0.0.1\n{text}")
        status, said = tls.run([program, "broker", "-c", configuration])
        require_equal(status, 3, said)
        require(words in said, said)


def hostile(place):
    """Noise, silence and identities without end, and a client that notices nothing."""
    with place.listeners(psk="") as listeners:
        port = listeners.ports["psk"]
        before = listeners.rss()
        silent = [tls.plain_socket(port) for _ in range(200)]
        for number, stream in enumerate(silent):
            stream.sendall(b"\x16\x03\x01\x02\x00\x01\x00"[: number % 8])
        for data in (tls.CONNECT, b"GET / HTTP/1.1\r\n\r\n", b"\x16\x03\x01\x40\x00" + os.urandom(tls.MIB)):
            stream = tls.plain_socket(port)
            try:
                stream.sendall(data)
            except ConnectionError:
                pass
            require(tls.ended(stream), "the connection goes on")
        status, text = tls.run(tool("mosquitto_pub", port, "-t", "a", "-m", "b"))
        require_equal(status, 0, text)
        for _ in range(50):
            s_client(port, "-tls1_3", identity="x" * 250)
        grown = listeners.rss() - before
        require(grown < tls.GROWTH_MAX // 4, f"the broker has grown by {grown // tls.MIB} MiB")
        listeners.await_log("no CONNECT within connect_timeout", 200)


def build():
    """The program with the feature, and the transport's own tests with it."""
    features = ["--quiet", "--features", "tls-psk", "--package"]
    built = target() / "debug" / "midge"
    was_there = built.exists()
    cargo("build", *features, "midge")
    broker().parent.mkdir(parents=True, exist_ok=True)
    shutil.copy2(built, broker())
    if was_there:
        # Other tests look for the usual build in that place.
        cargo("build", "--quiet", "--package", "midge")
    cargo("test", *features, "midge-transport", "--test", "transport", "pre_shared_key")


def cargo(*words):
    """Runs cargo to its end."""
    result = subprocess.run(
        ["cargo", *words], cwd=tls.ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        text=True, errors="replace", timeout=500, check=False,
    )
    require_equal(result.returncode, 0, f"cargo {words[0]}: {result.stdout[-400:]}")


def target():
    """Where cargo builds."""
    return pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or tls.ROOT / "target")


def broker():
    """What was built."""
    return target() / "third-party" / "psk" / "midge"


TESTS = [
    ("TLS-PSK openssl", openssl),
    ("TLS-PSK refused", refused),
    ("TLS-PSK versions and ciphers", options),
    ("TLS-PSK mosquitto_pub and mosquitto_sub", tools),
    ("TLS-PSK midge pub, sub and rr", our_tools),
    ("TLS-PSK midge pub, sub and rr with mosquitto", other_server),
    ("TLS-PSK what the tools refuse", refusals),
    ("TLS-PSK user names", user_names),
    ("TLS-PSK WebSocket", websockets),
    ("TLS-PSK keys change", changes),
    ("TLS-PSK faulty start", faulty_start),
    ("TLS-PSK hostile", hostile),
    ("TLS-PSK guesses", guesses),
]


def main():
    """Runs the tests that the command line chooses; without a choice, all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--test", default="")
    choice = parser.parse_args()
    report = Report()
    report.run("TLS-PSK is built", build)
    if report.failed:
        report.exit()
    with tempfile.TemporaryDirectory(prefix="midge-psk-") as folder:
        place = Place(broker(), folder)
        for name, test in TESTS:
            if choice.test in name:
                report.run(name, test, place)
    report.exit()


if __name__ == "__main__":
    main()
