"""aiomqtt: paho's packets under an event loop."""

import asyncio
import contextlib
import logging

import aiomqtt

from adapter import DEADLINE, Adapter
from paho_adapter import connect_properties, publish_properties, received_message

VERSIONS = {
    "3.1": aiomqtt.ProtocolVersion.V31,
    "3.1.1": aiomqtt.ProtocolVersion.V311,
    "5.0": aiomqtt.ProtocolVersion.V5,
}

#: How many publications await their acknowledgement at once.
WINDOW = 10

# It drops a future with the error of every cut link; here that is what is asked for.
logging.getLogger("asyncio").setLevel(logging.CRITICAL)


class AiomqttAdapter(Adapter):
    """A client whose messages a task moves to the queue."""

    name = "aiomqtt"
    versions = tuple(VERSIONS)

    def __init__(self, connection):
        super().__init__()
        self._is_v5 = connection.version == "5.0"
        self._client = self._build(connection)
        self._reader = None

    def _build(self, connection):
        if self._is_v5:
            options = {"clean_start": not connection.keep_session, "properties": connect_properties(connection)}
        else:
            options = {"clean_session": not connection.keep_session}
        will = connection.will
        return aiomqtt.Client(
            connection.host,
            connection.port,
            identifier=connection.client_id,
            protocol=VERSIONS[connection.version],
            will=will and aiomqtt.Will(will.topic, will.payload, will.qos, will.retain),
            timeout=DEADLINE,
            **options,
        )

    @classmethod
    async def connect(cls, connection):
        self = cls(connection)
        await self._client.__aenter__()
        self._reader = asyncio.create_task(self._read())
        return self

    async def _read(self):
        async for message in self._client.messages:
            self.received.put_nowait(received_message(message))

    async def subscribe(self, topic_filter, qos=0):
        codes = [getattr(code, "value", code) for code in await self._client.subscribe(topic_filter, qos)]
        assert codes == [qos], f"granted {codes} instead of {qos}"

    async def publish(self, *messages):
        for start in range(0, len(messages), WINDOW):
            await asyncio.gather(*(self._publish(message) for message in messages[start : start + WINDOW]))

    async def _publish(self, message):
        properties = publish_properties(message.properties) if self._is_v5 else None
        await self._client.publish(message.topic, message.payload, message.qos, message.retain, properties)

    async def disconnect(self):
        await self._stop_reading()
        await self._client.__aexit__(None, None, None)

    async def abandon(self):
        await self._stop_reading()
        with contextlib.suppress(aiomqtt.MqttError):
            await self._client.__aexit__(None, None, None)

    async def _stop_reading(self):
        self._reader.cancel()
        await asyncio.gather(self._reader, return_exceptions=True)
