"""README.md lists every option as the dataclasses declare it.

After a change to the options, `python -m tests.test_readme` writes the tables anew.
"""

from __future__ import annotations

import dataclasses
from pathlib import Path
from typing import Any

from SEAN_GTA5 import EXPERIMENT as GTA5
from SEAN_Synthia import EXPERIMENT as SYNTHIA
from utils.options import EvaluationConfig

README = Path(__file__).parents[1] / "README.md"
BEGIN, END = "<!-- options -->\n", "<!-- /options -->"


def shown(value: Any) -> str:
    if value is None or value is False:
        return ""
    return f"`{','.join(map(str, value)) if isinstance(value, tuple) else value}`"


def table(title: str, *defaults: Any) -> str:
    lines = [f"**{title}**", "", "| option | default | |", "|---|---|---|"]
    for field in dataclasses.fields(defaults[0]):
        values = dict.fromkeys(shown(getattr(config, field.name)) for config in defaults)
        help = field.metadata["help"].replace("|", "/")
        lines.append(f"| `--{field.name}` | {' / '.join(values)} | {help} |")
    return "\n".join(lines) + "\n"


def with_tables(readme: str) -> str:
    before, rest = readme.split(BEGIN)
    training = table("`SEAN_GTA5.py` / `SEAN_Synthia.py`", GTA5.defaults, SYNTHIA.defaults)
    evaluation = table("`evaluation.py`", EvaluationConfig())
    return f"{before}{BEGIN}{training}\n{evaluation}{END}{rest.split(END)[1]}"


def test_the_tables_are_the_options() -> None:
    readme = README.read_text(encoding="utf-8")
    assert with_tables(readme) == readme


if __name__ == "__main__":
    README.write_text(with_tables(README.read_text(encoding="utf-8")), encoding="utf-8")
