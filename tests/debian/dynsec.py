"""Dynamic security with Debian's mosquitto and mosquitto_ctrl: the same files, requests and decisions.

The cases of dynsec_cases.json are put to a broker over its socket; the unit tests of the crate `access`
decide the same cases. Brokers are started on free ports of 127.0.0.1 and ended by their process ids.
"""

import base64
import contextlib
import glob
import hashlib
import json
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness import wire
from harness.broker import find_binary, free_port, is_ours
from harness.report import Report, Skip, require, require_equal

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
CASES = json.loads((HERE / "dynsec_cases.json").read_text())["scenarios"]

EXCHANGES = json.loads((HERE / "dynsec_exchanges.json").read_text())

UNSUBSCRIBE, UNSUBACK = 10, 11
NOT_AUTHORISED = 0x87
#: Seconds that a broker may take to listen, and a tool to end.
DEADLINE = 20
PASSWORD = "pass word"

CONFIGURATION = """\
listener {port} 127.0.0.1
allow_anonymous true
plugin {plugin}
plugin_opt_config_file {file}
user root
log_type all
log_dest stderr
"""


def plugin():
    """Debian's plugin; Midge goes by the name of the file."""
    found = glob.glob("/usr/lib/*/mosquitto_dynamic_security.so")
    return found[0] if found else "/usr/lib/mosquitto_dynamic_security.so"


class Broker:
    """A broker with the file `ds.json` of a folder."""

    def __init__(self, binary, folder):
        self.port = free_port()
        self.file = pathlib.Path(folder, "ds.json")
        configuration = pathlib.Path(folder, "m.conf")
        configuration.write_text(CONFIGURATION.format(port=self.port, plugin=plugin(), file=self.file))
        self._log = pathlib.Path(folder, "log")
        arguments = [str(binary)] + (["broker"] if is_ours(binary) else [])
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(
                arguments + ["-c", str(configuration)],
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=folder,
            )
        try:
            self._await_listener()
        except BaseException:
            self.stop()
            raise

    def _await_listener(self):
        deadline = time.monotonic() + DEADLINE
        while True:
            if self._process.poll() is not None or time.monotonic() > deadline:
                raise AssertionError(f"the broker does not listen: {self._log.read_text(errors='replace')[-300:]}")
            try:
                wire.Peer("127.0.0.1", self.port).close()
                return
            except OSError:
                time.sleep(0.02)

    def stop(self):
        """Ends the broker."""
        if self._process.poll() is None:
            self._process.terminate()
        try:
            self._process.wait(DEADLINE)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()


class Session:
    """A 5.0 client, or None's anonymous one."""

    def __init__(self, port, user, client_id, password=PASSWORD):
        self.peer = wire.Peer("127.0.0.1", port)
        flags, credentials = 2, b""
        if user is not None:
            flags |= 0xC0
            credentials = wire.string(user) + wire.string(password)
        header = wire.string("MQTT") + bytes([5, flags]) + struct.pack("!H", 60) + b"\x00"
        self.peer.send(wire.packet(wire.CONNECT, header + wire.string(client_id) + credentials))
        self.reason = self.peer.expect(wire.CONNACK)[1]
        self._last_id = 0

    def _next_id(self):
        self._last_id += 1
        return struct.pack("!H", self._last_id)

    def publish(self, topic, payload=b"x"):
        """The reason code of a PUBLISH with QoS 1."""
        body = wire.string(topic) + self._next_id() + b"\x00" + payload
        self.peer.send(wire.packet(wire.PUBLISH, body, flags=2))
        answer = self.peer.expect(wire.PUBACK)
        return answer[2] if len(answer) > 2 else 0

    def subscribe(self, topic):
        """The reason code of a SUBSCRIBE with one filter."""
        body = self._next_id() + b"\x00" + wire.string(topic) + b"\x00"
        self.peer.send(wire.packet(wire.SUBSCRIBE, body, flags=2))
        return self.peer.expect(wire.SUBACK)[-1]

    def unsubscribe(self, topic):
        """The reason code of an UNSUBSCRIBE with one filter."""
        self.peer.send(wire.packet(UNSUBSCRIBE, self._next_id() + b"\x00" + wire.string(topic), flags=2))
        return self.peer.expect(UNSUBACK)[-1]

    def close(self):
        """Closes the socket."""
        self.peer.close()


