"""mosquitto_pub, mosquitto_sub and mosquitto_rr of Debian, in every version and QoS."""

import argparse
import itertools
import os
import pathlib
import random
import subprocess
import sys
import tempfile
import threading

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

from harness import wire
from harness.report import Report, require, require_equal
from tools import DEADLINE, VERSIONS, Tools

MIB = 1024 * 1024
QUEUED = 50
SHARED = 200
TOPICS = 10_000

#: Topics of one test never meet those of another, nor those of an earlier run against the same broker.
RUN = os.urandom(2).hex()
NUMBERS = itertools.count()


class Setting:
    """The tools with one version, and topics of their own."""

    def __init__(self, version, host, port):
        self.tools = Tools(version, host, port)
        self.version = version
        self.address = (host, port)
        self.root = f"{RUN}/{next(NUMBERS)}"

    def topic(self, name):
        """A topic, or filter, of this test alone."""
        return f"{self.root}/{name}"

    def client_id(self):
        """Short enough for 3.1."""
        return self.root.replace("/", "-")


def wildcards(setting, qos):
    """Filters get what they match, with QoS and topic."""
    subscriber = setting.tools.subscribe(
        "-q", qos, "-t", setting.topic("a/+/c"), "-t", setting.topic("d/#"), "-F", "%t %q %r %p"
    )
    matching = ["a/b/c", "a//c", "d", "d/e/f"]
    for name in ["a/b", "x", *matching]:
        setting.tools.publish("-q", qos, "-t", setting.topic(name), "-m", name)
    expected = [f"{setting.topic(name)} {qos} 0 {name}" for name in matching]
    require_equal(subscriber.take(len(matching)), expected, "messages")
    subscriber.terminate()


def retained(setting, qos):
    """A retained message waits for subscribers until an empty one removes it."""
    topic = setting.topic("retained")
    setting.tools.publish("-q", qos, "-t", topic, "-m", "kept", "-r")
    subscribe = ("-q", qos, "-t", setting.topic("+"), "-F", "%r %q %p")
    first = setting.tools.subscribe(*subscribe)
    require_equal(first.next(), f"1 {qos} kept", "retained message")
    setting.tools.publish("-q", qos, "-t", topic, "-n", "-r")
    require_equal(first.next(), f"0 {qos} ", "removal")
    first.terminate()
    second = setting.tools.subscribe(*subscribe)
    setting.tools.publish("-q", qos, "-t", setting.topic("marker"), "-m", "marker")
    require_equal(second.next(), f"0 {qos} marker", "what a later subscriber gets first")
    second.terminate()


def will(setting, qos):
    """A killed client leaves its will; one that says DISCONNECT does not, unless it asks for it."""
    watcher = setting.tools.subscribe("-q", qos, "-t", setting.topic("will/#"), "-F", "%t %q %p")
    for name in ("polite", "lost"):
        options = ["--will-topic", setting.topic(f"will/{name}"), "--will-payload", name, "--will-qos", qos]
        client = setting.tools.subscribe("-t", setting.topic("nothing"), *options)
        if name == "polite":
            client.terminate()
        else:
            client.kill()
    # In 5.0 mosquitto_sub ends with reason 0x04, disconnect with will message.
    for name in ("polite", "lost") if setting.version == "5.0" else ("lost",):
        require_equal(watcher.next(), f"{setting.topic(f'will/{name}')} {qos} {name}", "will")
    watcher.terminate()


def session(setting, qos):
    """What was published while the client was gone arrives when it is back, in order and once."""
    topic = setting.topic("queue")
    options = ["-i", setting.client_id(), "-q", qos, "-t", topic, "-c"]
    if setting.version == "5.0":
        options += ["-x", "300"]
    setting.tools.subscribe(*options).kill()
    payloads = [str(number) for number in range(QUEUED)]
    setting.tools.publish("-q", qos, "-t", topic, lines=payloads)
    client = setting.tools.subscribe(*options, "-C", QUEUED, expected=0)
    require_equal(client.rest(), payloads, "queued messages")


def shared(setting, qos):
    """Two members of a group share the messages; none is lost and none comes twice."""
    topic = setting.topic("work")
    members = [setting.tools.subscribe("-q", qos, "-t", f"$share/{RUN}/{topic}") for _ in range(2)]
    # Everything that comes after the work shows that the work is done: one end for each member.
    watcher = setting.tools.subscribe("-q", qos, "-t", topic)
    setting.tools.publish("-q", qos, "-t", topic, lines=range(SHARED))
    watcher.take(SHARED)
    found, taken = [], [0, 0]
    lock = threading.Lock()

    def drain(index):
        while True:
            line = members[index].messages.get(timeout=DEADLINE)
            if line is None:
                return
            with lock:
                found.append(int(line))
                taken[index] += 1
                if len(found) >= SHARED:
                    done.set()

    done = threading.Event()
    threads = [threading.Thread(target=drain, args=(index,), daemon=True) for index in range(2)]
    for thread in threads:
        thread.start()
    done.wait(DEADLINE)
    for tool in (*members, watcher):
        tool.terminate()
    for thread in threads:
        thread.join(DEADLINE)
    require_equal(sorted(found), list(range(SHARED)), "all messages of the group")
    require(all(taken), f"the members got {taken}")


