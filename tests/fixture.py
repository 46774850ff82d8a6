"""Deterministic weights, images and labels for the numerical parity checks.

Everything is drawn from numpy's legacy ``RandomState`` (bit-stable across numpy
versions), one stream per name, so the same values can be rebuilt anywhere:

    state = reference_state(num_classes=19)      # a full SEANet state dict
    vgg = reference_fcn8s_checkpoint()           # a fcn8s_from_caffe-style state dict
    write_reference_dataset(root, source="gta5") # a tiny data set on disk

The expected values in golden_*.npz were measured once with the original SEANet
implementation, run in float32 on a CPU on exactly these inputs.
"""

import zlib
from itertools import pairwise
from pathlib import Path

import numpy as np
from PIL import Image

VGG_CHANNELS = list(pairwise((3, 64, 64, 128, 128, *[256] * 3, *[512] * 6)))
VGG_INDICES = [0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 23, 25, 27]
CAFFE_NAMES = [
    f"conv{block}_{layer}"
    for block, layers in enumerate((2, 2, 3, 3, 3), 1)
    for layer in range(1, layers + 1)
]


def _stream(name: str, seed: int) -> np.random.RandomState:
    return np.random.RandomState((zlib.crc32(name.encode()) + seed) % 2**32)


def _conv(name: str, out_channels: int, in_channels: int, kernel: int, scale: float, seed: int):
    fan_in = in_channels * kernel * kernel
    weight = _stream(name + ".weight", seed).standard_normal(
        (out_channels, in_channels, kernel, kernel)
    )
    bias = _stream(name + ".bias", seed).standard_normal(out_channels)
    return (weight * np.sqrt(2.0 / fan_in) * scale).astype(np.float32), (bias * 0.01).astype(
        np.float32
    )


def reference_state(num_classes: int, seed: int = 0) -> dict[str, np.ndarray]:
    """Every parameter of SEANet, keyed as in the original checkpoint."""
    state: dict[str, np.ndarray] = {}
    for index, (in_channels, out_channels) in zip(VGG_INDICES, VGG_CHANNELS, strict=True):
        name = f"features.{index}"
        scale = 1 / 50 if index == 0 else 1.0
        state[f"{name}.weight"], state[f"{name}.bias"] = _conv(
            name, out_channels, in_channels, 3, scale, seed
        )
    for index, in_channels in ((29, 512), (31, 1024)):
        name = f"features.{index}"
        state[f"{name}.weight"], state[f"{name}.bias"] = _conv(
            name, 1024, in_channels, 3, 1.0, seed
        )
    aconv, _ = _conv("aconv", 1, 1024, 1, 1.5, seed)
    state["aconv.weight"] = aconv
    for branch in range(4):
        name = f"classifier.conv2d_list.{branch}"
        state[f"{name}.weight"], state[f"{name}.bias"] = _conv(
            name, num_classes, 1024, 3, 0.7, seed
        )
    return state


def reference_fcn8s_checkpoint(seed: int = 100) -> dict[str, np.ndarray]:
    """A state dict named and ordered like fcn8s_from_caffe.pth (head layers shrunk)."""
    state: dict[str, np.ndarray] = {}
    for name, (in_channels, out_channels) in zip(CAFFE_NAMES, VGG_CHANNELS, strict=True):
        scale = 1 / 50 if name == "conv1_1" else 1.0
        state[f"{name}.weight"], state[f"{name}.bias"] = _conv(
            name, out_channels, in_channels, 3, scale, seed
        )
    for name in ("fc6", "fc7", "score_fr", "score_pool3", "score_pool4"):
        state[f"{name}.weight"], state[f"{name}.bias"] = _conv(name, 4, 8, 1, 1.0, seed)
    for name in ("upscore2", "upscore8", "upscore_pool4"):
        state[f"{name}.weight"], _ = _conv(name, 4, 4, 4, 1.0, seed)
    return state


def reference_input(height: int, width: int, seed: int = 0) -> np.ndarray:
    """A network input: float32, 1 x 3 x height x width, BGR minus the mean, about -120..150."""
    rng = _stream(f"input{height}x{width}", seed)
    return (rng.standard_normal((1, 3, height, width)) * 45).astype(np.float32)


def _blocks(
    rng: np.random.RandomState, height: int, width: int, values: np.ndarray, count: int
) -> np.ndarray:
    grid = np.full((height, width), values[0], dtype=values.dtype)
    for _ in range(count):
        top, left = rng.randint(0, height), rng.randint(0, width)
        rows, columns = rng.randint(8, height // 2), rng.randint(8, width // 2)
        grid[top : top + rows, left : left + columns] = values[rng.randint(0, len(values))]
    return grid


def _image(rng: np.random.RandomState, ids: np.ndarray) -> np.ndarray:
    palette = rng.randint(0, 256, (256, 3))
    noise = rng.randint(-20, 21, (*ids.shape, 3))
    return np.clip(palette[ids] + noise, 0, 255).astype(np.uint8)


def write_reference_dataset(root: Path, source: str, seed: int = 0) -> dict[str, Path]:
    """Write 4 source and 2 target images with labels; return the roots and list files.

    ``source`` is "gta5" (Cityscapes label ids) or "synthia" (SYNTHIA ids, 8-bit label PNGs).
    Source images are 203 x 131, target images 256 x 128 (width x height).
    """
    root = Path(root)
    source_values = np.arange(35 if source == "gta5" else 23, dtype=np.uint8)
    names = []
    for index in range(4):
        name = f"{index + 1:05d}.png" if source == "gta5" else f"{index:07d}.png"
        rng = _stream(f"{source}/{name}", seed)
        ids = _blocks(rng, 131, 203, source_values, 40)
        for folder, array in (("images", _image(rng, ids)), ("labels", ids)):
            path = root / source / folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
        names.append(name)
    source_list = root / f"{source}_list.txt"
    source_list.write_text("\n".join(names) + "\n")

    target_values = np.arange(34, dtype=np.uint8)
    stems = ["frankfurt/frankfurt_000000_000001", "munster/munster_000002_000019"]
    for stem in stems:
        rng = _stream(stem, seed)
        ids = _blocks(rng, 128, 256, target_values, 40)
        for kind, suffix, array in (
            ("leftImg8bit", "leftImg8bit", _image(rng, ids)),
            ("gtFine", "gtFine_labelIds", ids),
        ):
            path = root / "cityscapes" / kind / "val" / f"{stem}_{suffix}.png"
            path.parent.mkdir(parents=True, exist_ok=True)
            Image.fromarray(array).save(path)
    target_list = root / "cityscapes_val_list.txt"
    target_list.write_text("\n".join(f"{stem}_leftImg8bit.png" for stem in stems) + "\n")
    return {
        "source": root / source,
        "source_list": source_list,
        "target": root / "cityscapes",
        "target_list": target_list,
    }
