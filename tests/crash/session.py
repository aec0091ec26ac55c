"""Clients that keep their side of the session across connections, as the standard asks."""

import asyncio

import packets
from packets import CONNACK, DISCONNECT, PUBACK, PUBCOMP, PUBLISH, PUBREC, PUBREL, SUBACK, UNSUBACK

#: Seconds between two attempts to connect.
PAUSE = 0.002

#: Packet ids of a SUBSCRIBE or UNSUBSCRIBE; the publishing side uses others.
SUBSCRIBE_ID = 60_000


class Link(asyncio.Protocol):
    """One connection of a client."""

    def __init__(self, client):
        self._client = client
        self._turn = client.turn
        self._unread = bytearray()
        self.transport = None

    def connection_made(self, transport):
        self.transport = transport
        if self._turn == self._client.turn:
            self._client.on_open(self)
        else:
            # The client has given this attempt up while it was under way.
            transport.abort()

    def data_received(self, data):
        client = self._client
        if client.link is not self:
            return
        self._unread += data
        for first, body in packets.cut_packets(self._unread):
            client.on_packet(first, body)
        client.flush()

    def connection_lost(self, _error):
        self._client.on_lost(self)


class Client:
    """A client with its session: connects when told to, and goes on where it was cut off."""

    def __init__(self, run, name, level, *, is_clean=False, receive_maximum=None):
        self.run = run
        self.ledger = run.ledger
        self.name = name
        self.level = level
        self.is_clean = is_clean
        self.link = None
        self.is_up = False
        self.is_known = False
        #: Whether the next CONNECT discards the session that there is (5.0 only).
        self.begins_anew = False
        self._receive_maximum = receive_maximum
        self._out = bytearray()
        self._attempt = None
        #: Counts the connections and attempts that were cut.
        self.turn = 0

    def connect(self):
        """Begins to connect, again and again until it works."""
        if self.link is None and (self._attempt is None or self._attempt.done()):
            self._attempt = asyncio.get_running_loop().create_task(self._open())

    async def _open(self):
        loop = asyncio.get_running_loop()
        while True:
            try:
                await loop.create_connection(lambda: Link(self), self.run.host, self.run.port)
                return
            except OSError:
                await asyncio.sleep(PAUSE)

    def drop(self):
        """Cuts the connection without a word, or gives up the attempt."""
        self.turn += 1
        if self._attempt:
            self._attempt.cancel()
            self._attempt = None
        if self.link:
            link, self.link = self.link, None
            self.is_up = False
            link.transport.abort()

    def leave(self):
        """Says DISCONNECT; the session stays."""
        if self.is_up:
            self.send(packets.disconnect(self.level))
            self.flush()
            link, self.link = self.link, None
            self.is_up = False
            link.transport.close()
        else:
            self.drop()

    def on_open(self, link):
        """The connection is there."""
        self.link = link
        self._out.clear()
        options = {"begins_anew": self.begins_anew}
        self.send(packets.connect(self.name, self.level, self.is_clean, self._receive_maximum, **options))
        self.flush()

    def on_lost(self, link):
        """The connection is gone."""
        if self.link is link:
            self.link = None
            self.is_up = False
            self.run.on_lost(self)

    def send(self, data):
        """Adds to what `flush` writes."""
        self._out += data

    def flush(self):
        """Writes what has gathered."""
        if self._out and self.link:
            self.link.transport.write(bytes(self._out))
            self._out.clear()

    def on_packet(self, first, body):
        """Handles one packet."""
        kind = first >> 4
        if kind == CONNACK:
            self._on_connack(body)
        elif kind == DISCONNECT:
            self.run.on_disconnect(self, body[0] if body else 0)
        else:
            self.on_session_packet(kind, first, body)

    def _on_connack(self, body):
        is_present, reason, receive_maximum = packets.read_connack(self.level, body)
        if reason:
            self.ledger.fail(f"{self.name} was refused with {reason:#x}")
            return
        wants_none = self.is_clean or self.begins_anew
        if wants_none and is_present:
            self.ledger.fail(f"{self.name} has a session although it asked for none")
        if self.is_known and not is_present and not wants_none:
            self.ledger.fail(f"{self.name}'s session is gone")
        self.begins_anew = False
        self.is_up = True
        self.run.on_up()
        self.is_known = True
        self.resume(is_present and not self.is_clean, receive_maximum)

    def on_session_packet(self, kind, first, body):
        """Handles a packet that belongs to the session."""
        raise NotImplementedError

    def resume(self, is_present, receive_maximum):
        """Goes on after CONNACK."""
        raise NotImplementedError


