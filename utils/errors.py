"""Errors that end a program with one clear message."""

from __future__ import annotations

import contextlib
import io
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType


class UserError(Exception):
    """Input that cannot be used; the message names the path, the cause and the remedy."""

    status = 2


class DivergenceError(UserError):
    """A loss, gradient or weight is not finite."""

    status = 3


def printable(name: object) -> str:
    """Return a file name with control characters and bytes that are not UTF-8 escaped.

    Files that others named could otherwise forge lines of a message.
    """
    text = str(name).encode(errors="backslashreplace").decode()
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def counted(count: int, noun: str) -> str:
    """Return a number of things in words, such as ``1 image`` or ``2 images``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


@contextlib.contextmanager
def exit_on_error() -> Iterator[None]:
    """End the program with one message and the error's status, and never with a traceback.

    130 after Ctrl-C; 143 after SIGTERM, with files that are half written removed; 141, without a
    message, when nobody reads the output any more. Texts that the console's encoding lacks are
    printed with escapes. Use it as a decorator of ``main``.
    """
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    before = signal.signal(signal.SIGTERM, _end)
    try:
        try:
            with _one_message():
                yield
        finally:
            if sys.stdout:  # None if the program was started without
                sys.stdout.flush()
    except BrokenPipeError:
        nothing = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):  # Python flushes both at its end, and would say that it failed
            os.dup2(nothing, descriptor)
        sys.exit(128 + signal.SIGPIPE)
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)


@contextlib.contextmanager
def _one_message() -> Iterator[None]:
    try:
        yield
    except UserError as error:
        text = "\n".join(map(printable, f"error: {error}".split("\n")))
        print(text, file=sys.stderr)
        sys.exit(error.status)
    except KeyboardInterrupt:
        sys.exit(128 + signal.SIGINT)


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)
