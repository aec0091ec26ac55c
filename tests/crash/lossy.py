"""Takes back what a killed broker had written and not synced; lossy.c says how that is known."""

import os
import pathlib
import shutil
import struct
import subprocess
import sys
import tempfile

HERE = pathlib.Path(__file__).resolve().parent

#: What a disk writes whole or not at all.
SECTOR = 512

NOTE = struct.Struct("6Q")
WRITTEN, SYNCED, RESIZED, FORGOTTEN = 1, 2, 3, 4


class CannotPreload(Exception):
    """The library cannot be made or used here; the text says why."""


class LossyDisk:
    """The disk below a broker, which the broker must be told of before each start."""

    def __init__(self, victim, generator, torn):
        self._generator = generator
        self._torn = torn
        self._folder = pathlib.Path(tempfile.mkdtemp(prefix="midge-lossy-"))
        self._journal = self._folder / "journal"
        self._store = victim.store
        self.writes_lost = self.writes_torn = 0
        victim.environment.update(self.environment(victim.store))

    def environment(self, directory):
        """What a process needs to be watched."""
        return {
            "LD_PRELOAD": str(build(self._folder)),
            "LOSSY_DIRECTORY": str(directory),
            "LOSSY_JOURNAL": str(self._journal),
        }

    def before_start(self):
        """Begins a new journal: what is there now counts as on the disk."""
        self._journal.unlink(missing_ok=True)

    def after_kill(self):
        """Makes the files what they might be after a loss of power."""
        waiting = unsynced(self._journal)
        if not waiting:
            return
        for path in sorted(self._store.rglob("*")):
            if path.is_file() and (notes := waiting.get(path.stat().st_ino)):
                self._take_back(path, notes)

    def _take_back(self, path, notes):
        content = bytearray(path.read_bytes())
        for kind, offset, old_size, old, new in reversed(notes):
            content[offset : offset + max(len(new), len(old))] = old
            # What was beyond the end before goes; a cut tail is back with `old`.
            del content[old_size:]
            content.extend(bytes(old_size - len(content)))
        self.writes_lost += len(notes)
        if self._generator.random() < self._torn:
            self._tear(content, notes)
        path.write_bytes(content)

    def _tear(self, content, notes):
        """Lets some sectors reach the disk after all, each as some moment had left it."""
        pieces = {}
        for kind, offset, _, _, new in notes:
            if kind != WRITTEN:
                continue
            for sector in range(offset // SECTOR, (offset + len(new) - 1) // SECTOR + 1):
                start = max(offset, sector * SECTOR)
                end = min(offset + len(new), (sector + 1) * SECTOR)
                pieces.setdefault(sector, []).append((start, new[start - offset : end - offset]))
        share = self._generator.random()
        is_torn = False
        for versions in pieces.values():
            if self._generator.random() < share:
                continue
            for start, new in versions[: self._generator.randint(1, len(versions))]:
                content.extend(bytes(max(0, start + len(new) - len(content))))
                content[start : start + len(new)] = new
                is_torn = True
        self.writes_torn += is_torn

    def clean_up(self):
        """Removes the library and the journal."""
        shutil.rmtree(self._folder, ignore_errors=True)


def build(folder):
    """Compiles the library once per folder."""
    library = folder / "lossy.so"
    if library.exists():
        return library
    if not sys.platform.startswith("linux") or not shutil.which("gcc"):
        raise CannotPreload("it needs Linux and gcc")
    command = ["gcc", "-O2", "-Wall", "-Wextra", "-shared", "-fPIC", "-pthread", "-o", library, HERE / "lossy.c"]
    result = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False)
    if result.returncode:
        raise CannotPreload(f"gcc: {result.stdout.strip()[-300:]}")
    return library


def unsynced(journal):
    """The notes that no sync covers, by inode, in their order."""
    data = journal.read_bytes() if journal.exists() else b""
    waiting = {}
    at = number = 0
    while at + NOTE.size <= len(data):
        kind, inode, offset, old_size, old_length, new_length = NOTE.unpack_from(data, at)
        end = at + NOTE.size + old_length + new_length
        if end > len(data):
            # The process ended while it wrote this note; its write has not happened.
            break
        if kind == SYNCED:
            waiting[inode] = [note for note in waiting.get(inode, ()) if note[0] >= offset]
        elif kind == FORGOTTEN:
            waiting.pop(inode, None)
        else:
            middle = at + NOTE.size + old_length
            note = (number, (kind, offset, old_size, data[at + NOTE.size : middle], data[middle:end]))
            waiting.setdefault(inode, []).append(note)
        at = end
        number += 1
    return {inode: [note for _, note in notes] for inode, notes in waiting.items() if notes}


#: A process that writes, syncs a part and then waits to be killed.
PROGRAM = """
import os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT)
os.pwrite(fd, b"a" * 4000, 0)
os.fdatasync(fd)
os.pwrite(fd, b"b" * 4000, 2000)
os.ftruncate(fd, 5000)
os.write(fd, b"c" * 100)
assert os.pread(fd, 3000, 2000) == b"b" * 3000
assert os.pread(fd, 100, 0) == b"c" * 100
print("written", flush=True)
sys.stdin.read()
"""


def check_library(generator):
    """Fails unless a killed process is left with what it had synced, or with a part of the rest."""
    for torn in (0.0, 1.0):
        with tempfile.TemporaryDirectory(prefix="midge-lossy-") as folder:
            target = _Target(pathlib.Path(folder))
            disk = LossyDisk(target, generator, torn)
            file = target.store / "file"
            process = subprocess.Popen(
                [sys.executable, "-c", PROGRAM, str(file)],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                env=dict(os.environ, **target.environment),
            )
            line = process.stdout.readline()
            process.kill()
            process.wait()
            process.stdin.close()
            process.stdout.close()
            if line != b"written\n":
                raise AssertionError("the program that writes did not come to its end")
            disk.after_kill()
            content = file.read_bytes()
            disk.clean_up()
            if torn == 0.0 and content != b"a" * 4000:
                raise AssertionError(f"{len(content)} bytes are left, not what was synced")
            if content[100:2000] != b"a" * 1900 or not set(content) <= set(b"abc\0"):
                raise AssertionError("what was synced has changed")


class _Target:
    """What LossyDisk needs of a broker."""

    def __init__(self, folder):
        self.store = folder
        self.environment = {}
