"""YAML read as nodes, which know their lines: a mistake is told with the file, line and key.

Nothing is constructed from the nodes, so that nothing in a file can run or multiply.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import yaml

from utils.errors import UserError

DEEPEST = 20  # levels, far more than a file of options needs


class Entry(NamedTuple):
    """A key of a mapping and its value.

    Attributes:
        place: the key, after the keys that lead to it, with dots between.
        key: node of the key.
        value: node of the value.
    """

    place: str
    key: yaml.Node
    value: yaml.Node


class CheckedYaml:
    """A YAML file without aliases, anchors and tags.

    Args:
        path: of the file.
        option: that gave the path, for the messages.

    Attributes:
        root: what the file holds.

    Raises:
        UserError: it cannot be read or is not YAML.
    """

    def __init__(self, path: Path, option: str) -> None:
        self.path = path
        try:
            self.text = path.read_text(encoding="utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
            raise UserError(f"cannot read {path}: {reason}\n  correct {option}") from None
        nothing = yaml.ScalarNode("tag:yaml.org,2002:null", "", _START, _START)
        self.root = Entry("the file", nothing, self._compose() or nothing)

    def _compose(self) -> yaml.Node | None:
        depth = 0
        try:
            for token in yaml.scan(self.text, Loader=yaml.SafeLoader):
                depth += isinstance(token, _OPENING) - isinstance(token, _CLOSING)
                if depth > DEEPEST:
                    raise self._not_plain(token.start_mark.line, "nested too deeply")
                if isinstance(token, yaml.AnchorToken | yaml.AliasToken | yaml.TagToken):
                    kind = type(token).__name__.removesuffix("Token").lower()
                    raise self._not_plain(token.start_mark.line, f"a YAML {kind} (& * !)")
            return yaml.compose(self.text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            raise self._not_plain(mark.line, f"not YAML: {error.problem}") from None
        except yaml.reader.ReaderError as error:
            line = self.text.count("\n", 0, error.position)
            raise self._not_plain(line, f"not YAML: {error.reason}") from None

    def _not_plain(self, line: int, problem: str) -> UserError:
        lines = self.text.splitlines()
        shown = _printable(lines[min(line, len(lines) - 1)].strip()[:60])
        return UserError(
            f"{self.path}, line {line + 1}, `{shown}`: {problem}\n"
            "  write plain YAML: keys with values, indented by spaces"
        )

    def mistake(self, node: yaml.Node, place: str, problem: str, remedy: str) -> UserError:
        """What is wrong at a node."""
        line = node.start_mark.line + 1
        return UserError(f"{self.path}, line {line}, {place}: {problem}\n  {remedy}")

    def entries(
        self, parent: Entry, known: Sequence[str] = (), needed: Sequence[str] = ()
    ) -> dict[str, Entry]:
        """The entries of a mapping, in order.

        Args:
            parent: holds the mapping.
            known: the keys that it may have; without them, any.
            needed: the keys that it must have.

        Raises:
            UserError: no mapping, a key that is unknown, missing, or given twice.
        """
        if not isinstance(parent.value, yaml.MappingNode):
            raise self.mistake(
                parent.key, parent.place, f"{_shown(parent.value)} instead of keys with values",
                f"its keys: {', '.join(known) or 'any names'}",
            )  # fmt: skip
        inside = "" if parent is self.root else f"{parent.place}."
        found: dict[str, Entry] = {}
        for key, value in parent.value.value:
            name = key.value if isinstance(key, yaml.ScalarNode) else _shown(key)
            place = inside + _printable(name)
            if name in found:
                line = found[name].key.start_mark.line + 1
                problem = f"given twice, first in line {line}"
                raise self.mistake(key, place, problem, "leave one out")
            if not isinstance(key, yaml.ScalarNode) or (known and name not in known):
                remedy = f"known keys: {', '.join(known) or 'any names'}"
                raise self.mistake(key, place, "unknown key", remedy)
            found[name] = Entry(place, key, value)
        for name in needed:
            if name not in found:
                raise self.mistake(parent.key, inside + name, "missing", f"add the key {name}")
        return found

    def numbers(self, entry: Entry, highest: int) -> list[tuple[int, yaml.Node]]:
        """The whole numbers, 0 to ``highest``, of a list, or the one that is no list.

        Raises:
            UserError: something else stands there.
        """
        is_list = isinstance(entry.value, yaml.SequenceNode)
        numbers = []
        for node in entry.value.value if is_list else [entry.value]:
            # Plain decimals alone: YAML reads 010 as 8, and 1:30 as 90.
            plain = isinstance(node, yaml.ScalarNode) and node.style is None
            decimal = plain and re.fullmatch("0|[1-9][0-9]{0,8}", node.value)
            if not decimal or int(node.value) > highest:
                problem = f"{_shown(node)} instead of a whole number from 0 to {highest}"
                remedy = "write it in decimals, without quotes or leading zeros"
                raise self.mistake(node, entry.place, problem, remedy)
            numbers.append((int(node.value), node))
        return numbers

    def string(self, entry: Entry) -> str:
        """A text.

        Raises:
            UserError: something that YAML does not read as text.
        """
        if entry.value.tag != "tag:yaml.org,2002:str":
            problem = f"{_shown(entry.value)} instead of text"
            raise self.mistake(entry.value, entry.place, problem, "put it in quotes")
        return entry.value.value


_OPENING = (
    *(yaml.BlockMappingStartToken, yaml.BlockSequenceStartToken),
    *(yaml.FlowMappingStartToken, yaml.FlowSequenceStartToken),
)
_CLOSING = (yaml.BlockEndToken, yaml.FlowMappingEndToken, yaml.FlowSequenceEndToken)
_START = yaml.Mark("", 0, 0, 0, None, None)


def _printable(text: str) -> str:
    return "".join(letter if letter.isprintable() else "?" for letter in text)


def _shown(node: yaml.Node) -> str:
    if isinstance(node, yaml.ScalarNode):
        return f"{node.value[:40]!r}" if node.value else "nothing"
    return "a list" if isinstance(node, yaml.SequenceNode) else "a mapping"
