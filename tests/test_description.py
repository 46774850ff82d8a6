"""Layouts, list files, and finding files: nothing is left out in silence."""

from __future__ import annotations

import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.io

from dataset.cityscapes16_dataset import CITYSCAPES_16
from dataset.cityscapes_dataset import CITYSCAPES
from dataset.description import Description, files_below, read_list
from dataset.gta5_dataset import GTA5
from dataset.synthia_dataset import SYNTHIA
from tests.runs import ROOT, make_special
from utils.errors import UserError


@pytest.mark.parametrize("description", [GTA5, SYNTHIA, CITYSCAPES, CITYSCAPES_16])
def test_the_guide_documents_the_folders(description: Description) -> None:
    guide = (ROOT / description.guide).read_text().partition('"""\n\nimport')[0]
    for layout in description.layouts:
        assert layout.images.partition("/")[0] + "/" in guide
        assert layout.labels.partition("{")[0].rstrip("/") + "/" in guide


@pytest.mark.parametrize(
    ("description", "image", "label"),
    [
        (CITYSCAPES, "ulm/ulm_1_leftImg8bit.png", "ulm/ulm_1_gtFine_labelIds.png"),
        (CITYSCAPES, "ulm/ulm_1_leftImg8bit.jpg", "ulm/ulm_1_gtFine_labelIds.png"),
        (GTA5, "day/a.b.jpeg", "day/a.b.png"),
    ],
)
def test_label_name(description: Description, image: str, label: str) -> None:
    assert description.layouts[0].label_name(image) == label


@pytest.mark.parametrize(
    "content",
    [
        b"b.png\na/a.png\n",
        b"b.png\r\na\\a.png\r\n",
        b"\nb.png\n\n  \na/a.png",
        b"  b.png \n\ta/a.png\t\n",
        pytest.param("\ufeffb.png\na/a.png\n".encode(), id="byte order mark"),
    ],
)
def test_list_files(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "list.txt").write_bytes(content)
    assert read_list(tmp_path / "list.txt") == ["b.png", "a/a.png"]


@pytest.mark.parametrize("content", [None, b"", b"\n \n", b"\xff\xfe\x00", b"\x89PNG\r\n"])
@pytest.mark.parametrize("name", ["list.txt", "split.mat"])
def test_useless_list_file_is_named(tmp_path: Path, name: str, content: bytes | None) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=rf"list file {re.escape(str(path))}.*\n  "):
        read_list(path)
    with pytest.raises(UserError, match=re.escape(f"list file {tmp_path}")):
        read_list(tmp_path)


@pytest.mark.parametrize("name", ["list\n\033[2J.txt", "split.mat"])
@pytest.mark.parametrize("kind", ["pipe", "device", "large"])
def test_list_that_is_no_small_file_is_refused_at_once(
    tmp_path: Path, name: str, kind: str
) -> None:
    path = tmp_path / name
    if kind == "large":
        path.touch()
        os.truncate(path, 10_000_001)
    else:
        make_special(path, kind)
    shown = str(path).replace("\n", r"\n").replace("\033", r"\x1b")
    reason = "it has 10 MB; at most 10 MB" if kind == "large" else "it is not a file"
    message = re.escape(f"cannot read the list file {shown}: {reason}")
    with pytest.raises(UserError, match=rf"^{message}.*\n  .*$"):
        read_list(path)


def test_split_mat_lists_its_training_images(tmp_path: Path) -> None:
    split = tmp_path / "split.mat"
    scipy.io.savemat(split, {"trainIds": np.array([[2], [24966]]), "valIds": np.array([[1]])})
    assert read_list(split) == ["00002.png", "24966.png"]
    scipy.io.savemat(split, {"trainIds": np.zeros((0, 1)), "valIds": np.array([[1]])})
    with pytest.raises(UserError, match=r"split\.mat is empty"):
        read_list(split)
    scipy.io.savemat(split, {"valIds": np.array([[1]])})
    with pytest.raises(UserError, match=r"neither a text file nor the split\.mat"):
        read_list(split)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("aachen/a.png", "bochum/deep/b.png", "c.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    return tmp_path


def test_every_file_is_found(folder: Path) -> None:
    assert files_below(folder) == {"aachen/a.png", "bochum/deep/b.png", "c.txt"}
    assert files_below(folder / "missing") == set()


def test_no_folder_is_visited_twice(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Links may loop, or lead to a folder of the tree, which keeps its own path."""
    elsewhere = tmp_path_factory.mktemp("elsewhere")
    (elsewhere / "d.png").touch()
    links = {
        "aaa": "bochum", "aachen/up": "..", "bochum/deep/loop": ".", "bochum/other": "../aachen",
        "self": "self", "x": str(elsewhere), "y": str(elsewhere), "zürich.png": "c.txt",
    }  # fmt: skip
    for name, target in links.items():
        (folder / name).symlink_to(target)
    (elsewhere / "back").symlink_to(folder)
    own = {"aachen/a.png", "bochum/deep/b.png", "c.txt", "zürich.png"}
    assert files_below(folder) == own | {"x/d.png"}


@pytest.mark.parametrize("kind", ["pipe", "socket", "broken link"])
def test_an_image_that_is_no_file_is_named(folder: Path, kind: str) -> None:
    make_special(folder / "notes", kind)
    assert "notes" not in files_below(folder)
    make_special(folder / "aachen/\n.PNG", kind)
    message = re.escape(
        rf"{folder}/aachen/\n.PNG is not a file, but a pipe, socket, device or broken"
    )
    with pytest.raises(UserError, match=rf"^{message} link\n  .*$"):
        files_below(folder)


def test_a_subfolder_that_cannot_be_read_is_named(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    closed, scan = folder / "bochum/deep", os.scandir

    def scan_open_folders(path: Any) -> Iterator[os.DirEntry[str]]:
        if Path(path) == closed:  # as a folder without permissions does for everyone but root
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scan(path)

    monkeypatch.setattr(os, "scandir", scan_open_folders)
    message = f"cannot read the folder {closed}: {os.strerror(errno.EACCES)}\n"
    with pytest.raises(UserError, match=re.escape(message)):
        files_below(folder)
    assert files_below(folder / "aachen") == {"a.png"}
