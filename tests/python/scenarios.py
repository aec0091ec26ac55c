"""What users do with a broker, once for every client library, version and QoS."""

import asyncio
import dataclasses
import itertools
import os
import random

from adapter import Connection, Message, Properties
from harness.report import require, require_equal
from link import Link

#: Topics of one test never meet those of another, nor those of an earlier run against the same broker.
RUN = os.urandom(2).hex()
NUMBERS = itertools.count()

QUEUED = 50
SHARED = 200
TOPICS = 10_000


class Setting:
    """One client library and version against one broker, with names of its own."""

    def __init__(self, adapter, version, host, port):
        self.adapter = adapter
        self.version = version
        self.host = host
        self.port = port
        self.root = f"{RUN}/{next(NUMBERS)}"
        self._clients = 0

    def connection(self, **options):
        """How a new client connects; its id is short enough for 3.1."""
        self._clients += 1
        client_id = f"{self.root.replace('/', '-')}-{self._clients}"
        return Connection(self.host, self.port, self.version, client_id, **options)

    async def client(self, **options):
        """A new connected client."""
        return await self.adapter.connect(self.connection(**options))

    async def cuttable_client(self, **options):
        """A new client behind a link that can be cut."""
        link = await Link.open(self.host, self.port)
        connection = self.connection(**options)
        client = await self.adapter.connect(dataclasses.replace(connection, port=link.port))
        return client, link, connection

    def topic(self, name):
        """A topic, or filter, of this test alone."""
        return f"{self.root}/{name}"


async def connect(setting):
    """Several clients come and go."""
    for _ in range(3):
        client = await setting.client()
        require(client.session_present in (None, False), "a new client has an old session")
        await client.disconnect()


async def wildcards(setting, qos):
    """Filters get what they match, and nothing else."""
    client = await setting.client()
    publisher = await setting.client()
    await client.subscribe(setting.topic("a/+/c"), qos)
    await client.subscribe(setting.topic("d/#"), qos)
    matching = ["a/b/c", "a//c", "d", "d/e", "d/e/f"]
    others = ["a/b", "a/b/c/d", "x", "b/b/c"]
    names = [*others, *matching]
    random.Random(1).shuffle(names)
    end = setting.topic("d/end")
    await publisher.publish(
        *(Message(setting.topic(name), name.encode(), qos) for name in names), Message(end, b"end", qos)
    )
    found = await client.take(len(matching) + 1)
    expected = [setting.topic(name) for name in names if name in matching] + [end]
    require_equal([message.topic for message in found], expected, "topics")
    for message in found[:-1]:
        require_equal(setting.topic(message.payload.decode()), message.topic, "payload")
        require_equal((message.qos, message.retain), (qos, False), "QoS and retain")
    await publisher.disconnect()
    await client.disconnect()


async def retained(setting, qos):
    """A retained message waits for subscribers until an empty one removes it."""
    topic = setting.topic("retained")
    publisher = await setting.client()
    await publisher.publish(Message(topic, b"old", qos, True), Message(topic, b"new", qos, True))
    await _settle(publisher, setting)
    first = await setting.client()
    await first.subscribe(setting.topic("+"), qos)
    message = await first.next()
    require_equal((message.topic, message.payload, message.retain), (topic, b"new", True), "retained")
    require_equal(message.qos, qos, "QoS")

    await publisher.publish(Message(topic, b"", qos, True))
    message = await first.next()
    require_equal((message.payload, message.retain), (b"", False), "live removal")

    second = await setting.client()
    await second.subscribe(setting.topic("+"), qos)
    await publisher.publish(Message(setting.topic("marker"), b"marker", qos))
    message = await second.next()
    require_equal(message.payload, b"marker", "what a later subscriber gets first")
    for client in (publisher, first, second):
        await client.disconnect()


async def will(setting, qos):
    """A cut link publishes the will; a DISCONNECT does not."""
    watcher = await setting.client()
    await watcher.subscribe(setting.topic("will/#"), qos)

    polite = Message(setting.topic("will/polite"), b"must not come", qos)
    client = await setting.client(will=polite)
    await client.disconnect()

    lost = Message(setting.topic("will/lost"), b"lost", qos)
    client, link, _ = await setting.cuttable_client(will=lost)
    await link.cut()
    message = await watcher.next()
    require_equal((message.topic, message.payload, message.qos), (lost.topic, b"lost", qos), "will")
    await client.abandon()
    await watcher.disconnect()


async def session(setting, qos):
    """What was published while the link was cut arrives after it is restored, in order and once."""
    topic = setting.topic("queue")
    client, link, connection = await setting.cuttable_client(keep_session=True)
    await client.subscribe(topic, qos)
    publisher = await setting.client()
    await publisher.publish(Message(topic, b"before", qos))
    require_equal((await client.next()).payload, b"before", "while connected")
    # Once a second publication is answered, the broker has the acknowledgement of that message.
    for _ in range(2):
        await client.publish(Message(setting.topic("nobody"), b"", 1))
    await link.cut()
    await client.abandon()

    payloads = [f"{number}".encode() for number in range(QUEUED)]
    await publisher.publish(*(Message(topic, payload, qos) for payload in payloads))
    client = await setting.adapter.connect(connection)
    if setting.version != "3.1":  # whose CONNACK cannot say it
        require(client.session_present in (None, True), "the session was lost")
    found = await client.take(QUEUED)
    require_equal([message.payload for message in found], payloads, "queued messages")
    require(all(message.qos == qos for message in found), "QoS of queued messages")

    # The subscription is still there, and nothing came twice.
    await publisher.publish(Message(topic, b"after", qos))
    require_equal((await client.next()).payload, b"after", "after the queue")
    await client.disconnect()
    await publisher.disconnect()

    # A clean start ends the session.
    clean = dataclasses.replace(connection, keep_session=False)
    client = await setting.adapter.connect(clean)
    require(client.session_present in (None, False), "a clean start found a session")
    await client.disconnect()


