"""paho and mosquitto_sub come back to their queue after the broker was killed.

A program of its own, since paho lives in a virtual environment.
"""

import argparse
import os
import pathlib
import sys
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))
sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "debian"))

from harness import install
from harness.report import Report, Skip, require, require_equal
from tools import DEADLINE, Tools
from victim import Victim

#: Messages that wait for the client; the broker is killed half way and at the end.
MESSAGES = 200

VERSIONS = ("3.1.1", "5.0")


def texts():
    """What is published."""
    return [f"message {number:04} {'x' * (number % 50)}" for number in range(MESSAGES)]


def judge(found, expected, qos):
    """In order; once for QoS 2, at least once for QoS 1."""
    if qos == 2:
        require_equal(found, expected, "messages")
        return
    require_equal(sorted(set(found)), sorted(set(expected)), "messages")
    require_equal(list(dict.fromkeys(found)), expected, "order of first deliveries")


class PahoClient:
    """A paho client with a session that is kept, and its network thread."""

    def __init__(self, victim, client_id, version):
        import paho.mqtt.client as mqtt
        from paho.mqtt.packettypes import PacketTypes
        from paho.mqtt.properties import Properties

        self.received = []
        self._victim = victim
        self._is_v5 = version == "5.0"
        self._connected = threading.Event()
        self._subscribed = threading.Event()
        self.session_present = None
        options = {} if self._is_v5 else {"clean_session": False}
        self.client = mqtt.Client(
            mqtt.CallbackAPIVersion.VERSION2,
            client_id=client_id,
            protocol=mqtt.MQTTv5 if self._is_v5 else mqtt.MQTTv311,
            **options,
        )
        # paho waits a second by itself; its own minimum is for people.
        self.client.reconnect_delay_set(min_delay=0.02, max_delay=0.02)
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = lambda *_: self._connected.clear()
        self.client.on_subscribe = lambda *_: self._subscribed.set()
        self.client.on_message = lambda _client, _data, message: self.received.append(message.payload.decode())
        self._options = {}
        if self._is_v5:
            properties = Properties(PacketTypes.CONNECT)
            properties.SessionExpiryInterval = 3600
            self._options = {"clean_start": False, "properties": properties}

    def _on_connect(self, _client, _data, flags, reason, _properties):
        require(not reason.is_failure, f"CONNACK {reason}")
        self.session_present = flags.session_present
        self._connected.set()

    def connect(self):
        """Connects and starts the network thread."""
        self.client.connect(self._victim.host, self._victim.port, 60, **self._options)
        self.client.loop_start()
        self.await_connection()

    def await_connection(self):
        """Waits until CONNACK has come, also the next one after a connection was lost."""
        require(self._connected.wait(DEADLINE), "paho got no CONNACK")

    def await_loss(self):
        """Waits until paho has noticed that its connection is gone."""
        deadline = time.monotonic() + DEADLINE
        while self._connected.is_set():
            require(time.monotonic() < deadline, "paho does not notice that the broker is gone")
            time.sleep(0.005)

    def subscribe(self, topic_filter, qos):
        """Subscribes and awaits SUBACK."""
        self.client.subscribe(topic_filter, qos)
        require(self._subscribed.wait(DEADLINE), "paho got no SUBACK")

    def await_messages(self, count):
        """Waits until as many different messages are there, and a little for those too many."""
        deadline = time.monotonic() + DEADLINE
        while len(set(self.received)) < count and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.2)

    def leave(self):
        """Says DISCONNECT."""
        self.client.disconnect()
        self.client.loop_stop()


def paho(victim, version, qos):
    """paho publishes through one kill, and subscribes again after another."""
    victim.start()
    topic = f"paho/{version}/{qos}"
    subscriber = PahoClient(victim, f"paho-sub-{version}-{qos}", version)
    subscriber.connect()
    subscriber.subscribe(topic, qos)
    subscriber.leave()

    publisher = PahoClient(victim, f"paho-pub-{version}-{qos}", version)
    publisher.connect()
    sent = []
    for number, text in enumerate(texts()):
        sent.append(publisher.client.publish(topic, text, qos))
        if number == MESSAGES // 2:
            sent[-30].wait_for_publish(DEADLINE)
            victim.kill()
            publisher.await_loss()
            victim.start()
            publisher.await_connection()
    for info in sent:
        info.wait_for_publish(DEADLINE)
        require(info.is_published(), "a message was not acknowledged")
    require(publisher.session_present, "the publisher's session is gone")
    publisher.leave()
    victim.kill()
    victim.start()

    again = PahoClient(victim, f"paho-sub-{version}-{qos}", version)
    again.connect()
    require(again.session_present, "the subscriber's session is gone")
    again.await_messages(MESSAGES)
    again.leave()
    judge(again.received, texts(), qos)


def mosquitto_sub(victim, version, qos):
    """mosquitto_sub that was away, and one that was there when the broker was killed."""
    victim.start()
    tools = Tools(version, victim.host, victim.port)
    topic = f"sub/{version}/{qos}"
    session = ["-c"] + (["-x", "3600"] if version == "5.0" else [])
    away = ["-q", qos, "-t", topic, "-i", f"away-{version}-{qos}", *session]
    there = ["-q", qos, "-t", topic, "-i", f"there-{version}-{qos}", *session]
    tools.subscribe(*away).kill()
    online = tools.subscribe(*there)
    half = MESSAGES // 2
    tools.publish("-q", qos, "-t", topic, lines=texts()[:half])
    victim.kill()
    victim.start()
    tools.publish("-q", qos, "-t", topic, lines=texts()[half:])
    victim.kill()
    victim.start()
    try:
        judge(take(online, MESSAGES), texts(), qos)
    finally:
        online.kill()
    client = tools.subscribe(*away, expected=0)
    try:
        judge(take(client, MESSAGES), texts(), qos)
    finally:
        client.kill()


def take(tool, count):
    """Lines of a tool until as many different ones are there, and those that follow at once."""
    found = []
    while len(set(found)) < count:
        found.append(tool.next())
    time.sleep(0.2)
    while not tool.messages.empty():
        found.append(tool.messages.get())
    # When it lost its broker the tool has said so, among its messages.
    return [line for line in found if line is not None and line.startswith("message ")]


def with_victim(test, version, qos):
    """Runs a test with a broker of its own."""
    problem = install.debian(None) if test is mosquitto_sub else _paho_problem()
    if problem:
        raise Skip(problem)
    victim = Victim()
    try:
        test(victim, version, qos)
    except BaseException:
        victim.keep()
        raise
    victim.clean_up()


def _paho_problem():
    try:
        import paho.mqtt.client  # noqa: F401
    except ImportError:
        return "paho is not installed"
    return None


def main():
    """Runs every client in every version and QoS."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--test", action="append")
    options = parser.parse_args()
    report = Report()
    for test in (paho, mosquitto_sub):
        for version in VERSIONS:
            for qos in (1, 2):
                name = f"crash clients {test.__name__} {version} QoS {qos}"
                if any(part in name for part in options.test or ("",)):
                    report.run(name, with_victim, test, version, qos)
    report.exit()


if __name__ == "__main__":
    os.environ.setdefault("PYTHONDONTWRITEBYTECODE", "1")
    main()
