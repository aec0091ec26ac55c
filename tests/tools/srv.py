"""Brokers that are found by the SRV records of a domain, with a name server of the test's own, and with dnsmasq."""

import socket
import socketserver
import subprocess
import threading
import time

from harness import install
from harness.broker import free_port
from harness.report import Skip, require, require_equal

SRV = 33
NAME_ERROR = 3
SERVER_FAILURE = 2
DEADLINE = 20
TRUNCATED = 0x0200


def name_bytes(name):
    """A name as it stands in a message."""
    labels = [label for label in name.split(".") if label]
    return b"".join(bytes([len(label)]) + label.encode() for label in labels) + b"\0"


def read_name(message, at):
    """The name at a place, and where it ends; questions are not compressed."""
    labels = []
    while message[at]:
        labels.append(message[at + 1 : at + 1 + message[at]].decode())
        at += 1 + message[at]
    return ".".join(labels), at + 1


class NameServer:
    """Answers by UDP and TCP with the records that it was given, or by a code."""

    def __init__(self, records=None, code=0, udp_max=512):
        self.records, self.code, self.udp_max = records or {}, code, udp_max
        self.asked = []
        server = self

        class Udp(socketserver.BaseRequestHandler):
            """One datagram."""

            def handle(self):
                message, stream = self.request
                server.asked.append("udp")
                answer = server.answer(message)
                if len(answer) > server.udp_max:
                    answer = server.answer(message, TRUNCATED)[: server.udp_max]
                stream.sendto(answer, self.client_address)

        class Tcp(socketserver.BaseRequestHandler):
            """One question."""

            def handle(self):
                length = int.from_bytes(self.request.recv(2, socket.MSG_WAITALL), "big")
                server.asked.append("tcp")
                answer = server.answer(self.request.recv(length, socket.MSG_WAITALL))
                self.request.sendall(len(answer).to_bytes(2, "big") + answer)

        self.servers = [socketserver.ThreadingUDPServer(("127.0.0.1", free_port()), Udp)]
        self.port = self.servers[0].server_address[1]
        self.servers.append(socketserver.ThreadingTCPServer(("127.0.0.1", self.port), Tcp))
        for one in self.servers:
            threading.Thread(target=one.serve_forever, args=(0.05,), daemon=True).start()

    def answer(self, message, flags=0):
        """The answer to a question."""
        name, end = read_name(message, 12)
        kind = int.from_bytes(message[end : end + 2], "big")
        found = self.records.get(name.lower(), []) if kind == SRV else []
        code = self.code or (0 if name.lower() in self.records else NAME_ERROR)
        header = message[:2] + (0x8180 | flags | code).to_bytes(2, "big") + b"\0\1"
        text = header + len(found).to_bytes(2, "big") + b"\0\0\0\0" + message[12 : end + 4]
        for priority, weight, port, target in found:
            data = b"".join(number.to_bytes(2, "big") for number in (priority, weight, port)) + name_bytes(target)
            text += b"\xc0\x0c" + SRV.to_bytes(2, "big") + b"\0\1\0\0\0\x3c" + len(data).to_bytes(2, "big") + data
        return text

    def words(self, domain):
        """The options that ask it for the brokers of a domain."""
        return ["-S", "-h", domain, "--dns-server", f"127.0.0.1:{self.port}"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for one in self.servers:
            one.shutdown()
            one.server_close()


def brokers(midge, place):
    """pub, sub, rr and bench go to the first broker that can be reached, also where the answer is long."""
    down = free_port()
    few = [(2, 0, place.plain, "localhost"), (1, 5, down, "localhost"), (1, 0, down, "nowhere.invalid")]
    # In front of the one that is there, so many that the answer doesn't fit into a datagram.
    many = [(1, 0, down, f"localhost{'.' if number % 2 else ''}") for number in range(40)] + few[:1]
    with NameServer({"_mqtt._tcp.few.test": few, "_mqtt._tcp.many.test": many}) as server:
        for domain, protocols in (("few.test", {"udp"}), ("Many.test.", {"udp", "tcp"})):
            server.asked.clear()
            words = server.words(domain)
            result = midge("pub", *words, "-t", f"srv/{domain}", "-m", "found", "-r", "-q", "1")
            require_equal((result.returncode, result.stderr), (0, b""), f"pub {domain}")
            require_equal(set(server.asked), protocols, "how was asked")
            result = midge("sub", *words, "-t", f"srv/{domain}", "-C", "1", "-V", "5")
            require_equal((result.returncode, result.stdout), (0, b"found\n"), f"sub {domain} {result.stderr}")
        words = server.words("few.test")
        result = midge("rr", *words, "-t", "srv/echo", "-e", "srv/echo", "-m", "asked", "-W", "10")
        require_equal((result.returncode, result.stdout), (0, b"asked\n"), f"rr {result.stderr}")
        result = midge("bench", "p2p", "--pairs", "2", *words, "--seconds", "1", "--warm-up", "0", "--quiet")
        require_equal(result.returncode, 0, f"bench {result.stderr}")


def with_tls(midge, place):
    """With TLS the service is another, and the certificate is for the target."""
    ca = ["--cafile", str(place.ca.certificate)]
    secure = {
        "_secure-mqtt._tcp.a.test": [(0, 0, place.ports["tls"], "localhost")],
        "_mqtt._tcp.a.test": [(0, 0, place.plain, "localhost")],
    }
    with NameServer(secure) as server:
        words = [*server.words("a.test"), "-t", "srv/tls", "-m", "x", "-q", "1"]
        result = midge("pub", *words, *ca)
        require_equal((result.returncode, result.stderr), (0, b""), "pub")
        other = ["--cafile", str(place.other.certificate)]
        require_equal(midge("pub", *words, *other).returncode, 8, "a certificate of somebody else")


def faults(midge, place):
    """What is wrong is told, with what to try."""
    down = free_port()
    records = {
        "_mqtt._tcp.empty.test": [],
        "_mqtt._tcp.no.test": [(0, 0, 0, ".")],
        "_mqtt._tcp.down.test": [(0, 0, down, "localhost")],
    }
    with NameServer(records) as server, NameServer(code=SERVER_FAILURE) as failing:
        for words, text in (
            (server.words("nowhere.test"), "there is no name _mqtt._tcp.nowhere.test"),
            (server.words("empty.test"), "has no SRV record"),
            (server.words("no.test"), "says that there is no broker"),
            (server.words("down.test"), f"localhost:{down}: Error: Connection refused"),
            (server.words("a..b"), "'a..b' is no domain"),
            (failing.words("empty.test"), f"(127.0.0.1:{failing.port}: it fails)"),
            (["-S", "-h", "a.test", "--dns-server", f"127.0.0.1:{down}"], f"127.0.0.1:{down}: nobody listens there"),
            (["-S"], "-S needs a domain"),
            (["-S", "-h", "192.0.2.1"], "-S needs a domain"),
            (["-S", "-h", "a.test", "--unix", "/s"], "-S and --unix"),
            (["-h", "a.test", "--dns-server", "127.0.0.1"], "no -S"),
            (["-S", "-h", "a.test", "--dns-server", "dns.test"], "Invalid name server 'dns.test'"),
        ):
            result = midge("pub", *words, "-t", "a", "-m", "x")
            told = result.stderr.decode()
            require_equal(result.returncode, 1, told)
            require(told.startswith("Error: ") and text in told, f"{words}: {told}")
            require(len(told.strip().splitlines()) > 1, f"nothing to try: {told}")


class Dnsmasq:
    """Debian's dnsmasq with these records, and nothing of this machine's: (name, target, port, priority)."""

    def __init__(self, records):
        self.port = free_port()
        words = [
            install.dnsmasq_program(), "--no-daemon", "--conf-file=/dev/null", "--no-resolv", "--no-hosts",
            "--bind-interfaces", "--listen-address=127.0.0.1", f"--port={self.port}", "--local=/test/", "--pid-file=",
        ]
        words += [f"--srv-host={','.join(map(str, record))}" for record in records]
        self.process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE)
        end = time.monotonic() + DEADLINE
        while self.process.poll() is None and time.monotonic() < end:
            try:
                socket.create_connection(("127.0.0.1", self.port), timeout=1).close()
                return
            except OSError:
                time.sleep(0.02)
        self.process.kill()
        raise AssertionError(f"dnsmasq does not start: {self.process.communicate()[1]}")

    def words(self, domain):
        """The options that ask it for the brokers of a domain."""
        return ["-S", "-h", domain, "--dns-server", f"127.0.0.1:{self.port}"]

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.terminate()
        self.process.communicate(timeout=DEADLINE)


