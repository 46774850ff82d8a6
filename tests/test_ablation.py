"""`python -m benchmarks ablation`: the runs it starts and continues, and what it makes of them."""

from __future__ import annotations

import json
import os
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from benchmarks.ablation import main, read_scores, read_variant, table
from tests.runs import words
from utils.errors import UserError

METRICS = """{"iteration": 10, "loss": 2.0}
{"iteration": 50, "network": "teacher", "target_miou": 0.15}
{"iteration": 100, "network": "teacher", "target_miou": 0.14}
"""
STUDENT = '{"iteration": 100, "network": "student", "target_miou": 0.13}\n'


def test_scores_are_the_last_and_the_best() -> None:
    expected = {"final teacher": 14.0, "best teacher": 15.0}
    assert read_scores(METRICS) == pytest.approx(expected)
    assert read_scores(METRICS + STUDENT) == pytest.approx(expected | {"final student": 13.0})


def test_a_run_without_scores_is_an_error() -> None:
    with pytest.raises(UserError, match="--data_dir_val"):
        read_scores(METRICS.splitlines()[0])


def test_table_gives_mean_and_sample_deviation() -> None:
    scores = [{"final teacher": 10.0, "best teacher": 12.0}]
    scores += [{"final teacher": 14.0, "best teacher": 14.0}]
    text = table({"sean": scores, "oracle": scores[:1]})
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert cells[0] == ["target mIoU, %", "seeds", "final teacher", "best teacher"]
    assert cells[2:] == [
        ["sean", "2", "12.0 ± 2.8", "13.0 ± 1.4"],
        ["oracle", "1", "10.0 ± 0.0", "12.0 ± 0.0"],
    ]


@pytest.mark.parametrize(
    ("text", "variant"),
    [
        ("oracle", ("oracle", ["--oracle"])),
        ("sean=", ("sean", [])),
        ("sean=--noise 0", ("sean", ["--noise", "0"])),
        ("my.set=--classes 'a b=c.yaml'", ("my.set", ["--classes", "a b=c.yaml"])),
    ],
)
def test_variants_are_names_with_options(text: str, variant: tuple[str, list[str]]) -> None:
    assert read_variant(text) == variant


@pytest.mark.parametrize("text", ["nothing", "=--oracle", "../x=--oracle"])
def test_other_variants_are_errors(text: str) -> None:
    with pytest.raises(UserError, match="NAME=OPTIONS"):
        read_variant(text)


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The command lines of the runs; those of the variant "failing" have status 3."""
    commands: list[list[str]] = []

    def start(command: list[str], *, env: Any, stdout: Any, **_: Any) -> Any:
        if any("failing" in earlier[-2] for earlier in commands):
            time.sleep(1)  # the failure is noticed while the next run, already started, goes on
        commands.append([*command, env.get("OMP_NUM_THREADS", "")])
        folder = Path(command[-1])
        (folder / "metrics.jsonl").write_text(METRICS)
        stdout.write(b"final teacher: x")
        return subprocess.CompletedProcess(command, 3 if "failing" in str(folder) else 0)

    monkeypatch.chdir(tmp_path)  # the script is found from another folder than the project's
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(subprocess, "run", start)
    return commands


def test_every_variant_is_trained_with_every_seed(
    started: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--variants", "oracle", "mine=--st_weight 1", "--seeds", "3,5", "--folder", "runs"]
    main([*words, "--", "--noise", "0"])
    folders = [command[-2] for command in started]
    names = ("oracle_seed3", "mine_seed3", "oracle_seed5", "mine_seed5")
    assert folders == [str(Path("runs", name)) for name in names]
    for command, name in zip(started, names, strict=True):
        assert Path(command[1]).is_file()
        own = ["--oracle"] if "oracle" in name else ["--st_weight", "1"]
        assert command[2:-3] == ["--noise", "0", *own, "--seed", name[-1], "--resume"]
        assert command[-1] == ""
    row = "| mine | 2 | 14.0 ± 0.0 | 15.0 ± 0.0 |"
    for text in (capsys.readouterr().out, Path("runs/results.md").read_text()):
        assert row in [" ".join(line.split()) for line in text.splitlines()]
    with Image.open("runs/results.png") as plot:
        assert plot.width > 600
    assert set(json.loads(Path("runs/results.json").read_text())) == set(names)


def test_only_what_is_missing_or_changed_is_trained(started: list[list[str]]) -> None:
    main(["--variants", "sean", "--seeds", "0", "--jobs", "2"])
    assert started[0][-1] == "1"  # thread
    main(["--variants", "sean", "--seeds", "0,1", "--jobs", "2"])
    assert [command[-2][-5:] for command in started] == ["seed0", "seed1"]
    main(["--variants", "sean=--noise 0", "--seeds", "0,1"])
    assert [command[-2][-5:] for command in started] == ["seed0", "seed1"] * 2


def test_a_failed_run_ends_the_others(started: list[list[str]]) -> None:
    with pytest.raises(UserError, match="status is 3"):
        main(["--variants", "failing=", "sean", "--seeds", "0,1,2,3,4"])
    assert len(started) < 5
    assert not Path("Snap/ablation/results.json").exists()


def test_an_interrupted_run_is_resumed_and_a_finished_one_is_kept(
    domains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--variants", "sean", "--seeds", "0", "--folder", str(tmp_path / "runs"), "--"]
    given += words(domains, tmp_path / "runs", max_iters=2)
    with pytest.raises(UserError, match="status is 0"):
        main([*given, "--max_hours", "0"])  # saves and stops after an iteration
    main(given)
    output = tmp_path / "runs/sean_seed0/output.txt"
    assert "resumed at iteration 1" in output.read_text()
    os.utime(output, (0, 0))
    capsys.readouterr()
    main(given)
    assert output.stat().st_mtime == 0
    assert "started" not in capsys.readouterr().out
