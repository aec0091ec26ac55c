"""One line per test, in a form that people read and the runner counts.

    ok <name>
    FAILED <name>: <why>
    skipped: <name>: <why>
"""

import asyncio
import inspect
import pathlib
import sys
import traceback

HERE = pathlib.Path(__file__).resolve()
TESTS = HERE.parent.parent

#: Seconds after which a test that awaits something has failed, whatever it awaits.
TEST_DEADLINE = 60


class Skip(Exception):
    """Raised by a test that cannot run here; its text says why."""


class Report:
    """Runs tests and prints their lines."""

    def __init__(self):
        self.failed = 0

    def run(self, name, test, *arguments):
        """Runs one test, a function or a coroutine function."""
        try:
            if inspect.iscoroutinefunction(test):
                asyncio.run(asyncio.wait_for(test(*arguments), TEST_DEADLINE))
            else:
                test(*arguments)
        except Skip as reason:
            print(f"skipped: {name}: {reason}", flush=True)
        except Exception as error:
            self.failed += 1
            print(f"FAILED {name}: {_in_one_line(error)}", flush=True)
        else:
            print(f"ok {name}", flush=True)

    def exit(self):
        """Ends the process with the verdict."""
        sys.exit(1 if self.failed else 0)


def _in_one_line(error):
    """The error and the line of a test that it came from."""
    text = " ".join(str(error).split()) or "no message"
    places = []
    for frame in traceback.extract_tb(error.__traceback__):
        file = pathlib.Path(frame.filename)
        if file.is_relative_to(TESTS) and file != HERE:
            places.append(f"{file.name}:{frame.lineno}")
    kind = "" if isinstance(error, AssertionError) else f"{type(error).__name__}: "
    return f"{kind}{text[:500]} ({', '.join(places[-2:])})"


def require(condition, text):
    """Fails the test with `text` unless `condition` holds."""
    if not condition:
        raise AssertionError(text)


def require_equal(found, expected, what):
    """Fails the test unless both are equal; long values are shortened."""
    if found != expected:
        raise AssertionError(f"{what}: {_short(found)} instead of {_short(expected)}")


def _short(value):
    text = repr(value)
    return text if len(text) <= 120 else f"{text[:100]}… ({len(text)} characters)"
