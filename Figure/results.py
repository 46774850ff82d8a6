"""Draw Figure/results.png: what the demo's networks predict, before and after adaptation.

python -m Figure.results Snap/demo/data/Cityscapes Snap/demo/source_only/GTA_TeacherNet.pth \
    Snap/demo/GTA_TeacherNet.pth
"""

from __future__ import annotations

import sys
from itertools import islice
from pathlib import Path

from dataset.cityscapes_dataset import CityscapesDataset
from inference.pictures import dataset_tiles, panel
from inference.predict import predict_dataset
from model.checkpoint import load_network
from utils.errors import exit_on_error
from utils.files import save_png


@exit_on_error()
def main() -> None:
    """Put the panels of three target images below one another."""
    root, *paths = sys.argv[1:]
    (before, info), (after, _) = map(load_network, paths)
    data = CityscapesDataset(root, info.input_size, labels="own size")
    rows, names = [], {"A's prediction": "source only", "B's prediction": "SEAN"}
    names["B's errors"] = "SEAN's errors"
    for name, label, predictions in islice(predict_dataset([before, after], data, 1, 0), 3):
        tiles = dataset_tiles(data, name, label, predictions)
        rows.append({names.get(title, title): tile for title, tile in tiles.items()})
    save_png(Path(__file__).with_suffix(".png"), panel(rows, data.label_space, 256))


if __name__ == "__main__":
    main()
