"""The command-line tools beside Debian's mosquitto-clients: the same command lines, the same output.

Every line of the tables runs four times, with both sets of tools against both brokers; what is printed,
what is told on the standard error and the exit code have to be what Debian's tools do against Debian's
broker. Where a newer Mosquitto than Debian's does otherwise, or this one does it better, the line says
what is expected of ours instead.
"""

import json
import os
import pathlib
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import threading
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent))

import links
from harness import install
from harness.broker import Broker, find_binary, free_port
from harness.report import Report, Skip, require, require_equal

ROOT = pathlib.Path(__file__).resolve().parent.parent.parent

#: Seconds that a tool may take.
DEADLINE = 20

OPTIONS = "allow_anonymous true\nmax_queued_messages 20000\n"


class ToolSet:
    """mosquitto_pub, mosquitto_sub and mosquitto_rr, whoever's."""

    def __init__(self, name, paths, environment=None):
        self.name = name
        self.paths = paths
        self.environment = dict(os.environ, XDG_CONFIG_HOME="/nonexistent", **(environment or {}))

    def command(self, words):
        """A command line, whose first word is `pub`, `sub` or `rr`."""
        return [self.paths[words[0]], *map(str, words[1:])]

    def run(self, words, given=b"", environment=None):
        """Runs a tool to its end."""
        return subprocess.run(
            self.command(words),
            input=given,
            capture_output=True,
            timeout=DEADLINE,
            check=False,
            env=dict(self.environment, **(environment or {})),
        )

    def start(self, words):
        """Starts a tool whose output is read when it ends."""
        return subprocess.Popen(
            # Debian's write notes to a pipe in blocks; lines are needed here.
            ["stdbuf", "-oL", *self.command(words)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=self.environment,
        )


def debian_tools():
    """Debian's, or why there are none."""
    problem = install.debian(ROOT)
    if problem:
        raise Skip(problem)
    return ToolSet("Debian's", {name: shutil.which(f"mosquitto_{name}") for name in ("pub", "sub", "rr")})


def our_tools(folder):
    """Ours, by Mosquitto's names."""
    binary = find_binary(ROOT).resolve()
    paths = {}
    for name in ("pub", "sub", "rr"):
        path = pathlib.Path(folder, f"mosquitto_{name}")
        if not path.exists():
            path.symlink_to(binary)
        paths[name] = str(path)
    return ToolSet("ours", paths)


INFINITE = "Error: You must provide a client id if you are using an infinite session expiry interval."

#: Command lines that are wrong: (words, what ours says instead of what Debian's say).
FAULTS = [
    ("pub", None),
    ("pub -t a", None),
    ("pub -m x", None),
    ("pub -t", None),
    ("pub -t a -m x -z", None),
    ("pub -t a -m x extra", None),
    ("pub -t a -m x -q 3", None),
    ("pub -t a -m x -q", None),
    ("pub -t a -m x -p 70000", None),
    ("pub -t a -m x -k 2", None),
    ("pub -t a -m x -k", None),
    ("pub -t a -m x -V 9", None),
    ("pub -t a -m x -V", None),
    ("pub -t a/# -m x", None),
    ("pub -t a/+ -m x", None),
    ("pub -t a -m x -n", None),
    ("pub -t a -l -m x", None),
    ("pub -t a -s -n", None),
    ("pub -t a -m x -c", None),
    ("pub -t a -m x -c -V 5", None),
    ("pub -t a -m x -x -1", INFINITE),
    ("pub -t a -m x -x y", None),
    ("pub -t a -m x -x 5000000000", None),
    ("pub -t a -m x -i a -I b", None),
    ("pub -t a -m x -I a -i b", None),
    ("pub -t a -m x -M 0", None),
    ("pub -t a -m x -M", None),
    ("pub -t a -m x --repeat 0", None),
    ("pub -t a -m x --repeat", None),
    ("pub -t a -m x --repeat-delay -1", None),
    ("pub -t a -m x --will-payload w", None),
    ("pub -t a -m x --will-retain", None),
    ("pub -t a -m x --will-topic w/#", None),
    ("pub -t a -m x --will-topic", None),
    ("pub -t a -m x --will-topic w --will-qos 3", None),
    ("pub -t a -m x --cert c", None),
    ("pub -t a -m x --key k", None),
    ("pub -t a -m x --cafile", None),
    ("pub -t a -m x --proxy", None),
    ("pub -t a -m x --unix", None),
    ("pub -t a -m x -o", "Error: -o argument given but no options file specified."),
    ("pub -t a -m x -o a -o b", "Error: Duplicate -o argument given."),
    ("pub -t a -m x -D", None),
    ("pub -t a -m x -D publish", None),
    ("pub -t a -m x -D publish content-type", None),
    ("pub -t a -m x -D publish user-property a", None),
    ("pub -t a -m x -D send content-type x", "Error: Invalid command send given in --property argument."),
    ("pub -t a -m x -D publish colour x", "Error: Invalid property name colour given in --property argument."),
    ("pub -t a -m x -D connect content-type x", None),
    ("pub -t a -m x -D publish subscription-identifier 1", None),
    ("pub -t a -m x -D puback reason-string x", None),
    ("pub -t a -m x -D auth reason-string x", None),
    ("pub -t a -m x -D publish message-expiry-interval x", "Error: Property value 'x' not a number."),
    ("pub -t a -m x -D publish topic-alias 70000", None),
    ("pub -L", None),
    ("pub -L http://h/a -m x", "Error: Unsupported URL scheme. It has to be mqtt://, mqtts://, ws:// or wss://."),
    ("pub -L mqtt://h -m x", None),
    ("pub -t a -m x -C 1", None),
    ("pub -t a -m x -v", None),
    ("sub", "Error: You must specify a topic to subscribe to (-t) or unsubscribe from (-U)."),
    ("sub -t a/#b", None),
    ("sub -t a -T a+", None),
    ("sub -t a -U a/#/b", None),
    ("sub -t a -C 0", None),
    ("sub -t a -C", None),
    ("sub -t a -W 0", None),
    ("sub -t a -W", None),
    ("sub -t a -m x", None),
    ("sub -t a -r", None),
    ("sub -t a -e b", None),
    ("sub -t a -F", None),
    ("sub -t a -F %", None),
    ("sub -t a -F %5", None),
    ("sub -t a -F %Z", None),
    ("sub -t a -F @", None),
    ("sub -t a -F \\", None),
    ("sub -t a -F \\q", None),
    ("sub -t a --random-filter", None),
    ("sub -t a --random-filter 0", None),
    ("sub -t a --retain-handling x", "Error: Unknown value 'x' for --retain-handling."),
    ("sub -t a -R --retained-only", None),
    ("rr -t a -m x", None),
    ("rr -t a -e b", None),
    ("rr -t a -e b/# -m x", None),
    ("rr -t a -e", None),
    ("rr -t a -e b -m x -C 1", None),
    ("rr -t a -e b -m x -r", None),
    ("rr -t a -e b -l", None),
]

def said(text):
    """The lines of a standard error, without empty ones."""
    lines = [line.strip() for line in text.decode(errors="replace").splitlines()]
    return [line for line in lines if line]


def fault(words, instead, debian, ours):
    """A wrong command line gets the same words and code."""
    theirs, mine = debian.run(words.split(" ")), ours.run(words.split(" "))
    require_equal(mine.returncode, theirs.returncode, "exit code")
    require_equal(mine.stdout, b"", "standard output")
    # 2.0.11 shows all of its usage in some cases, on the standard output.
    expected = [instead] if instead else [line for line in said(theirs.stderr) if not line.startswith("Use '")]
    require_equal([line for line in said(mine.stderr) if not line.startswith("Use '")], expected, "standard error")
    hint = f"Use 'mosquitto_{words.split(' ')[0]} --help' to see usage."
    require(hint in said(mine.stderr), f"no hint in {mine.stderr}")


class Place:
    """A broker with retained messages, and topics of its own for each test."""

    def __init__(self, name, broker):
        self.name = name
        self.broker = broker

    def connect(self, words):
        """The words of a command line with this broker in it."""
        words = [word.replace("$PORT", str(self.broker.port)) for word in words]
        return words if "-L" in words else [*words, "-h", self.broker.host, "-p", str(self.broker.port)]


#: Client ids that brokers choose, and times: what differs from run to run.
CHANGING = [
    (re.compile(rb"auto-[0-9A-Fa-f-]{36}"), b"auto-ID"),
    (re.compile(rb"Client (mosq-\w+|midge-[0-9a-f]+) "), b"Client RANDOM "),
    (re.compile(rb'"tst":"[^"]*"'), b'"tst":""'),
    (re.compile(rb'"tst":\t"[^"]*"'), b'"tst":\t""'),
]


def steady(output):
    """Output without what changes."""
    for pattern, text in CHANGING:
        output = pattern.sub(text, output)
    return output


#: What is retained in each broker, for what follows: topic, payload, further options.
RETAINED = [
    ("kept/text", b"hello", []),
    ("kept/json", b'{"a": [1, 2.5, null], "b": "c"}', []),
    ("kept/quote", b'say "hi"\tthere', []),
    ("kept/qos", b"once", ["-q", "1"]),
    ("kept/float", b"\x00\x00\xc0\x3f", []),
    ("kept/hex", b"\x01\xab\xff", []),
    ("kept/properties", b"p", [
        "-V", "5", "-D", "publish", "content-type", "text/plain", "-D", "publish", "user-property", "b", "1",
        "-D", "publish", "user-property", "a", "2", "-D", "publish", "response-topic", "answer",
        "-D", "publish", "correlation-data", "cd", "-D", "publish", "payload-format-indicator", "1",
    ]),
]

#: Command lines and what they print: words, with the standard input behind a tab.
LINES = [
    "sub -t kept/text -C 1",
    "sub -t kept/text -C 1 -v",
    "sub -t kept/text -C 1 -N",
    "sub -t kept/text -C 1 -v -N",
    "sub -t kept/text -C 1 -F %t|%p|%l|%q|%r|%m|%%|@@",
    "sub -t kept/text -C 1 -F [%12t][%-12t][%.4t][%12.4t]",
    "sub -t kept/text -C 1 -F [%8p][%-8p][%08p][%2p][%5l][%-5l][%05l]",
    "sub -t kept/text -C 1 -F %x|%X",
    "sub -t kept/hex -C 1 -F %x|%X",
    r"sub -t kept/text -C 1 -F \\\t\a\e\v\r\n%p",
    "sub -t kept/text -C 1 -F @Y-@m -N",
    "sub -t kept/text -C 1 -q 1 -F %q",
    "sub -t kept/qos -C 1 -q 2 -F %q|%m",
    "sub -t kept/properties -C 1 -V 5 -F %C|%P|%R|%D|%F|%12C|%-12R|%3F|%03F|%A|%S|%E",
    "sub -t kept/properties -C 1 -V 5 -D subscribe subscription-identifier 7 -F %S|%3S|%-3S|%03S",
    "sub -t kept/properties -C 1 -F %C|%P|%R|%D|%F|",
    "sub -t kept/text -t kept/qos -T kept/text -C 1 -v",
    "sub -t nothing/here -W 1",
    "sub -t nothing/here -W 1 --quiet",
    "sub -t nothing/here -E",
    "sub -t nothing/here -E -d",
    "sub -t nothing/here -t nothing/there -U nothing/else -W 1 -d -V 5",
    "sub -t nothing/here -E -d -V 31",
    "sub -t kept/qos -q 1 -C 1 -d",
    "sub -t kept/qos -q 1 -C 1 -d -V 5 --retain-as-published",
    "sub -t kept/text -R -W 1 -V 5",
    "sub -t kept/text -R -W 1",
    "sub -t $share/g/nothing -E -V 5 -d",
    "pub -t nothing/a -m x",
    "pub -t nothing/a -m x -d",
    "pub -t nothing/a -m x -d -q 1",
    "pub -t nothing/a -m x -d -q 2",
    "pub -t nothing/a -m x -d -q 2 -V 5",
    "pub -t nothing/a -m x -d -q 1 -V 31",
    "pub -t nothing/a -n -d -i me",
    "pub -t nothing/a -m x -d -I me- --quiet -i",
    "pub -t nothing/a -m x --repeat 3 -d -q 1 -M 1",
    "pub -t nothing/a -m x -d --will-topic w --will-payload gone --will-qos 1 --will-retain -V 5",
    "pub -t nothing/a -s -d\tseveral\nlines",
    "pub -t nothing/a -l -d -q 1 -M 1\tone",
    "pub -t nothing/a -l\t",
    "pub -t nothing/a -l --repeat 2 -d\tone\n\ntwo",
    "pub -t nothing/a -s -r\t",
    "pub -t nothing/a -m x -A localhost",
    "pub -t nothing/a -m x -d -u u -P  -k 65535 -M 65535",
    "pub -t nothing/a -m x -d --will-topic w --will-payload ",
    "pub -t nothing/a -m x -d -D will content-type text/x --will-topic w -x 0 -i me",
    "pub -t nothing/a -m x -q 1 -D Publish Message-Expiry-Interval 4294967295 -D connect USER-PROPERTY a b",
    "pub -t nothing/a -m x -q 1 -d -V 5 -D connect receive-maximum 65535 -D disconnect reason-string bye -i me",
    "pub -L mqtt://u:p:q@127.0.0.1:$PORT/nothing/a%20b?c#d -m x -d",
    "pub -L mqtt://@127.0.0.1:$PORT//nothing -t nothing/b -m x -d",
    "sub -L mqtt://127.0.0.1:$PORT/kept/text -t kept/qos -C 2 -F %t",
    "sub -t kept/text -C 1 -F @1|@!|@+|@E|@Z",
    "sub -t kept/text -C 1 -F [%-012t][%.0p][%020t][%03q][%-3r]",
    "sub -t kept/text -C 1 -D subscribe subscription-identifier 268435455 -F %S",
    "sub -t kept/text --retained-only -W 1 -c -i me -x 0",
    "pub -t nothing/a -f /nonexistent/file",
    "pub -L mqtt://127.0.0.1:$PORT/nothing/a -m x -d",
    "pub -t nothing/a -m x -V 5 -d -D connect user-property a b -D disconnect user-property c d -x 5",
    "rr -t nothing/a -e nothing/b -m x -W 1",
    "rr -t nothing/a -e nothing/b -m x -W 1 -V 311",
    "rr -t nothing/a -e kept/text -m x",
    "rr -t nothing/a -e kept/text -m x -v",
    "rr -t nothing/a -e kept/text -n -F %t|%p",
]

#: Lines whose output Debian's broker or tools do not have: where Mosquitto 2.1 does otherwise.
NEWER = {
    "sub -t kept/text -C 1 -F %j": b'{"tst":"","topic":"kept/text","qos":0,"retain":true,"payloadlen":5,"payload":"hello"}\n',
    "sub -t kept/quote -C 1 -F %j": (
        b'{"tst":"","topic":"kept/quote","qos":0,"retain":true,"payloadlen":14,'
        b'"payload":"say \\"hi\\"\\tthere"}\n'
    ),
    "sub -t kept/json -C 1 -F %J": (
        b'{"tst":"","topic":"kept/json","qos":0,"retain":true,"payloadlen":31,'
        b'"payload":{"a":[1,2.5,null],"b":"c"}}\n'
    ),
    "sub -t kept/json -C 1 -F %J --pretty": (
        b'{\n\t"tst":\t"",\n\t"topic":\t"kept/json",\n\t"qos":\t0,\n\t"retain":\ttrue,\n\t"payloadlen":\t31,\n'
        b'\t"payload":\t{\n\t\t"a":\t[1, 2.5, null],\n\t\t"b":\t"c"\n\t}\n}\n'
    ),
    "sub -t kept/properties -C 1 -V 5 -F %j": (
        b'{"tst":"","topic":"kept/properties","qos":0,"retain":true,"payloadlen":1,"properties":'
        b'{"content-type":"text/plain","user-properties":[{"b":"1"},{"a":"2"}],"response-topic":"answer",'
        b'"correlation-data":"cd","payload-format-indicator":1},"payload":"p"}\n'
    ),
    "sub -t kept/hex -C 1 -F %.2:x": b"01:ab:ff\n",
    "sub -t kept/float -C 1 -F %.2f|%8.1f|%f": b"1.50|     1.5|1.500000\n",
    "sub -t kept/text -C 1 --json": b'{"tst":"","topic":"kept/text","qos":0,"retain":true,"payloadlen":5,"payload":"hello"}\n',
    "sub -t kept/hex -C 1 -N --json": b'{"tst":"","topic":"kept/hex","qos":0,"retain":true,"payloadlen":3,"payload_base64":"Aav/"}\n',
    "sub -t kept/text -C 1 --decode msgpack": b"hello\n",
}


def ordered(line, output):
    """Properties come in any order of the broker's."""
    if b'"properties"' not in output:
        return output
    return json.loads(output)


def line_runs_alike(line, place, debian, ours):
    """A command line prints the same and ends alike."""
    text, _, given = line.partition("\t")
    words = place.connect(text.split(" "))
    given = given.encode()
    theirs, mine = debian.run(words, given), ours.run(words, given)
    require_equal(mine.returncode, theirs.returncode, "exit code")
    require_equal(steady(mine.stdout), steady(theirs.stdout), "standard output")
    if theirs.stderr and theirs.returncode != 0:
        # Ours may go on with why.
        first = said(theirs.stderr)[0].rstrip(".")
        require(said(mine.stderr)[0].startswith(first), f"{mine.stderr} instead of {theirs.stderr}")
    else:
        require_equal(mine.stderr, theirs.stderr, "standard error")


def newer_line(line, expected, place, ours):
    """A command line prints what a newer Mosquitto prints, or what ours alone do."""
    result = ours.run(place.connect(line.split(" ")))
    require_equal(result.stderr, b"", "standard error")
    found = steady(result.stdout)
    require_equal(ordered(line, found), ordered(line, expected), "standard output")
    require_equal(result.returncode, 0, "exit code")


def refused(debian, ours):
    """No broker, an unknown host, a bad password, a banned user: the same words and codes."""
    port = str(free_port())
    for words in (f"pub -t a -m x -p {port}", f"sub -t a -p {port}", f"rr -t a -e b -m x -p {port}",
                  "pub -t a -m x -h nobody.invalid"):
        theirs, mine = debian.run(words.split(" ")), ours.run(words.split(" "))
        require_equal((mine.returncode, said(mine.stderr)), (theirs.returncode, said(theirs.stderr)), words)
        quiet = ours.run([*words.split(" "), "--quiet"])
        require_equal((quiet.returncode, quiet.stderr), (theirs.returncode, b""), f"{words} --quiet")


def credentials(debian, ours):
    """What a broker with passwords says comes out alike."""
    problem = install.mosquitto(ROOT)
    if problem:
        raise Skip(problem)
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o755)
        passwords = pathlib.Path(folder, "passwords")
        passwd = install.mosquitto_program("mosquitto_passwd")
        subprocess.run([passwd, "-b", "-c", str(passwords), "ann", "secret"], check=True, capture_output=True)
        passwords.chmod(0o644)
        options = f"allow_anonymous false\npassword_file {passwords}\n"
        broker = Broker(install.mosquitto_program("mosquitto"), options)
        place = Place("Debian's broker", broker)
        try:
            for version in ("31", "311", "5"):
                for who in ("", " -u ann -P wrong", " -u ann -P secret"):
                    for words in ("pub -t a -m x", "sub -t a -W 1", "rr -t a -e b -m x -W 1"):
                        line = place.connect(f"{words}{who} -V {version}".split(" "))
                        theirs, mine = debian.run(line), ours.run(line)
                        require_equal(mine.returncode, theirs.returncode, f"exit code of {line}")
                        # 2.0.11's rr takes the codes of all versions for those of 5.0.
                        if words.startswith("rr") and version != "5":
                            continue
                        expected = said(theirs.stderr)[:1]
                        require_equal(said(mine.stderr)[:1], expected, f"standard error of {line}")
        finally:
            broker.stop()
            broker.clean_up()


