"""What benchmarks/ablation.py makes of the metrics of finished runs."""

from __future__ import annotations

import pytest

from benchmarks.ablation import Scores, read_scores, table

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
    assert text.splitlines()[2:] == [
        "| sean | 12.0 ± 2.8 | 13.0 ± 1.4 | 9.0 ± 0.0 | 2 |",
        "| oracle | 20.0 | 21.0 | 22.0 | 1 |",
    ]


def test_a_run_without_scores_is_told(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        read_scores(METRICS.splitlines()[0])
    assert ended.value.code == 2
    assert "--data_dir_val" in capsys.readouterr().err
