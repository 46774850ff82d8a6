"""What a training script states, and which data it opens or refuses."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from dataset.demo import write_demo
from SEAN_GTA5 import EXPERIMENT
from utils.errors import UserError
from utils.training.experiment import open_data


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("data")
    write_demo(folder, "gta5", count_source=2, count_target=1, size=(64, 32))
    return folder


def refusal(root: Path, **options: Any) -> str:
    folders = {"data_dir_source": str(root / "GTA5"), "data_dir_target": str(root / "Cityscapes")}
    config = replace(EXPERIMENT.defaults, input_size=(64, 32), **(folders | options))
    with pytest.raises(UserError) as caught:
        open_data(EXPERIMENT, config, None)
    return str(caught.value)


def test_a_split_file_that_does_not_exist_is_told(root: Path) -> None:
    message = refusal(root, split_file=str(root / "split.mat"))
    assert message.startswith(f"there is no file {root / 'split.mat'}\n  ")


def test_a_split_file_without_training_images_is_told(root: Path, tmp_path: Path) -> None:
    split = tmp_path / "split.mat"
    scipy.io.savemat(split, {"trainIds": np.zeros((0, 1)), "valIds": np.ones((1, 1))})
    message = refusal(root, split_file=str(split))
    assert message.startswith(f"{split} names no training images")
    assert "batch" not in message


@pytest.mark.parametrize(
    ("name", "remedy"), [("split.txt", "--data_list_source"), ("split.mat", "text file")]
)
def test_a_text_file_is_no_split_file(root: Path, tmp_path: Path, name: str, remedy: str) -> None:
    (tmp_path / name).write_text("00001.png\n")
    problem, _, advice = refusal(root, split_file=str(tmp_path / name)).partition("\n  ")
    assert f"{tmp_path / name} is not " in problem
    assert "split.mat" in problem
    assert remedy in advice


def test_the_oracle_needs_more_than_a_plain_folder(root: Path) -> None:
    photographs = root / "Cityscapes/leftImg8bit/val"
    problem, _, advice = refusal(root, data_dir_target=str(photographs), oracle=True).partition(
        "\n  "
    )
    assert "--oracle" in problem
    assert f"{photographs} is a plain folder" in problem
    assert "dataset/cityscapes_dataset.py" in advice
