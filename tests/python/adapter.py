"""What the scenarios ask of a client library, whichever it is."""

import asyncio
import dataclasses

#: Seconds that a client waits for anything it must get.
DEADLINE = 20


@dataclasses.dataclass
class Properties:
    """Properties of a 5.0 PUBLISH."""

    user: list = dataclasses.field(default_factory=list)
    response_topic: str | None = None
    correlation: bytes | None = None
    content_type: str | None = None
    expiry: int | None = None
    alias: int | None = None


@dataclasses.dataclass
class Message:
    """A message on its way in or out."""

    topic: str
    payload: bytes
    qos: int = 0
    retain: bool = False
    properties: Properties = dataclasses.field(default_factory=Properties)


@dataclasses.dataclass
class Connection:
    """How a client connects."""

    host: str
    port: int
    version: str
    client_id: str
    #: Keep the session when the connection ends, and take up an earlier one.
    keep_session: bool = False
    will: Message | None = None
    #: The highest alias that the server may use towards the client (5.0).
    alias_maximum: int = 0


class Adapter:
    """One connected client. Subclasses fill `received` with what arrives."""

    #: Name in the test lines.
    name = ""
    #: Protocol versions, as people write them.
    versions = ()
    #: Whether an incoming alias is turned into its topic, and not left to the user.
    resolves_aliases = False

    def __init__(self):
        self.received = asyncio.Queue()
        #: What CONNACK said, or None if the library keeps it for itself.
        self.session_present = None

    @classmethod
    async def connect(cls, connection):
        """Returns once CONNACK has accepted the client."""
        raise NotImplementedError

    async def subscribe(self, topic_filter, qos=0):
        """Returns once SUBACK has come."""
        raise NotImplementedError

    async def publish(self, *messages):
        """Returns once all are acknowledged, or written if their QoS is 0."""
        raise NotImplementedError

    async def disconnect(self):
        """Says DISCONNECT."""
        raise NotImplementedError

    async def abandon(self):
        """Frees what is left after the link was cut."""
        raise NotImplementedError

    async def next(self):
        """The next message that arrives."""
        return await asyncio.wait_for(self.received.get(), DEADLINE)

    async def take(self, count):
        """The next `count` messages; fails if they stop coming."""
        messages = []
        while len(messages) < count:
            try:
                messages.append(await self.next())
            except TimeoutError:
                raise AssertionError(f"{len(messages)} of {count} messages arrived") from None
        return messages
