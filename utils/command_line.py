"""Command lines: derived from dataclasses of options, checked, shown in groups."""

import argparse
import dataclasses
import functools
import math
import shlex
import sys
from collections.abc import Callable, Sequence
from typing import Any, NoReturn, TypeVar, get_type_hints

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
    group: str = "options",
) -> Any:
    """Declare an option: ``parse`` reads its text; a resumed run must have ``fixed`` values."""
    metadata = {"help": help, "parse": parse, "choices": choices, "fixed": fixed, "group": group}
    return dataclasses.field(default=default, metadata=metadata)


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


def spellings(name: str) -> list[str]:
    """Return an option's name with ``_`` and with ``-``; both are accepted."""
    return list(dict.fromkeys((f"--{name}", f"--{name.replace('_', '-')}")))


class Parser(argparse.ArgumentParser):
    """A command line parser without abbreviations; a mistake is one message and status 2."""

    def __init__(self, description: str) -> None:
        formatter = argparse.RawDescriptionHelpFormatter
        super().__init__(description=description, formatter_class=formatter, allow_abbrev=False)
        if spec := getattr(sys.modules["__main__"], "__spec__", None):
            self.prog = f"python -m {spec.name}"

    def error(self, message: str) -> NoReturn:
        """End the process."""
        self.exit(2, f"error: {message}\n  `{self.prog} --help` lists the options\n")


def read_options(defaults: Config, description: str, words: Sequence[str] | None = None) -> Config:
    """Read the command line, by default the process's own; ``defaults`` hold what it leaves out."""
    parser = Parser(description)
    parser.argument_default = argparse.SUPPRESS  # so that `defaults` are used
    group = functools.cache(parser.add_argument_group)  # one of each name
    for field in dataclasses.fields(defaults):
        value, about = getattr(defaults, field.name), field.metadata
        settings: dict[str, Any] = {"help": about["help"].replace("%", "%%")}
        if get_type_hints(type(defaults))[field.name] is bool:
            settings["action"] = "store_true"
        else:
            shown = ",".join(map(str, value)) if isinstance(value, tuple) else value
            settings |= {"choices": about["choices"], "type": about["parse"]}
            settings["metavar"] = "|".join(about["choices"] or ()) or "X"
            settings["help"] += "" if value is None else f" (default: {shown})"
        group(about["group"]).add_argument(*spellings(field.name), **settings)
    return dataclasses.replace(defaults, **vars(parser.parse_args(words)))


def as_arguments(config: Any) -> str:
    """Return all options as words that can be pasted after a program's name, in a shell."""
    words = []
    for name, value in dataclasses.asdict(config).items():
        if value is not None and value is not False:
            text = ",".join(map(str, value)) if isinstance(value, tuple) else str(value)
            words.append(f"--{name}" if value is True else f"--{name}={text}")
    return shlex.join(words)