def options_file(place, debian, ours):
    """Options come from the usual file, from -o, and from the command line, which counts more."""
    with tempfile.TemporaryDirectory() as folder:
        text = f"# mine\n-p {place.broker.port}\n-t kept/text\n-C 1\n-v\n"
        for where in (pathlib.Path(folder, "mosquitto_sub"), pathlib.Path(folder, ".config", "mosquitto_sub")):
            where.parent.mkdir(exist_ok=True)
            where.write_text(text)
        named = pathlib.Path(folder, "named")
        named.write_text(text)
        cases = [
            (["sub"], {"XDG_CONFIG_HOME": folder}),
            (["sub", "-F", "%l"], {"XDG_CONFIG_HOME": folder}),
        ]
        for words, environment in cases:
            theirs, mine = debian.run(words, b"", environment), ours.run(words, b"", environment)
            require_equal((mine.returncode, mine.stdout), (theirs.returncode, theirs.stdout), f"{words}")
        # A line has its value for itself.
        for text in ("-h\n-v\n", "-t\n", "-v\n-z\n", "   -t kept/#/x\n"):
            pathlib.Path(folder, "mosquitto_sub").write_text(text)
            words = place.connect(["sub", "-W", "1"])
            theirs, mine = (tools.run(words, b"", {"XDG_CONFIG_HOME": folder}) for tools in (debian, ours))
            require_equal((mine.returncode, said(mine.stderr)[0]), (theirs.returncode, said(theirs.stderr)[0]), text)
            number = 2 if "-z" in text else 1
            require_equal(said(mine.stderr)[1], f"This is line {number} of {folder}/mosquitto_sub.", text)
        # -o is newer than Debian's.
        for words, expected in ((["sub", "-o", named], b"kept/text hello\n"),
                                (["sub", "-F", "%p", "-o", named, "-N"], b"hello")):
            result = ours.run(words)
            require_equal((result.returncode, result.stdout), (0, expected), f"{words}")
        environment = {"HOME": folder}
        for tools in (debian, ours):
            bare = ToolSet(tools.name, tools.paths)
            del bare.environment["XDG_CONFIG_HOME"]
            result = bare.run(["sub"], b"", environment)
            require_equal((result.returncode, result.stdout), (0, b"kept/text hello\n"), tools.name)


