"""The tools over everything that can carry them: TLS, WebSocket, Unix sockets, proxies; and tokens."""

import base64
import http.server
import json
import pathlib
import socket
import struct
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "tls"))

import srv
from authority import Authority
from harness import install
from harness.broker import Broker, find_binary, free_port
from harness.report import Report, Skip, require, require_equal

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent
DEADLINE = 20


def midge(*words, given=b""):
    """Runs a command of midge."""
    command = [find_binary(ROOT), *map(str, words)]
    return subprocess.run(command, input=given, capture_output=True, timeout=DEADLINE, check=False)


class Place:
    """A broker with a listener of every kind, and certificates."""

    def __init__(self, folder):
        self.folder = pathlib.Path(folder)
        self.ca = Authority(folder, "Test CA")
        self.other = Authority(folder, "Other CA")
        certificate, key = self.ca.sign("server", "/CN=localhost", "DNS:localhost")
        self.client = self.ca.sign("client", "/CN=client")
        tls = f"certfile {certificate}\nkeyfile {key}\n"
        self.ports = {name: free_port() for name in ("tls", "mutual", "ws", "wss")}
        self.unix = self.folder / "broker.sock"
        options = (
            "user root\nallow_anonymous true\n"
            f"listener {self.ports['tls']} 127.0.0.1\n{tls}"
            f"listener {self.ports['mutual']} 127.0.0.1\n{tls}cafile {self.ca.certificate}\nrequire_certificate true\n"
            f"listener {self.ports['ws']} 127.0.0.1\nprotocol websockets\n"
            f"listener {self.ports['wss']} 127.0.0.1\nprotocol websockets\n{tls}"
            f"listener 0 {self.unix}\n"
        )
        self.broker = Broker(find_binary(ROOT), options)
        self.plain = self.broker.port

    def host(self, name="localhost", port=None):
        """The words that name a listener; its certificate says localhost."""
        return ["-h", name, "-p", str(port or self.plain)]


