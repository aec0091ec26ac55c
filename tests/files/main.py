"""Password and access files: Midge's tools and Debian's Mosquitto must agree on them.

Mosquitto is started for each access file and asked by real clients; `midge check acl` says what Midge would
decide. Password files go both ways.
"""

import argparse
import base64
import hashlib
import hmac
import os
import pathlib
import struct
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import table
from harness import install, wire
from harness.broker import Broker, find_binary
from harness.report import Report, require, require_equal

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

#: Seconds that a tool may take.
DEADLINE = 60

#: Users of every access file: one that writes everything and one that reads everything.
WITNESSES = """
user writer
topic write #
topic write $x/#
user reader
topic read #
topic read $x/#
"""


class Folder:
    """A folder that Mosquitto can read as well after it has become another user."""

    def __init__(self):
        self._folder = tempfile.TemporaryDirectory(prefix="midge-files-")
        self.path = pathlib.Path(self._folder.name)
        self.path.chmod(0o755)

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self._folder.cleanup()

    def write(self, name, text):
        """A file with this text."""
        path = self.path / name
        path.write_text(text)
        path.chmod(0o644)
        return path


class Tools:
    """Midge's binary and the programs of Debian's Mosquitto."""

    def __init__(self):
        self.midge = find_binary(ROOT)
        self.mosquitto = install.mosquitto_program("mosquitto")
        self.mosquitto_passwd = install.mosquitto_program("mosquitto_passwd")

    def run(self, *arguments, code=0, typed=""):
        """Runs a program to its end and gives what it printed."""
        result = subprocess.run(
            list(map(str, arguments)),
            input=typed,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=DEADLINE,
            check=False,
        )
        require_equal(result.returncode, code, f"status of {arguments[1:]}: {result.stdout[-300:]}")
        return result.stdout


def login(broker, user, password, client_id="c"):
    """A peer and the return code of its CONNACK of 3.1.1."""
    flags = 2 | (0x80 if user is not None else 0) | (0x40 if password is not None else 0)
    body = wire.string("MQTT") + bytes([4, flags]) + struct.pack("!H", 60) + wire.string(client_id)
    for field in (user, password):
        body += wire.string(field) if field is not None else b""
    peer = wire.Peer(broker.host, broker.port)
    peer.send(wire.packet(wire.CONNECT, body))
    return peer, peer.expect(wire.CONNACK)[1]


def start(tools, folder, options):
    """Debian's broker with these options."""
    user = "user root\n" if os.geteuid() == 0 else ""
    return Broker(tools.mosquitto, options=user + options, cwd=folder.path)


# Passwords

PASSWORDS = {"alice": "correct horse", "bob smith": "ü€ 𝄞", "carol": "x" * 2_000, "dave": "$6$a$b"}


def passwords_of_midge(tools, folder, hashing):
    """What `midge passwd` writes lets the same people into Mosquitto."""
    path = folder.path / f"{hashing}-midge"
    for number, (user, password) in enumerate(PASSWORDS.items()):
        create = ["-c"] if number == 0 else []
        tools.run(tools.midge, "passwd", "-H", hashing, *create, "-b", path, user, password)
    path.chmod(0o644)
    require_logins(start(tools, folder, f"allow_anonymous false\npassword_file {path}\n"))


def passwords_of_mosquitto(tools, folder, hashing):
    """What mosquitto_passwd writes is what Midge reads, also when both have written."""
    path = folder.path / f"{hashing}-debian"
    for number, (user, password) in enumerate(PASSWORDS.items()):
        create = ["-c"] if number == 0 else []
        tools.run(tools.mosquitto_passwd, "-H", hashing, *create, "-b", path, user, password)
    check = [tools.midge, "check", "passwords", "--password-file", path]
    tools.run(*check)
    for user, password in PASSWORDS.items():
        tools.run(*check, "--user", user, "--pw", password)
        tools.run(*check, "--user", user, "--pw", password + "x", code=1)
    tools.run(tools.midge, "passwd", "-H", hashing, "-b", path, "alice", "changed")
    tools.run(tools.midge, "passwd", "-D", path, "carol")
    tools.run(tools.mosquitto_passwd, "-H", hashing, "-b", path, "carol", PASSWORDS["carol"])
    tools.run(tools.mosquitto_passwd, "-H", hashing, "-b", path, "alice", PASSWORDS["alice"])
    path.chmod(0o644)
    require_logins(start(tools, folder, f"allow_anonymous false\npassword_file {path}\n"))


