"""Full-size data to measure with: PNG files that decode and compress as those of the data sets do.

Segments with edges, texture whose amplitude spectrum falls as a power of the frequency, and a
camera's noise, which is most of what a PNG has to store: together the spectrum falls as f**-1.3,
as that of street photographs does (-1.1 to -1.3 on CamVid), and a 2048x1024 PNG has 2 to 2.5 MB,
as in Cityscapes. GTA-5's label maps are palette PNGs, Cityscapes' are gray.
"""

from __future__ import annotations

from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import NamedTuple

import numpy as np
import scipy.fft
from numpy.typing import NDArray
from PIL import Image

from dataset.labels import CITYSCAPES_IDS

SOURCE_SIZE, TARGET_SIZE = (1914, 1052), (2048, 1024)
"""Width and height of GTA-5's and of Cityscapes' images."""

TEXTURE_SLOPE = 1.6
NOISE_STD = 0.6
"""Of the camera, in gray levels: 9 to 10 bits a pixel in a PNG."""


class Photographs(NamedTuple):
    """Where the data lies.

    Attributes:
        root: holds ``GTA5`` and ``Cityscapes``, in the data sets' layouts.
        source: image and label map of each source entry.
        target: the same of the target.
    """

    root: Path
    source: list[tuple[Path, Path]]
    target: list[tuple[Path, Path]]

    def list_file(self, domain: str) -> Path:
        """The list file of ``source`` or ``target``."""
        return self.root / f"{domain}.txt"


def write_photographs(
    root: Path,
    images: int,
    entries: int,
    source_size: tuple[int, int] = SOURCE_SIZE,
    target_size: tuple[int, int] = TARGET_SIZE,
) -> Photographs:
    """Write both domains, and list files that name the images in turn.

    Args:
        root: a folder.
        images: different images of each domain.
        entries: lines of the list files.
        source_size: width and height.
        target_size: width and height.
    """
    source, target = [], []
    for index in range(images):
        name = f"{index + 1:05d}.png"
        source.append((root / "GTA5/images" / name, root / "GTA5/labels" / name))
        stem = f"frankfurt/frankfurt_000000_{index:06d}"
        target.append(
            (
                root / f"Cityscapes/leftImg8bit/val/{stem}_leftImg8bit.png",
                root / f"Cityscapes/gtFine/val/{stem}_gtFine_labelIds.png",
            )
        )
    for path in (*source[0], *target[0]):
        path.parent.mkdir(parents=True)
    with ProcessPoolExecutor() as pool:
        jobs = [
            pool.submit(_write_pair, *pair, size, 2 * index + domain)
            for domain, (pairs, size) in enumerate(((source, source_size), (target, target_size)))
            for index, pair in enumerate(pairs)
        ]
        for job in jobs:
            job.result()
    turns = [index % images for index in range(entries)]
    photographs = Photographs(root, [source[i] for i in turns], [target[i] for i in turns])
    for domain, folder in (("source", "GTA5/images"), ("target", "Cityscapes/leftImg8bit/val")):
        names = [image.relative_to(root / folder) for image, _ in getattr(photographs, domain)]
        photographs.list_file(domain).write_text("\n".join(map(str, names)) + "\n")
    return photographs


def draw_photograph(
    size: tuple[int, int], seed: int
) -> tuple[NDArray[np.uint8], NDArray[np.uint8]]:
    """Draw an image and its label map.

    Args:
        size: W, H.
        seed: the same seed gives the same picture.

    Returns:
        uint8, (H, W, 3), RGB; and label ids of Cityscapes, uint8, (H, W).
    """
    rng = np.random.default_rng(seed)
    ids = rng.permutation(sorted(CITYSCAPES_IDS.values())).astype(np.uint8)[:16]
    bits = [(_field(rng, size, 1.8) > 0) << bit for bit in range(4)]
    segments = np.bitwise_or.reduce(bits)  # (H, W), 0..15
    levels = rng.uniform(40, 180, (16, 1)) + rng.normal(0, 12, (16, 3))
    luminance = _field(rng, size, TEXTURE_SLOPE)[..., None]
    image = levels[segments] + 22 * luminance + rng.normal(0, NOISE_STD, (*segments.shape, 3))
    return image.clip(0, 255).round().astype(np.uint8), ids[segments]


def _field(rng: np.random.Generator, size: tuple[int, int], slope: float) -> NDArray[np.float32]:
    """A random field, (H, W), of mean 0 and deviation 1, with amplitudes as 1 / f**slope."""
    width, height = size
    frequency = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.rfftfreq(width)[None])
    frequency[0, 0] = np.inf
    spectrum = scipy.fft.rfft2(rng.standard_normal((height, width), np.float32))
    field = scipy.fft.irfft2(spectrum * (frequency**-slope).astype(np.float32), (height, width))
    return field / field.std()


def _write_pair(image: Path, label: Path, size: tuple[int, int], seed: int) -> None:
    photograph, ids = draw_photograph(size, seed)
    Image.fromarray(photograph).save(image)
    label_map = Image.fromarray(ids)
    if "GTA5" in label.parts:
        label_map.putpalette(np.random.default_rng(0).integers(0, 256, 768).tolist())
    label_map.save(label)
