"""The client for microcontrollers on one: firmware for a Cortex-M4 in QEMU, whose serial line leads to a broker.

The firmware (crates/embedded/examples/cortex-m) publishes numbered readings, and adds up what paho tells it
to add, all with QoS 2. Its power is cut again and again, and its line, and the broker is killed; then every
reading has come once, and everything was added once.
"""

import pathlib
import random
import subprocess
import sys
import tempfile
import threading
import time

TESTS = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(TESTS))
sys.path.insert(0, str(TESTS / "crash"))
sys.path.insert(0, str(TESTS / "debian"))

from clients import PahoClient
from harness.broker import find_binary
from harness.report import Report, Skip, require, require_equal
from victim import Victim

ROOT = TESTS.parent
EXAMPLE = ROOT / "crates" / "embedded" / "examples" / "cortex-m"
FIRMWARE = EXAMPLE / "target" / "thumbv7em-none-eabi" / "release" / "meter"

#: Ends of the board's power in one test; of the line, or the broker.
POWER_CUTS = 20
LINE_CUTS = 3

#: Seconds that a board may have power, at least and at most.
POWER = (0.05, 0.5)

#: What the last command adds, more than all before it.
LAST = 1_000_000

#: Commands on their way at the same time.
UNFINISHED_MAX = 10

#: Seconds between two commands, and that the last of them may take to be added.
PAUSE = 0.01
DEADLINE = 40


class Board:
    """A board; its flash is a folder."""

    def __init__(self, port, firmware, folder):
        self._folder = folder
        self._command = [
            *["qemu-system-arm", "-machine", "mps2-an386", "-display", "none", "-monitor", "none"],
            *["-semihosting-config", "enable=on,target=native", "-kernel", str(firmware), "-serial", "chardev:line"],
        ]
        self._line = f"socket,id=line,host=127.0.0.1,port={port},nodelay=on"
        self._console = (folder / "console").open("ab")
        self._process = None

    def start(self, line_options=""):
        """Gives it power. The line is there at once, or, with `reconnect`, again and again."""
        self._process = subprocess.Popen(
            [*self._command, "-chardev", self._line + line_options],
            stdin=subprocess.DEVNULL,
            stdout=self._console,
            stderr=self._console,
            cwd=self._folder,
        )

    def cut(self):
        """Takes the power away, wherever the program is."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        elif self._process:
            raise AssertionError(f"the board ended by itself: {self.console()}")

    def end(self):
        """Ends whatever runs."""
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
        self._console.close()

    def console(self):
        """What it has said."""
        return (self._folder / "console").read_text(errors="replace")[-500:]


class Teller:
    """A client that tells the meter to add one, and again, until it is stopped."""

    def __init__(self, victim, version):
        self._client = PahoClient(victim, "teller", version)
        self._told = 0
        self._acknowledged = 0
        self._client.client.on_publish = self._on_publish
        self._client.connect()
        self._stop = threading.Event()
        self._thread = threading.Thread(target=self._tell, daemon=True)
        self._thread.start()

    def _tell(self):
        while not self._stop.wait(PAUSE):
            # Without a connection paho keeps them for the next, which it sends without regard for the window.
            if self._told - self._acknowledged >= UNFINISHED_MAX:
                continue
            self._client.client.publish("meter/7/add", "1", 2)
            self._told += 1

    def _on_publish(self, *_):
        self._acknowledged += 1

    def outlive(self, victim):
        """The broker is killed, and this client comes back to its next life before anything else happens: paho
        publishes again what it has released if an attempt to connect fails in between."""
        victim.kill()
        self._client.await_loss()
        victim.start()
        self._client.await_connection()

    def finish(self, board):
        """Tells the last command; returns what all add up to, once the broker has acknowledged them."""
        self._stop.set()
        self._thread.join()
        self._client.client.publish("meter/7/add", str(LAST), 2)
        self._told += 1
        wait(lambda: self._acknowledged >= self._told, "not every command was acknowledged", board)
        self._client.leave()
        return self._told - 1 + LAST


def listener(victim, topic, version):
    """A client with a session that has subscribed to a topic."""
    client = PahoClient(victim, topic.replace("/", "-"), version)
    client.connect()
    client.subscribe(topic, 2)
    return client


def trial(version, part):
    """One meter through what `part` does to it."""
    victim = Victim()
    with tempfile.TemporaryDirectory(prefix="midge-board-") as folder:
        board = Board(victim.port, firmware(version), pathlib.Path(folder))
        try:
            victim.start()
            readings = listener(victim, "meter/7/reading", version)
            sums = listener(victim, "meter/7/sum", version)
            # Its session is there before the first command; it connects twice for that.
            board.start(",reconnect=1")
            wait(lambda: readings.received, "the board does not publish", board)
            teller = Teller(victim, version)
            part(board, victim, teller)
            told = teller.finish(board)
            board.cut()
            board.start(",reconnect=1")
            # They come in order, so whatever came twice was added before the last.
            wait(lambda: sums.received and int(sums.received[-1]) >= LAST, "the last command is not added", board)
            board.cut()
            require_equal(int(sums.received[-1]), told, "the sum")
            numbers = [int(text) for text in readings.received]
            require_equal(numbers, list(range(1, len(numbers) + 1)), "readings")
            print(f"   {len(numbers)} readings, {told - LAST} commands")
            readings.leave()
            sums.leave()
        finally:
            board.end()
            victim.clean_up()


def wait(condition, what, board):
    """Until it holds."""
    deadline = time.monotonic() + DEADLINE
    while not condition():
        require(time.monotonic() < deadline, f"{what}; its console: {board.console()}")
        time.sleep(0.01)


def power_cuts(board, _victim, _teller):
    """The power of the board ends at any place."""
    for _ in range(POWER_CUTS):
        time.sleep(random.uniform(*POWER))
        board.cut()
        board.start()


def broken_lines(board, victim, teller):
    """The broker is killed, and with it the line, which comes back by itself."""
    board.cut()
    board.start(",reconnect=1")
    for _ in range(LINE_CUTS):
        time.sleep(random.uniform(1, 2))
        teller.outlive(victim)


def both(board, victim, teller):
    """Board and broker end at the same time."""
    for _ in range(POWER_CUTS // 2):
        time.sleep(random.uniform(*POWER))
        board.cut()
        teller.outlive(victim)
        board.start()


def firmware(version):
    """The program of the board, built."""
    features = ["--features", "v3"] if version == "3.1.1" else []
    script = ROOT / "crates" / "embedded" / "cargo-arm.sh"
    command = ["sh", str(script), "build", "--release", "--quiet", "--locked", *features]
    result = subprocess.run(command, cwd=EXAMPLE, capture_output=True, text=True, check=False)
    if result.returncode == 3:
        raise Skip(result.stderr.strip())
    require(result.returncode == 0, f"the firmware cannot be built: {result.stderr[-2000:]}")
    return FIRMWARE


def main():
    """Both versions, and every part."""
    report = Report()
    if find_binary(ROOT) is None:
        raise SystemExit("no broker: build it with `cargo build --release -p midge` or set MIDGE_BIN")
    for version in ("5.0", "3.1.1"):
        for part in (power_cuts, broken_lines, both):
            report.run(f"board {version} {part.__name__.replace('_', ' ')}", trial, version, part)
    report.exit()


if __name__ == "__main__":
    main()