def plain_passwords(tools, folder):
    """Both tools hash a file of plain passwords so that the other side lets people in."""
    plain = {user: password for user, password in PASSWORDS.items() if not password.startswith("$")}
    text = "".join(f"{user}:{password}\n" for user, password in plain.items())
    ours, theirs = folder.write("plain-midge", text), folder.write("plain-debian", text)
    tools.run(tools.midge, "passwd", "-H", "sha512-pbkdf2", "-U", ours)
    tools.run(tools.mosquitto_passwd, "-U", theirs)
    require_logins(start(tools, folder, f"allow_anonymous false\npassword_file {ours}\n"), plain)
    for user, password in plain.items():
        check = [tools.midge, "check", "passwords", "--password-file", theirs, "--user", user]
        tools.run(*check, "--pw", password)


def scram_keys(tools, folder, hashing):
    """`midge passwd` writes the keys of RFC 5802, and Mosquitto passes over such a user."""
    path = folder.path / f"{hashing}-keys"
    tools.run(tools.midge, "passwd", "-H", hashing, "-c", "-b", path, "alice", "correct horse")
    name, text = path.read_text().strip().split(":")
    _, kind, iterations, salt, stored, server = text.split("$")
    require_equal((name, kind, iterations), ("alice", hashing, "4096"), "line")
    function = hashing.removeprefix("scram-").replace("-", "")
    salted = hashlib.pbkdf2_hmac(function, b"correct horse", base64.b64decode(salt), 4096)
    client_key = hmac.digest(salted, b"Client Key", function)
    expected = hashlib.new(function, client_key).digest(), hmac.digest(salted, b"Server Key", function)
    require_equal((base64.b64decode(stored), base64.b64decode(server)), expected, "keys")
    tools.run(tools.midge, "passwd", "-H", "sha512-pbkdf2", "-b", path, "bob", "b")
    path.chmod(0o644)
    broker = start(tools, folder, f"allow_anonymous false\npassword_file {path}\n")
    require_logins(broker, {"bob": "b"})


def require_logins(broker, users=None):
    """Everybody gets in with the own password alone."""
    try:
        for user, password in (users or PASSWORDS).items():
            for given, code in ((password, 0), (password + "x", 5), ("", 5), (None, 5)):
                peer, found = login(broker, user, given)
                peer.close()
                require_equal(found, code, f"return code of {user} with {given and given[:20]!r}")
    finally:
        broker.stop()
        broker.clean_up()


# Access files


def decisions_of_mosquitto(broker, questions):
    """What Mosquitto decides: a set of (user, client id, action, topic) that it allows."""
    allowed = set()
    reader, _ = login(broker, "reader", None, "witness-reader")
    writer, _ = login(broker, "writer", None, "witness-writer")
    for topic_filter in ("#", "$x/#"):
        reader.subscribe(topic_filter)
    for user, client_id in sorted({question[:2] for question in questions}, key=str):
        mine = [question[2:] for question in questions if question[:2] == (user, client_id)]
        client, code = login(broker, user, None, client_id)
        require_equal(code, 0, f"return code of {user!r} {client_id!r}")
        for action, topic in mine:
            if allows(client, reader, writer, action, topic):
                allowed.add((user, client_id, action, topic))
        client.close()
    return allowed