def dnsmasq(midge, place):
    """A name server that others wrote: one record, many that need TCP, TLS, no broker, no name."""
    problem = install.dnsmasq()
    if problem:
        raise Skip(problem)
    down = free_port()
    records = [
        ("_mqtt._tcp.few.test", "localhost", down, 1),
        ("_mqtt._tcp.few.test", "localhost", place.plain, 2),
        ("_secure-mqtt._tcp.few.test", "localhost", place.ports["tls"], 0),
        ("_mqtt._tcp.many.test", "localhost", place.plain, 9),
        # Without a target: there is no broker.
        ("_mqtt._tcp.no.test",),
        *(("_mqtt._tcp.many.test", f"a-host-with-a-long-name-{number}.nowhere.test", down, 1) for number in range(30)),
    ]
    ca = ["--cafile", str(place.ca.certificate)]
    with Dnsmasq(records) as server:
        for words in (server.words("few.test"), server.words("FEW.test."), [*server.words("few.test"), *ca]):
            message = ["-t", "srv/dnsmasq", "-q", "1"]
            result = midge("pub", *words, *message, "-m", "found", "-r")
            require_equal((result.returncode, result.stderr), (0, b""), f"pub {words}")
            result = midge("sub", *words, *message, "-C", "1")
            require_equal((result.returncode, result.stdout), (0, b"found\n"), f"sub {words} {result.stderr}")
        result = midge("pub", *server.words("many.test"), "-t", "a", "-m", "x", "-q", "1")
        require_equal((result.returncode, result.stderr), (0, b""), "many records")
        for domain, text in (("no.test", "says that there is no broker"), ("nowhere.test", "there is no name")):
            result = midge("pub", *server.words(domain), "-t", "a", "-m", "x")
            require(result.returncode == 1 and text in result.stderr.decode(), f"{domain}: {result}")
