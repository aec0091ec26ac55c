"""MQTT.js in a page of headless Chromium over ws and wss.

    tests/tls/browser.py <folder of MQTT.js> [--test WORDS] [--browser PATH]

A server on the loopback interface hands out the page and takes what it has to tell, so that nothing depends
on the browser's debugging protocol. The page tests the broker as a user of the library would; each of its
results is a line here.
"""

import argparse
import base64
import contextlib
import hashlib
import http.server
import json
import pathlib
import shutil
import subprocess
import sys
import tempfile
import threading

HERE = pathlib.Path(__file__).resolve().parent
sys.path.insert(0, str(HERE.parent))

import peers as tls
from harness.install import CHROMIUM
from harness.report import Report, Skip, require

#: Seconds that the page may take for one test, the browser's start included; it gives up earlier by itself.
DEADLINE = 90

#: For a root user in a container, and for nothing that a test does not need.
FLAGS = [
    "--headless=new",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-extensions",
    "--disable-sync",
    "--no-first-run",
    "--no-default-browser-check",
    "--no-proxy-server",
    "--mute-audio",
]

#: The page's tests in its own words and order.
TESTS = [
    *(
        f"{name} {version} {what}"
        for name in ("ws", "wss")
        for version in ("3.1.1", "5.0")
        for what in ("QoS 0", "QoS 1", "QoS 2", "5 MiB", "a second page's messages")
    ),
    "wss with a certificate that the browser does not trust",
    "an origin that is allowed",
    "an origin that is not allowed",
    "ws after a restart of the broker",
    "wss after a restart of the broker",
]


class Results:
    """What the page has said of each test: None when it is well, or why not."""

    def __init__(self):
        self._came = threading.Condition()
        self._of = {}
        self._is_silent = False

    def take(self, name, error):
        """Keeps a result."""
        with self._came:
            self._of[name] = error
            self._came.notify_all()

    def wait(self, name, is_alive):
        """The result of one test; fails when the page or the browser falls silent."""
        with self._came:
            # A page that said nothing for so long will not begin to.
            for _ in range(1 if self._is_silent else DEADLINE):
                if self._came.wait_for(lambda: name in self._of, 1):
                    return self._of[name]
                require(is_alive(), "the browser has ended")
        self._is_silent = True
        raise AssertionError("the page says nothing")


class Pages(http.server.ThreadingHTTPServer):
    """Hands out the page, takes its results, and restarts the broker when the page asks for it."""

    daemon_threads = True

    def __init__(self, script):
        super().__init__(("127.0.0.1", 0), Handler)
        self.results = Results()
        self.parameters = {}
        self.restart = lambda: None
        self.files = {
            "/": ("text/html", (HERE / "page.html").read_bytes()),
            "/page.mjs": ("text/javascript", (HERE / "page.mjs").read_bytes()),
            "/mqtt.js": ("text/javascript", script.read_bytes()),
        }

    @property
    def origin(self):
        """The page's origin."""
        return f"http://localhost:{self.server_port}"


class Handler(http.server.BaseHTTPRequestHandler):
    """One request."""

    def do_GET(self):
        """The page, its scripts, and what it has to test."""
        if self.path == "/parameters":
            self._answer(200, "application/json", json.dumps(self.server.parameters).encode())
        elif self.path in self.server.files:
            self._answer(200, *self.server.files[self.path])
        else:
            self._answer(404, "text/plain", b"")

    def do_POST(self):
        """A result, or the wish for a restart, which is answered when it has happened."""
        said = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        if self.path == "/restart":
            self.server.restart()
        else:
            self.server.results.take(said["name"], said["error"])
        self._answer(200, "application/json", b"{}")

    def _answer(self, status, kind, body):
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        """Says nothing."""


def public_key_digest(certificate):
    """What the browser calls a certificate whose authority it is not to ask about."""
    text = tls.run(["openssl", "x509", "-in", certificate, "-pubkey", "-noout"])[1]
    lines = text.splitlines()
    key = base64.b64decode("".join(line for line in lines if not line.startswith("-----")))
    return base64.b64encode(hashlib.sha256(key).digest()).decode()


@contextlib.contextmanager
def browser(program, folder, address, trusted):
    """Chromium with a profile of its own; yields how to ask whether it still runs, and its last words."""
    log = folder / "browser.log"
    # The certificate is named by its key; every other one is judged as usual.
    flags = [*FLAGS, f"--user-data-dir={folder / 'profile'}", f"--ignore-certificate-errors-spki-list={trusted}"]
    with log.open("wb") as output:
        process = subprocess.Popen(
            [program, *flags, address], stdin=subprocess.DEVNULL, stdout=output, stderr=output
        )
    try:
        yield lambda: process.poll() is None
    finally:
        process.terminate()
        try:
            process.wait(tls.DEADLINE)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main():
    """Runs the page and prints a line for each of its tests."""
    parser = argparse.ArgumentParser()
    parser.add_argument("node_folder")
    parser.add_argument("--test")
    parser.add_argument("--browser")
    options = parser.parse_args()
    report = Report()
    program = options.browser or next(filter(None, map(shutil.which, CHROMIUM)), None)
    names = [f"Chromium {name}" for name in TESTS if (options.test or "") in name]
    if program is None:
        report.run("Chromium", missing)
        report.exit()
    pages = Pages(pathlib.Path(options.node_folder) / "node_modules" / "mqtt" / "dist" / "mqtt.min.js")
    threading.Thread(target=pages.serve_forever, daemon=True).start()
    websockets = "protocol websockets\n"
    with tempfile.TemporaryDirectory(prefix="midge-browser-", ignore_cleanup_errors=True) as folder:
        place = tls.Place(folder, options.node_folder)
        strange = f"certfile {place.stranger[0]}\nkeyfile {place.stranger[1]}\n"
        kinds = {
            "ws": websockets,
            "wss": websockets + place.certificates,
            "strange": websockets + strange,
            "allowed": f"{websockets}websockets_origin https://elsewhere.example\nwebsockets_origin {pages.origin}\n",
            "refused": f"{websockets}websockets_origin https://elsewhere.example\n",
        }
        with tls.Listeners(**kinds) as listeners:
            pages.restart = listeners.restart
            pages.parameters = {"ports": listeners.ports, "tests": [name.removeprefix("Chromium ") for name in names]}
            trusted = public_key_digest(place.server[0])
            with browser(program, place.folder, pages.origin, trusted) as is_alive:
                for name in names:
                    report.run(name, result, pages, name.removeprefix("Chromium "), is_alive, place)
    report.exit()


def result(pages, name, is_alive, place):
    """Fails as the page's test has."""
    try:
        error = pages.results.wait(name, is_alive)
    except AssertionError as silent:
        tail = (place.folder / "browser.log").read_text(errors="replace")[-300:]
        raise AssertionError(f"{silent}: {tail}") from None
    require(error is None, str(error))


def missing():
    """What is told where there is no browser."""
    raise Skip(f"no {' and no '.join(CHROMIUM)}")


if __name__ == "__main__":
    main()
