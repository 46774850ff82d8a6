"""Draw Figure/results.png: what a network that the demo trained makes of the demo's target images.

python SEAN_GTA5.py --demo --input_size 192,96 --max_iters 360 --snapshot_dir Snap/figure
python -m Figure.results Snap/figure/GTA_TeacherNet.pth
"""

from __future__ import annotations

import sys
from pathlib import Path

from dataset.cityscapes_dataset import CityscapesDataset
from model.checkpoint import load_network
from utils.errors import exit_on_error
from utils.evaluation.pictures import panel, predicted_tiles
from utils.files import save_png
from utils.options import DEMO_FOLDER


@exit_on_error()
def main() -> None:
    """Put the panels of the first target images below one another."""
    network, info = load_network(sys.argv[1])
    data = CityscapesDataset(Path(DEMO_FOLDER, "Cityscapes"), info.input_size, labels="own size")
    rows = [tiles for _, tiles in predicted_tiles(network, data, 4)]
    save_png(Path(__file__).with_suffix(".png"), panel(rows, data.label_space, 256))


if __name__ == "__main__":
    main()
