"""Troubles with the disk: full, read-only, in use, or copied while the broker writes.

A program of its own: `--may-mount` says that it runs where it may mount file systems of its own.
"""

import argparse
import contextlib
import pathlib
import re
import shutil
import struct
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import packets
from harness import wire
from harness.report import Report, Skip, require, require_equal
from victim import Victim

#: The small file system: room for the store's first segments and not for many more.
TMPFS_BYTES = 96 * 1024 * 1024

#: What fills it up, and how much may be taken before it must be full.
LARGE = 64 * 1024
LARGE_MAX = 3 * TMPFS_BYTES // LARGE

#: Seconds for what the broker does by itself, such as noticing that there is room again.
RECOVERY_DEADLINE = 30

#: Seconds in which a message would have been acknowledged.
SILENCE = 1.5

QUOTA_EXCEEDED = 0x97

#: Copies of the store that are taken under load, and the seconds between them.
COPIES = 3
COPY_PAUSE = 1.0

#: Attempts at one copy that no checkpoint comes in between.
COPY_ATTEMPTS = 30


class Peer(wire.Peer):
    """A client with a kept session that does one thing after the other."""

    def __init__(self, victim, client_id, level=5, *, clean=False):
        super().__init__(victim.host, victim.port)
        self.level = level
        self.next_id = 0
        self.send(packets.connect(client_id, level, clean))
        _, reason, _ = packets.read_connack(level, self.expect(packets.CONNACK))
        require_equal(reason, 0, f"CONNACK of {client_id}")

    def listen(self, topic_filter, qos):
        """Subscribes and awaits SUBACK."""
        self.send(packets.subscribe(self.level, 1, topic_filter, qos))
        reasons = packets.read_reasons(self.level, self.expect(wire.SUBACK))
        require_equal(reasons, bytes([qos]), "SUBACK")

    def publish(self, topic, payload, qos):
        """Publishes and goes on to the end of the exchange; returns the reason of the first answer."""
        self.next_id = self.next_id % 1000 + 1
        self.send(packets.publish(self.level, topic, payload, qos, self.next_id))
        if qos == 0:
            return 0
        body = self.expect(packets.PUBACK if qos == 1 else packets.PUBREC)
        reason = body[2] if len(body) > 2 else 0
        if qos == 2 and reason < 0x80:
            self.send(packets.acknowledge(packets.PUBREL, self.next_id))
            self.expect(packets.PUBCOMP)
        return reason

    def drain(self, expected):
        """Takes and acknowledges messages until all that is expected has come; returns all payloads."""
        missing = set(expected)
        found = []
        self.socket.settimeout(wire.DEADLINE)
        try:
            while True:
                first, body = self.read()
                packet_id = 0
                if first >> 4 == packets.PUBLISH:
                    _, packet_id, payload = packets.read_publish(self.level, first, body)
                    found.append(payload)
                    missing.discard(payload)
                    qos = first >> 1 & 3
                    if qos:
                        self.send(packets.acknowledge(packets.PUBACK if qos == 1 else packets.PUBREC, packet_id))
                elif first >> 4 == packets.PUBREL:
                    self.send(packets.acknowledge(packets.PUBCOMP, struct.unpack("!H", body[:2])[0]))
                if not missing:
                    self.socket.settimeout(0.5)
        except TimeoutError:
            pass
        lost = f"{len(missing)} of {len(set(expected))} acknowledged messages never came: {_words(missing)}"
        require(not missing, lost)
        return found


def _words(payloads):
    """The beginnings of the first few."""
    return ", ".join(payload[:24].decode() for payload in sorted(payloads)[:3])


def _in_order(found, expected):
    """Fails unless first deliveries came in the order in which the messages were acknowledged."""
    wanted = set(expected)
    first = [payload for payload in dict.fromkeys(found) if payload in wanted]
    require(first == list(expected), "the messages came out of order")