def subscribed(tools, place, words):
    """Starts mosquitto_sub with -d and waits for its SUBACK; gives it and the lines that follow."""
    process = tools.start(["sub", "-d", *place.connect(words)])
    lines = []
    for line in process.stdout:
        if line.startswith(b"Subscribed"):
            return process, lines
        lines.append(line)
    raise AssertionError(f"{tools.name}: no SUBACK: {lines} {process.stderr.read()}")


def live_lines(place, tools, words, publishes):
    """What a subscriber prints of messages that are published while it is there."""
    process, _ = subscribed(tools, place, words)
    timer = threading.Timer(DEADLINE, process.kill)
    timer.start()
    try:
        for publish in publishes:
            result = tools.run(place.connect(publish))
            require_equal(result.returncode, 0, f"{publish}")
        output, error = process.communicate()
    finally:
        timer.cancel()
    lines = [line for line in output.splitlines() if not line.startswith(b"Client ")]
    return process.returncode, lines, error


def messages_alike(place, debian, ours):
    """Messages of every kind, published and printed by both."""
    cases = [
        (["-t", "live/#", "-C", "4", "-v"], [
            ["pub", "-t", "live/a", "-m", "x"], ["pub", "-t", "live/b", "-n"],
            ["pub", "-t", "live/c", "-m", "y", "--repeat", "2"],
        ]),
        (["-t", "live/#", "-C", "3", "-q", "2", "-F", "%t %q %r %p"], [
            ["pub", "-t", "live/a", "-m", str(qos), "-q", str(qos)] for qos in range(3)
        ]),
        (["-t", "live/#", "-C", "2", "-F", "%p", "--retained-only"], [["pub", "-t", "live/a", "-m", "x"]]),
        (["-t", "live/#", "-C", "1", "-V", "5", "-F", "%P|%C|%p"], [
            ["pub", "-t", "live/a", "-m", "x", "-D", "publish", "user-property", "n", "v", "-D", "publish",
             "content-type", "text/x"],
        ]),
    ]
    for words, publishes in cases:
        theirs = live_lines(place, debian, words, publishes)
        mine = live_lines(place, ours, words, publishes)
        require_equal(mine, theirs, f"{words}")


