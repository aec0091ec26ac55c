"""TLS, WebSocket and PROXY listeners against clients that others have written.

    tests/tls/main.py <folder of MQTT.js> [--test WORDS]

Certificates are made with openssl for each run. Every part has a broker of its own.
"""

import argparse
import contextlib
import os
import pathlib
import shutil
import ssl
import struct
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import paho.mqtt.client as mqtt

import certificates
from harness.broker import free_port
from harness.install import nginx_folder
from harness.report import Report, Skip, require, require_equal
from peers import (
    CONNACK,
    CONNECT,
    DEADLINE,
    DISCONNECT,
    GROWTH_MAX,
    MIB,
    PINGREQ,
    PINGRESP,
    PROXY1,
    ROOT,
    Listeners,
    Place,
    await_that,
    echo,
    ended,
    frame,
    mqtt_works,
    paho,
    plain_socket,
    proxy2,
    publish,
    read,
    read_frames,
    run,
    shows,
    tls_socket,
    upgrade,
)


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
    *certificates.TESTS,
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
