"""Changes beyond the paper to the images of a batch: crops, flips, colors, color matching."""

import dataclasses

import numpy as np
import pytest
import torch
from PIL import Image, ImageOps
from torchvision.transforms import InterpolationMode

from model.SEAN import MEAN_BGR, network_input
from training.augment import change_colors, change_views, cut, draw_crop, match_colors
from training.options import TrainingOptions
from training.train_step import DomainBatch

MEAN = torch.tensor(MEAN_BGR).view(3, 1, 1)


def pixels(seed, count=2):
    generator = torch.Generator().manual_seed(seed)
    return torch.randint(0, 256, (count, 3, 12, 20), dtype=torch.uint8, generator=generator)


def make_batch(count=2):
    source, target = network_input(pixels(1, count)), network_input(pixels(2, count) // 2 + 20)
    labels = torch.arange(12 * 20).view(1, 12, 20).repeat(count, 1, 1)
    return DomainBatch(source, labels, target, target, ("a", "b"))


def changed(batch, first=0, **options):
    maps = list(batch.labels.byte())
    return change_views(batch, maps, dataclasses.replace(TrainingOptions(), **options), first)


def test_a_crop_is_the_image_as_pillow_cuts_and_resizes_it():
    image = pixels(3, 1)[0]
    top, left, height, width = 3, 4, 6, 10
    ours = cut(image.float(), (top, left, height, width, True)).round().byte()
    theirs = ImageOps.mirror(Image.fromarray(image.permute(1, 2, 0).numpy()))
    box = (20 - left - width, top, 20 - left, top + height)
    theirs = theirs.resize((20, 12), Image.Resampling.BILINEAR, box)
    difference = ours.int() - torch.from_numpy(np.array(theirs)).permute(2, 0, 1).int()
    # Inside the crop's border, over which Pillow's resize looks.
    assert difference[:, 2:-2, 2:-2].abs().max() <= 1


def test_images_and_label_maps_stay_together():
    """The label map is a picture of the image's own coordinates, so both must agree."""
    rows, columns = torch.meshgrid(torch.arange(24.0), torch.arange(40.0), indexing="ij")
    image = torch.stack([rows, columns, rows])[None]
    labels = (4 * (rows // 4) + columns // 10)[None].long()  # blocks
    batch = DomainBatch(image - MEAN, labels, None, None, ("a",))
    for first in range(20):
        seen = changed(batch, first, augment=True)
        assert set(seen.labels.unique().tolist()) <= set(labels.unique().tolist())
    crop = draw_crop(torch.ones(24, 40, dtype=torch.bool))
    y, x, _ = cut(image[0], crop)
    found = cut(labels, crop, InterpolationMode.NEAREST_EXACT)[0]
    expected = 4 * (y.round() // 4) + x.round() // 10
    assert (found == expected).float().mean() > 0.8


def test_crops_are_drawn_until_they_have_a_labelled_pixel():
    torch.manual_seed(0)
    crops = [draw_crop(torch.ones(100, 200, dtype=torch.bool)) for _ in range(400)]
    sides = [height / 100 for _, _, height, _, _ in crops]
    assert 0.4 <= min(sides) < 0.45 < 0.95 < max(sides) <= 1
    assert all(width == pytest.approx(2 * height, abs=1) for _, _, height, width, _ in crops)
    assert 140 < sum(flip for *_, flip in crops) < 260
    labelled = torch.zeros(100, 200, dtype=torch.bool)
    assert draw_crop(labelled)[:4] == (0, 0, 100, 200)
    labelled[:50, :100] = True
    for _ in range(200):
        top, left, height, width, _ = draw_crop(labelled)
        assert labelled[top : top + height, left : left + width].any()


def test_colors_change_at_random_and_stay_in_range():
    torch.manual_seed(0)
    image = network_input(pixels(1, 1))[0]
    first, second = change_colors(image), change_colors(image)
    assert not torch.equal(first, second)
    for seed in range(50):  # an overshoot of bilinear or noisy values gave nan in the step of hue
        levels = change_colors(image + torch.randn(image.shape) * seed) + MEAN
        assert -1e-3 <= levels.min() <= levels.max() <= 255 + 1e-3


def test_teacher_and_student_see_one_crop_and_the_teacher_its_own_colors():
    batch = make_batch(8)
    seen = changed(batch, augment=True)
    own = batch.target.unique()
    # Cropping makes means of neighbors: nothing outside the image's own range.
    assert own.min() - 1e-3 <= seen.target.min() <= seen.target.max() <= own.max() + 1e-3
    assert all(not torch.equal(seen.view[i], seen.target[i]) for i in range(8))
    assert not torch.equal(seen.source, batch.source)


@pytest.mark.parametrize("color_matching", [False, True])
def test_changes_depend_on_the_images_number_alone(color_matching):
    options = {"augment": True, "color_matching": color_matching}
    batch = make_batch(4)
    whole = changed(batch, first=40, **options)
    state = torch.get_rng_state()
    half = changed(DomainBatch(*(values[2:] for values in batch[:4]), ()), first=42, **options)
    for ours, theirs in zip(half[:4], whole[:4], strict=True):
        assert torch.equal(ours, theirs[2:])
    assert torch.equal(torch.get_rng_state(), state), "the noise must not change"
    assert not torch.equal(changed(batch, first=40, **options, seed=1).source, whole.source)


def test_colors_are_matched_without_adaptation_too():
    options = dataclasses.replace(TrainingOptions(), color_matching=True, source_only=True)
    assert options.reads_target
    assert not dataclasses.replace(options, oracle=True, source_only=False).reads_target
    batch = make_batch()
    matched = match_colors(batch.source, batch.target)
    assert torch.equal(changed(batch, color_matching=True).source, matched)


def test_color_statistics_are_the_references():
    """Compared with the paper's own steps, in float64 (Reinhard et al., 2001, equations 2 to 9)."""
    to_lms = np.array(
        [[0.3811, 0.5783, 0.0402], [0.1967, 0.7244, 0.0782], [0.0241, 0.1288, 0.8444]]
    )
    scales = np.diag([1 / np.sqrt(3), 1 / np.sqrt(6), 1 / np.sqrt(2)])
    to_lab = scales @ np.array([[1, 1, 1], [1, 1, -2], [1, -1, 0]])
    levels = [pixels(1).numpy().clip(1), (pixels(2) // 4 + 60).numpy()]
    matched = match_colors(*(network_input(torch.from_numpy(images)) for images in levels))
    for i in range(2):
        rendered, photograph = (to_lab @ np.log10(to_lms @ x[i].reshape(3, -1)) for x in levels)
        for own, wanted in zip(rendered, photograph, strict=True):
            own -= own.mean()
            own *= wanted.std(ddof=1) / own.std(ddof=1)
            own += wanted.mean()
        colors = np.linalg.solve(to_lms, 10 ** np.linalg.solve(to_lab, rendered)).clip(0, 255)
        ours = (matched[i] + MEAN).numpy()[::-1].reshape(3, -1)
        np.testing.assert_allclose(ours, colors, atol=2e-3)


def test_black_white_and_flat_images_stay_finite_and_in_range():
    images = torch.stack([torch.zeros(3, 12, 20), torch.full((3, 12, 20), 255.0)]) - MEAN
    for references in (images.flip(0), network_input(pixels(1))):
        levels = match_colors(images, references) + MEAN
        assert -1e-3 <= levels.min() <= levels.max() <= 255 + 1e-3
