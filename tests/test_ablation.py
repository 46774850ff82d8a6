"""`python -m benchmarks ablation`: the runs it starts, and what it makes of their metrics."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import Any

import pytest

from benchmarks.ablation import Scores, main, read_scores, table
from utils.errors import UserError

METRICS = """{"iteration": 10, "loss": 2.0}
{"iteration": 50, "network": "student", "target_miou": 0.12}
{"iteration": 50, "network": "teacher", "target_miou": 0.15}
{"iteration": 100, "network": "student", "target_miou": 0.13}
{"iteration": 100, "network": "teacher", "target_miou": 0.14}
"""


def test_scores_are_the_last_and_the_best() -> None:
    assert read_scores(METRICS) == pytest.approx(Scores(final=14.0, best=15.0, student=13.0))


def test_table_gives_mean_and_sample_deviation() -> None:
    text = table({"sean": [Scores(10, 12, 9), Scores(14, 14, 9)], "oracle": [Scores(20, 21, 22)]})
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()[2:]]
    assert cells == [
        ["sean", "12.0 ± 2.8", "13.0 ± 1.4", "9.0 ± 0.0", "2"],
        ["oracle", "20.0", "21.0", "22.0", "1"],
    ]


def test_a_run_without_scores_is_an_error() -> None:
    with pytest.raises(UserError, match="--data_dir_val"):
        read_scores(METRICS.splitlines()[0])


@pytest.fixture
def started(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> list[list[str]]:
    """The command lines of the runs; each run fails with status 3 in a folder named failing."""
    words: list[list[str]] = []

    def start(command: list[str], **_: Any) -> subprocess.CompletedProcess[str]:
        words.append(command)
        folder = Path(command[-1])
        folder.mkdir(parents=True)
        (folder / "metrics.jsonl").write_text(METRICS)
        return subprocess.CompletedProcess(command, 3 if "failing" in str(folder) else 0)

    monkeypatch.chdir(tmp_path)  # the script is found from another folder than the project's
    monkeypatch.setattr(subprocess, "run", start)
    return words


def test_every_variant_is_trained_with_every_seed(
    started: list[list[str]], capsys: pytest.CaptureFixture[str]
) -> None:
    main(["--variants", "oracle,sean", "--seeds", "3,5", "--folder", "runs", "--", "--noise", "0"])
    assert [command[-1] for command in started] == [
        str(Path("runs", name))
        for name in ("oracle_seed3", "sean_seed3", "oracle_seed5", "sean_seed5")
    ]
    for command in started:
        assert Path(command[1]).is_file()
        assert command[2:4] == ["--noise", "0"]
        assert ("--oracle" in command) == ("oracle" in command[-1])
        assert command[command.index("--seed") + 1] == command[-1][-1]
    assert capsys.readouterr().out.splitlines()[-1].split() == (
        "| sean | 14.0 ± 0.0 | 15.0 ± 0.0 | 13.0 ± 0.0 | 2 |".split()
    )


def test_a_failed_run_ends_with_its_status(started: list[list[str]]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--folder", "failing"])
    assert ended.value.code == 3
    assert len(started) == 1
