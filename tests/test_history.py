from __future__ import annotations

from pathlib import Path

import pytest
import torch

from training.distributed import Processes
from training.history import History
from training.train_step import StepResult
from utils.errors import DivergenceError

BEFORE = Path("run/last.pth")


def step_result(*numbers: float) -> StepResult:
    return StepResult(*map(torch.tensor, numbers))


def test_means_are_of_the_iterations_since_the_last_reading() -> None:
    history = History(Processes(), BEFORE)
    assert history.read() is None
    history.add(step_result(3, 2, 1, 0.5, 0.25, 8), ("a",))
    assert len(history.rows) == 0  # nothing has been waited for
    assert history.read() == [3, 2, 1, 0.5, 0.25, 8]
    history.add(step_result(5, 1, 4, 0.0, 1.00, 2), ("b",))
    history.add(step_result(7, 3, 4, 0.5, 0.50, 4), ("c",))
    assert history.read() == [6, 2, 4, 0.25, 0.75, 3]
    assert history.read() is None
    assert history.rows.tolist() == [[3, 2, 1, 0.5], [5, 1, 4, 0.0], [7, 3, 4, 0.5]]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 5])
def test_a_number_that_is_not_finite_names_iteration_and_images(value: float, place: int) -> None:
    history = History(Processes(), BEFORE)
    history.add(step_result(3, 2, 1, 0.5, 0.25, 8), ("a", "A"))
    history.read()
    for names in (("b", "B"), ("c", "C\n"), ("d", "D")):
        numbers = [3, 2, 1, 0.5, 0.25, 8]
        if names != ("b", "B"):
            numbers[place] = value
        history.add(step_result(*numbers), names)
    with pytest.raises(
        DivergenceError, match=r"at iteration 3, images c, C\\n\n  run/last\.pth and"
    ):
        history.read()
    assert len(history.rows) == 1


def test_a_source_batch_without_labels_is_no_divergence() -> None:
    history = History(Processes(), BEFORE)
    history.add(step_result(0, 0, 0, float("nan"), 0, 0), ("a",))
    assert history.read() is not None