def closed_and_full(place, _debian, ours):
    """Output that goes nowhere is told, closed streams are no reason to fall, and properties need MQTT 5."""
    command = lambda words: " ".join(ours.command(place.connect(words.split(" "))))
    for words, code in (
        ("sub -t kept/text -C 1 > /dev/full", 1), ("sub -t kept/text -C 1 -N -F %p > /dev/full", 1),
        ("rr -t nothing/a -e kept/text -m x > /dev/full", 1), ("pub -t nothing/a -m x -d > /dev/full", 1),
        ("sub -t kept/text -C 1 <&- >&-", 0), ("pub -t nothing/a -m x -d <&- >&- 2>&-", 0),
        ("pub -t nothing/a -l <&-", 0), ("pub -t nothing/a -s <&-", 1), ("pub -t nothing/a -l < /", 1),
    ):
        line, direction, target = words.partition(" > ") if " > " in words else words.partition(" <")
        result = subprocess.run(
            ["bash", "-c", f"{command(line)}{direction}{target}"], capture_output=True, timeout=DEADLINE, check=False,
            env=ours.environment,
        )
        require_equal(result.returncode, code, f"{words} {result.stderr}")
        text = b"No space left" if "full" in words else b"Error: " if code else b""
        require(text in result.stderr and b"panicked" not in result.stderr, f"{words} {result.stderr}")
    result = ours.run(place.connect("pub -t nothing/a -m x -D publish content-type x -V 311".split(" ")))
    warning = b"Warning: The properties of -D need -V 5 and are not sent.\n"
    require_equal((result.returncode, result.stderr), (0, warning), "properties and 3.1.1")