@contextlib.contextmanager
def small_file_system(folder):
    """A tmpfs in `folder`."""
    folder.mkdir()
    options = f"size={TMPFS_BYTES},mode=0755"
    subprocess.run(["mount", "-t", "tmpfs", "-o", options, "midge-crash", str(folder)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", str(folder)], check=True)


def fill(path):
    """Takes all that is left of a file system."""
    with path.open("wb", buffering=0) as ballast:
        size = 1 << 20
        while size >= 4096:
            try:
                ballast.write(bytes(size))
            except OSError:
                size //= 2


def full_disk(folder):
    """Durable work is refused while the disk is full; all else goes on; nothing acknowledged is lost."""
    place = folder / "small"
    with small_file_system(place):
        victim = Victim(store=place / "store")
        try:
            victim.store.mkdir()
            FullDisk(victim, place).run()
        except BaseException:
            print(f"   the log: {victim.log_tail(8)}", flush=True)
            raise
        finally:
            victim.clean_up()


class FullDisk:
    """The steps of `full_disk`, and what was acknowledged on the way."""

    def __init__(self, victim, place):
        self.victim = victim
        self.ballast = place / "ballast"
        self.acknowledged = []
        self.refused = 0
        self.count = 0

    def run(self):
        """Fills the disk, looks at everybody, makes room again, and kills the broker."""
        victim = self.victim
        victim.start()
        for name in ("keeper", "drainer"):
            session = Peer(victim, name)
            session.listen("full/#", 2)
            session.close()
        online = Peer(victim, "online", clean=True)
        online.listen("live", 0)
        publisher = Peer(victim, "publisher")
        for number in range(20):
            require_equal(self.publish(publisher, 1 + number % 2, 100), 0, "the answer before the disk was full")
        fill(self.ballast)
        self.until_refused(publisher)
        for qos in (1, 2):
            require_equal(self.publish(publisher, qos, LARGE), QUOTA_EXCEEDED, f"the answer to QoS {qos}")
        self.old_client_gets_no_answer()
        self.online_clients_go_on(publisher, online)
        self.queue_can_be_drained()
        require(self.log_lines() != [], "the log says nothing of the full disk")
        require(len(self.log_lines()) == 1, f"the log repeats itself: {self.log_lines()}")
        require(len(re.findall(r"\d+", self.log_lines()[0].partition("full")[2])) >= 1, "the log gives no figures")
        self.ballast.unlink()
        self.recovers(publisher)
        victim.kill()
        victim.start()
        found = Peer(victim, "keeper").drain(self.acknowledged)
        _in_order([payload for payload in found if payload[:1] == b"1"], self.of_qos(b"1"))
        twice = [payload for payload in found if payload[:1] == b"2"]
        require(len(set(twice)) == len(twice), "a message of QoS 2 came twice")
        print(f"   {len(self.acknowledged)} acknowledged, {self.refused} refused", flush=True)
        print(f"   the log: {self.log_lines()[0]}", flush=True)

    def of_qos(self, digit):
        """What was acknowledged with one QoS, in its order."""
        return [payload for payload in self.acknowledged if payload[:1] == digit]

    def publish(self, publisher, qos, size):
        """Publishes something new and notes the answer."""
        payload = f"{qos} {self.count:06} ".encode().ljust(size, b".")
        self.count += 1
        reason = publisher.publish("full/topic", payload, qos)
        if reason < 0x80:
            self.acknowledged.append(payload)
        else:
            self.refused += 1
        return reason

    def until_refused(self, publisher):
        """Publishes until there is no room; the answer must then be 0x97."""
        for _ in range(LARGE_MAX):
            reason = self.publish(publisher, 1, LARGE)
            if reason >= 0x80:
                require_equal(reason, QUOTA_EXCEEDED, "the answer when the disk is full")
                return
        raise AssertionError(f"{LARGE_MAX} messages of {LARGE} bytes were acknowledged on a full disk")

    def old_client_gets_no_answer(self):
        """A client of 3.1.1 cannot be told why: no acknowledgement, or the connection ends."""
        peer = Peer(self.victim, "old", 4, clean=True)
        peer.socket.settimeout(SILENCE)
        try:
            reason = peer.publish("full/topic", b"3 old".ljust(LARGE, b"."), 1)
            raise AssertionError(f"3.1.1 got PUBACK {reason} on a full disk")
        except (TimeoutError, ConnectionError):
            pass
        finally:
            peer.close()

    def online_clients_go_on(self, publisher, online):
        """QoS 0 needs no disk."""
        for number in range(50):
            payload = f"live {number}".encode()
            publisher.publish("live", payload, 0)
            _, _, found = packets.read_publish(5, 0x30, online.expect(packets.PUBLISH))
            require_equal(found, payload, "QoS 0 on a full disk")

    def queue_can_be_drained(self):
        """What waits for a session can be taken, and is then gone."""
        drainer = Peer(self.victim, "drainer")
        drainer.drain(self.acknowledged)
        drainer.close()

    def recovers(self, publisher):
        """Once there is room, publishing works without anybody's help."""
        deadline = time.monotonic() + RECOVERY_DEADLINE
        while self.publish(publisher, 1, LARGE) >= 0x80:
            require(time.monotonic() < deadline, f"still refused {RECOVERY_DEADLINE} s after there was room")
            time.sleep(0.05)
        for number in range(20):
            require_equal(self.publish(publisher, 1 + number % 2, 100), 0, "the answer when there was room again")

    def log_lines(self):
        """What the log says of the full disk, apart from the clients that it concerns."""
        lines = self.victim.log_text().splitlines()
        return [line for line in lines if "full" in line and "disk" in line and " Client " not in line]


def refuses_to_start(victim, names):
    """Fails unless the broker ends with an error that contains `names`."""
    try:
        victim.spawn()
        code = victim.ends_by_itself()
        require(code is not None, "the broker started")
        require(code > 0, f"it ended with {code}: {victim.log_tail(3)}")
        require(names in victim.log_text(), f"the error does not name {names}: {victim.log_tail(3)}")
        require("panicked" not in victim.log_text(), f"a panic: {victim.log_tail(3)}")
    finally:
        victim.clean_up()


def read_only(folder):
    """A directory that cannot be written is refused by its name."""
    place = folder / "read-only"
    with small_file_system(place):
        (place / "store").mkdir()
        subprocess.run(["mount", "-o", "remount,ro", str(place)], check=True)
        refuses_to_start(Victim(store=place / "store"), str(place / "store"))


def cannot_be_created(folder):
    """A directory that cannot be made is refused by its name."""
    file = folder / "file"
    file.write_text("no directory")
    refuses_to_start(Victim(store=file / "store"), str(file / "store"))


def in_use(_folder):
    """A second broker is refused and says who holds the directory; the first notices nothing."""
    victim = Victim()
    try:
        victim.start()
        session = Peer(victim, "session")
        session.listen("in/use", 1)
        session.close()
        refuses_to_start(Victim(store=victim.store), str(victim.pid))
        payload = b"after the second"
        require_equal(Peer(victim, "publisher").publish("in/use", payload, 1), 0, "the answer of the first broker")
        victim.kill()
        victim.start()
        Peer(victim, "session").drain([payload])
    finally:
        victim.clean_up()


class Flow(threading.Thread):
    """One publisher that keeps a window full, and what was acknowledged to it."""

    WINDOW = 20

    def __init__(self, victim, topic, size):
        super().__init__(daemon=True)
        self.acknowledged = []
        self._peer = Peer(victim, f"flow-{topic.replace('/', '-')}")
        self._topic = topic
        self._size = size
        self._end = threading.Event()
        self.problem = None

    def run(self):
        try:
            self._publish()
        except Exception as error:
            self.problem = error

    def _publish(self):
        unfinished = {}
        number = 0
        while not (self._end.is_set() and not unfinished):
            while len(unfinished) < self.WINDOW and not self._end.is_set():
                payload = f"{self._topic} {number:07} ".encode().ljust(self._size, b".")
                packet_id = number % 1000 + 1
                number += 1
                unfinished[packet_id] = payload
                self._peer.send(packets.publish(5, self._topic, payload, 1, packet_id))
            body = self._peer.expect(packets.PUBACK)
            self.acknowledged.append(unfinished.pop(struct.unpack("!H", body[:2])[0]))

    def stop(self):
        """Finishes what was begun."""
        self._end.set()
        self.join(wire.DEADLINE)
        if self.problem:
            raise self.problem


class Reader(threading.Thread):
    """A subscriber that is there all the time, so that the log has something to forget."""

    def __init__(self, victim, topic_filter):
        super().__init__(daemon=True)
        self._peer = Peer(victim, "reader")
        self._peer.listen(topic_filter, 1)
        self.count = 0

    def run(self):
        try:
            while True:
                first, body = self._peer.read()
                if first >> 4 == packets.PUBLISH:
                    _, packet_id, _ = packets.read_publish(5, first, body)
                    self._peer.send(packets.acknowledge(packets.PUBACK, packet_id))
                    self.count += 1
        except OSError:
            pass


def copied_while_running(folder):
    """A copy of the directory starts, with all that had been acknowledged before it was begun."""
    victim = Victim()
    copies = []
    try:
        victim.start()
        keeper = Peer(victim, "keeper")
        keeper.listen("copy/kept/#", 1)
        keeper.close()
        Reader(victim, "copy/#").start()
        flows = [Flow(victim, "copy/kept/a", 200), Flow(victim, "copy/passing/b", 8000)]
        for flow in flows:
            flow.start()
        for number in range(COPIES):
            time.sleep(COPY_PAUSE)
            copies.append(whole_copy(victim.store, folder / f"copy{number}", flows[0]))
        for flow in flows:
            flow.stop()
    finally:
        victim.clean_up()
    for target, before in copies:
        require(before, "nothing was acknowledged before the copy")
        judge_copy(Victim(store=target), before)
    print(f"   {len(copies)} copies, the last after {len(copies[-1][1])} acknowledged messages", flush=True)


def whole_copy(store, target, flow):
    """Copies the store, again when a checkpoint takes files away meanwhile, and tells what was safe before."""
    for _ in range(COPY_ATTEMPTS):
        before = list(flow.acknowledged)
        copied = subprocess.run(["cp", "-r", str(store), str(target)], capture_output=True, text=True)
        if copied.returncode == 0:
            return target, before
        require("No such file" in copied.stderr, copied.stderr)
        shutil.rmtree(target, ignore_errors=True)
    raise AssertionError(f"no whole copy in {COPY_ATTEMPTS} attempts: {copied.stderr}")


def judge_copy(victim, before):
    """Starts a broker on the copy and takes what it has kept."""
    try:
        victim.start()
        _in_order(Peer(victim, "keeper").drain(before), before)
    except BaseException:
        print(f"   the log: {victim.log_tail(8)}", flush=True)
        raise
    finally:
        victim.clean_up()


#: The tests, and whether they mount something.
TESTS = {
    "full disk": (full_disk, True),
    "read-only directory": (read_only, True),
    "directory that cannot be created": (cannot_be_created, False),
    "directory in use": (in_use, False),
    "store copied while the broker runs": (copied_while_running, False),
}


def run_test(test, needs_mount, may_mount):
    """Runs a test with a folder of its own."""
    if needs_mount and not may_mount:
        raise Skip("mounting a tmpfs is not possible here: neither root nor a user namespace")
    folder = pathlib.Path(tempfile.mkdtemp(prefix="midge-disk-"))
    try:
        test(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def main():
    """Runs the tests that the command line chooses; without a choice, all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--may-mount", action="store_true")
    parser.add_argument("--test", action="append")
    options = parser.parse_args()
    report = Report()
    for name, (test, needs_mount) in TESTS.items():
        name = f"crash disk {name}"
        if any(part in name for part in options.test or ("",)):
            report.run(name, run_test, test, needs_mount, options.may_mount)
    report.exit()


if __name__ == "__main__":
    main()
