"""The clients of the kill loop: publishers of every kind, and subscribers that are there or not."""

import asyncio
import random
import time

from harness import wire
from ledger import Audience, Ledger, Stream, Term
from session import Publisher, Subscriber

#: Streams of a publisher: topic, QoS, whether retained, and after how many a retained one is removed.
#: `both` is for plain subscribers, `group` for the shared group, `value` for nobody but latecomers.
STREAMS = [
    ("both/{}/one", 1, False, 0),
    ("both/{}/two", 2, False, 0),
    ("both/{}/kept", 2, True, 0),
    ("group/{}/one", 1, False, 0),
    ("group/{}/two", 2, False, 0),
    ("value/{}/one", 1, True, 4),
    ("value/{}/two", 2, True, 3),
]

#: What a newcomer subscribes to for all retained messages.
RETAINED_FILTERS = ["both/+/kept", "value/#"]

#: Seconds without a retained message after which no more will come.
QUIET = 0.03

#: Publishers: version, whether the session is clean, whether packet ids are used again at once.
PUBLISHERS = [(4, False, False), (5, False, True), (4, True, True), (5, True, False), (5, False, False)]

#: Plain subscribers: version, QoS, how they are there, receive maximum.
SUBSCRIBERS = [
    (4, 1, "online", None),
    (5, 2, "online", None),
    (5, 2, "online", 5),
    (4, 2, "dropping", None),
    (4, 2, "offline", None),
    (5, 1, "offline", None),
    (5, 2, "offline", 3),
    (4, 1, "changing", None),
    (5, 2, "changing", None),
    (5, 2, "renewing", None),
]

#: Members of the group: version, how they are there.
MEMBERS = [(5, "online"), (4, "online"), (5, "dropping"), (5, "offline")]

#: In how many lives of the broker those are there that mostly are not.
OFFLINE_SHARE = 0.25

#: Seconds between two changes of mind of those that subscribe and unsubscribe.
CHANGE_PAUSE = 0.04

#: Seconds without any progress after which nothing more will come.
STANDSTILL = 6

#: Seconds in which clients must get their sessions, and publishers their first acknowledgement.
FLOW_DEADLINE = 15