def aliases(place, _debian, ours):
    """Aliases of both directions; Debian's mosquitto_sub knows none."""
    words = ["-t", "live/#", "-C", "2", "-V", "5", "-v", "-D", "connect", "topic-alias-maximum", "10"]
    publish = ["pub", "-t", "live/a", "-m", "x", "-D", "publish", "topic-alias", "3", "--repeat", "2"]
    require_equal(live_lines(place, ours, words, [publish]), (0, [b"live/a x"] * 2, b""), "messages")


def request_response(place, debian, ours):
    """A request of one set of tools is answered by the other."""
    for asking, answering in ((ours, debian), (debian, ours)):
        responder, _ = subscribed(answering, place, ["-t", "ask", "-V", "5", "-C", "1", "-F", "%R|%D|%p"])
        requester = asking.start(
            ["rr", *place.connect(["-t", "ask", "-e", "answer", "-m", "6*7", "-D", "publish", "correlation-data", "9"])]
        )
        output, _ = responder.communicate(timeout=DEADLINE)
        line = next(line for line in output.splitlines() if not line.startswith(b"Client "))
        require_equal(line, b"answer|9|6*7", f"request of {asking.name}")
        answering.run(["pub", *place.connect(["-t", "answer", "-m", "42", "-V", "5"])])
        output, error = requester.communicate(timeout=DEADLINE)
        require_equal((requester.returncode, output, error), (0, b"42\n", b""), asking.name)


