"""Errors that end a program with one clear message.

Programs import this module before all others: Ctrl-C then ends them at once while libraries are
being imported, where an exception would print a traceback or be lost. Inside `exit_on_error` it is
Python's exception again.
"""

from __future__ import annotations

import contextlib
import errno
import io
import os
import signal
import sys
from collections.abc import Iterator
from types import FrameType

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LONGEST_LINE = 1000  # of a message; names and values from a file can have any length


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
    printed with escapes, and output that the program was started without goes nowhere. Use it as a
    decorator of ``main``.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name)
        if stream is None:  # closed by the shell
            setattr(sys, name, open(os.devnull, "w"))
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    before = signal.signal(signal.SIGTERM, _end)
    is_program = signal.getsignal(signal.SIGINT) is signal.SIG_DFL
    if is_program:
        signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        try:
            yield
        except UserError as error:
            lines = f"error: {error}".split("\n")
            print("\n".join(printable(_shortened(line)) for line in lines), file=sys.stderr)
            sys.exit(error.status)
        except KeyboardInterrupt:
            sys.exit(128 + signal.SIGINT)
        finally:
            sys.stdout.flush()
    except OSError as error:
        is_closed = isinstance(error, BrokenPipeError)
        if not is_closed and error.errno not in NO_SPACE:
            raise
        if not is_closed:
            text = f"error: cannot write {printable(error.filename or 'the output')}: "
            with contextlib.suppress(OSError):
                print(
                    text + f"{error.strerror}\n  free some space, or write elsewhere",
                    file=sys.stderr,
                )
        nothing = os.open(os.devnull, os.O_WRONLY)
        for descriptor in (1, 2):  # Python flushes both at its end, and would say that it failed
            os.dup2(nothing, descriptor)
        sys.exit(128 + signal.SIGPIPE if is_closed else UserError.status)
    finally:
        signal.signal(signal.SIGTERM, before or signal.SIG_DFL)
        if is_program:
            signal.signal(signal.SIGINT, signal.SIG_DFL)


def _shortened(line: str) -> str:
    half = LONGEST_LINE // 2
    return line if len(line) <= LONGEST_LINE else f"{line[:half]} ... {line[-half:]}"


def _end(number: int, frame: FrameType | None) -> None:
    sys.exit(128 + number)


def _end_during_imports() -> None:
    frame: FrameType | None = sys._getframe(1)
    while frame and (frame.f_globals is globals() or "importlib" in frame.f_code.co_filename):
        frame = frame.f_back
    names = frame.f_globals if frame else {}
    is_program = names.get("__name__") == "__main__" and "__file__" in names  # no notebook
    # Jobs in the background of a script ignore Ctrl-C, and go on doing so.
    if is_program and signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)


_end_during_imports()
