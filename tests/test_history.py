from __future__ import annotations

from pathlib import Path

import pytest
import torch

from utils.training.distributed import Processes
from utils.training.results import DivergenceError, Results
from utils.training.train_step import StepResult

BEFORE = Path("run/last.pth")


def step_result(*numbers: float) -> StepResult:
    return StepResult(*map(torch.tensor, numbers))


def test_means_are_of_the_iterations_since_the_last_reading() -> None:
    results = Results(Processes(), BEFORE)
    assert results.read() is None
    results.add(step_result(3, 2, 1, 0.5, 0.25, 8), ("a",))
    assert len(results.history) == 0  # nothing has been waited for
    assert results.read() == [3, 2, 1, 0.5, 0.25, 8]
    results.add(step_result(5, 1, 4, 0.0, 1.00, 2), ("b",))
    results.add(step_result(7, 3, 4, 0.5, 0.50, 4), ("c",))
    assert results.read() == [6, 2, 4, 0.25, 0.75, 3]
    assert results.read() is None
    assert results.history.tolist() == [[3, 2, 1, 0.5], [5, 1, 4, 0.0], [7, 3, 4, 0.5]]


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
@pytest.mark.parametrize("place", [0, 5])
def test_a_number_that_is_not_finite_names_iteration_and_images(value: float, place: int) -> None:
    results = Results(Processes(), BEFORE)
    results.add(step_result(3, 2, 1, 0.5, 0.25, 8), ("a", "A"))
    results.read()
    for names in (("b", "B"), ("c", "C"), ("d", "D")):
        numbers = [3, 2, 1, 0.5, 0.25, 8]
        if names != ("b", "B"):
            numbers[place] = value
        results.add(step_result(*numbers), names)
    with pytest.raises(DivergenceError, match=r"at iteration 3, images c, C\n  run/last\.pth and"):
        results.read()
    assert len(results.history) == 1


def test_a_source_batch_without_labels_is_no_divergence() -> None:
    results = Results(Processes(), BEFORE)
    results.add(step_result(0, 0, 0, float("nan"), 0, 0), ("a",))
    assert results.read() is not None