def with_passwords(state):
    """The state with one password for all, in the form of Mosquitto 2.0."""
    salt = b"0123456789ab"
    digest = hashlib.pbkdf2_hmac("sha512", PASSWORD.encode(), salt, 101, 64)
    members = {
        "password": base64.b64encode(digest).decode(),
        "salt": base64.b64encode(salt).decode(),
        "iterations": 101,
    }
    return dict(state, clients=[dict(client, **members) for client in state["clients"]])


def decisions(binary):
    """Each case is decided as the file says."""
    for scenario in CASES:
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "ds.json")
            file.write_text(json.dumps(with_passwords(scenario["state"])))
            with contextlib.closing(stopping(Broker(binary, folder))) as broker:
                wrong = [case for case in scenario["cases"] if ask(broker.port, case) != case["allowed"]]
                require_equal(wrong, [], f"{len(wrong)} of {len(scenario['cases'])} cases decided otherwise")


def ask(port, case):
    """What a broker says to one case."""
    session = Session(port, case["user"], "c1")
    require_equal(session.reason, 0, f"login of {case['user']}")
    topic = case["topic"]
    if case["action"] == "publish":
        reason = session.publish(topic)
    elif case["action"] == "subscribe":
        reason = session.subscribe(topic)
    elif case["action"] == "unsubscribe":
        reason = session.unsubscribe(topic)
    else:
        session.close()
        return is_delivered(port, case["user"], topic)
    session.close()
    require(reason < 0x80 or reason == NOT_AUTHORISED, f"reason {reason:#x} for {case}")
    return reason < 0x80


def is_delivered(port, user, topic):
    """Whether a message of a topic reaches a user that subscribes to everything."""
    receiver = Session(port, user, "c1")
    require(receiver.subscribe("#") < 0x80, f"{user} may not subscribe")
    sender = Session(port, "boss", "c2")
    require(sender.publish(topic) < 0x80, "the sender may not publish")
    # What is always let through shows that the message before it will not come any more.
    require(sender.publish("r/yes", b"end") < 0x80, "the sender may not publish")
    topics = []
    while True:
        body = receiver.peer.expect(wire.PUBLISH)
        length = struct.unpack("!H", body[:2])[0]
        if body.endswith(b"end"):
            break
        topics.append(body[2 : 2 + length].decode())
    receiver.close()
    sender.close()
    return topic in topics


def requests(binary):
    """Each request is answered as mosquitto 2.0.11 has answered it."""
    topic = "$CONTROL/dynamic-security/v1"
    with tempfile.TemporaryDirectory() as folder:
        pathlib.Path(folder, "ds.json").write_text(json.dumps(with_passwords(EXCHANGES["state"])))
        with contextlib.closing(stopping(Broker(binary, folder))) as broker:
            session = Session(broker.port, "boss", "ctl")
            require(session.subscribe(f"{topic}/response") < 0x80, "boss may not subscribe to answers")
            wrong = []
            for exchange in EXCHANGES["exchanges"]:
                body = wire.string(topic) + b"\x00" + exchange["request"].encode()
                session.peer.send(wire.packet(wire.PUBLISH, body))
                answer = session.peer.expect(wire.PUBLISH)
                payload = answer[3 + struct.unpack("!H", answer[:2])[0] :]
                if without_additions(json.loads(payload)) != exchange["response"]:
                    wrong.append((exchange["request"], payload.decode()))
            session.close()
    require_equal(wrong, [], f"{len(wrong)} of {len(EXCHANGES['exchanges'])} requests answered otherwise")


def without_additions(value):
    """An answer without what Mosquitto 2.1 has added."""
    if isinstance(value, list):
        return [without_additions(entry) for entry in value]
    if isinstance(value, dict):
        added = ("connections", "allowwildcardsubs")
        return {name: without_additions(entry) for name, entry in value.items() if name not in added}
    return value


def stopping(broker):
    """The broker as something to close."""
    broker.close = broker.stop
    return broker