def remove_retained(place, _debian, ours):
    """--remove-retained removes what it prints and spares what -T names."""
    for name in ("a", "b", "c"):
        ours.run(["pub", *place.connect(["-t", f"old/{name}", "-m", name, "-r", "-q", "1"])])
    words = ["sub", "-t", "old/#", "-T", "old/b", "--remove-retained", "-C", "2", "-v"]
    result = ours.run(place.connect(words))
    require_equal(sorted(result.stdout.splitlines()), [b"old/a a", b"old/c c"], "removed")
    result = ours.run(place.connect(["sub", "-t", "old/#", "-W", "1", "-v"]))
    require_equal((result.stdout, result.returncode), (b"old/b b\n", 27), "left")
    ours.run(["pub", *place.connect(["-t", "old/b", "-n", "-r", "-q", "1"])])


def message_rate(place, _debian, ours):
    """--message-rate prints how many messages came in each second."""
    process, _ = subscribed(ours, place, ["-t", "rate", "--message-rate", "-W", "3"])
    ours.run(["pub", *place.connect(["-t", "rate", "-m", "x", "--repeat", "100"])])
    output, _ = process.communicate(timeout=DEADLINE)
    counts = [int(line) for line in output.splitlines() if line.isdigit()]
    require_equal(sum(counts), 100, "messages")
    require(2 <= len(counts) <= 3, f"{counts}")


