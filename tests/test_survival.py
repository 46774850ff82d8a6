"""The programs that start runs: from any folder, and a mistake or a failed run is told."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks.survival import command, run_whole


def end_of(module: str, words: list[str], monkeypatch: pytest.MonkeyPatch) -> object:
    monkeypatch.setattr(sys, "argv", [module, *words])
    with pytest.raises(SystemExit) as ended:
        importlib.import_module(f"benchmarks.{module}").main()
    return ended.value.code


@pytest.mark.parametrize(
    ("module", "words"),
    [
        ("survival", ["--kills", "x"]),
        ("survival", ["--iterations", "0"]),
        ("memory", ["--iterations", "399"]),  # 200 to settle, and two windows of 100 to compare
        ("ablation", ["--script", "no.py", "--data_dir_source", "a", "--data_dir_target", "b"]),
        ("ablation", ["--data_dir_source", "a"]),
    ],
)
def test_a_wrong_option_ends_in_one_message(
    module: str,
    words: list[str],
    capfd: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    assert end_of(module, words, monkeypatch) == 2
    errors = capfd.readouterr().err
    assert errors.startswith("error: ")
    assert len(errors.splitlines()) == 2


def test_a_failed_run_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """And the script is found from another folder: its own message tells what is wrong."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(SystemExit) as ended:
        run_whole(command(tmp_path / "missing", tmp_path / "run", 1))
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert "the run ended with status 2" in errors
    assert f"no images under {tmp_path / 'missing/GTA5/images'}" in errors


def test_the_ablation_finds_its_script_from_another_folder(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[list[str]] = []

    def start(words: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        started.append(words)
        return subprocess.CompletedProcess(words, 3)

    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(subprocess, "run", start)
    words = ["--data_dir_source", "a", "--data_dir_target", "b", "--folder", "runs", "--", "--demo"]
    assert end_of("ablation", words, monkeypatch) == 3
    assert Path(started[0][1]).is_file()
    assert "--demo" in started[0]
    assert started[0][-1] == str(Path("runs/source_only_seed0"))
