"""What benchmarks/ablation.py makes of the logs of finished runs."""

from __future__ import annotations

import pytest

from benchmarks.ablation import Scores, read_scores, table

LOG = """iteration 50 student target_miou 0.1200
iteration 50 student IoU in %: road 12.0
iteration 50 teacher target_miou 0.1500
iteration 100 student target_miou 0.1300
iteration 100 teacher target_miou 0.1400
"""


def test_scores_are_the_last_and_the_best() -> None:
    assert read_scores(LOG) == pytest.approx(Scores(final=14.0, best=15.0, student=13.0))


def test_table_gives_mean_and_sample_deviation() -> None:
    text = table({"sean": [Scores(10, 12, 9), Scores(14, 14, 9)], "oracle": [Scores(20, 21, 22)]})
    assert text.splitlines()[2:] == [
        "| sean | 12.0 ± 2.8 | 13.0 ± 1.4 | 9.0 ± 0.0 | 2 |",
        "| oracle | 20.0 | 21.0 | 22.0 | 1 |",
    ]
