"""Errors and signals that end a program with one clear message."""

import contextlib
import errno
import io
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from typing import Any

NO_SPACE = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)


class UserError(Exception):
    """Input that cannot be used; the message names the path, the cause and the remedy."""

    status = 2


class DivergenceError(UserError):
    """A loss, gradient or weight is not finite."""

    status = 3


def counted(count: int, noun: str) -> str:
    """Return a number of things in words, such as ``1 image`` or ``2 images``."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"


def is_out_of_memory(error: BaseException | None) -> bool:
    """Return whether an error says that the device, or this process, has no memory left."""
    texts = ("out of memory", "ALLOC_FAILED", "can't allocate memory", "not enough memory")
    found = isinstance(error, RuntimeError) and any(text in str(error) for text in texts)
    return found or isinstance(error, MemoryError)


@contextlib.contextmanager
def handling(handler: Callable[[int, Any], None], *names: str) -> Iterator[None]:
    """Handle signals, such as SIGTERM, while the block runs, in the main thread alone.

    Signals that the system lacks, or that this process was told to ignore (nohup), are left alone.
    """
    is_main = threading.current_thread() is threading.main_thread()
    numbers = [getattr(signal, name) for name in names if is_main and hasattr(signal, name)]
    with contextlib.ExitStack() as before:
        for number in numbers:
            if (found := signal.getsignal(number)) not in (signal.SIG_IGN, None):
                before.callback(signal.signal, number, found)
                signal.signal(number, handler)
        yield


@contextlib.contextmanager
def exit_on_error() -> Iterator[None]:
    """End the program with one message and the error's status; use it as a decorator of ``main``.

    130 after Ctrl-C, 143 after SIGTERM, 129 after SIGHUP, with half-written files removed; 141 when
    nobody reads the output any more. Names that the console cannot show are printed with escapes.
    """
    for name in ("stdout", "stderr"):
        stream = getattr(sys, name) or open(os.devnull, "w")  # None: closed by the shell
        setattr(sys, name, stream)
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    message, status, lost = "", 0, False
    try:
        with handling(lambda number, frame: sys.exit(128 + number), "SIGTERM", "SIGHUP"):
            yield
        sys.stdout.flush()
    except UserError as error:
        message, status = str(error), error.status
    except KeyboardInterrupt:
        status = 128 + signal.SIGINT
    except BrokenPipeError:
        status, lost = 141, True
    except (OSError, MemoryError, RuntimeError) as error:
        reason, status = getattr(error, "strerror", None) or str(error).partition("\n")[0], 2
        if is_out_of_memory(error):
            remedy = "free some; or start anew: bf16, a smaller --batch_size or --input_size"
            message = f"out of memory: {reason}\n  {remedy}"
        elif getattr(error, "errno", None) in NO_SPACE:
            place, lost = getattr(error, "filename", None) or "the output", True
            message = f"cannot write {place}: {reason}\n  free some space, or write elsewhere"
        else:
            raise
    if message:
        with contextlib.suppress(OSError):
            print(f"error: {message}", file=sys.stderr)
    if lost:  # Python flushes both streams at its end, which would fail once more
        for descriptor in (1, 2):
            os.dup2(os.open(os.devnull, os.O_WRONLY), descriptor)
    if status:
        sys.exit(status)
