"""Draw Figure/demo.png: scenes of the demo's two domains, with their labels.

python -m Figure.demo
"""

from pathlib import Path

import numpy as np
from PIL import Image

from dataset.labels import CLASSES_19
from inference.pictures import color_map
from tools.demo import draw_scene

SIZE = (448, 224)
SEEDS = {"render": (0, 1), "camera": (2, 3)}


def main() -> None:
    """Put source scenes above target scenes, each next to its labels."""
    rows = []
    for domain, seeds in SEEDS.items():
        tiles = []
        for seed in seeds:
            image, labels = draw_scene(np.random.default_rng(seed), SIZE, domain)
            tiles += [image, color_map(labels, CLASSES_19.colors)]
        rows.append(np.concatenate(tiles, axis=1))
    picture = Image.fromarray(np.concatenate(rows))
    few = picture.quantize(method=Image.Quantize.MEDIANCUT, dither=Image.Dither.NONE)
    few.save(Path(__file__).with_suffix(".png"), optimize=True)


if __name__ == "__main__":
    main()
