"""python -m tools.check_data on whole and on spoilt folders."""

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import pytest
from PIL import Image

from dataset.labels import CITYSCAPES_IDS
from tests.runs import ROOT, run_main
from tools.check_data import main
from tools.demo import write_demo


@pytest.fixture
def folder(tmp_path):
    root = tmp_path / "data"
    write_demo(root, "gta5", 3, 1, (64, 32))
    return root / "GTA5"


@dataclass
class Result:
    returncode: int
    stdout: str
    stderr: str

    def row(self, name):
        return next(
            words[1:] for words in map(str.split, self.stdout.splitlines()) if words[0] == name
        )


Check = Callable[..., Result]


@pytest.fixture
def check(capsys):
    return lambda *words: Result(
        run_main(lambda: main(list(map(str, words)))), *capsys.readouterr()
    )


def test_frequencies_are_those_of_the_label_maps(check, folder, tmp_path):
    maps = list((folder / "labels").iterdir())
    ids = np.stack([np.asarray(Image.open(path)) for path in maps])
    for label in maps:  # as DAFormer's conversion writes them
        label.with_name(f"{label.stem}_labelTrainIds.png").write_bytes(label.read_bytes())
    result = check("gta5", folder)
    assert result.returncode == 0, result.stdout
    share, images = result.row("road")
    assert float(share) == pytest.approx(100 * (ids == CITYSCAPES_IDS["road"]).mean(), abs=1e-3)
    assert images == "3"
    assert "sizes: 64x32 (3)" in result.stdout
    assert "problems: 0" in result.stdout
    classes = tmp_path / "classes.yaml"
    classes.write_text(
        "classes:\n"
        "  ground: {color: [1, 2, 3], source: [7, 8], target: 99}\n"
        "  air: {color: [4, 5, 6], source: 23, target: 23}\n"
    )
    ground = check("gta5", folder, "--classes", classes).row("ground")
    assert float(ground[0]) == pytest.approx(100 * np.isin(ids, [7, 8]).mean(), abs=1e-3)
    target = check("cityscapes", folder.parent / "Cityscapes", "--classes", classes)
    assert target.row("ground") == ["0.000", "0"]
    assert float(target.row("air")[0]) > 0


def test_problems_are_counted_and_named(check, folder):
    (folder / "images/00002.png").write_bytes(b"")
    Image.new("L", (32, 16), 7).save(folder / "labels/00001.png")
    Image.new("L", (64, 32), 200).save(folder / "labels/00003.png")
    result = check("gta5", folder)
    assert result.returncode == 2
    assert "problems: 2" in result.stdout
    assert "00002.png: it is empty" in result.stdout
    assert "00003.png has no pixel of a known class" in result.stdout
    assert "sizes: 64x32 (2), unreadable (1)" in result.stdout
    assert "another size than their image: 1" in result.stdout


def test_images_and_label_maps_that_are_alone_are_findings(check, folder):
    (folder / "labels/00002.png").unlink()
    (folder / "images/00003.png").unlink()
    result = check("gta5", folder)
    assert result.returncode == 2
    assert "problems: 2" in result.stdout
    assert f"- cannot read {folder}/labels/00002.png: No such file" in result.stdout
    assert f"- {folder}/labels/00003.png belongs to no image\n" in result.stdout
    names = folder.parent / "list.txt"
    names.write_text("00001.png\n")
    listed = check("gta5", folder, "--list", names)
    assert listed.returncode == 0
    assert listed.stdout.startswith(f"1 image in {folder}/images\n")


def test_a_target_needs_no_labels(check, folder):
    Image.new("L", (20, 10)).save(folder / "images/gray.jpg")
    plain = check("cityscapes", folder / "images")
    assert plain.returncode == 0, plain.stdout
    assert "64x32 (3), 20x10 (1)" in plain.stdout
    assert "no label maps" in plain.stdout
    source = check("gta5", folder / "images")
    assert source.returncode == 2
    assert f"{folder}/images/labels" in source.stderr


@pytest.mark.skipif(os.name != "posix", reason="sends a signal to a group of processes")
def test_ctrl_c_ends_without_a_traceback(folder):
    for i in range(4, 5000):
        for kind in ("images", "labels"):
            os.link(folder / kind / "00001.png", folder / kind / f"{i:05d}.png")
    command = [sys.executable, "-m", "tools.check_data", "gta5", str(folder)]
    process = subprocess.Popen(
        command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
    )
    assert process.stderr is not None
    while process.stderr.read(1) not in (b"|", b""):  # of the bar
        pass
    os.killpg(process.pid, signal.SIGINT)
    output, errors = process.communicate(timeout=60)
    assert (process.returncode, output) == (130, b"")
    assert b"Traceback" not in errors
