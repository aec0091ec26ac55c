"""A pair of good clients, and a look at the broker's memory, while something bad goes on."""

import itertools
import pathlib
import struct
import threading
import time

from harness import wire

#: Seconds between two messages of the pair, and between two looks at the memory.
INTERVAL = 0.005
MEMORY_INTERVAL = 0.02


class Pair:
    """Publishes numbers with QoS 1, one after the other, and checks that each arrives once."""

    def __init__(self, host, port, name):
        self._topic = f"witness/{name}"
        self._subscriber = wire.Peer.connected(host, port, f"{name}-sub")
        self._subscriber.subscribe(self._topic, 1)
        self._publisher = wire.Peer.connected(host, port, f"{name}-pub")
        self._stop = threading.Event()
        self._error = None
        self.count = 0
        #: Seconds that the slowest message took from publisher to subscriber and acknowledgement.
        self.slowest = 0.0
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        try:
            for number in itertools.count():
                begin = time.monotonic()
                self._exchange(number)
                self.slowest = max(self.slowest, time.monotonic() - begin)
                self.count = number + 1
                if self._stop.wait(INTERVAL):
                    return
        except (OSError, AssertionError) as error:
            self._error = error

    def _exchange(self, number):
        packet_id = number % 65_535 + 1
        self._publisher.send(wire.publish(self._topic, b"%d" % number, 1, packet_id))
        body = self._publisher.expect(wire.PUBACK)
        if body != struct.pack("!H", packet_id):
            raise AssertionError(f"PUBACK {body!r} for {packet_id}")
        body = self._subscriber.expect(wire.PUBLISH)
        header = wire.string(self._topic)
        if not body.startswith(header) or body[len(header) + 2 :] != b"%d" % number:
            raise AssertionError(f"{body[:60]!r} arrived instead of message {number}")
        acknowledged = body[len(header) : len(header) + 2]
        self._subscriber.send(wire.packet(wire.PUBACK, acknowledged))

    def finish(self):
        """Ends the exchange; fails if anything went wrong on the way."""
        self._stop.set()
        self._thread.join(2 * wire.DEADLINE)
        stuck = self._thread.is_alive()
        self._publisher.close()
        self._subscriber.close()
        if self._error or stuck:
            raise AssertionError(f"good clients were disturbed after {self.count} messages: {self._error or 'stuck'}")


def resident_bytes(pid):
    """Memory of a process right now; 0 if it is gone."""
    try:
        text = pathlib.Path(f"/proc/{pid}/status").read_text()
    except OSError:
        return 0
    sizes = [line.split()[1] for line in text.splitlines() if line.startswith("VmRSS:")]
    return int(sizes[0]) * 1024 if sizes else 0


class Memory:
    """By how many bytes a process has grown, at most, since this watch began."""

    def __init__(self, pid):
        self._pid = pid
        self._begin = self._peak = resident_bytes(self._pid)
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self):
        while not self._stop.wait(MEMORY_INTERVAL):
            self._peak = max(self._peak, resident_bytes(self._pid))

    def finish(self):
        """Ends the watch and returns the growth."""
        self._stop.set()
        self._thread.join()
        return max(self._peak, resident_bytes(self._pid)) - self._begin
