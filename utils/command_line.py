"""Command lines: derived from dataclasses of options, checked, compared."""

from __future__ import annotations

import argparse
import dataclasses
import functools
import math
import os
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar, get_type_hints

from utils.errors import printable

LARGEST_SIDE = 16384
"""Of an image, in pixels; a typing mistake beyond it would exhaust the memory."""

Size = tuple[int, int]
Config = TypeVar("Config", bound=Any)  # a dataclass whose fields are made by `option`


def option(
    default: Any,
    help: str,
    parse: Callable[[str], Any] = str,
    choices: Sequence[str] | None = None,
    fixed: bool = True,
    implies: dict[str, dict[str, Any]] | None = None,
) -> Any:
    """Declare an option.

    Args:
        default: value when the option is not given.
        help: what it does and how to choose it.
        parse: turns the command line's text into the value, or raises ValueError.
        choices: allowed values, if there are few.
        fixed: whether a resumed run must have the same value.
        implies: for each of its values, the values of other options that are not given.
    """
    metadata = {"parse": parse, "choices": choices, "fixed": fixed, "implies": implies or {}}
    return dataclasses.field(default=default, metadata={"help": help, **metadata})


def number(
    minimum: float, maximum: float = math.inf, kind: type[float] = float
) -> Callable[[str], float]:
    """Return a parser of finite numbers from ``minimum`` to ``maximum``."""

    def parse(text: str) -> float:
        value = kind(text)
        if not minimum <= value <= maximum or value == math.inf:
            raise ValueError
        return value

    name = "whole number" if kind is int else "number"
    parse.__name__ = f"{name} from {minimum}" + (f" to {maximum}" if maximum < math.inf else "")
    return parse


integer = functools.partial(number, kind=int)
"""Return a parser of whole numbers from a minimum to a maximum."""


def size(text: str) -> Size:
    """Parse ``width,height`` in pixels."""
    width, height = (int(part) for part in text.split(","))
    if not (8 <= width <= LARGEST_SIDE and 8 <= height <= LARGEST_SIDE):
        raise ValueError
    return width, height


size.__name__ = f"size, as WIDTH,HEIGHT with both from 8 to {LARGEST_SIDE}"


class Parser(argparse.ArgumentParser):
    """A command line parser; a mistake ends the process with one message and status 2.

    Every option is accepted with ``-`` and with ``_``. Abbreviations are not accepted. Line breaks
    in the description are kept.
    """

    def __init__(self, description: str) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(description=description, formatter_class=formatter, allow_abbrev=False)

    def add_argument(self, *names: str, **settings: Any) -> argparse.Action:
        """Declare an option or argument, as argparse does."""
        spellings = [spelling for name in names for spelling in (name, name.replace("_", "-"))]
        return super().add_argument(*dict.fromkeys(spellings), **settings)

    def _print_message(self, message: str, file: Any = None) -> None:
        """Write, as argparse does, but let it be known if that fails."""
        (file or sys.stderr).write(message)

    def error(self, message: str) -> NoReturn:
        """End the process."""
        self.exit(2, f"error: {printable(message)}\n  `{self.prog} --help` lists the options\n")


def read_options(
    defaults: Config,
    description: str,
    demo: dict[str, Any] | None = None,
    arguments: Sequence[str] | None = None,
) -> Config:
    """Read the command line.

    Args:
        defaults: values of options that are not given.
        description: the first line of the help text.
        demo: values of options that are not given, with ``--demo``; None if there is no demo.
        arguments: the words of the command line; by default the process's own.

    Returns:
        The options. A mistake ends the process with one message and status 2.
    """
    parser = Parser(description)
    for field in dataclasses.fields(defaults):
        if field.name == "demo" and demo is None:
            continue
        value = getattr(defaults, field.name)
        settings: dict[str, Any] = {"help": field.metadata["help"].replace("%", "%%")}
        if get_type_hints(type(defaults))[field.name] is bool:
            settings["action"] = "store_true"
        else:
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            settings["choices"] = field.metadata["choices"]
            settings["type"] = field.metadata["parse"]
            settings["metavar"] = "|".join(field.metadata["choices"] or ()) or "X"
            settings["help"] += "" if value is None else f" (default: {shown})"
        parser.add_argument(f"--{field.name}", default=argparse.SUPPRESS, **settings)
    given = vars(parser.parse_args(arguments))
    implied = dict(demo or {}) if given.get("demo") else {}
    for field in dataclasses.fields(defaults):
        implied |= field.metadata["implies"].get(given.get(field.name), {})
    return dataclasses.replace(defaults, **{**implied, **given})


def as_arguments(config: Any) -> str:
    """Return the options as words that can be pasted after a program's name, in a shell."""
    words = []
    for name, value in dataclasses.asdict(config).items():
        if value is True:
            words.append(f"--{name}")
        elif value is not None and value is not False:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words.append(f"--{name}={_quoted(text)}")  # a value can begin with -
    return " ".join(words)


def _quoted(text: str) -> str:
    """Quote for a shell; of a name with control characters or bad UTF-8, byte by byte."""
    if printable(text) == text:
        return shlex.quote(text)
    return "$'" + "".join(f"\\{byte:03o}" for byte in os.fsencode(text)) + "'"


def changed_options(config: Any, saved: dict[str, Any]) -> list[str]:
    """Return the fixed options that differ from a saved run's, as text."""
    changed = []
    for field in dataclasses.fields(config):
        now, before = getattr(config, field.name), saved.get(field.name, field.default)
        if field.metadata["fixed"] and now != before:
            changed.append(f"--{field.name} {printable(before)} -> {printable(now)}")
    return changed
