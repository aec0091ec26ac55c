"""gmqtt, which writes its own packets."""

import asyncio
import contextlib
import logging

import gmqtt
from gmqtt.mqtt.constants import MQTTv50, MQTTv311
from gmqtt.storage import PersistentStorage

from adapter import DEADLINE, Adapter, Message, Properties

VERSIONS = {"3.1.1": MQTTv311, "5.0": MQTTv50}

#: How many publications await their acknowledgement at once; gmqtt itself fails above the server's limit.
WINDOW = 10

# It reports every cut link as a warning; here that is what is asked for.
logging.getLogger("gmqtt").setLevel(logging.CRITICAL)


class GmqttAdapter(Adapter):
    """Callbacks on the event loop."""

    name = "gmqtt"
    versions = tuple(VERSIONS)
    resolves_aliases = True

    def __init__(self, connection):
        super().__init__()
        self._is_v5 = connection.version == "5.0"
        self._unacknowledged = PersistentStorage()
        self._subscribed = asyncio.Queue()
        self._client = self._build(connection)

    def _build(self, connection):
        options = {}
        if self._is_v5 and connection.keep_session:
            options["session_expiry_interval"] = 300
        if self._is_v5 and connection.alias_maximum:
            options["topic_alias_maximum"] = connection.alias_maximum
        will = connection.will
        client = gmqtt.Client(
            connection.client_id,
            clean_session=not connection.keep_session,
            will_message=will and gmqtt.Message(will.topic, will.payload, will.qos, will.retain),
            persistent_storage=self._unacknowledged,
            logger=logging.getLogger("gmqtt"),
            **options,
        )
        client.set_config({"reconnect_retries": 0, "reconnect_delay": 0})
        client.on_connect = self._on_connect
        client.on_message = self._on_message
        client.on_subscribe = self._on_subscribe
        return client

    @classmethod
    async def connect(cls, connection):
        self = cls(connection)
        connecting = self._client.connect(
            connection.host, connection.port, keepalive=60, version=VERSIONS[connection.version]
        )
        await asyncio.wait_for(connecting, DEADLINE)
        return self

    async def subscribe(self, topic_filter, qos=0):
        self._client.subscribe(topic_filter, qos)
        codes = await asyncio.wait_for(self._subscribed.get(), DEADLINE)
        assert codes == [qos], f"granted {codes} instead of {qos}"

    async def publish(self, *messages):
        for start in range(0, len(messages), WINDOW):
            for message in messages[start : start + WINDOW]:
                self._client.publish(
                    message.topic, message.payload, message.qos, message.retain, **self._options(message)
                )
            await asyncio.wait_for(self._unacknowledged.wait_empty(), DEADLINE)

    def _options(self, message):
        given = message.properties
        options = {
            "user_property": given.user or None,
            "response_topic": given.response_topic,
            "correlation_data": given.correlation,
            "content_type": given.content_type,
            "message_expiry_interval": given.expiry,
            "topic_alias": given.alias,
        }
        return {key: value for key, value in options.items() if self._is_v5 and value is not None}

    async def disconnect(self):
        await self._client.disconnect()

    async def abandon(self):
        with contextlib.suppress(OSError):
            await self._client.disconnect()

    def _on_connect(self, _client, flags, _reason, _properties):
        self.session_present = bool(flags & 1)

    def _on_subscribe(self, _client, _packet_id, codes, _properties):
        self._subscribed.put_nowait(list(codes))

    def _on_message(self, _client, topic, payload, qos, properties):
        def first(key):
            return properties.get(key, [None])[0]

        correlation = first("correlation_data")
        if isinstance(correlation, str):
            correlation = correlation.encode()
        given = Properties(
            user=[tuple(pair) for pair in properties.get("user_property", [])],
            response_topic=first("response_topic"),
            correlation=correlation,
            content_type=first("content_type"),
            expiry=first("message_expiry_interval"),
        )
        message = Message(topic, bytes(payload), qos, bool(properties["retain"]), given)
        self.received.put_nowait(message)
