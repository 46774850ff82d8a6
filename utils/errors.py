"""Errors that end a program with one clear message."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator


class UserError(Exception):
    """Input that cannot be used; the message names the path, the cause and the remedy."""

    status = 2


class DivergenceError(UserError):
    """A loss, gradient or weight is not finite."""

    status = 3


@contextlib.contextmanager
def exit_on_error() -> Iterator[None]:
    """End the program with one message and the error's status; 130 after Ctrl-C.

    Use it as a decorator of ``main``.
    """
    try:
        yield
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(error.status)
    except KeyboardInterrupt:
        sys.exit(130)
