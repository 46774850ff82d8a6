from __future__ import annotations

import dataclasses
import re
from pathlib import Path
from typing import Any

import pytest

from utils.config import EvaluationConfig, TrainingConfig

README = (Path(__file__).parents[1] / "README.md").read_text()


@pytest.mark.parametrize("config", [TrainingConfig(), EvaluationConfig()])
def test_every_option_is_listed_with_its_help(config: Any) -> None:
    for field in dataclasses.fields(config):
        row = next(row for row in README.splitlines() if row.startswith(f"| `--{field.name}`"))
        assert field.metadata["help"].replace("|", "/") in README, row


def test_no_option_is_listed_that_does_not_exist() -> None:
    known = {field.name for kind in (TrainingConfig, EvaluationConfig)
             for field in dataclasses.fields(kind)}  # fmt: skip
    assert set(re.findall(r"^\| `--(\w+)`", README, re.M)) <= known
