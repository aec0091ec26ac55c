"""A real OpenID provider, and our verification of its tokens.

    tests/oauth/main.py <folder of node_modules> [--test WORDS]

The provider is oidc-provider from npm on a port of 127.0.0.1; our side is the example `oauth_login` of
crates/server, which reads commands and answers with one line each, and in logins.py the built broker.
"""

import argparse
import base64
import json
import os
import pathlib
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

HERE = pathlib.Path(__file__).resolve().parent
ROOT = HERE.parent.parent
sys.path.insert(0, str(HERE.parent))

import logins
from harness.broker import Broker, find_binary
from harness.report import Report, require, require_equal

#: Seconds that a process may take for one line.
DEADLINE = 30

#: Client id and secret at the provider: of a device, and of the broker for introspection.
DEVICE = ("device:7", "a secret & more")
BROKER = ("broker", "the broker")

SCOPES = "mqtt.publish:garden/%c/#"


class Lines:
    """A process that answers each line with one."""

    def __init__(self, arguments):
        self._process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )

    def read(self):
        """The next line."""
        limit = threading.Timer(DEADLINE, self._process.kill)
        limit.start()
        try:
            line = self._process.stdout.readline()
        finally:
            limit.cancel()
        require(line, "the process ended, or said nothing for too long")
        return line.rstrip("\n")

    def ask(self, line):
        """The answer to a line."""
        self._process.stdin.write(line + "\n")
        self._process.stdin.flush()
        return self.read()

    def stop(self):
        """Ends the process."""
        self._process.kill()
        self._process.wait()
        self._process.stdin.close()
        self._process.stdout.close()


class Provider:
    """The provider, with what a device does to get a token."""

    def __init__(self, folder):
        self._lines = Lines(["node", str(HERE / "provider.mjs"), folder])
        ready = json.loads(self._lines.read())
        self.issuer = ready["issuer"]
        self.audience = ready["audience"]

    def token(self, kind, scope=SCOPES):
        """A token by client credentials."""
        resource = f"urn:midge:{kind}"
        form = {"grant_type": "client_credentials", "resource": resource, "scope": scope}
        return self._post("/token", form, DEVICE)["access_token"]

    def revoke(self, token):
        """Takes a token back."""
        self._post("/token/revocation", {"token": token}, DEVICE)

    def _post(self, path, form, client):
        quoted = ":".join(urllib.parse.quote_plus(part) for part in client)
        request = urllib.request.Request(
            self.issuer + path,
            urllib.parse.urlencode(form).encode(),
            {"Authorization": "Basic " + base64.b64encode(quoted.encode()).decode()},
        )
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return json.loads(answer.read() or b"null")

    def rotate(self):
        """New keys for old."""
        self._lines.ask("rotate")

    def count(self, path):
        """How often a path was asked for."""
        return json.loads(self._lines.ask("counts"))["counts"].get(path, 0)

    def stop(self):
        """Takes the provider down."""
        self._lines.stop()


class Setting:
    """A provider and our side, for one test."""

    def __init__(self, folder, binary):
        self.provider = Provider(folder)
        self.midge = find_binary(ROOT)
        self._folder = tempfile.TemporaryDirectory(prefix="midge-oauth-")
        self.folder = pathlib.Path(self._folder.name)
        self._binary = binary
        self._ours = []
        self._brokers = []

    def broker(self, options="", audience=None, tokens=True):
        """A broker that takes the tokens of the provider."""
        text = "user root\nauth_fail_delay 0\n"
        if tokens:
            text += f"oauth_issuer {self.provider.issuer}\n"
            text += f"oauth_audience {audience or self.provider.audience}\n"
            text += "oauth_username_claim sub client_id\n"
        broker = Broker(self.midge, text + options)
        self._brokers.append(broker)
        return broker

    def ours(self, issuer=None, audience=None, client=BROKER, leeway=60):
        """Our side; options make it expect something else."""
        issuer = issuer or self.provider.issuer
        audience = audience or self.provider.audience
        lines = Lines([str(self._binary), issuer, audience, *client, str(leeway)])
        self._ours.append(lines)
        return lines

    def stop(self):
        """Ends all processes."""
        for lines in self._ours:
            lines.stop()
        for broker in self._brokers:
            broker.stop()
            broker.clean_up()
        self.provider.stop()
        self._folder.cleanup()