def carries(place, words, more_sub=(), size=512_000):
    """A message goes out and a retained one comes back, of a size that takes many records and frames."""
    payload = bytes(range(256)) * (size // 256)
    sent = midge("pub", *words, "-t", "links/a", "-s", "-r", "-q", "1", given=payload)
    require_equal((sent.returncode, sent.stderr), (0, b""), f"pub {words}")
    got = midge("sub", *words, *more_sub, "-t", "links/a", "-C", "1", "-N", "-q", "1")
    require_equal((got.returncode, got.stderr), (0, b""), f"sub {words}")
    require(got.stdout == payload, f"{len(got.stdout)} bytes came back")


def tls(place):
    """With an authority, without the name, by URL, with a client's certificate."""
    ca = ["--cafile", str(place.ca.certificate)]
    carries(place, [*place.host(port=place.ports["tls"]), *ca])
    carries(place, [*place.host(port=place.ports["tls"]), *ca, "--tls-version", "tlsv1.3"])
    carries(place, [*place.host("127.0.0.1", place.ports["tls"]), *ca, "--insecure"])
    certificate, key = place.client
    carries(place, [*place.host(port=place.ports["mutual"]), *ca, "--cert", str(certificate), "--key", str(key)])
    log = place.folder / "secrets"
    carries(place, [*place.host(port=place.ports["tls"]), *ca, "--tls-keylog", str(log)])
    require("SECRET" in log.read_text(), "no secrets")


def tls_refused(place):
    """What is wrong is told, with code 8 for TLS, and 1 for what is not there."""
    # A server that breaks off as one does that has not read all of what it was sent.
    rude = socket.create_server(("127.0.0.1", 0))
    threading.Thread(target=break_off, args=(rude,), daemon=True).start()
    ca = ["--cafile", str(place.ca.certificate)]
    here = place.host(port=place.ports["tls"])
    cases = [
        ([*here, "--cafile", str(place.other.certificate)], 8, b"name the file of its CA (--cafile)"),
        ([*place.host("127.0.0.1", place.ports["tls"]), *ca], 8, b"does not name it"),
        ([*place.host(), *ca], 8, b"another port may be the port for TLS"),
        ([*place.host("127.0.0.1", rude.getsockname()[1]), *ca], 8, b"another port may be the port for TLS"),
        ([*here, *ca, "--ciphers", "nonsense"], 1, b"Error: Problem setting TLS options: unknown cipher nonsense"),
        ([*here, *ca, "--keyform", "pem"], 1, b"Error: If keyform is set, keyfile must be also specified."),
    ]
    for words, code, text in cases:
        result = midge("pub", *words, "-t", "a", "-m", "x")
        require_equal(result.returncode, code, f"{words} {result.stderr}")
        require(result.stderr.startswith(b"Error: ") and text in result.stderr, result.stderr)


def bad_files(place):
    """A file that cannot be used is told with the option or the line that named it, and what is wanted."""
    here = [*place.host(port=place.ports["tls"]), "-t", "a", "-m", "x"]
    ca = ["--cafile", str(place.ca.certificate)]
    certificate, key = place.client
    empty, folder = place.folder / "empty.pem", place.folder / "empty-folder"
    empty.write_text("no PEM\n")
    folder.mkdir(exist_ok=True)
    missing, tls = "cannot read /nonexistent: No such file or directory", "Error: Problem setting TLS options: "
    pair = lambda cert, key: [*ca, "--cert", str(cert), "--key", str(key)]
    token_url = ["--oauth-token-url", "http://127.0.0.1:1/", "--oauth-client-id", "c", "--oauth-client-secret-file"]
    cases = [
        (["--cafile", "/nonexistent"], f"{tls}--cafile: {missing}.", "--cafile wants "),
        (["--cafile", empty], f"{tls}--cafile: {empty}: no certificate in this file.", "--cafile wants "),
        (["--cafile", folder], f"{tls}--cafile: cannot read {folder}: Is a directory.", "--cafile wants "),
        (["--capath", "/nonexistent"], f"{tls}--capath: {missing}.", "--capath wants "),
        (["--capath", folder], f"{tls}--capath: {folder} has no file with a CA in it.", "--capath wants "),
        (pair("/nonexistent", key), f"{tls}--cert: {missing}.", "--cert wants "),
        (pair(certificate, "/nonexistent"), f"{tls}--key: {missing}.", "--key wants "),
        (pair(certificate, certificate), f"{tls}--key: {certificate}: no private key in this file.", "--key wants "),
        (pair(key, key), f"{tls}--cert: {key}: no certificate in this file.", "--cert wants "),
        ([*ca, "--tls-keylog", "/nonexistent/log"],
         f"{tls}--tls-keylog: cannot write to /nonexistent/log: No such file or directory.", "--tls-keylog wants "),
        (["--oauth-token-file", empty.with_name("none")], f"Error: Unable to read {empty.with_name('none')}: No such ",
         "--oauth-token-file wants "),
        ([*token_url, folder], f"Error: Unable to read {folder}: Is a directory.", "--oauth-client-secret-file wants "),
    ]
    for words, first, then in cases:
        told = midge("pub", *here, *words)
        lines = told.stderr.decode().splitlines()
        require(told.returncode == 1 and len(lines) == 2, f"{words}: {told}")
        require(lines[0].startswith(first) and lines[1].startswith(then), f"{words}: {lines}")
    # Only what others can read is warned of.
    for words, seen in ((["--cafile", "/nonexistent"], False), (["--unix", "/nonexistent"], False), (["-p", "1"], True)):
        told = midge("ctrl", *words, "dynsec", "listClients").stderr
        require_equal(b"without encryption" in told, seen, f"{words}: {told}")
    # As it is in an options file.
    options = place.folder / "options"
    options.write_text(f"# mine\n-h localhost\n-p {place.ports['tls']}\n--cafile /nonexistent\n")
    told = midge("pub", "-o", options, "-t", "a", "-m", "x").stderr.decode().splitlines()
    require_equal(told[:2], [f"{tls}--cafile: {missing}.", f"The option is from line 4 of {options}."], "options file")
    told = midge("pub", "-o", options, "-t", "a", "-m", "x", "--cafile", "/nonexistent").stderr.decode()
    require("options" in told and "line 4" not in told, f"the command line's own: {told}")
    told = midge("ctrl", "-o", options, "dynsec", "listClients").stderr.decode()
    require(f"{tls}--cafile: {missing}.\nThe option is from line 4 of {options}.\n--cafile wants " in told, told)


def break_off(listener):
    """Resets the connection of one client."""
    peer, _ = listener.accept()
    peer.recv(1)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    peer.close()


def reader_gone(place):
    """`midge sub` ends when nobody reads what it prints, though no message comes."""
    require_equal(midge("pub", *place.host(), "-t", "links/gone", "-m", "x", "-r", "-q", "1").returncode, 0, "pub")
    command = [find_binary(ROOT), "sub", *place.host(), "-t", "links/gone"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    try:
        require_equal(process.stdout.readline(), b"x\n", "the message")
        process.stdout.close()
        require_equal((process.wait(DEADLINE), process.stderr.read()), (0, b""), "the end")
    finally:
        process.kill()
        process.wait()
        process.stderr.close()


def no_response(place):
    """`midge rr` without an answer says what may be wrong; mosquitto_rr's one line and code stay."""
    asked = ["rr", *place.host(), "-t", "links/ask", "-e", "links/answer", "-m", "x", "-W", "1"]
    for more, text in (([], b"Is anyone subscribed to 'links/ask', and does it answer to 'links/answer'? -W"),
                       (["-q", "1"], b"The broker says that nobody is subscribed to 'links/ask'.")):
        told = midge(*asked, *more)
        lines = told.stderr.splitlines()
        require_equal((told.returncode, told.stdout, len(lines), lines[0]), (27, b"", 2, b"Timed out"), f"rr {more}")
        require(lines[1].startswith(text), lines[1])
    told = midge(*asked, "--quiet")
    require_equal((told.returncode, told.stderr), (27, b""), "--quiet")


def websocket_mosquitto(place):
    """The WebSocket of Debian's broker, which starts one only where another listener is before it."""
    program = install.mosquitto_program("mosquitto")
    if not program:
        raise Skip("Debian's package mosquitto is not installed")
    port = free_port()
    broker = Broker(program, f"user root\nallow_anonymous true\nlistener {port} 127.0.0.1\nprotocol websockets\n")
    try:
        deadline = time.monotonic() + DEADLINE
        with socket.socket() as probe:
            while probe.connect_ex(("127.0.0.1", port)):
                require(time.monotonic() < deadline, f"no WebSocket: {broker.log_tail()}")
                time.sleep(0.02)
        for version in ("311", "5"):
            # It takes a few KiB of a WebSocket every tenth of a second.
            carries(place, [*place.host("127.0.0.1", port), "--ws", "-V", version], size=20_480)
    finally:
        broker.stop()
        broker.clean_up()


def websocket(place):
    """Plain and within TLS, by option and by URL."""
    carries(place, [*place.host(port=place.ports["ws"]), "--ws"])
    ca = ["--cafile", str(place.ca.certificate)]
    carries(place, [*place.host(port=place.ports["wss"]), "--ws", *ca, "-V", "5"])
    url = f"ws://localhost:{place.ports['ws']}/links/url"
    require_equal(midge("pub", "-L", url, "-m", "x", "-r", "-q", "1").returncode, 0, url)
    require_equal(midge("sub", "-L", url, "-C", "1").stdout, b"x\n", url)
    result = midge("pub", *place.host(), "--ws", "-t", "a", "-m", "x")
    require(result.returncode == 1 and b"WebSocket" in result.stderr, f"{result}")


def unix_socket(place):
    """A Unix socket, and one that is not there."""
    carries(place, ["--unix", str(place.unix)])
    result = midge("pub", "--unix", "/nonexistent/s", "-t", "a", "-m", "x")
    require_equal(result.returncode, 1, "exit code")
    require(result.stderr.startswith(b"Error: No such file or directory"), result.stderr)


def bound(place):
    """From an address of this machine, and of none."""
    carries(place, [*place.host("127.0.0.1"), "-A", "127.0.0.1"])
    require_equal(midge("pub", *place.host("127.0.0.1"), "-A", "nowhere", "-t", "a", "-m", "x").returncode, 1, "code")


class Socks:
    """A SOCKS5 proxy that takes one user."""

    def __init__(self):
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        self.asked = []
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self):
        while True:
            peer, _ = self.listener.accept()
            threading.Thread(target=self._pass, args=(peer,), daemon=True).start()

    def _pass(self, peer):
        methods = peer.recv(2 + peer.recv(2)[1])
        if 2 not in methods:
            peer.sendall(b"\x05\xff")
            return peer.close()
        peer.sendall(b"\x05\x02")
        login = peer.recv(600)
        name = login[2 : 2 + login[1]]
        peer.sendall(b"\x01\x00" if name == b"ann" else b"\x01\x01")
        if name != b"ann":
            return peer.close()
        request = peer.recv(600)
        host = request[5 : 5 + request[4]].decode()
        port = int.from_bytes(request[-2:], "big")
        self.asked.append((host, port))
        server = socket.create_connection((host, port))
        peer.sendall(b"\x05\x00\x00\x01\x00\x00\x00\x00\x00\x00")
        threading.Thread(target=self._copy, args=(server, peer), daemon=True).start()
        self._copy(peer, server)

    @staticmethod
    def _copy(source, target):
        try:
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            pass


def proxy(place):
    """Through a SOCKS5 proxy, which looks the name up; a refusal is told with code 16."""
    socks = Socks()
    carries(place, [*place.host(), "--proxy", f"socks5h://ann:secret@127.0.0.1:{socks.port}"])
    require_equal(socks.asked[0], ("localhost", place.plain), "what the proxy was asked for")
    ca = ["--cafile", str(place.ca.certificate)]
    carries(place, [*place.host(port=place.ports["tls"]), *ca, "--proxy", f"socks5h://ann@127.0.0.1:{socks.port}"])
    words = [*place.host(), "--proxy", f"socks5h://bob@127.0.0.1:{socks.port}", "-t", "a", "-m", "x"]
    result = midge("pub", *words)
    require(result.returncode == 16 and b"proxy" in result.stderr, f"{result}")


def bench(place):
    """`midge bench` over TLS and WebSocket, in several processes; runs are saved, compared and drawn."""
    ca = ["--cafile", str(place.ca.certificate)]
    links = {
        "tls": [*place.host(port=place.ports["tls"]), *ca],
        "websocket": [*place.host(port=place.ports["ws"]), "--ws"],
        "websocket over tls": [*place.host(port=place.ports["wss"]), "--ws", *ca],
        "unix": ["--unix", str(place.unix)],
        "tcp": place.host(),
    }
    saved = place.folder / "runs"
    with saved.open("ab") as file:
        for name, words in links.items():
            for scenario in (["p2p", "--pairs", "3", "-q", "1", "--processes", "2", "--warm-up", "0"],
                             ["conn", "--clients", "3"]):
                result = midge("bench", *scenario, *words, "--seconds", "1", "--json", "--quiet")
                require_equal((result.returncode, result.stderr), (0, b""), f"{name} {scenario}")
                report = json.loads(result.stdout)
                require_equal(report["transport"], name, "transport")
                if scenario[0] == "p2p":
                    require_equal((report["lost"], report["connections"]), (0, 12), "account")
                    require(report["delivered"] > 0, f"{report}")
                file.write(result.stdout)
    compared = midge("bench", "compare", saved, saved)
    require_equal(compared.returncode, 0, "compare")
    require(b"messages_per_second" in compared.stdout and b"1.000" in compared.stdout, compared.stdout)
    page = midge("bench", "report", saved)
    require(page.stdout.startswith(b"<!DOCTYPE html>") and page.stdout.count(b"<svg") > 10, "no page")


class Provider(http.server.BaseHTTPRequestHandler):
    """A provider of tokens that is as slow as people are: the first question of a device is too early."""

    asked = []

    def do_POST(self):
        """Answers a request for a token or for a device code."""
        form = urllib.parse.parse_qs(self.rfile.read(int(self.headers["Content-Length"])).decode())
        form = {name: value[0] for name, value in form.items()}
        self.asked.append((self.path, form))
        status, answer = 200, {"access_token": "tok-" + form.get("scope", "none"), "token_type": "Bearer"}
        if self.path == "/device":
            answer = {"device_code": "dev", "user_code": "WXYZ", "verification_uri": "http://127.0.0.1/go", "interval": 1}
        elif self.path == "/form" and "client_secret" not in form or self.secret(form) not in (None, "s3cret"):
            status, answer = 401, {"error": "invalid_client"}
        elif "device_code" in form and sum("device_code" in f for _, f in self.asked) == 1:
            status, answer = 400, {"error": "authorization_pending"}
        body = json.dumps(answer).encode()
        self.send_response(status)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def secret(self, form):
        """The secret of the client, which it gives by the header or in the form."""
        header = self.headers["Authorization"]
        if header is None:
            return form.get("client_secret")
        return base64.b64decode(header.removeprefix("Basic ")).decode().removeprefix("c1:")

    def log_message(self, *_):
        """Says nothing."""


def password_sent(words):
    """The CONNECT's user name and password, as a server that answers nothing else sees them."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        command = [find_binary(ROOT), "pub", "-h", "127.0.0.1", "-p", str(listener.getsockname()[1]), "-t", "a", "-m", "x"]
        process = subprocess.Popen([*command, *words], stderr=subprocess.PIPE)
        listener.settimeout(DEADLINE)
        try:
            peer, _ = listener.accept()
            packet = peer.recv(65536)
            peer.close()
        except TimeoutError:
            packet = b""
        _, error = process.communicate(timeout=DEADLINE)
        return packet, error


def tokens(place):
    """The token is the password: from a file, for a secret, and after a login in a browser."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Provider)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    base = f"http://127.0.0.1:{server.server_address[1]}"
    token, secret, wrong = (place.folder / name for name in ("token", "secret", "wrong"))
    token.write_text("from-file\n")
    secret.write_text("s3cret\n")
    wrong.write_text("no\n")
    packet, _ = password_sent(["--oauth-token-file", token])
    require(packet.endswith(b"\x00\x00\x00\x09from-file"), packet)
    client = ["--oauth-token-url", f"{base}/token", "--oauth-client-id", "c1", "--oauth-scope", "a b"]
    packet, error = password_sent([*client, "--oauth-client-secret-file", secret, "-u", "ann"])
    require(packet.endswith(b"\x00\x03ann\x00\x07tok-a b"), f"{packet} {error}")
    by_form = [word.replace("/token", "/form") for word in client]
    packet, error = password_sent([*by_form, "--oauth-client-secret-file", secret])
    require(packet.endswith(b"\x00\x07tok-a b"), f"{packet} {error}")
    packet, error = password_sent([*client, "--oauth-device-url", f"{base}/device"])
    require(packet.endswith(b"\x00\x07tok-a b"), f"{packet} {error}")
    require(b"http://127.0.0.1/go" in error and b"WXYZ" in error, error)
    result = midge("pub", *place.host(), "-t", "a", "-m", "x", *client, "--oauth-client-secret-file", wrong)
    require(result.returncode == 1 and b"invalid_client" in result.stderr, f"{result}")
    server.shutdown()


def run_all(report):
    """Runs everything."""
    problem = install.debian_tool("openssl", "openssl")
    if problem:
        print(f"skipped: links: {problem}", flush=True)
        return
    with tempfile.TemporaryDirectory() as folder:
        place = Place(folder)
        try:
            for test in (tls, tls_refused, bad_files, no_response, reader_gone, websocket, websocket_mosquitto, unix_socket, bound, proxy, tokens, bench):
                report.run(f"links {test.__name__}", test, place)
            for test in (srv.brokers, srv.with_tls, srv.faults, srv.dnsmasq):
                report.run(f"links srv {test.__name__}", test, midge, place)
        finally:
            place.broker.stop()
            place.broker.clean_up()


if __name__ == "__main__":
    REPORT = Report()
    run_all(REPORT)
    REPORT.exit()
