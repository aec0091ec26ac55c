"""What a broker did, from the output of strace: files, sockets, and what came before what.

strace writes the beginning and the end of a call in the order in which they happened; a call that
stands in one line met no other. So the number of a line is a clock for all threads.
"""

import codecs
import dataclasses
import re

import packets

#: The calls that move bytes to or from files and sockets, and those that make them last.
CALLS = (
    "read,readv,recvfrom,recvmsg,write,writev,sendto,sendmsg,"
    "pwrite64,pwritev,pwritev2,fsync,fdatasync,sync_file_range,msync"
)
READS = ("read", "readv", "recvfrom", "recvmsg")
WRITES = ("write", "writev", "sendto", "sendmsg", "pwrite64", "pwritev", "pwritev2")
SYNCS = ("fsync", "fdatasync")

#: Follows threads; names what a descriptor is; prints all bytes. With -D the broker stays our child.
COMMAND = ["strace", "-D", "-f", "-qq", "-ttt", "-yy", "-s", "1048576", "-e", f"trace={CALLS}", "-e", "signal=none"]

LINE = re.compile(r"^(\d+)\s+\d+\.\d+ (.*)$", re.S)
BEGIN = re.compile(r"^(\w+)\((\d+)<(.*?)>(?=[,)]| <unfinished)(.*)$", re.S)
RESUMED = re.compile(r"^<\.\.\. (\w+) resumed>(.*)$", re.S)
RESULT = re.compile(r"\)\s+= (-?\d+)")
STRING = re.compile(r'"((?:[^"\\]|\\.)*)"', re.S)
UNFINISHED = "<unfinished ...>"


@dataclasses.dataclass
class Call:
    """One system call on one file or socket."""

    name: str
    target: str
    begin: int
    end: int = -1
    result: int = -1
    data: bytes = b""


@dataclasses.dataclass
class Packet:
    """One packet and the call that carried its first byte out, or its last byte in."""

    first: int
    body: bytes
    call: Call


def read_calls(path):
    """All calls that came to their end, in the order of their ends."""
    calls = []
    open_calls = {}
    with open(path, encoding="latin-1") as lines:
        for number, line in enumerate(lines):
            if not (match := LINE.match(line)):
                continue
            thread, text = match.groups()
            if begun := BEGIN.match(text):
                call = Call(begun[1], begun[2] + begun[3], number)
                rest = begun[4]
                if UNFINISHED in rest:
                    open_calls[thread] = (call, rest)
                    continue
            elif (resumed := RESUMED.match(text)) and thread in open_calls:
                call, earlier = open_calls.pop(thread)
                rest = earlier.replace(UNFINISHED, "") + resumed[2]
            else:
                continue
            if found := list(RESULT.finditer(rest)):
                call.end = number
                call.result = int(found[-1][1])
                if call.result > 0 and call.name in READS + WRITES:
                    call.data = _strings(rest)[: call.result]
                calls.append(call)
    return calls


def _strings(text):
    """The bytes of all strings of a call's arguments."""
    return b"".join(codecs.escape_decode(found.encode("latin-1"))[0] for found in STRING.findall(text))


class Connection:
    """The packets of one socket in both directions."""

    def __init__(self, client_id, received, sent):
        self.client_id = client_id
        self.received = received
        self.sent = sent


def connections(calls):
    """Every connection that began with a CONNECT, by client id (of the last one that used it)."""
    sockets = {}
    for call in calls:
        if call.result > 0 and ("TCP" in call.target or "socket" in call.target):
            read, written = sockets.setdefault(call.target, ([], []))
            if call.name in READS:
                read.append(call)
            elif call.name in WRITES:
                written.append(call)
    found = {}
    for read, written in sockets.values():
        received = _packets(read, at_last_byte=True)
        if received and received[0].first >> 4 == packets.CONNECT:
            body = received[0].body
            at = 10
            if body[6] == 5:
                length, at = packets.read_variable_integer(body, at)
                at += length
            size = body[at] << 8 | body[at + 1]
            client_id = body[at + 2 : at + 2 + size].decode(errors="replace")
            found[client_id] = Connection(client_id, received, _packets(written, at_last_byte=False))
    return found


def _packets(calls, *, at_last_byte):
    """Cuts what several calls carried into packets."""
    found = []
    buffer = bytearray()
    begun_by = None
    for call in calls:
        if not buffer:
            begun_by = call
        buffer += call.data
        for first, body in packets.cut_packets(buffer):
            found.append(Packet(first, body, call if at_last_byte else begun_by))
            begun_by = call
    return found


class Store:
    """The writes and syncs of the files below one directory."""

    def __init__(self, calls, directory):
        self.writes = [call for call in calls if call.name in WRITES and str(directory) in call.target]
        synced = [call for call in calls if call.name in SYNCS and call.result == 0]
        self.syncs = [call for call in synced if str(directory) in call.target]

    def safe_since(self, text):
        """The line at which the first sync that covers `text` had returned; None without one, or
        without a write that holds it."""
        for write in self.writes:
            if text in write.data:
                ends = [sync.end for sync in self.syncs if sync.begin > write.end and sync.target == write.target]
                return min(ends, default=None)
        return None

    def synced_between(self, begin, end):
        """Whether some sync began and returned between two lines."""
        return any(begin < sync.begin and sync.end < end for sync in self.syncs)
