"""Pages name only files and options that exist, and every command in them runs, on tiny data."""

import contextlib
import importlib.util
import io
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io

import SEAN_GTA5
from dataset.labels import CLASSES_19
from model.SEAN import SEANet
from tests.runs import ROOT, run_main, save_network
from tools import demo
from utils.command_line import read_options

DOCS = [ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md"))]
PAGES = [*DOCS, ROOT / "benchmarks/README.md"]
# Installers; what reads a download (test_pretrained.py runs it); a batch system.
NOT_RUN = ("make", "pip", "python3", "unzip", "python -m tools.convert_hed", "srun")
FOREIGN = "help,standalone,nproc_per_node,no_deps,index_url,job_name,time,gpus,requeue".split(",")
SMALL = {  # by the start of a program's name: options after its own, where they win
    "SEAN": "--width 0.05 --input_size 64,32 --max_iters 1 --restore_from none --device cpu "
    "--num_workers 0",
    "evaluation": "--device cpu --num_workers 0", "tools.resize": "--size 64,32",
    "benchmarks": "--seeds 0",
}  # fmt: skip
write_demo, run_process = demo.write_demo, subprocess.run


def commands(page):
    """The words of each command in a page's blocks of code; a path is a line of a layout."""
    blocks = re.findall(r"^```(\w*)\n(.*?)^```$", page.read_text("utf-8"), re.M | re.S)
    text = "".join(block for kind, block in blocks if kind in ("", "bash")).replace("\\\n", "")
    lines = [shlex.split(line, comments=True) for line in text.splitlines()]
    return [[word for word in x if word != "..."] for x in lines if x and "/" not in x[0]]


def run(program, *words):
    """Run a script or module in this process, in small; return its status."""
    name = Path(program).name.removesuffix(".py")
    small = SMALL.get(name.partition("_")[0], "").split()
    module = importlib.import_module("benchmarks.__main__" if name == "benchmarks" else name)
    if not hasattr(module, "main"):  # examples.own_classes.draw
        return module.draw(Path(words[0]), 3, (64, 32)) or 0
    if name.startswith("SEAN_") and "--snapshot_dir" not in words:
        small += ["--snapshot_dir", f"Snap/{len(list(Path('Snap').iterdir()))}"]
    end = words.index("--") if "--" in words else len(words)
    return run_main(module.main, *words[:end], *small, *words[end:])


def start(command, **settings):
    """Replace subprocess.run: run this project's programs in this process."""
    if command[0] != sys.executable:
        return run_process(command, **settings)
    with contextlib.redirect_stdout(io.StringIO()) as output:
        status = run(*command[1:])
    settings.get("stdout", io.BytesIO()).write(output.getvalue().encode())
    return subprocess.CompletedProcess(command, status)


@pytest.mark.parametrize("page", DOCS, ids=lambda page: page.name)
def test_commands_run(page, tmp_path, monkeypatch, capsys):
    monkeypatch.chdir(tmp_path)
    for kind in ("gta5", "synthia"):
        write_demo(Path("data"), kind, 2, 2, (64, 32))
    scipy.io.savemat("data/GTA5/split.mat", {"trainIds": np.array([[1], [2]])})
    photograph = cv2.imread("data/GTA5/images/00001.png")
    cv2.VideoWriter("drive.mp4", cv2.VideoWriter.fourcc(*"mp4v"), 25, (64, 32)).write(photograph)
    for name in ("photographs/1.jpg", "holiday/1.jpg", "holiday.jpg"):
        Path(name).parent.mkdir(exist_ok=True)
        cv2.imwrite(name, photograph)
    for folder in ("data/demo/GTA5", "data/GTA5", "Snap/demo/sean", "Snap/mine"):
        Path(folder).mkdir(parents=True, exist_ok=True)
        (Path(folder) / "old").touch()
    for name in ("GTA_TeacherNet", "A", "B"):
        save_network(Path(f"Snap/{name}.pth"), SEANet(19, width=0.05), CLASSES_19, (64, 32))
    shutil.copytree(ROOT / "examples", "examples")
    monkeypatch.setattr(subprocess, "run", start)
    monkeypatch.setattr(demo, "write_demo", lambda *w: write_demo(*w[:2], 2, 2, (64, 32)))
    for words in commands(page):
        if shlex.join(words).startswith(NOT_RUN):
            if "SEAN_GTA5.py" in words:
                read_options(SEAN_GTA5.EXPERIMENT, "", words[words.index("SEAN_GTA5.py") + 1 :])
        else:
            assert words[0] == "python", f"run it, or say why not: {words}"
            assert run(*words[2 if words[1] == "-m" else 1 :]) == 0, words
    if ["python", "-m", "tools.demo"] in commands(page):
        assert sorted(map(str, Path().rglob("old"))) == ["Snap/mine/old", "data/GTA5/old"]
        table = r"\n *source_only: .*\n *sean: .*\n *oracle: .*\nreport: "
        assert re.search(table, capsys.readouterr().out)


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(ROOT)))
def test_links_files_and_options_exist(page):
    text = page.read_text(encoding="utf-8")
    links = re.findall(r"\]\((?!http)([^)#]+)", text)
    assert [link for link in links if not (page.parent / link).exists()] == []
    named = set(re.findall(r"(?<![\w/*])((?:[a-z_]+/)*\w+\.py)\b", text))
    files = {name for name in named if (ROOT / name).exists() or any(ROOT.glob(f"*/{name}"))}
    assert named - files <= {"dataset/town_dataset.py"}
    for module in re.findall(r"python -m ((?:benchmarks|tools|examples|Figure)[\w.]*)", text):
        assert importlib.util.find_spec(module), module
    sources = [*ROOT.glob("*.py"), *ROOT.glob("t[or]*/*.py"), *ROOT.glob("benchmarks/*.py")]
    code = "".join(path.read_text(encoding="utf-8") for path in sources)
    known = {*re.findall(r'"--(\w+)"', code), *re.findall(r"^    (\w+): .* = \w+\(", code, re.M)}
    options = re.findall(r"(?<![\w-])--([a-z][\w-]+)", text)
    assert {name.replace("-", "_").rstrip("_") for name in options} - known - set(FOREIGN) == set()