def run(*arguments):
    """A tool's standard output; it must end with 0 and complain about nothing but the missing encryption."""
    result = subprocess.run(
        [str(word) for word in arguments],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
        check=False,
    )
    complaints = [line for line in result.stderr.splitlines() if line]
    unexpected = [line for line in complaints if not line.startswith(("Warning: You are", "This means all"))]
    if result.returncode or unexpected:
        raise AssertionError(f"{arguments}: status {result.returncode}, {unexpected}")
    return result.stdout


#: Commands that both tools and both brokers know, in an order that works from an empty file on.
COMMANDS = [
    "createClient ann -p {password} -i a1",
    "createClient bob -p {password}",
    "createRole r",
    "addRoleACL r publishClientSend a/# allow 5",
    "addRoleACL r publishClientSend a/b deny 7",
    "addRoleACL r subscribePattern b/# deny",
    "addRoleACL r subscribeLiteral b/lit allow",
    "addRoleACL r unsubscribeLiteral b/lit allow",
    "addRoleACL r unsubscribePattern c/+ deny 2",
    "addRoleACL r publishClientReceive # allow",
    "addClientRole ann r 3",
    "createGroup g",
    "createGroup h",
    "addGroupRole g r 4",
    "addGroupClient g ann 7",
    "addGroupClient g bob",
    "addGroupClient h bob 2",
    "setAnonymousGroup h",
    "createClient gone -p {password}",
    "deleteClient gone",
    "createRole gone",
    "addClientRole bob gone",
    "deleteRole gone",
    "removeRoleACL r publishClientSend a/b",
    "disableClient bob",
    "enableClient bob",
    "setClientPassword bob {password}2",
    "setClientId ann a2",
    "removeGroupClient g bob",
    "addGroupClient g bob 5",
]

QUESTIONS = [
    "listClients",
    "listClients 1 1",
    "listGroups",
    "listRoles",
    "getRole r",
    "getGroup g",
    "getDefaultACLAccess",
    "getAnonymousGroup",
]


def drive(broker, tool):
    """Carries out all commands with a tool."""
    for command in COMMANDS:
        run(*tool, "-p", broker.port, "-u", "admin", "-P", PASSWORD, "dynsec", *words(command))


def words(command):
    """The words of a command line, with the password that has a space in it."""
    return [word.format(password=PASSWORD) for word in command.split(" ")]


def questions(broker, tool):
    """What a tool prints for each question."""
    answers = {}
    for question in QUESTIONS:
        answers[question] = run(*tool, "-p", broker.port, "-u", "admin", "-P", PASSWORD, "dynsec", *words(question))
    return answers


def file_without_secrets(path):
    """A file, without what differs between any two that say the same."""
    state = json.loads(path.read_text())
    state.pop("changeIndex", None)
    for client in state["clients"]:
        for name in ("encoded_password", "password", "salt", "iterations"):
            client.pop(name, None)
    for role in state["roles"]:
        role.pop("allowwildcardsubs", None)
    return state


def our_tool_drives(binary, ours):
    """`midge ctrl` makes a file that a broker takes, and does to it what mosquitto_ctrl does."""
    theirs = "mosquitto_ctrl"
    files, answers = [], []
    for tool in ([str(ours), "ctrl", "--quiet", "-o", "/dev/null"], [theirs, "-o", "/dev/null"]):
        with tempfile.TemporaryDirectory() as folder:
            file = pathlib.Path(folder, "ds.json")
            # Both begin with our file, so that what they make of it can be compared.
            run(ours, "ctrl", "dynsec", "init", file, "admin", PASSWORD)
            with contextlib.closing(stopping(Broker(binary, folder))) as broker:
                drive(broker, tool)
                answers.append(questions(broker, tool))
                check_logins(broker.port)
            files.append(file_without_secrets(file))
            # What the broker has saved is a file for us, with nothing to warn of.
            run(ours, "ctrl", "-f", file, "dynsec", "setClientPassword", "bob", "third", "-i", "77")
            with contextlib.closing(stopping(Broker(binary, folder))) as broker:
                login = Session(broker.port, "bob", "x", "third")
                require_equal(login.reason, 0, "login with the password set in the file")
                login.close()
    require_equal(files[0], files[1], "file")
    for question, answer in answers[0].items():
        require_equal(answer, answers[1][question], question)


