"""What was sent, acknowledged and delivered, and what follows from it.

A message belongs to a stream: one publisher, one topic, one QoS, numbered from 0. An audience is
what must get a stream's messages: a session, or a shared group as a whole. Every event has a tick,
so that before and after are known across clients.
"""

import array
import bisect
import dataclasses
import zlib

#: What is told of many failures.
FAILURES_TOLD = 12

#: A tick that never comes.
NEVER = 1 << 62

#: What fills payloads up; the longest is a few blocks of the disk.
FILLING = bytes(97 + (index * 7 + index // 26) % 26 for index in range(24 * 1024))


class Stream:
    """The messages of one publisher to one topic."""

    def __init__(self, publisher, topic, qos, *, is_kept, is_retained=False, clear_every=0):
        self.publisher = publisher
        self.topic = topic
        self.qos = qos
        #: Whether the publisher's session outlives its connection, so that it finishes what it began.
        self.is_kept = is_kept
        self.is_retained = is_retained
        self.clear_every = clear_every
        self.sent = array.array("q")
        #: When the exchange was over: PUBACK, PUBCOMP, or the end of a clean session.
        self.over = array.array("q")
        #: Whether the broker has taken the message over.
        self.acknowledged = bytearray()
        #: The last message whose exchange came to its end, so that all of its effects must be there.
        self.last_finished = -1

    def next_payload(self, tick, generator):
        """Numbers and words the next message, which is sent now."""
        number = len(self.sent)
        self.sent.append(tick)
        self.over.append(NEVER)
        self.acknowledged.append(0)
        return number, self.payload(number, generator)

    def is_clear(self, number):
        """Whether this message removes the retained one."""
        return bool(self.clear_every) and number % self.clear_every == self.clear_every - 1

    def payload(self, number, generator):
        """The text of a message: mostly short, now and then several blocks long."""
        if self.is_clear(number):
            return b""
        size = generator.randrange(4096, len(FILLING)) if generator.random() < 0.01 else generator.randrange(200)
        head = f"{self.publisher}:{self.topic}:{number}:".encode()
        filling = FILLING[:size]
        return b"%b%08x:%b" % (head, zlib.crc32(filling, zlib.crc32(head)), filling)

    def latest_values(self):
        """The numbers that the retained message may have now: the last finished one or a later one."""
        return range(max(self.last_finished, 0), len(self.sent))


@dataclasses.dataclass
class Term:
    """One subscription from its SUBSCRIBE to its UNSUBACK."""

    asked: int
    begun: int = NEVER
    ending: int = NEVER
    ended: int = NEVER


class Audience:
    """A session, or a shared group, and what has reached it."""

    def __init__(self, name, qos, matches, *, is_group=False):
        self.name = name
        self.qos = qos
        self.matches = matches
        self.is_group = is_group
        self.terms = []
        self.counts = {}
        self._first = {}
        self._highest = {}
        self._latest = {}
        self._settled = {}

    def take(self, stream, number, tick):
        """Counts a delivery; returns how often that message has come, and what came before it."""
        counts = self.counts.get(stream.topic)
        if counts is None:
            counts = self.counts[stream.topic] = bytearray()
            self._first[stream.topic] = array.array("q")
            self._highest[stream.topic] = self._latest[stream.topic] = -1
        if len(counts) <= number:
            more = len(stream.sent) - len(counts)
            counts.extend(bytes(more))
            self._first[stream.topic].frombytes(bytes(8 * more))
        if not counts[number]:
            self._first[stream.topic][number] = tick
        counts[number] = min(counts[number] + 1, 255)
        highest, latest = self._highest[stream.topic], self._latest[stream.topic]
        self._highest[stream.topic] = max(highest, number)
        self._latest[stream.topic] = number
        return counts[number], highest, latest

    def count(self, stream, number):
        """How often a message has come."""
        counts = self.counts.get(stream.topic, b"")
        return counts[number] if number < len(counts) else 0

    def owed(self, stream):
        """The numbers that must come and have not; what is settled once is not looked at again."""
        total = len(stream.sent)
        settled = self._settled.get(stream.topic, 0)
        while settled < total and self._is_settled(stream, settled):
            settled += 1
        self._settled[stream.topic] = settled
        return [
            number
            for number in range(settled, total)
            if self.count(stream, number) == 0 and self.must_get(stream, number)
        ]

    def _is_settled(self, stream, number):
        """Whether nothing can make this message owed any more."""
        return self.count(stream, number) > 0 or (stream.over[number] != NEVER and not self.must_get(stream, number))

    def first_delivery(self, stream, number):
        """When a message came first; None if it never came."""
        return self._first[stream.topic][number] if self.count(stream, number) else None

    def must_get(self, stream, number):
        """Whether the broker owes this message."""
        if not stream.acknowledged[number] or stream.is_clear(number):
            return False
        sent, over = stream.sent[number], stream.over[number]
        return any(term.begun <= sent and over <= term.ending for term in self.terms)

    def was_there(self, stream, number):
        """Whether a subscription was acknowledged when the message was sent first."""
        sent = stream.sent[number]
        return any(term.begun <= sent < term.ending for term in self.terms)

    def may_get(self, stream, number):
        """Whether a subscription was there at any time while the message was under way."""
        sent, over = stream.sent[number], stream.over[number]
        return any(term.asked <= over and sent <= term.ended for term in self.terms)


class Ledger:
    """All streams and audiences of one run, and the failures that were found."""

    def __init__(self, any_order=False):
        self._any_order = any_order
        self.ticks = 0
        self.lives = []
        self.streams = {}
        self.audiences = []
        self.failures = []
        self.failure_count = 0
        self.sent = self.acknowledged = self.resent = self.delivered = self.repeated = 0

    def tick(self):
        """The next moment."""
        self.ticks += 1
        return self.ticks

    def begin_life(self):
        """The broker has been started."""
        self.lives.append(self.tick())

    def life_at(self, tick):
        """The life of the broker at a moment, from 1."""
        return bisect.bisect_right(self.lives, tick)

    def fail(self, text):
        """Notes a failure with the life of the broker in which it was seen."""
        self.failure_count += 1
        if len(self.failures) < FAILURES_TOLD:
            self.failures.append(f"life {len(self.lives)}: {text}")

    def deliver(self, audience, client, topic, payload, qos, is_dup):
        """Judges a message that reached a member of an audience, and is not a retained one."""
        parts = payload.split(b":", 4)
        stream = self.streams.get(topic)
        if stream is None or len(parts) != 5 or parts[1] != topic.encode():
            self.fail(f"{client} got {payload[:60]!r} on {topic}")
            return
        head = b":".join(parts[:3]) + b":"
        if int(parts[3], 16) != zlib.crc32(parts[4], zlib.crc32(head)):
            self.fail(f"{client} got a changed payload: {payload[:60]!r}, {len(payload)} bytes")
            return
        number = int(parts[2])
        if number >= len(stream.sent) or not audience.matches(topic):
            self.fail(f"{client} got {head!r}, which nobody sent to it")
            return
        self.delivered += 1
        count, highest, latest = audience.take(stream, number, self.tick())
        if qos != min(audience.qos, stream.qos):
            self.fail(f"{client} got {head!r} with QoS {qos}")
        if count > 1:
            self.repeated += 1
            if qos == 2:
                story = self.story(audience, stream, number)
                self.fail(f"{audience.name} got {head!r} {count} times, now by {client} (dup {is_dup}): {story}")
        if not audience.may_get(stream, number):
            self.fail(f"{client} got {head!r} without a subscription: {self.story(audience, stream, number)}")
        if audience.is_group or self._any_order:
            return
        # Who subscribes in the middle may get a message that is sent again after its successors.
        if count == 1 and number < highest and audience.was_there(stream, number):
            self.fail(f"{client} got {head!r} after number {highest}: {self.story(audience, stream, number)}")
        for skipped in range(latest + 1, number):
            if audience.count(stream, skipped) == 0 and audience.must_get(stream, skipped):
                story = self.story(audience, stream, skipped)
                self.fail(f"{client} got {head!r} after number {latest}, without {skipped}: {story}")
                break

    def story(self, audience, stream, number):
        """What is known of a message."""
        first = audience.first_delivery(stream, number)
        came = "never came" if first is None else f"came first in life {self.life_at(first)} at tick {first}"
        over = stream.over[number]
        sent = stream.sent[number]
        word = "acknowledged" if stream.acknowledged[number] else "not acknowledged"
        end = "not over" if over == NEVER else f"over in life {self.life_at(over)} at tick {over}"
        begin = f"sent in life {self.life_at(sent)} at tick {sent}"
        return f"{begin}, {word}, {end}, {came}, now tick {self.ticks}"

    def owed(self):
        """What every audience still has to get, as (audience, stream, numbers)."""
        for audience in self.audiences:
            for stream in self.streams.values():
                if audience.matches(stream.topic) and (missing := audience.owed(stream)):
                    yield audience, stream, missing

    def judge_end(self):
        """Fails for everything that is owed when all has had its time."""
        for audience, stream, missing in self.owed():
            self.fail(
                f"{audience.name} never got {len(missing)} messages of {stream.topic}, the first is number "
                f"{missing[0]} of {len(stream.sent)}: {self.story(audience, stream, missing[0])}"
            )

    def judge_retained(self, values):
        """Judges the retained messages that a newcomer got while nobody published."""
        for stream in self.streams.values():
            if not stream.is_retained:
                continue
            possible = stream.latest_values()
            if stream.topic in values:
                number = self._retained_number(stream, values[stream.topic])
                if number not in possible or stream.is_clear(number):
                    self.fail(
                        f"the retained message of {stream.topic} is number {number}, "
                        f"the last finished one is {stream.last_finished} of {len(stream.sent)}"
                    )
            elif self.needs_retained(stream):
                self.fail(f"no retained message of {stream.topic}, the last finished one is {stream.last_finished}")

    @staticmethod
    def needs_retained(stream):
        """Whether there must be a retained message."""
        return stream.last_finished >= 0 and not any(map(stream.is_clear, stream.latest_values()))

    def _retained_number(self, stream, payload):
        parts = payload.split(b":", 4)
        if len(parts) != 5 or parts[1] != stream.topic.encode() or not parts[2].isdigit():
            self.fail(f"the retained message of {stream.topic} is {payload[:60]!r}")
            return -1
        return int(parts[2])