def large_messages(place, _debian, ours):
    """A large message with QoS 0 leaves at once, every time, whichever call of the system takes the last byte."""
    payload = os.urandom(1_900_000)
    for _ in range(30):
        result = ours.run(["pub", *place.connect(["-t", "large", "-s"])], payload)
        require_equal((result.returncode, result.stderr), (0, b""), "pub")


def signals(place, debian, ours):
    """SIGTERM and SIGINT end a subscriber with DISCONNECT and code 0."""
    for number in (signal.SIGTERM, signal.SIGINT):
        ends = []
        for tools in (debian, ours):
            process, _ = subscribed(tools, place, ["-t", "nothing", "-V", "5"])
            process.send_signal(number)
            output, error = process.communicate(timeout=DEADLINE)
            ends.append((process.returncode, b"sending DISCONNECT" in output, error))
        require_equal(ends[1], ends[0], f"after {number.name}")


def reconnects(binary, debian, ours):
    """A subscriber and `pub -l` come back when the broker does; a publisher of one message gives up."""
    for tools in (debian, ours):
        broker = Broker(binary, OPTIONS)
        again = None
        place = Place("", broker)
        feeder = None
        try:
            process, _ = subscribed(tools, place, ["-t", "back", "-q", "1", "-C", "2", "-v"])
            feeder = subprocess.Popen(
                tools.command(["pub", *place.connect(["-t", "back", "-q", "1", "-l"])]),
                stdin=subprocess.PIPE, env=tools.environment,
            )
            feeder.stdin.write(b"before\n")
            feeder.stdin.flush()
            for line in process.stdout:
                if line == b"back before\n":
                    break
            port = broker.port
            broker.stop()
            again = SamePort(binary, port)
            for line in process.stdout:
                if line.startswith(b"Subscribed"):
                    break
            feeder.stdin.write(b"after\n")
            feeder.stdin.close()
            require_equal(feeder.wait(DEADLINE), 0, f"{tools.name}: pub -l")
            output, _ = process.communicate(timeout=DEADLINE)
            require(b"back after\n" in output, f"{tools.name}: {output}")
            require_equal(process.returncode, 0, f"{tools.name}: sub")
        finally:
            if feeder and feeder.poll() is None:
                feeder.kill()
            broker.stop()
            broker.clean_up()
            if again:
                again.stop()


