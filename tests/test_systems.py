"""Every program without what only POSIX has, and with spawned workers, as on Windows and macOS."""

import os
import subprocess
import sys

import h5py

from model.pretrained import CAFFE_NAMES
from tests.runs import ROOT, scoring_words, words
from tools.demo import write_demo

# Python runs this before anything else, in the programs' own processes and workers too.
TAKE_AWAY = """
import multiprocessing, os, signal, sys
multiprocessing.set_start_method("spawn", force=True)
for module, names in (
    (os, ("setsid", "fork", "getuid", "O_NONBLOCK", "O_NOFOLLOW", "sched_getaffinity")),
    (signal, ("SIGHUP", "SIGUSR1", "pthread_sigmask")),
):
    for name in names:
        delattr(module, name)
sys.modules |= dict.fromkeys(("fcntl", "resource", "termios", "pwd", "grp"))
"""
RUN_ALL = """
import importlib, sys
for program, *words in PROGRAMS:
    sys.argv = [program, *words]
    try:
        importlib.import_module(program).main(*[words] * program.startswith("benchmarks"))
    except SystemExit as ended:
        assert not ended.code, program
"""
SHORTENED_DEMO = """
from tools import demo

def main():
    write = demo.write_demo
    demo.write_demo = lambda folder, kind, *_: write(folder, kind, 4, 2, (64, 32))
    demo.TRAINING = demo.TRAINING.replace("--max_iters 700", "--max_iters 1 --num_workers 0")
    demo.main()
"""


def test_every_program_runs_to_the_end(domains, tmp_path):
    write_demo(tmp_path, "synthia", 4, 0, (64, 32))
    (tmp_path / "sitecustomize.py").write_text(TAKE_AWAY)
    (tmp_path / "shortened_demo.py").write_text(SHORTENED_DEMO)
    with h5py.File(tmp_path / "hed.h5", "w") as file:
        for name in CAFFE_NAMES:
            layer = f"block{name[4]}/layers/conv2d_{int(name[6]) - 1}".removesuffix("_0")
            file[f"{layer}/vars/0"], file[f"{layer}/vars/1"] = [[[[0.0]]]], [0.0]
    gta5, teacher = domains / "GTA5", tmp_path / "run/GTA_TeacherNet.pth"
    images = domains / "Cityscapes/leftImg8bit/val"
    programs = [
        ("SEAN_GTA5", *words(domains, tmp_path / "run", num_workers=1)),
        ("SEAN_Synthia", *words(domains, tmp_path / "16", data_dir_source=tmp_path / "SYNTHIA")),
        ("evaluation", *scoring_words(teacher, domains / "Cityscapes", tmp_path / "maps")),
        ("evaluation", *scoring_words(teacher, "-", tmp_path / "own", "--images", images)),
        ("tools.check_data", "gta5", gta5),
        ("tools.resize_data", "gta5", gta5, tmp_path / "{small}", "--size", "32,16"),
        ("tools.export", teacher, "--format", "torch_export"),
        ("tools.convert_hed", tmp_path / "hed.h5", tmp_path / "hed.pth"),
        ("benchmarks.ablation", "--folder", tmp_path / "ablation", "--seeds", 0,
         "--variants", "sean", "--", *words(domains, "-", max_iters=1)),
        ("shortened_demo",),
    ]  # fmt: skip
    given = [[str(word) for word in program] for program in programs]
    command = [sys.executable, "-c", f"PROGRAMS = {given}{RUN_ALL}"]
    environment = os.environ | {"PYTHONPATH": f"{tmp_path}{os.pathsep}{ROOT}"}
    ended = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment)
    assert ended.returncode == 0, ended.stderr
    assert (tmp_path / "Snap/demo/Maps/report.html").exists()
