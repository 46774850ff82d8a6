"""Resizing as Pillow does it, and the network's input."""

import numpy as np
import pytest
import torch
from PIL import Image

from dataset.transforms import resize_image
from model.SEAN import network_input


@pytest.mark.parametrize("exact", [True, False])
@pytest.mark.parametrize("size", [(40, 24), (130, 90), (77, 53)])
@pytest.mark.parametrize("shape", [(53, 77), (1, 1)])
def test_images_are_resized_as_by_pillow(shape, size, exact):
    image = np.random.default_rng(0).integers(0, 256, (*shape, 3), dtype=np.uint8)
    expected = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    resized = resize_image(image, size, exact)
    assert resized.dtype == np.uint8
    assert resized.flags.c_contiguous
    np.testing.assert_array_equal(resized.transpose(1, 2, 0), expected)
    assert not np.shares_memory(resized, image)


@pytest.mark.parametrize("size", [(256, 128), (128, 64), (512, 64)])
def test_whole_scales_differ_from_pillow_by_one_level_in_places(size):
    """Smooth with noise, as photographs are; parity allows 1 value in 10,000."""
    rng = np.random.default_rng(0)
    smooth = Image.fromarray(rng.integers(0, 256, (9, 17, 3), dtype=np.uint8)).resize((512, 256))
    image = np.clip(np.asarray(smooth) + rng.normal(0, 4, (256, 512, 3)), 0, 255).astype(np.uint8)
    expected = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
    fast = resize_image(image, size, exact=False).transpose(1, 2, 0)
    difference = fast.astype(int) - expected
    assert np.abs(difference).max() <= 1
    assert np.count_nonzero(difference) < difference.size / 10_000


def test_network_input_is_bgr_minus_the_mean():
    images = np.random.default_rng(0).integers(0, 256, (2, 3, 5, 7), dtype=np.uint8)
    ours = network_input(torch.from_numpy(images)).numpy()
    assert ours.dtype == np.float32
    for batch, y, x in np.ndindex(2, 5, 7):
        red, green, blue = images[batch, :, y, x].astype(np.float64)
        expected = (blue - 104.00698793, green - 116.66876762, red - 122.67891434)
        np.testing.assert_allclose(ours[batch, :, y, x], expected, rtol=0, atol=2e-5)