async def shared(setting, qos):
    """Two members of a group share the messages; none is lost and none comes twice."""
    topic = setting.topic("work")
    members = [await setting.client(), await setting.client()]
    for member in members:
        await member.subscribe(f"$share/{RUN}/{topic}", qos)
    publisher = await setting.client()
    await publisher.publish(*(Message(topic, f"{number}".encode(), qos) for number in range(SHARED)))

    taken = [[], []]

    async def drain(member, into):
        while True:
            into.append((await member.received.get()).payload)

    tasks = [asyncio.create_task(drain(*pair)) for pair in zip(members, taken)]
    try:
        await asyncio.wait_for(_until(lambda: sum(map(len, taken)) >= SHARED), 20)
    except TimeoutError:
        raise AssertionError(f"{sum(map(len, taken))} of {SHARED} messages arrived") from None
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    numbers = sorted(int(payload) for part in taken for payload in part)
    require_equal(numbers, list(range(SHARED)), "all messages of the group")
    require(all(taken), f"the members got {[len(part) for part in taken]}")
    for client in (*members, publisher):
        await client.disconnect()


async def large_payload(setting, qos, size):
    """A large payload arrives whole."""
    topic = setting.topic("large")
    payload = random.Random(size).randbytes(size)
    client = await setting.client()
    await client.subscribe(topic, qos)
    publisher = await setting.client()
    await publisher.publish(Message(topic, payload, qos), Message(topic, b"after", qos))
    message = await client.next()
    require_equal(len(message.payload), size, "length")
    require(message.payload == payload, "the payload was changed")
    require_equal((await client.next()).payload, b"after", "after the large one")
    await publisher.disconnect()
    await client.disconnect()


async def many_topics(setting, qos):
    """10,000 topics reach one subscriber, in order."""
    client = await setting.client()
    await client.subscribe(setting.topic("t/#"), qos)
    publisher = await setting.client()
    topics = [setting.topic(f"t/{number}") for number in range(TOPICS)]
    publishing = asyncio.create_task(publisher.publish(*(Message(topic, b"x", qos) for topic in topics)))
    found = await client.take(TOPICS)
    await publishing
    require_equal([message.topic for message in found], topics, "topics")
    await publisher.disconnect()
    await client.disconnect()


async def properties(setting, qos):
    """Properties of a 5.0 PUBLISH arrive as they were sent."""
    sent = Properties(
        user=[("b", "1"), ("a", "2"), ("b", "ü")],
        response_topic=setting.topic("answer"),
        correlation=b"\x00\x01ab",
        content_type="text/plain",
        expiry=100,
    )
    client = await setting.client()
    await client.subscribe(setting.topic("question"), qos)
    publisher = await setting.client()
    await publisher.publish(Message(setting.topic("question"), b"?", qos, properties=sent))
    found = (await client.next()).properties
    require(found.expiry is not None and 90 <= found.expiry <= 100, f"expiry {found.expiry}")
    found.expiry = sent.expiry
    if setting.adapter.name == "gmqtt":
        # It takes the correlation data of a message that arrives for text.
        found.correlation = found.correlation and sent.correlation
    require_equal(found, sent, "properties")
    await publisher.disconnect()
    await client.disconnect()


async def request_response(setting, qos):
    """A responder answers to the topic and with the correlation data that the request names."""
    requester, responder = await setting.client(), await setting.client()
    await requester.subscribe(setting.topic("answer"), qos)
    await responder.subscribe(setting.topic("question"), qos)
    asked = Properties(response_topic=setting.topic("answer"), correlation=b"7")
    await requester.publish(Message(setting.topic("question"), b"6*7", qos, properties=asked))
    request = await responder.next()
    given = Properties(correlation=request.properties.correlation)
    await responder.publish(Message(request.properties.response_topic, b"42", qos, properties=given))
    answer = await requester.next()
    require_equal((answer.payload, answer.properties.correlation), (b"42", b"7"), "answer")
    await requester.disconnect()
    await responder.disconnect()


async def alias_to_server(setting, qos):
    """After an alias was set, the topic can be left out."""
    topic = setting.topic("a/rather/long/topic/name")
    client = await setting.client()
    await client.subscribe(topic, qos)
    publisher = await setting.client()
    alias = Properties(alias=1)
    await publisher.publish(Message(topic, b"0", qos, properties=alias))
    for number in range(1, 5):
        await publisher.publish(Message("", f"{number}".encode(), qos, properties=alias))
    found = await client.take(5)
    require_equal([(m.topic, m.payload) for m in found], [(topic, b"%d" % n) for n in range(5)], "messages")
    await publisher.disconnect()
    await client.disconnect()


async def alias_from_server(setting, qos):
    """A client that allows aliases is told the right topics."""
    client = await setting.client(alias_maximum=2)
    await client.subscribe(setting.topic("#"), qos)
    publisher = await setting.client()
    topics = [setting.topic(f"topic/{number % 3}") for number in range(12)]
    await publisher.publish(*(Message(topic, b"x", qos) for topic in topics))
    found = await client.take(len(topics))
    require_equal([message.topic for message in found], topics, "topics")
    await publisher.disconnect()
    await client.disconnect()


async def _until(condition):
    while not condition():
        await asyncio.sleep(0.01)


async def _settle(client, setting):
    """Returns once the broker has handled all that `client` has published."""
    topic = f"settled/{setting.root}"
    await client.subscribe(topic, 2)
    await client.publish(Message(topic, b"settled", 2))
    await client.next()