def allows(client, reader, writer, action, topic):
    """Whether Mosquitto does it, as somebody else sees it."""
    if action in ("subscribe", "unsubscribe"):
        client.send(wire.subscribe(1, topic))
        return client.expect(wire.SUBACK)[2:] != b"\x80"
    if action == "deliver":
        client.subscribe(topic)
        source, sink = writer, client
    else:
        source, sink = client, reader
    source.send(wire.publish(topic, b"x", qos=1, packet_id=7))
    while source.read()[0] >> 4 != wire.PUBACK:
        pass
    if action == "deliver":
        # What it may read it must not get when it is asked about the next topic.
        client.send(wire.packet(10, struct.pack("!H", 2) + wire.string(topic), flags=2))
    arrived = topics_until_pong(sink)
    if sink is client:
        topics_until_pong(reader)
    return topic in arrived


def topics_until_pong(peer):
    """The topics of all messages that come before the answer to a ping."""
    peer.send(wire.packet(wire.PINGREQ, b""))
    topics = []
    while True:
        first, body = peer.read()
        if first >> 4 == wire.PINGRESP:
            return topics
        if first >> 4 == wire.PUBLISH:
            length = struct.unpack_from("!H", body)[0]
            topics.append(body[2 : 2 + length].decode())


def decisions_of_midge(tools, path, questions):
    """The same from `midge check acl`."""
    allowed = set()
    for user, client_id, action, topic in questions:
        arguments = ["--acl-file", path, "--client", client_id, "--topic", topic, f"--{action}"]
        if user is not None:
            arguments += ["--user", user]
        result = subprocess.run(
            [str(tools.midge), "check", "acl", *map(str, arguments)],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
        require(result.returncode in (0, 1), f"midge check: {result.stderr[-300:]}")
        if result.returncode == 0:
            allowed.add((user, client_id, action, topic))
    return allowed


def access(tools, folder, case):
    """Mosquitto and Midge decide alike, and as the table says; where they differ, as it says."""
    path = folder.write(case.name.replace(" ", "-"), case.rules + WITNESSES)
    questions = case.questions()
    ours = decisions_of_midge(tools, path, questions)
    broker = start(tools, folder, f"allow_anonymous true\nacl_file {path}\n")
    try:
        theirs = decisions_of_mosquitto(broker, questions)
    finally:
        broker.stop()
        broker.clean_up()
    require_equal(sorted(ours, key=str), sorted(case.allowed(), key=str), "Midge")
    require_equal(sorted(theirs, key=str), sorted(case.allowed_by_mosquitto(), key=str), "Mosquitto")


def wrong_access_files(tools, folder, number, rules):
    """What Mosquitto does not start with, Midge refuses."""
    path = folder.write(f"wrong-{number}", rules)
    tools.run(tools.midge, "check", "acl", "--acl-file", path, code=3)
    try:
        broker = start(tools, folder, f"allow_anonymous true\nacl_file {path}\n")
    except RuntimeError:
        return
    broker.stop()
    broker.clean_up()
    raise AssertionError(f"Mosquitto starts with {rules!r}")


def main():
    """Runs the tests that the command line chooses; without a choice, all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--test", action="append")
    options = parser.parse_args()
    tools = Tools()
    report = Report()

    def run(name, test, *arguments):
        if any(part in name for part in options.test or ("",)):
            report.run(f"files {name}", test, tools, folder, *arguments)

    with Folder() as folder:
        for hashing in ("sha512", "sha512-pbkdf2"):
            run(f"passwords of midge in {hashing}", passwords_of_midge, hashing)
            run(f"passwords of mosquitto_passwd in {hashing}", passwords_of_mosquitto, hashing)
        run("plain passwords", plain_passwords)
        for hashing in ("scram-sha-256", "scram-sha-512"):
            run(f"keys of {hashing}", scram_keys, hashing)
        for case in table.CASES:
            run(f"access {case.name}", access, case)
        for number, rules in enumerate(table.WRONG):
            run(f"wrong access file {number}", wrong_access_files, number, rules)
    report.exit()


if __name__ == "__main__":
    main()
