"""paho-mqtt, with its network thread."""

import asyncio

import paho.mqtt.client as mqtt
from paho.mqtt.packettypes import PacketTypes
from paho.mqtt.properties import Properties as PahoProperties

from adapter import DEADLINE, Adapter, Message, Properties

VERSIONS = {"3.1": mqtt.MQTTv31, "3.1.1": mqtt.MQTTv311, "5.0": mqtt.MQTTv5}


class PahoAdapter(Adapter):
    """Callbacks of the network thread, handed over to the event loop."""

    name = "paho"
    versions = tuple(VERSIONS)

    def __init__(self, connection):
        super().__init__()
        self._is_v5 = connection.version == "5.0"
        self._loop = asyncio.get_running_loop()
        self._connected = self._loop.create_future()
        self._subscribed = {}
        self._client = self._build(connection)

    def _build(self, connection):
        options = {} if self._is_v5 else {"clean_session": not connection.keep_session}
        client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=connection.client_id,
            protocol=VERSIONS[connection.version],
            reconnect_on_failure=False,
            **options,
        )
        client.on_connect = self._on_connect
        client.on_subscribe = self._on_subscribe
        client.on_message = self._on_message
        if connection.will:
            will = connection.will
            client.will_set(will.topic, will.payload, will.qos, will.retain)
        return client

    @classmethod
    async def connect(cls, connection):
        self = cls(connection)
        options = {}
        if self._is_v5:
            options = {"clean_start": not connection.keep_session, "properties": connect_properties(connection)}
        await asyncio.to_thread(self._client.connect, connection.host, connection.port, 60, **options)
        self._client.loop_start()
        await asyncio.wait_for(self._connected, DEADLINE)
        return self

    async def subscribe(self, topic_filter, qos=0):
        done = self._loop.create_future()
        result, packet_id = self._client.subscribe(topic_filter, qos)
        assert result == mqtt.MQTT_ERR_SUCCESS, mqtt.error_string(result)
        self._subscribed[packet_id] = done
        codes = await asyncio.wait_for(done, DEADLINE)
        assert codes == [qos], f"granted {codes} instead of {qos}"

    async def publish(self, *messages):
        sent = [
            self._client.publish(m.topic, m.payload, m.qos, m.retain, self._publish_properties(m)) for m in messages
        ]
        await asyncio.to_thread(self._await_all, sent)

    @staticmethod
    def _await_all(sent):
        for info in sent:
            info.wait_for_publish(DEADLINE)
            assert info.is_published(), "a message was not acknowledged"

    async def disconnect(self):
        self._client.disconnect()
        await asyncio.to_thread(self._client.loop_stop)

    async def abandon(self):
        await asyncio.to_thread(self._client.loop_stop)

    def _publish_properties(self, message):
        if not self._is_v5:
            return None
        return publish_properties(message.properties)

    def _hand_over(self, function, *arguments):
        # A thread that outlives its test must not break the next one.
        if not self._loop.is_closed():
            self._loop.call_soon_threadsafe(function, *arguments)

    def _on_connect(self, _client, _data, flags, reason, _properties):
        self._hand_over(self._finish_connect, flags.session_present, reason)

    def _finish_connect(self, session_present, reason):
        self.session_present = session_present
        if reason.is_failure:
            self._connected.set_exception(ConnectionError(str(reason)))
        else:
            self._connected.set_result(None)

    def _on_subscribe(self, _client, _data, packet_id, reasons, _properties):
        self._hand_over(self._finish_subscribe, packet_id, [reason.value for reason in reasons])

    def _finish_subscribe(self, packet_id, codes):
        self._subscribed.pop(packet_id).set_result(codes)

    def _on_message(self, _client, _data, message):
        self._hand_over(self.received.put_nowait, received_message(message))


def connect_properties(connection):
    """Properties of CONNECT in paho's form."""
    properties = PahoProperties(PacketTypes.CONNECT)
    if connection.keep_session:
        properties.SessionExpiryInterval = 300
    if connection.alias_maximum:
        properties.TopicAliasMaximum = connection.alias_maximum
    return properties


def publish_properties(properties):
    """Properties of PUBLISH in paho's form."""
    result = PahoProperties(PacketTypes.PUBLISH)
    if properties.user:
        result.UserProperty = properties.user
    if properties.response_topic is not None:
        result.ResponseTopic = properties.response_topic
    if properties.correlation is not None:
        result.CorrelationData = properties.correlation
    if properties.content_type is not None:
        result.ContentType = properties.content_type
    if properties.expiry is not None:
        result.MessageExpiryInterval = properties.expiry
    if properties.alias is not None:
        result.TopicAlias = properties.alias
    return result


def received_message(message):
    """A message of paho, or of aiomqtt, which copies its form."""
    properties = Properties()
    given = message.properties
    if given is not None:
        properties = Properties(
            user=[tuple(pair) for pair in getattr(given, "UserProperty", [])],
            response_topic=getattr(given, "ResponseTopic", None),
            correlation=getattr(given, "CorrelationData", None),
            content_type=getattr(given, "ContentType", None),
            expiry=getattr(given, "MessageExpiryInterval", None),
        )
    return Message(str(message.topic), bytes(message.payload), message.qos, bool(message.retain), properties)