class Load:
    """All clients of one run, on whatever broker listens at the address."""

    def __init__(self, host, port, seed, *, any_order=False):
        self.host = host
        self.port = port
        self.ledger = Ledger(any_order)
        self.generator = random.Random(seed)
        self.is_publishing = False
        #: Whether a connection may end without its client's doing.
        self.expects_loss = True
        #: When the first CONNACK of this life came.
        self.up_at = None
        self._flow = asyncio.Event()
        self.publishers = []
        self.subscribers = {}
        self._build()

    def _build(self):
        for number, (level, is_clean, reuses_ids) in enumerate(PUBLISHERS):
            name = f"p{number}{'c' if is_clean else 'k'}"
            publisher = Publisher(self, name, level, self.generator, is_clean=is_clean, reuses_ids=reuses_ids)
            for topic, qos, is_retained, clear_every in STREAMS:
                stream = Stream(
                    name,
                    topic.format(name),
                    qos,
                    is_kept=not is_clean,
                    is_retained=is_retained,
                    clear_every=clear_every,
                )
                self.ledger.streams[stream.topic] = stream
                publisher.streams.append(stream)
            self.publishers.append(publisher)
        for number, (level, qos, habit, receive_maximum) in enumerate(SUBSCRIBERS):
            name = f"s{number}-{habit}-{qos}"
            audience = Audience(name, qos, lambda topic: topic.startswith("both/"))
            self.ledger.audiences.append(audience)
            self._add(habit, Subscriber(self, name, level, audience, "both/#", qos, receive_maximum=receive_maximum))
        group = Audience("group", 2, lambda topic: topic.startswith("group/"), is_group=True)
        self.ledger.audiences.append(group)
        for number, (level, habit) in enumerate(MEMBERS):
            self._add(habit, Subscriber(self, f"m{number}-{habit}", level, group, "$share/g/group/#", 2))

    def _add(self, habit, subscriber):
        self.subscribers.setdefault(habit, []).append(subscriber)

    def all_subscribers(self):
        """Every subscriber, whatever its habit."""
        return [client for group in self.subscribers.values() for client in group]

    def new_term(self, audience):
        """Notes that somebody asks for a subscription now."""
        term = Term(self.ledger.tick())
        audience.terms.append(term)
        return term

    def on_up(self):
        """Somebody got CONNACK."""
        self.up_at = self.up_at or time.monotonic()

    def on_flow(self):
        """A publisher got an answer."""
        self._flow.set()

    def on_lost(self, client):
        """A connection ended; while the broker lives that is a failure."""
        if not self.expects_loss:
            self.ledger.fail(f"the broker closed the connection of {client.name}")

    def on_disconnect(self, client, reason):
        """The broker said DISCONNECT."""
        if not self.expects_loss:
            self.ledger.fail(f"{client.name} got DISCONNECT with {reason:#x}")

    async def settle(self):
        """Connects everyone, the subscribers first, and waits for every SUBACK."""
        clients = self.all_subscribers()
        for client in clients:
            client.connect()
        await self._until(lambda: all(client.is_up and client.is_settled for client in clients), "SUBACK")
        for client in self.subscribers["offline"]:
            client.leave()
        self.is_publishing = True

    async def live(self):
        """Connects those that are there in this life and returns when messages flow."""
        self._flow.clear()
        for habit, clients in self.subscribers.items():
            for client in clients:
                if habit != "offline" or self.generator.random() < OFFLINE_SHARE:
                    client.connect()
        for publisher in self.publishers:
            publisher.connect()
        try:
            await asyncio.wait_for(self._flow.wait(), FLOW_DEADLINE)
        except TimeoutError:
            self.ledger.fail(f"no publisher got an answer within {FLOW_DEADLINE} s")

    async def disturb(self, seconds):
        """Lets traffic flow for a time in which some lose their connections or change their mind."""
        end = asyncio.get_running_loop().time() + seconds
        while (rest := end - asyncio.get_running_loop().time()) > 0:
            await asyncio.sleep(min(rest, CHANGE_PAUSE * self.generator.uniform(0.5, 1.5)))
            if self.generator.random() < 0.3:
                client = self.generator.choice([*self.subscribers["dropping"], self.publishers[-1]])
                client.drop()
                client.connect()
            if self.generator.random() < 0.1:
                self.generator.choice(self.subscribers["renewing"]).renew()
            self.generator.choice(self.subscribers["changing"]).toggle()

    def drop_all(self):
        """Cuts all connections, as the end of the broker does."""
        for client in (*self.publishers, *self.all_subscribers()):
            client.drop()

    async def finish(self):
        """Lets everything arrive that is owed, then judges."""
        self.is_publishing = False
        for client in (*self.publishers, *self.all_subscribers()):
            client.connect()
        await self._until_still(lambda: not any(publisher.unfinished for publisher in self.publishers))
        for publisher in self.publishers:
            if publisher.unfinished:
                self.ledger.fail(f"{publisher.name} waits for {publisher.unfinished} acknowledgements")
        for client in self.all_subscribers():
            client.subscribe()
        await self._until_still(lambda: next(self.ledger.owed(), None) is None)
        self.ledger.judge_end()
        await self.judge_retained()

    async def _until_still(self, condition):
        """Waits for a condition as long as anything moves."""
        seen = None
        still = 0.0
        while not condition() and still < STANDSTILL:
            state = (self.ledger.delivered, self.ledger.repeated, self.ledger.ticks)
            still = 0.0 if state != seen else still + 0.1
            seen = state
            await asyncio.sleep(0.1)
        # What comes twice comes after what was owed.
        await asyncio.sleep(0.2)

    async def _until(self, condition, what):
        deadline = asyncio.get_running_loop().time() + FLOW_DEADLINE
        while not condition():
            if asyncio.get_running_loop().time() > deadline:
                self.ledger.fail(f"no {what} within {FLOW_DEADLINE} s")
                return
            await asyncio.sleep(0.005)

    async def judge_retained(self):
        """Looks at the retained messages with a newcomer's eyes; nobody may publish meanwhile."""
        streams = [stream for stream in self.ledger.streams.values() if stream.is_retained]
        needed = {stream.topic for stream in streams if self.ledger.needs_retained(stream)}
        self.ledger.judge_retained(await asyncio.to_thread(self._read_retained, needed))

    def _read_retained(self, needed):
        """What a newcomer gets, by topic: at least what is needed, and what follows at once."""
        peer = wire.Peer.connected(self.host, self.port, "newcomer")
        self.on_up()
        peer.socket.settimeout(STANDSTILL)
        values = {}
        answers = 0
        try:
            for topic_filter in RETAINED_FILTERS:
                peer.send(wire.subscribe(1, topic_filter, 0))
            while True:
                first, body = peer.read()
                answers += first >> 4 == wire.SUBACK
                _note_retained(values, first, body)
                if answers == len(RETAINED_FILTERS) and needed <= values.keys():
                    peer.socket.settimeout(QUIET)
        except TimeoutError:
            return values
        finally:
            peer.close()


def _note_retained(values, first, body):
    if first >> 4 == wire.PUBLISH and first & 1:
        size = body[0] << 8 | body[1]
        values[body[2 : 2 + size].decode()] = body[2 + size :]
