"""Measurements: `python -m benchmarks speed` and `ablation`; results in README.md here."""

from collections.abc import Callable, Iterable, Mapping
from typing import Any


def markdown_table(title: str, rows: Mapping[str, Mapping[str, str]]) -> str:
    """Return a table as Markdown, given the cells of each row by heading."""
    lines = [[title, *next(iter(rows.values()))]]
    lines += [[name, *cells.values()] for name, cells in rows.items()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    padded = [[c.ljust(w) for c, w in zip(line, widths, strict=True)] for line in lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)


def several(
    parse: Callable[[str], Any], choices: Iterable[str] = ()
) -> Callable[[str], tuple[Any, ...]]:
    """Return a parser of comma-separated values, each read by ``parse``."""

    def parse_all(text: str) -> tuple[Any, ...]:
        if choices and not set(text.split(",")) <= set(choices):
            raise ValueError
        return tuple(map(parse, text.split(",")))

    parse_all.__name__ = "comma-separated list" + (f" from {','.join(choices)}" if choices else "")
    return parse_all
