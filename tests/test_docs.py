"""The documentation lists every option as declared, and names only what exists.

After a change to the options, `python -m tests.test_docs` writes the tables again.
"""

from __future__ import annotations

import re
from dataclasses import fields
from pathlib import Path
from typing import Any

import pytest

import SEAN_GTA5
import SEAN_Synthia
from training.options import EvaluationOptions, TrainingOptions

ROOT = Path(__file__).parents[1]
PAGE = ROOT / "docs/options.md"
BEGIN, END = "<!-- options -->\n", "<!-- /options -->"


def shown(value: Any) -> str:
    if value is None or value is False:
        return ""
    return f"`{','.join(map(str, value)) if isinstance(value, tuple) else value}`"


def table(title: str, *defaults: Any) -> str:
    lines = [f"## {title}", "", "| option | default | |", "|---|---|---|"]
    for field in fields(defaults[0]):
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


PACKAGES = ("benchmarks", "dataset", "examples", "model", "Figure", "tests")
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), ROOT / "benchmarks/README.md"]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_files_and_modules_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!http)([^)#]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    commands = re.findall(r"python (?:-m ([\w.]+)|(\w+\.py))", text)
    for module, script in commands:
        if module.split(".")[0] in PACKAGES:
            file = ROOT / module.replace(".", "/")
            assert file.with_suffix(".py").exists() or (file / "__main__.py").exists(), module
        elif script:
            assert (ROOT / script).exists(), script


def test_pages_name_only_options_that_exist() -> None:
    known = {field.name for kind in (TrainingOptions, EvaluationOptions) for field in fields(kind)}
    parsers = [ROOT / "tools/check_data.py", ROOT / "tools/export.py"]
    parsers += (ROOT / "benchmarks").glob("*.py")
    sources = "".join(file.read_text() for file in parsers)
    known |= set(re.findall(r'"--(\w+)"', sources)) | set(
        re.findall(r"^    (\w+): .*= option", sources, re.M)
    )
    known |= {"help", "standalone", "nproc_per_node", "no_deps"}  # of torchrun and pip
    known |= {"job_name", "time", "gpus", "requeue", "logdir"}  # Slurm's and TensorBoard's
    named = {
        name.replace("-", "_").rstrip("_")
        for page in PAGES
        for name in re.findall(r"(?<![\w-])--([a-z][\w-]+)", page.read_text(encoding="utf-8"))
    }
    assert named - known == set()


if __name__ == "__main__":
    PAGE.write_text(with_tables(PAGE.read_text(encoding="utf-8")), encoding="utf-8")