class SamePort:
    """A broker on a port that another one had."""

    def __init__(self, binary, port):
        self._folder = tempfile.TemporaryDirectory()
        configuration = pathlib.Path(self._folder.name, "broker.conf")
        configuration.write_text(f"listener {port} 127.0.0.1\n{OPTIONS}")
        words = [str(binary)] + (["broker"] if pathlib.Path(binary).name.startswith("midge") else [])
        self._process = subprocess.Popen(
            words + ["-c", str(configuration)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )

    def stop(self):
        """Ends it."""
        self._process.terminate()
        self._process.wait(DEADLINE)
        self._folder.cleanup()


def help_and_version(_place, debian, ours):
    """--help and --version print, and end as the originals do."""
    for tool in ("pub", "sub", "rr"):
        for option in ("--help", "--version"):
            theirs, mine = debian.run([tool, option]), ours.run([tool, option])
            require_equal((mine.returncode, mine.stderr), (theirs.returncode, b""), f"{tool} {option}")
            require(f"mosquitto_{tool}".encode() in mine.stdout or option == "--help", mine.stdout)


def every_option_of_the_originals(_place, debian, ours):
    """What the originals' --help names is known."""
    for tool in ("pub", "sub", "rr"):
        text = debian.run([tool, "--help"]).stdout.decode()
        names = set(re.findall(r"^ (--?[A-Za-z][\w-]*) :", text, re.M)) | set(re.findall(r"(?<=[\[ {|])(--[a-z][\w-]+)", text))
        # rr's usage lists -l, which rr itself does not know, and a word of somebody's that is none.
        names -= {"-l"} if tool == "rr" else set()
        unknown = []
        for name in sorted(names - {"--help", "--version"}):
            result = ours.run([tool, name])
            if b"Unknown option" in result.stderr:
                unknown.append(name)
        require_equal(unknown, [], f"options of mosquitto_{tool}")


def start_time(_place, debian, ours):
    """From start to exit, a message of ours takes no longer than one of Debian's."""
    broker = Broker(find_binary(ROOT), OPTIONS)
    words = ["pub", "-h", "127.0.0.1", "-p", str(broker.port), "-t", "a", "-m", "x", "-q", "1"]
    try:
        best = {}
        for _ in range(3):
            for tools in (debian, ours):
                began = time.perf_counter()
                for _ in range(20):
                    require_equal(tools.run(words).returncode, 0, tools.name)
                taken = (time.perf_counter() - began) / 20
                best[tools.name] = min(taken, best.get(tools.name, taken))
    finally:
        broker.stop()
        broker.clean_up()
    print(f"   start to exit: {1e3 * best[ours.name]:.1f} ms, Debian's {1e3 * best[debian.name]:.1f} ms", flush=True)
    if "debug" in str(find_binary(ROOT)):
        raise Skip("the build has debug assertions")
    require(best[ours.name] <= 1.1 * best[debian.name], f"{best}")


def main():
    """Runs everything."""
    report = Report()
    ours_folder = tempfile.TemporaryDirectory()
    try:
        debian = debian_tools()
    except Skip as reason:
        print(f"skipped: tools: {reason}", flush=True)
        return report.exit()
    ours = our_tools(ours_folder.name)
    for words, instead in FAULTS:
        report.run(f"tools fault: {words}", fault, words, instead, debian, ours)
    report.run("tools no connection", refused, debian, ours)
    report.run("tools credentials", credentials, debian, ours)
    report.run("tools help and version", help_and_version, None, debian, ours)
    report.run("tools every option", every_option_of_the_originals, None, debian, ours)
    report.run("tools start time", start_time, None, debian, ours)

    binaries = {"Midge": find_binary(ROOT), "Mosquitto": install.mosquitto_program("mosquitto")}
    for name, binary in binaries.items():
        if binary is None:
            print(f"skipped: tools against {name}: it is not installed", flush=True)
            continue
        broker = Broker(binary, OPTIONS)
        try:
            place = Place(name, broker)
            for topic, payload, options in RETAINED:
                debian.run(["pub", *place.connect(["-t", topic, "-s", "-r", *options])], payload)
            for line in LINES:
                shown = line.partition("\t")[0]
                report.run(f"tools {name}: {shown}", line_runs_alike, line, place, debian, ours)
            for line, expected in NEWER.items():
                report.run(f"tools {name}: {line}", newer_line, line, expected, place, ours)
            for test in (options_file, messages_alike, closed_and_full, aliases, request_response, remove_retained, message_rate, large_messages, signals):
                report.run(f"tools {name}: {test.__name__}", test, place, debian, ours)
        finally:
            broker.stop()
            broker.clean_up()
        report.run(f"tools {name}: reconnects", reconnects, binary, debian, ours)
    ours_folder.cleanup()
    links.run_all(report)
    return report.exit()


if __name__ == "__main__":
    main()
