"""`python -m benchmarks ablation`: the runs it starts and continues, and what it makes of them."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
from PIL import Image

from benchmarks.ablation import main, read_scores, table, variant
from tests.runs import words
from utils.errors import UserError


def write_metrics(folder: Path, *mious: float, **iou: float | None) -> Path:
    records: list[dict[str, object]] = [{"iteration": 10, "loss": 2.0}]
    records += [{"network": "teacher", "target_miou": miou, "iou": iou} for miou in mious]
    (folder / "metrics.jsonl").write_text("\n".join(map(json.dumps, records)))
    return folder


def test_scores_are_the_last_and_the_best(tmp_path: Path) -> None:
    folder = write_metrics(tmp_path, 0.15, 0.14, road=0.5, car=0.1, sky=0.9, bus=None)
    expected = {"final teacher": 14.0, "best teacher": 15.0}
    assert read_scores(folder) == pytest.approx(expected)
    expected["chosen classes"] = 30.0
    assert read_scores(folder, ("road", "car")) == pytest.approx(expected)
    with pytest.raises(UserError, match="road, car, sky"):
        read_scores(folder, ("road", "bus"))


def test_a_run_without_scores_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="--data_dir_val"):
        read_scores(write_metrics(tmp_path))


def test_table_gives_mean_sample_deviation_and_share_of_the_gap() -> None:
    def runs(*values: float) -> list[dict[str, float]]:
        return [
            {"final teacher": v, "best teacher": v + 1, "chosen classes": 2 * v} for v in values
        ]

    scores = {"low": runs(10, 20), "mine": runs(14, 28), "high": runs(20, 30)}
    text = table(scores, ("low", "high"))
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in text.splitlines()]
    assert cells[0][4:] == ["chosen classes", "gap, final teacher", "gap, chosen classes"]
    # Shares of 40 and 80 %: mean 60, deviation 20 * sqrt(2).
    shares = ["60 ± 28 %"] * 2
    assert cells[3] == ["mine", "2", "21.0 ± 9.9", "22.0 ± 9.9", "42.0 ± 19.8", *shares]
    assert [row[-1] for row in cells[2::2]] == ["0 ± 0 %", "100 ± 0 %"]
    assert "nan" in table({"low": runs(10), "high": runs(10)}, ("low", "high"))


def test_variants_are_names_with_options() -> None:
    assert variant("oracle") == ("oracle", "--oracle")
    assert variant("sean=") == ("sean", "")
    assert variant("my.set=--classes 'a b=c'") == ("my.set", "--classes 'a b=c'")


def test_runs_are_trained_resumed_and_kept(
    domains: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "runs"
    given = ["--variants", "source_only", "oracle", "--seeds", "0", "--folder", str(folder)]
    shared = ["--", *words(domains, folder, max_iters=2)]
    with pytest.raises(UserError, match="status is 0"):
        main([*given, *shared, "--max_hours", "0"])  # saves and stops after an iteration
    main([*given, *shared])
    output = folder / "source_only_seed0/output.txt"
    assert "resumed at iteration 1" in output.read_text()
    log = json.loads((folder / "results.json").read_text())
    assert list(log) == ["source_only_seed0", "oracle_seed0"]
    assert "--oracle --seed 0" in log["oracle_seed0"]["command"]
    with Image.open(folder / "results.png") as plot:
        assert plot.width > 600

    os.utime(output, (0, 0))
    capsys.readouterr()
    main([*given, "--classes", "road", "--gap", "source_only", "oracle", *shared])
    assert output.stat().st_mtime == 0
    text = capsys.readouterr().out
    assert "started" not in text
    assert (folder / "results.md").read_text() in text
    assert "gap, chosen classes" in text
