"""What the measurements share: paths timed alternately, full-size data, tables.

The photographs are PNG files that decode and compress as those of the data sets do. They consist of
segments with edges, texture whose amplitude spectrum falls as a power of the frequency, and a
camera's noise, which makes up most of a PNG. Together the spectrum falls as f**-1.3, as that of
street photographs does (-1.1 to -1.3 on CamVid), and a 2048x1024 PNG has 2 to 2.5 MB, as in
Cityscapes. GTA-5's label maps are palette PNGs, those of Cityscapes are gray.
"""

from __future__ import annotations

import contextlib
import gc
import multiprocessing
import resource
import statistics
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import psutil
import scipy.fft
import torch
from numpy.typing import NDArray
from PIL import Image

from dataset.labels import CITYSCAPES_IDS
from utils.command_line import Size

Value = TypeVar("Value")
Block = Callable[[], dict[str, float]]
"""Does a piece of work and returns what it measured, by name."""

SIZES = {"source": (1914, 1052), "target": (2048, 1024)}
"""Width and height of GTA-5's and of Cityscapes' images."""

IMAGES = {
    "source": "GTA5/images/{:05d}.png",
    "target": "Cityscapes/leftImg8bit/val/frankfurt/frankfurt_000000_{:06d}_leftImg8bit.png",
}
LABELS = {
    "source": "GTA5/labels/{:05d}.png",
    "target": "Cityscapes/gtFine/val/frankfurt/frankfurt_000000_{:06d}_gtFine_labelIds.png",
}

TEXTURE_SLOPE = 1.6
NOISE_STD = 0.6
"""Of the camera, in gray levels: 9 to 10 bits a pixel in a PNG."""

_block: Block


def alternate(
    sides: Mapping[str, tuple[Callable[..., Block], tuple[Any, ...]]], repeats: int
) -> dict[str, dict[str, float]]:
    """Run blocks in turn, once to warm up and then ``repeats`` times.

    Args:
        sides: by name, a module's function that prepares a block, and its arguments. Each is called
            in a process of its own, which shares memory, caches and settings with no other.
        repeats: how often each block is measured.

    Returns:
        The median of what each side measured; of ``peak``, the most memory, the last reading.
    """
    context = multiprocessing.get_context("spawn")
    readings: dict[str, list[dict[str, float]]] = {name: [] for name in sides}
    with contextlib.ExitStack() as stack:
        pools = {name: stack.enter_context(ProcessPoolExecutor(1, context)) for name in sides}
        for name, (make, arguments) in sides.items():
            pools[name].submit(_prepare, make, arguments).result()
        for _ in range(1 + repeats):
            for name, pool in pools.items():
                readings[name].append(pool.submit(_run).result())
        for pool in pools.values():
            pool.submit(_forget).result()
    return {
        name: {
            key: runs[-1][key] if key == "peak" else statistics.median(r[key] for r in runs[1:])
            for key in runs[0]
        }
        for name, runs in readings.items()
    }


def _prepare(make: Callable[..., Block], arguments: tuple[Any, ...]) -> None:
    global _block
    _block = make(*arguments)


def _run() -> dict[str, float]:
    if torch.cuda.is_initialized():
        torch.cuda.reset_peak_memory_stats()  # warming up tries out algorithms, which takes more
    return _block()


def _forget() -> None:
    """End the workers of the block's loaders."""
    global _block
    del _block
    gc.collect()


def seconds(work: Callable[[], object], device: torch.device) -> float:
    """Return how long work takes, including what it leaves the device to do."""
    wait_for(device)
    start = time.perf_counter()
    work()
    wait_for(device)
    return time.perf_counter() - start


def wait_for(device: torch.device) -> None:
    """Return once the device has finished its work."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def peak_memory(device: torch.device) -> float:
    """Return the most memory used so far, in bytes.

    On CUDA it is that of the tensors there in this block; otherwise the highest resident memory of
    this process plus what its worker processes now have for themselves.
    """
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device)
    unit = 1 if sys.platform == "darwin" else 1024
    own = unit * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    workers = psutil.Process().children(recursive=True)
    return own + sum(worker.memory_full_info().uss for worker in workers)


def markdown_table(title: str, rows: Mapping[str, Mapping[str, str]]) -> str:
    """Return a table as Markdown, given the cells of each row by heading."""
    lines = [[title, *next(iter(rows.values()))]]
    lines += [[name, *cells.values()] for name, cells in rows.items()]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    lines.insert(1, ["-" * width for width in widths])
    padded = [[c.ljust(w) for c, w in zip(line, widths, strict=True)] for line in lines]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in padded)


def several(parse: Callable[[str], Value], choices: Sequence[str] = ()) -> Callable[[str], Any]:
    """Return a parser of comma-separated values, each read by ``parse``, into a tuple."""

    def parse_all(text: str) -> tuple[Value, ...]:
        words = text.split(",")
        if choices and not set(words) <= set(choices):
            raise ValueError
        return tuple(parse(word) for word in words)

    parse_all.__name__ = "comma-separated list" + (f" from {','.join(choices)}" if choices else "")
    return parse_all


def write_photographs(root: Path, images: int, sizes: Mapping[str, Size] = SIZES) -> None:
    """Write images and label maps in the folder layouts of GTA-5 and Cityscapes.

    Args:
        root: a folder; ``GTA5`` and ``Cityscapes`` are written there.
        images: number of images in each domain.
        sizes: width and height in each domain.
    """
    with ProcessPoolExecutor() as pool:
        jobs = [
            pool.submit(_write_pair, root, domain, index, size, 2 * index + (domain == "target"))
            for domain, size in sizes.items()
            for index in range(images)
        ]
        for job in jobs:
            job.result()


def _write_pair(root: Path, domain: str, index: int, size: Size, seed: int) -> None:
    photograph, ids = draw_photograph(size, seed)
    label_map = Image.fromarray(ids)
    if domain == "source":
        label_map.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    for names, picture in ((IMAGES, Image.fromarray(photograph)), (LABELS, label_map)):
        path = root / names[domain].format(index)
        path.parent.mkdir(parents=True, exist_ok=True)
        picture.save(path)


def draw_photograph(size: Size, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw an image and its label map; the same seed gives the same picture.

    Args:
        size: W, H.
        seed: of the picture.

    Returns:
        The image, uint8, (H, W, 3), RGB, and label ids of Cityscapes, uint8, (H, W).
    """
    rng = np.random.default_rng(seed)
    ids = rng.permutation(sorted(CITYSCAPES_IDS.values())).astype(np.uint8)[:16]
    bits = [(_field(rng, size, 1.8) > 0) << bit for bit in range(4)]
    segments = np.bitwise_or.reduce(bits)  # (H, W), 0..15
    levels = rng.uniform(40, 180, (16, 1)) + rng.normal(0, 12, (16, 3))
    luminance = _field(rng, size, TEXTURE_SLOPE)[..., None]
    image = levels[segments] + 22 * luminance + rng.normal(0, NOISE_STD, (*segments.shape, 3))
    return image.clip(0, 255).round().astype(np.uint8), ids[segments]


def _field(rng: np.random.Generator, size: Size, slope: float) -> NDArray[np.float32]:
    """Return a random field, (H, W), of mean 0 and deviation 1, with amplitudes as 1 / f**slope."""
    width, height = size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    spectrum = scipy.fft.rfft2(rng.standard_normal((height, width), np.float32))
    field = scipy.fft.irfft2(spectrum * (frequency**-slope).astype(np.float32), (height, width))
    return field / field.std()