def large_payload(setting, qos, size):
    """A file arrives whole."""
    topic = setting.topic("large")
    payload = random.Random(size).randbytes(size)
    with tempfile.TemporaryDirectory() as folder:
        sent, got = pathlib.Path(folder, "sent"), pathlib.Path(folder, "got")
        sent.write_bytes(payload)
        # Retained, so that the subscriber need not be watched: its output is the payload alone.
        setting.tools.publish("-q", qos, "-t", topic, "-f", sent, "-r")
        with got.open("wb") as output:
            subprocess.run(
                setting.tools.command("mosquitto_sub", "-q", qos, "-t", topic, "-N", "-C", 1),
                stdin=subprocess.DEVNULL,
                stdout=output,
                timeout=DEADLINE,
                check=True,
            )
        setting.tools.publish("-t", topic, "-n", "-r")
        require_equal(got.stat().st_size, size, "length")
        require(got.read_bytes() == payload, "the payload was changed")


def many_topics(setting, qos):
    """10,000 topics reach one subscriber, in order; the tools can only publish to one each."""
    subscriber = setting.tools.subscribe("-q", qos, "-t", setting.topic("t/#"), "-F", "%t")
    topics = [setting.topic(f"t/{number}") for number in range(TOPICS)]
    publisher = wire.Peer.connected(*setting.address, f"{setting.client_id()}p")
    # QoS 1 whenever acknowledgements are wanted: they keep this side from running ahead of the queue.
    level = min(qos, 1)
    for start in range(0, TOPICS, 20):
        part = topics[start : start + 20]
        publisher.send(b"".join(wire.publish(topic, b"x", level, 1 + i) for i, topic in enumerate(part)))
        for _ in part if level else ():
            publisher.expect(wire.PUBACK)
    require_equal(subscriber.take(TOPICS), topics, "topics")
    publisher.close()
    subscriber.terminate()


def properties(setting, qos):
    """Properties of a 5.0 PUBLISH arrive as they were sent."""
    topic = setting.topic("question")
    subscriber = setting.tools.subscribe("-q", qos, "-t", topic, "-F", "%P|%R|%D|%C|%F|%E|%p")
    given = [
        ("user-property", "b", "1"),
        ("user-property", "a", "ü"),
        ("response-topic", setting.topic("answer")),
        ("correlation-data", "ab"),
        ("content-type", "text/plain"),
        ("payload-format-indicator", "1"),
        ("message-expiry-interval", "100"),
    ]
    options = [word for entry in given for word in ("-D", "publish", *entry)]
    setting.tools.publish("-q", qos, "-t", topic, "-m", "?", *options)
    *found, expiry, payload = subscriber.next().split("|")
    require_equal(found, ["b:1 a:ü", setting.topic("answer"), "ab", "text/plain", "1"], "properties")
    require(90 <= int(expiry) <= 100, f"expiry {expiry}")
    require_equal(payload, "?", "payload")
    subscriber.terminate()


def request_response(setting, qos):
    """mosquitto_rr gets the answer to its own request."""
    question, answer = setting.topic("question"), setting.topic("answer")
    responder = setting.tools.subscribe("-q", qos, "-t", question, "-F", "%R|%D|%p")
    options = ["-D", "publish", "correlation-data", "7"] if setting.version == "5.0" else []
    requester = setting.tools.request("-q", qos, "-t", question, "-e", answer, "-m", "6*7", *options)
    response_topic, correlation, payload = responder.next().split("|")
    require_equal(payload, "6*7", "question")
    reply = ["-q", qos, "-t", answer, "-m", "42"]
    if setting.version == "5.0":
        require_equal((response_topic, correlation), (answer, "7"), "response topic and correlation")
        reply += ["-D", "publish", "correlation-data", correlation]
    setting.tools.publish(*reply)
    require_equal(requester.rest(), ["42"], "answer")
    responder.terminate()


def topic_alias(setting, qos):
    """mosquitto_pub leaves the topic out once it has set an alias."""
    topic = setting.topic("alias")
    subscriber = setting.tools.subscribe("-q", qos, "-t", topic, "-F", "%t %p")
    setting.tools.publish("-q", qos, "-t", topic, "-D", "publish", "topic-alias", 1, lines=range(5))
    require_equal(subscriber.take(5), [f"{topic} {number}" for number in range(5)], "messages")
    subscriber.terminate()


def matrix(version, levels):
    """Name, test and arguments of every test of one version."""
    for qos in levels:
        yield f"QoS {qos} wildcards", wildcards, (qos,)
        yield f"QoS {qos} retained", retained, (qos,)
        yield f"QoS {qos} will", will, (qos,)
        if qos > 0:
            yield f"QoS {qos} session", session, (qos,)
        yield f"QoS {qos} shared subscription", shared, (qos,)
        yield f"QoS {qos} 1 MiB", large_payload, (qos, MIB)
        yield f"QoS {qos} 20 MiB", large_payload, (qos, 20 * MIB)
        yield f"QoS {qos} 10,000 topics", many_topics, (qos,)
        yield f"QoS {qos} mosquitto_rr", request_response, (qos,)
        if version == "5.0":
            yield f"QoS {qos} properties", properties, (qos,)
            yield f"QoS {qos} alias to the server", topic_alias, (qos,)


def main():
    """Runs the tests that the command line chooses; without a choice, all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--host", required=True)
    parser.add_argument("--port", type=int, required=True)
    parser.add_argument("--pid", type=int)
    parser.add_argument("--qos", type=int, action="append")
    parser.add_argument("--version", action="append")
    parser.add_argument("--test", action="append")
    options = parser.parse_args()

    report = Report()
    for version in options.version or VERSIONS:
        for name, test, arguments in matrix(version, options.qos or (0, 1, 2)):
            if any(part in name for part in options.test or ("",)):
                setting = Setting(version, options.host, options.port)
                report.run(f"mosquitto-clients {version} {name}", test, setting, *arguments)
    report.exit()


if __name__ == "__main__":
    main()