OK = "ok device:7 sensors,garden"


def every_algorithm(setting):
    """Tokens of every algorithm that the provider has are taken, with one look at its keys."""
    ours = setting.ours()
    for algorithm in ("RS256", "PS256", "ES256", "ES384", "ES512", "Ed25519"):
        answer = ours.ask("token " + setting.provider.token(algorithm))
        require_equal(answer, OK, algorithm)
    require_equal(setting.provider.count("/jwks"), 1, "requests for keys")


def rules(setting):
    """Scopes and claims of a token are rules."""
    ours = setting.ours()
    require_equal(ours.ask("token " + setting.provider.token("ES256")), OK, "the login")
    for command, expected in (
        ("publish garden/sensor-7/soil", "allowed: token scope, publish garden/%c/#"),
        ("publish garden/sensor-8/soil", "denied: no rule of the login allows it"),
        ("subscribe alerts/+", "allowed: token claim, sub alerts/+"),
        ("subscribe #", "denied: no rule of the login allows it"),
    ):
        require_equal(ours.ask(command), expected, command)


def changed(setting):
    """A token with one character changed anywhere is refused."""
    ours = setting.ours()
    token = setting.provider.token("ES256")
    for at in range(0, len(token), 7):
        other = "A" if token[at] != "A" else "B"
        forged = token[:at] + other + token[at + 1 :]
        answer = ours.ask("token " + forged)
        require(answer.startswith("refused: "), f"changed at {at}: {answer}")
    require_equal(ours.ask("token " + token), OK, "the token itself")


def other_audience(setting):
    """A token for somebody else is refused, and one of another issuer."""
    ours = setting.ours(audience="urn:midge:other")
    answer = ours.ask("token " + setting.provider.token("ES256"))
    require_equal(answer, 'refused: a token for the audience "urn:midge:broker"', "the audience")
    answer = setting.ours(issuer=setting.provider.issuer + "/").ask("token eyJ.e30.AA")
    require("they must be equal to the letter" in answer, answer)


def expiry(setting):
    """A token is taken until it is over, and an opaque one whose time has come is not active."""
    ours = setting.ours(leeway=0)
    signed, opaque = setting.provider.token("ES256:3"), setting.provider.token("opaque:3")
    require_equal(ours.ask("token " + signed), OK, "a fresh token")
    require_equal(ours.ask("opaque " + opaque), OK, "a fresh opaque token")
    deadline = time.monotonic() + DEADLINE
    # The second answer is a kept one, and judged by the time of now all the same.
    for command in ("token " + signed, "opaque " + opaque):
        while (answer := ours.ask(command)) == OK:
            require(time.monotonic() < deadline, "it never ends")
            time.sleep(0.1)
        require(answer.startswith("refused: the token expired "), answer)


def rotation(setting):
    """After a rotation new tokens are taken at once and those of withdrawn keys no longer."""
    ours = setting.ours()
    old = setting.provider.token("ES256")
    require_equal(ours.ask("token " + old), OK, "before the rotation")
    setting.provider.rotate()
    require_equal(ours.ask("token " + old), OK, "the old token, by the cached key")
    # Not sooner than the interval for unknown keys, which is two seconds here.
    time.sleep(2.1)
    require_equal(ours.ask("token " + setting.provider.token("ES256")), OK, "the new token")
    answer = ours.ask("token " + old)
    require_equal(answer, 'refused: no key has the id "p256-1"', "the old token")
    require_equal(setting.provider.count("/jwks"), 2, "requests for keys")


