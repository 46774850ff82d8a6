"""The documentation lists every option as the dataclasses declare it.

After a change to the options, `python -m tests.test_readme` writes the tables again.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

import SEAN_GTA5
import SEAN_Synthia
from utils.options import EvaluationOptions

PAGE = Path(__file__).parents[1] / "docs/options.md"
BEGIN, END = "<!-- options -->\n", "<!-- /options -->"


def shown(value: Any) -> str:
    if value is None or value is False:
        return ""
    return f"`{','.join(map(str, value)) if isinstance(value, tuple) else value}`"


def table(title: str, *defaults: Any) -> str:
    lines = [f"## {title}", "", "| option | default | |", "|---|---|---|"]
    for field in dataclasses.fields(defaults[0]):
        values = dict.fromkeys(shown(getattr(options, field.name)) for options in defaults)
        help = field.metadata["help"].replace("|", "/")
        lines.append(f"| `--{field.name}` | {' / '.join(values)} | {help} |")
    return "\n".join(lines) + "\n"


def with_tables(page: str) -> str:
    before, rest = page.split(BEGIN)
    experiments = SEAN_GTA5.EXPERIMENT, SEAN_Synthia.EXPERIMENT
    training = table("`SEAN_GTA5.py` / `SEAN_Synthia.py`", *experiments)
    evaluation = table("`evaluation.py`", EvaluationOptions())
    return f"{before}{BEGIN}{training}\n{evaluation}{END}{rest.split(END)[1]}"


def test_the_tables_are_the_options() -> None:
    page = PAGE.read_text(encoding="utf-8")
    assert with_tables(page) == page


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