class Publisher(Client):
    """Publishes to its streams as fast as its window of unfinished messages allows."""

    def __init__(self, run, name, level, generator, *, is_clean=False, window=20, reuses_ids=False):
        super().__init__(run, name, level, is_clean=is_clean)
        self.streams = []
        self._generator = generator
        self._window = self._window_max = window
        # Ids are used again at once by some and in a long circle by others: both find other mistakes.
        self._reuses_ids = reuses_ids
        self._last_id = 0
        #: What is unfinished, by packet id, in the order in which it was sent: QoS 1, QoS 2, and
        #: QoS 2 after PUBREC in the order of that.
        self._unacknowledged = {}
        self._unreceived = {}
        self._unreleased = {}
        #: Whether a code of 0x80 and above is an answer like others; set where disks are full.
        self.refusals = None

    @property
    def unfinished(self):
        """Messages whose exchange is not over."""
        return len(self._unacknowledged) + len(self._unreceived) + len(self._unreleased)

    def resume(self, is_present, receive_maximum):
        """Sends again what the broker may not have, in the order of the first time."""
        self._window = min(self._window_max, receive_maximum)
        if not is_present:
            self._begin_anew()
        for packet_id in self._unreleased:
            self.send(packets.acknowledge(PUBREL, packet_id))
        waiting = [
            (stream.sent[number], packet_id, stream, payload)
            for unfinished in (self._unacknowledged, self._unreceived)
            for packet_id, (stream, number, payload) in unfinished.items()
        ]
        for _, packet_id, stream, payload in sorted(waiting, key=lambda entry: entry[0]):
            self.ledger.resent += 1
            self.send(
                packets.publish(self.level, stream.topic, payload, stream.qos, packet_id, stream.is_retained, dup=True)
            )
        self._fill()

    def _begin_anew(self):
        for unfinished in (self._unacknowledged, self._unreceived, self._unreleased):
            for stream, number, _ in unfinished.values():
                stream.over[number] = self.ledger.tick()
            unfinished.clear()

    def on_session_packet(self, kind, _first, body):
        packet_id = body[0] << 8 | body[1]
        reason = body[2] if len(body) > 2 else 0
        if kind == PUBACK:
            self._on_acknowledged(self._unacknowledged, "PUBACK", packet_id, reason, is_over=True)
        elif kind == PUBREC:
            found = self._on_acknowledged(self._unreceived, "PUBREC", packet_id, reason, is_over=reason >= 0x80)
            if found and reason < 0x80:
                self._unreleased[packet_id] = found
                self.send(packets.acknowledge(PUBREL, packet_id))
        elif kind == PUBCOMP:
            # 0x92 is right where PUBREL was sent again and the first had been served.
            reason = 0 if reason == 0x92 else reason
            self._on_acknowledged(self._unreleased, "PUBCOMP", packet_id, reason, is_over=True)
        else:
            self.ledger.fail(f"{self.name} got packet {kind}")
        self._fill()

    def _on_acknowledged(self, unfinished, word, packet_id, reason, *, is_over):
        found = unfinished.get(packet_id)
        if found is None:
            self.ledger.fail(f"{self.name} got {word} for packet id {packet_id}, which waits for none")
            return None
        if next(iter(unfinished)) != packet_id:
            self.ledger.fail(f"{self.name} got {word} out of order")
        del unfinished[packet_id]
        stream, number, _ = found
        if reason >= 0x80:
            if self.refusals is None:
                self.ledger.fail(f"{self.name} got {word} with {reason:#x}")
            else:
                self.refusals.append(reason)
        # A clean session loses at its end what has no PUBCOMP: the promise begins there.
        elif is_over or stream.is_kept:
            if not stream.acknowledged[number]:
                self.ledger.acknowledged += 1
            stream.acknowledged[number] = 1
        if is_over and reason < 0x80:
            stream.last_finished = number
        if is_over:
            stream.over[number] = self.ledger.tick()
        self.run.on_flow()
        return found

    def _fill(self):
        while self.is_up and self.run.is_publishing and self.unfinished < self._window:
            self.publish(self._generator.choice(self.streams))

    def publish(self, stream):
        """Sends the next message of a stream."""
        number, payload = stream.next_payload(self.ledger.tick(), self._generator)
        packet_id = self._next_id()
        unfinished = self._unacknowledged if stream.qos == 1 else self._unreceived
        unfinished[packet_id] = (stream, number, payload)
        self.ledger.sent += 1
        self.send(packets.publish(self.level, stream.topic, payload, stream.qos, packet_id, stream.is_retained))

    def _next_id(self):
        packet_id = 0 if self._reuses_ids else self._last_id
        while True:
            packet_id = packet_id % 50_000 + 1
            if not any(packet_id in used for used in (self._unacknowledged, self._unreceived, self._unreleased)):
                self._last_id = packet_id
                return packet_id


