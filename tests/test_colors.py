"""Color statistics: the paper's own steps, ranges, hostile images."""

from __future__ import annotations

import numpy as np
import torch

from dataset.transforms import network_input
from model.colors import DAYLIGHT, MEAN_BGR, _opponents, match_colors, normalize_colors


def pixels(seed: int, count: int = 2) -> torch.Tensor:
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 12, 20), dtype=torch.uint8, generator=generator)


def test_color_statistics_are_the_references() -> None:
    """Compared with the paper's own steps, in float64 (Reinhard et al., 2001, equations 2 to 9)."""
    to_lms = np.array(
        [[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]]
    )
    scales = np.diag([1 / np.sqrt(3), 1 / np.sqrt(6), 1 / np.sqrt(2)])
    to_lab = scales @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
    levels = [pixels(1).numpy().clip(1), (pixels(2) // 4 + 60).numpy()]
    matched = match_colors(*(network_input(torch.from_numpy(images)) for images in levels))
    mean = np.array(MEAN_BGR)[:, None, None]
    for i in range(2):
        rendered, photograph = (
            to_lab @ np.log10(to_lms @ images[i].reshape(3, -1)) for images in levels
        )
        for own, wanted in zip(rendered, photograph, strict=True):
            own -= own.mean()
            own *= wanted.std(ddof=1) / own.std(ddof=1)
            own += wanted.mean()
        colors = np.linalg.solve(to_lms, 10 ** np.linalg.solve(to_lab, rendered)).clip(0, 255)
        ours = (matched[i].numpy() + mean)[::-1].reshape(3, -1)
        np.testing.assert_allclose(ours, colors, atol=2e-3)


def test_changed_colors_stay_in_range_and_flat_images_stay_finite() -> None:
    dark = network_input(torch.zeros(1, 3, 12, 20, dtype=torch.uint8))
    bright = network_input(pixels(2, 1))
    matched = match_colors(dark, bright), match_colors(bright, dark)
    for ours in (*matched, normalize_colors(dark), normalize_colors(bright)):
        levels = ours + torch.tensor(MEAN_BGR).view(1, 3, 1, 1)
        assert ours.isfinite().all()
        assert -1e-3 <= levels.min() <= levels.max() <= 255 + 1e-3


def test_a_share_moves_the_statistics_that_far() -> None:
    images, references = network_input(pixels(1) // 2 + 60), network_input(pixels(2) // 4 + 90)
    moved = match_colors(images, references, 0.25)
    planes = zip(_opponents(images), _opponents(references), _opponents(moved), strict=True)
    for own, other, between in planes:
        for measure in (torch.mean, torch.std):
            wanted = 0.75 * measure(own, (1, 2)) + 0.25 * measure(other, (1, 2))
            torch.testing.assert_close(measure(between, (1, 2)), wanted, atol=1e-3, rtol=1e-3)


def test_normal_colors_are_those_of_a_photograph_by_day() -> None:
    planes = _opponents(normalize_colors(network_input(pixels(1) // 4 + 20)))
    for plane, (mean, deviation) in zip(planes, DAYLIGHT, strict=True):
        # What would be brighter than white is clipped.
        torch.testing.assert_close(plane.mean((1, 2)), torch.full((2,), mean), atol=0.02, rtol=0)
        torch.testing.assert_close(
            plane.std((1, 2)), torch.full((2,), deviation), atol=0.02 * deviation, rtol=0
        )


def test_normal_colors_depend_neither_on_exposure_nor_on_the_rest_of_the_batch() -> None:
    levels = pixels(1).float().clamp(min=4)  # anything darker than 1 is clipped
    mean = torch.tensor(MEAN_BGR).view(1, 3, 1, 1)
    normal = normalize_colors(levels - mean)
    torch.testing.assert_close(normalize_colors(levels / 4 - mean), normal, atol=2e-3, rtol=0)
    assert torch.equal(normalize_colors(levels[1:] - mean), normal[1:])