def check_logins(port):
    """The clients that COMMANDS leave can log in, each in its way only."""
    for user, client_id, password, expected in [
        ("ann", "a2", PASSWORD, 0),
        ("ann", "a1", PASSWORD, None),
        ("ann", "a2", "wrong", None),
        ("bob", "any", f"{PASSWORD}2", 0),
        ("bob", "any", PASSWORD, None),
        ("gone", "any", PASSWORD, None),
    ]:
        session = Session(port, user, client_id, password)
        session.close()
        if expected is None:
            require(session.reason >= 0x80, f"{user}/{client_id} got in with {password!r}")
        else:
            require_equal(session.reason, expected, f"login of {user}/{client_id}")


def their_file_is_ours(binary, ours):
    """A file that mosquitto_ctrl has begun and a broker has changed is one of ours."""
    with tempfile.TemporaryDirectory() as folder:
        file = pathlib.Path(folder, "ds.json")
        run("mosquitto_ctrl", "dynsec", "init", file, "admin", PASSWORD)
        with contextlib.closing(stopping(Broker(binary, folder))) as broker:
            drive(broker, ["mosquitto_ctrl", "-o", "/dev/null"])
            # The only command that mosquitto_ctrl 2.0.11 sends to no effect.
            tool = [ours, "ctrl", "--quiet", "-o", "/dev/null", "-p", broker.port, "-u", "admin", "-P", PASSWORD]
            run(*tool, "dynsec", "setDefaultACLAccess", "subscribe", "allow")
            require("subscribe            : allow" in run(*tool, "dynsec", "getDefaultACLAccess"), "not set")
        before = file_without_secrets(file)
        run(ours, "ctrl", "-f", file, "dynsec", "setClientPassword", "admin", "other")
        require_equal(file_without_secrets(file), before, "all but the password")
        with contextlib.closing(stopping(Broker(binary, folder))) as broker:
            for password, reason in [("other", 0), (PASSWORD, None)]:
                session = Session(broker.port, "admin", "x", password)
                require((session.reason == 0) == (reason == 0), f"login with {password!r}: {session.reason:#x}")
                session.close()


def brokers(ours):
    """The brokers to ask, with their names; a reason instead of a binary for one that cannot be asked."""
    theirs = shutil.which("mosquitto") or shutil.which("mosquitto", path="/usr/sbin")
    if theirs and glob.glob("/usr/lib/*/mosquitto_dynamic_security.so"):
        yield "Debian's mosquitto", theirs, None
    else:
        # Its package starts a service, so it is not installed unasked.
        yield "Debian's mosquitto", None, "apt-get install mosquitto"
    with tempfile.TemporaryDirectory() as folder:
        configuration = pathlib.Path(folder, "m.conf")
        text = CONFIGURATION.format(port=free_port(), plugin=plugin(), file=pathlib.Path(folder, "ds.json"))
        configuration.write_text(text)
        test = subprocess.run(
            [str(ours), "broker", "--test-config", "-c", str(configuration)],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE,
            check=False,
        )
    problem = test.stderr.strip().splitlines()[0] if test.returncode else None
    yield "Midge", ours, problem and f"this build has no dynamic security ({problem[:100]})"


def main():
    """Runs all tests against each broker."""
    report = Report()
    ours = find_binary(ROOT)
    if ours is None or not is_ours(ours):
        print("skipped: dynsec: it needs midge for its tool, built or named by MIDGE_BIN")
        report.exit()
    for name, binary, problem in brokers(ours):
        for test, arguments in (
            (decisions, (binary,)),
            (requests, (binary,)),
            (our_tool_drives, (binary, ours)),
            (their_file_is_ours, (binary, ours)),
        ):
            title = f"dynsec {name} {test.__name__.replace('_', ' ')}"
            if problem:
                report.run(title, skip, problem)
            elif len(arguments) > 1 and not shutil.which("mosquitto_ctrl"):
                report.run(title, skip, "mosquitto_ctrl is missing: apt-get install mosquitto")
            else:
                report.run(title, test, *arguments)
    report.exit()


def skip(problem):
    """A test that cannot run."""
    raise Skip(problem)


if __name__ == "__main__":
    main()