def flood(setting):
    """Made-up key ids cost the provider next to nothing."""
    ours = setting.ours()
    require_equal(ours.ask("token " + setting.provider.token("ES256")), OK, "a good token")
    begin = time.monotonic()
    for index in range(3000):
        header = json.dumps({"alg": "ES256", "kid": f"made-up-{index}"}).encode()
        forged = base64.urlsafe_b64encode(header).decode().rstrip("=") + ".e30.AA"
        answer = ours.ask("token " + forged)
        require(answer.startswith("refused: no key has the id"), answer)
    allowed = 2 + (time.monotonic() - begin) / 2
    count = setting.provider.count("/jwks")
    require(count <= allowed, f"{count} requests for keys, at most {allowed:.0f} are right")


def down(setting):
    """A provider that is down locks out nobody whose key is known."""
    ours = setting.ours()
    tokens = [setting.provider.token(kind) for kind in ("ES256", "RS256", "opaque")]
    require_equal(ours.ask("token " + tokens[0]), OK, "while it is up")
    setting.provider.stop()
    require_equal(ours.ask("token " + tokens[1]), OK, "a token that was never seen before")
    answer = ours.ask("opaque " + tokens[2])
    require(answer.startswith("refused: no usable answer: "), answer)
    answer = setting.ours().ask("token " + tokens[0])
    require(answer.startswith("refused: the provider's keys were never fetched: "), answer)


def opaque(setting):
    """Opaque tokens are asked about, once for a while."""
    ours = setting.ours()
    token = setting.provider.token("opaque")
    for _ in range(3):
        require_equal(ours.ask("opaque " + token), OK, "an opaque token")
    require_equal(setting.provider.count("/token/introspection"), 1, "questions")
    require_equal(
        ours.ask("publish garden/sensor-7/soil"),
        "allowed: token scope, publish garden/%c/#",
        "a rule",
    )
    inactive = "refused: the provider says that the token is not active"
    for _ in range(3):
        require_equal(ours.ask("opaque made-up"), inactive, "a made-up token")
    require_equal(setting.provider.count("/token/introspection"), 2, "questions")


def revoked(setting):
    """A token that was taken back is not active."""
    token = setting.provider.token("opaque")
    setting.provider.revoke(token)
    answer = setting.ours().ask("opaque " + token)
    require_equal(answer, "refused: the provider says that the token is not active", "it")


def wrong_secret(setting):
    """A wrong secret of the broker's own is told apart from a bad token."""
    ours = setting.ours(client=("broker", "wrong"))
    answer = ours.ask("opaque " + setting.provider.token("opaque"))
    require("are the broker's client id and secret right?" in answer, answer)


TESTS = {
    "tokens of every algorithm": every_algorithm,
    "rules of a token": rules,
    "a changed token": changed,
    "other audience and issuer": other_audience,
    "the end of a token": expiry,
    "key rotation": rotation,
    "a flood of key ids": flood,
    "provider down": down,
    "opaque tokens": opaque,
    "a revoked token": revoked,
    "a wrong secret of the broker": wrong_secret,
    **logins.TESTS,
}


def build():
    """Our side, built from the present source; cargo says so itself if that fails."""
    arguments = ["cargo", "build", "--quiet", "--package", "midge-server", "--example", "oauth_login"]
    subprocess.run(arguments, cwd=ROOT, stdin=subprocess.DEVNULL, check=True)
    target = pathlib.Path(os.environ.get("CARGO_TARGET_DIR") or ROOT / "target")
    return target / "debug" / "examples" / "oauth_login"


def run(folder, binary, test):
    """One test with processes of its own."""
    setting = Setting(folder, binary)
    try:
        test(setting)
    finally:
        setting.stop()


def main():
    """Runs the tests that the command line chooses; without a choice, all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--test", action="append")
    options = parser.parse_args()
    report = Report()
    binary = build()
    for name, test in TESTS.items():
        if any(part in name for part in options.test or ("",)):
            report.run(f"oauth {name}", run, options.folder, binary, test)
    report.exit()


if __name__ == "__main__":
    main()