class Subscriber(Client):
    """Takes what its audience must get, once for QoS 2 whatever happens to the connection."""

    def __init__(self, run, name, level, audience, topic_filter, qos, **options):
        super().__init__(run, name, level, **options)
        self.audience = audience
        self._filter = topic_filter
        self._qos = qos
        self._wants = True
        self._term = None
        self._is_asking = False
        #: QoS 2 messages received and not yet released, by packet id.
        self._received = {}
        self.retained = {}

    @property
    def is_settled(self):
        """Whether the subscription is as it is wanted, and acknowledged."""
        return not self._is_asking and (self._term is not None) == self._wants

    def resume(self, is_present, _receive_maximum):
        """Forgets what a new session does not know, and asks for the subscription if need be."""
        self._is_asking = False
        if not is_present:
            self._received.clear()
            # Without a session there is no subscription; the failure has been noted where it is one.
            if self._term and self._term.begun < self.ledger.ticks and self.is_clean:
                self._end_term()
            elif self._term:
                self._send_subscribe()
        self._ask()

    def _end_term(self):
        self._term.ending = min(self._term.ending, self.ledger.ticks)
        self._term.ended = self.ledger.ticks
        self._term = None

    def toggle(self):
        """Unsubscribes, or subscribes again; only when the last wish is fulfilled."""
        if self.is_up and self.is_settled:
            self._wants = not self._wants
            self._ask()
            self.flush()

    def renew(self):
        """Comes back with a new session: what the old one had must not come any more."""
        self.drop()
        self.begins_anew = True
        self.audience.terms.clear()
        self._term = None
        self.connect()

    def subscribe(self):
        """Wants the subscription from now on."""
        self._wants = True
        self._ask()
        self.flush()

    def _ask(self):
        if not self.is_up or self._is_asking:
            return
        term = self._term
        if self._wants and term is None:
            term = self._term = self.run.new_term(self.audience)
        if self._wants and term.begun > self.ledger.ticks:
            self._send_subscribe()
        elif not self._wants and term is not None:
            term.ending = min(term.ending, self.ledger.tick())
            self._is_asking = True
            self.send(packets.unsubscribe(self.level, SUBSCRIBE_ID, self._filter))

    def _send_subscribe(self):
        self._is_asking = True
        self.send(packets.subscribe(self.level, SUBSCRIBE_ID, self._filter, self._qos))

    def on_session_packet(self, kind, first, body):
        if kind == PUBLISH:
            self._on_publish(first, body)
        elif kind == PUBREL:
            packet_id = body[0] << 8 | body[1]
            self._received.pop(packet_id, None)
            self.send(packets.acknowledge(PUBCOMP, packet_id))
        elif kind in (SUBACK, UNSUBACK):
            self._on_answer(kind, body)
        else:
            self.ledger.fail(f"{self.name} got packet {kind}")

    def _on_answer(self, kind, body):
        self._is_asking = False
        if kind == SUBACK:
            reasons = packets.read_reasons(self.level, body)
            if reasons != bytes([self._qos]):
                self.ledger.fail(f"{self.name}'s SUBACK is {reasons!r}")
                return
            self._term.begun = min(self._term.begun, self.ledger.tick())
        else:
            # Messages that were under way may still come; later ones may not.
            self._term.ended = self.ledger.tick()
            self._term = None
        self._ask()

    def _on_publish(self, first, body):
        topic, packet_id, payload = packets.read_publish(self.level, first, body)
        qos = first >> 1 & 3
        is_dup = bool(first & 8)
        if qos == 2:
            self.send(packets.acknowledge(PUBREC, packet_id))
            earlier = self._received.get(packet_id)
            if earlier is not None:
                if earlier != payload[:80]:
                    self.ledger.fail(f"{self.name} got {payload[:60]!r} with the packet id of {earlier!r}")
                self.ledger.repeated += 1
                return
            self._received[packet_id] = payload[:80]
        elif qos == 1:
            self.send(packets.acknowledge(PUBACK, packet_id))
        if first & 1:
            self.retained[topic] = payload
        elif payload:
            self.ledger.deliver(self.audience, self.name, topic, payload, qos, is_dup)
