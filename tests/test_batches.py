"""What a run trains on, adapts to, and is scored on, from the options alone: no network runs."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from dataset.demo import write_demo
from SEAN_GTA5 import EXPERIMENT as GTA5
from SEAN_Synthia import EXPERIMENT as SYNTHIA
from utils.errors import UserError
from utils.options import TrainingConfig
from utils.training.batches import TrainingData
from utils.training.distributed import Processes

PHOTOGRAPHS = ("a.JPG", "b.png", "trip/c.jpeg", "trip/day 2/d.webp", "e.bmp", "f.tif")


@pytest.fixture(scope="module")
def root(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """GTA-5 and Cityscapes drawn small, and a plain folder of photographs."""
    folder = tmp_path_factory.mktemp("data")
    write_demo(folder, "gta5", count_source=5, count_target=3, size=(64, 32))
    for name in PHOTOGRAPHS:
        path = folder / "photos" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", (90, 50), "gray").save(path)
    (folder / "photos/notes.txt").write_text("not an image")
    return folder


def config(root: Path, **changes: Any) -> TrainingConfig:
    return dataclasses.replace(
        GTA5.defaults,
        data_dir_source=str(root / "GTA5"),
        data_dir_target=str(root / "Cityscapes"),
        input_size=(64, 32),
        num_workers=0,
        snapshot_dir=str(root / "Snap"),
        **{name: str(v) if isinstance(v, Path) else v for name, v in changes.items()},
    )


def open_data(config: TrainingConfig, processes: Processes | None = None) -> TrainingData:
    return TrainingData(GTA5, config, torch.device("cpu"), processes or Processes())


def target_names(data: TrainingData) -> set[str]:
    return {name for batch in data.target_loader for name in batch.names}


def plain(root: Path, **changes: Any) -> TrainingConfig:
    return dataclasses.replace(config(root, **changes), data_dir_target=str(root / "photos"))


def test_a_plain_folder_is_a_target_that_is_not_scored(root: Path) -> None:
    data = open_data(plain(root, target_entries=6))
    assert target_names(data) == set(PHOTOGRAPHS)
    assert data.scored is None
    assert list(data.to_score()) == []
    photos = root / "photos"
    assert f"not scored: {photos} has no labels; give --data_dir_val" in data.protocol
    assert f"adapts to the images of {photos} without their labels;" in data.protocol
    assert "scorings" not in data.protocol
    assert "6 target images, 0 scored" in data.summary


def test_a_plain_folder_is_adapted_to_and_another_scored(root: Path) -> None:
    data = open_data(plain(root, target_entries=6, data_dir_val=root / "Cityscapes"))
    assert target_names(data) == set(PHOTOGRAPHS)
    assert len(list(data.to_score())) == 3
    assert "not scored" not in data.protocol
    assert f"scorings on the val images of {root / 'Cityscapes'}" in data.protocol


def test_a_list_names_images_of_a_plain_folder(root: Path, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("trip/c.jpeg\nb.png\n")
    data = open_data(plain(root, target_entries=2, data_list_target=tmp_path / "list.txt"))
    assert target_names(data) == {"trip/c.jpeg", "b.png"}


@pytest.mark.parametrize("listed", [False, True])
def test_an_ordinary_target_may_be_scored_elsewhere(
    listed: bool, root: Path, tmp_path: Path
) -> None:
    """A list names what is adapted on; the other folder is scored whole."""
    other = tmp_path / "other"
    shutil.copytree(root / "Cityscapes", other)
    removed = sorted((other / "leftImg8bit/val").rglob("*.png"))[0]
    removed.unlink()
    (tmp_path / "list.txt").write_text(f"demo/{removed.name}\n")
    names = tmp_path / "list.txt" if listed else None
    data = open_data(config(root, data_dir_val=other, data_list_target=names, target_entries=3))
    assert len(target_names(data)) == (1 if listed else 3)
    assert data.scored is not None
    assert len(data.scored) == 2
    assert data.scored.image_folder == other / "leftImg8bit/val"
    assert f"adapts to the val images of {root / 'Cityscapes'} without" in data.protocol
    assert f"scorings on the val images of {other}" in data.protocol


def test_the_protocol_names_what_is_used(root: Path) -> None:
    city = root / "Cityscapes"
    assert open_data(config(root)).protocol == (
        f"adapts to the val images of {city} without their labels; the best of the "
        f"scorings on the val images of {city} is chosen"
    )
    assert f"trains on {root / 'GTA5'} alone" in open_data(config(root, source_only=True)).protocol
    oracle = open_data(config(root, oracle=True)).protocol
    assert f"trains on the val images of {city} and their labels" in oracle


def test_processes_share_a_plain_folder(root: Path) -> None:
    settings = plain(root, target_entries=6)
    shares = [target_names(open_data(settings, Processes(rank, 2))) for rank in range(2)]
    assert shares[0] | shares[1] == set(PHOTOGRAPHS)
    assert not shares[0] & shares[1]


def test_a_missing_split_is_not_taken_for_a_plain_folder(root: Path, tmp_path: Path) -> None:
    """Or the label maps, which lie below the same folder, would be adapted to as photographs."""
    shutil.copytree(root / "Cityscapes", tmp_path / "city")
    shutil.rmtree(tmp_path / "city/leftImg8bit/train")
    settings = dataclasses.replace(config(root), data_dir_target=str(tmp_path / "city"))
    assert len(target_names(open_data(dataclasses.replace(settings, target_entries=3)))) == 3
    with pytest.raises(UserError, match="leftImg8bit/train"):
        open_data(dataclasses.replace(settings, target_split="train"))


def test_folders_without_images_tell_both_ways(root: Path, tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "nowhere"):
        with pytest.raises(UserError, match="no images under") as caught:
            open_data(dataclasses.replace(config(root), data_dir_target=str(folder)))
        assert "leftImg8bit/val" in str(caught.value)
        assert f"images without labels anywhere in {folder}" in str(caught.value)


def test_what_is_scored_must_have_labels(root: Path) -> None:
    with pytest.raises(UserError, match="leftImg8bit/val") as caught:
        open_data(config(root, data_dir_val=root / "photos"))
    assert "without labels" not in str(caught.value)


def test_a_run_is_not_written_among_its_target_images(root: Path) -> None:
    settings = plain(root)
    within = dataclasses.replace(settings, snapshot_dir=str(root / "photos/Snap"))
    with pytest.raises(UserError, match="--snapshot_dir"):
        open_data(within)


# --- GTA-5's split.mat ------------------------------------------------------------------------


def write_split(path: Path, train: Any, **parts: Any) -> Path:
    scipy.io.savemat(path, {"trainIds": np.asarray(train)[:, None], **parts})
    return path


@pytest.mark.parametrize("dtype", [np.float64, np.uint16])  # MATLAB's own type, and a small one
def test_split_file_trains_on_its_training_part(root: Path, tmp_path: Path, dtype: Any) -> None:
    split = write_split(tmp_path / "split.mat", np.array([2, 5], dtype), valIds=np.array([[1]]))
    data = open_data(config(root, split_file=split, target_entries=2))
    names = {name for batch in data.source_loader for name in batch.names}
    assert names == {"00002.png", "00005.png"}


def test_split_file_names_must_exist(root: Path, tmp_path: Path) -> None:
    split = write_split(tmp_path / "split.mat", [2, 77])
    with pytest.raises(UserError, match=r"split\.mat names 00077\.png"):
        open_data(config(root, split_file=split))


def test_split_file_is_gta5s(root: Path, tmp_path: Path) -> None:
    settings = dataclasses.replace(
        SYNTHIA.defaults, split_file=str(tmp_path / "split.mat"), data_dir_source=str(root)
    )
    with pytest.raises(UserError, match="--split_file") as caught:
        TrainingData(SYNTHIA, settings, torch.device("cpu"), Processes())
    assert "GTA-5" in str(caught.value)


def test_split_file_and_a_list_exclude_each_other(root: Path) -> None:
    with pytest.raises(UserError, match="--data_list_source"):
        open_data(config(root, split_file="split.mat", data_list_source="list.txt"))


def test_the_oracle_has_the_others_schedule(root: Path) -> None:
    data = open_data(config(root, oracle=True, target_entries=7))
    assert data.iterations == 7
    assert len(list(data.epoch(0, 0))) == 7
    assert len(list(data.epoch(0, 5))) == 2


def test_baselines_read_no_target(root: Path) -> None:
    for name in ("source_only", "no_self_ensembling", "oracle"):
        data = open_data(config(root, target_entries=2, **{name: True}))
        (first, *_), _ = data.epoch(0, 0)
        assert first.target is None
        assert len(first.names) == 1


def test_two_baselines_at_once_are_refused(root: Path) -> None:
    with pytest.raises(UserError, match="two baselines"):
        open_data(config(root, oracle=True, source_only=True))
