"""mosquitto_pub, mosquitto_sub and mosquitto_rr as processes."""

import queue
import subprocess
import threading

#: Seconds that a tool may take for anything it must do.
DEADLINE = 20

#: What the tools call the versions.
VERSIONS = {"3.1": "mqttv31", "3.1.1": "mqttv311", "5.0": "mqttv5"}


class Tools:
    """The tools with one version against one broker."""

    def __init__(self, version, host, port):
        self.version = version
        self._common = ["-h", host, "-p", str(port), "-V", VERSIONS[version]]

    def command(self, tool, *arguments):
        """A whole command line."""
        return [tool, *self._common, *map(str, arguments)]

    def publish(self, *arguments, lines=None):
        """Runs mosquitto_pub to its end; `lines` become one message each."""
        given = "".join(f"{line}\n" for line in lines) if lines is not None else None
        if given is not None:
            arguments += ("-l",)
        result = subprocess.run(
            self.command("mosquitto_pub", *arguments),
            input=given,
            text=True,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            timeout=2 * DEADLINE,
            check=False,
        )
        if result.returncode != 0:
            raise AssertionError(f"mosquitto_pub ended with {result.returncode}: {result.stdout[-300:]}")

    def subscribe(self, *arguments, expected=1):
        """Starts mosquitto_sub and returns once its subscriptions are acknowledged."""
        return Subscriber(self.command("mosquitto_sub", "-d", *arguments), expected)

    def request(self, *arguments):
        """Starts mosquitto_rr, which subscribes to the answer before it asks."""
        return Subscriber(self.command("mosquitto_rr", *arguments), 0)


class Subscriber:
    """A tool that prints messages; what -d adds is told apart from them."""

    def __init__(self, command, expected):
        self._process = subprocess.Popen(
            # The tools write to a pipe in blocks; lines are needed here.
            ["stdbuf", "-oL", *command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
        )
        self.messages = queue.Queue()
        self._subscribed = threading.Semaphore(0)
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        for _ in range(expected):
            if not self._subscribed.acquire(timeout=DEADLINE):
                self.kill()
                raise AssertionError("mosquitto_sub got no SUBACK")

    def _read(self):
        for line in self._process.stdout:
            line = line.rstrip(b"\n").decode(errors="replace")
            if line.startswith("Subscribed (mid: "):
                self._subscribed.release()
            elif not _is_log_line(line):
                self.messages.put(line)
        self.messages.put(None)

    def next(self):
        """The next line that is not a note of -d."""
        try:
            line = self.messages.get(timeout=DEADLINE)
        except queue.Empty:
            raise AssertionError("no message arrived") from None
        if line is None:
            raise AssertionError(f"the tool ended with {self._process.wait()}")
        return line

    def take(self, count):
        """The next `count` lines."""
        return [self.next() for _ in range(count)]

    def rest(self):
        """What has been printed when the tool has ended."""
        self._process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        lines = []
        while (line := self.messages.get_nowait()) is not None:
            lines.append(line)
        return lines

    def terminate(self):
        """Lets the tool say DISCONNECT and end."""
        self._process.terminate()
        self._process.wait(DEADLINE)

    def kill(self):
        """Ends the tool so that its socket closes without a DISCONNECT."""
        self._process.kill()
        self._process.wait(DEADLINE)


def _is_log_line(line):
    return line.startswith("Client ") and (" sending " in line or " received " in line)
