"""Draw Figure/results.png: the demo's teacher on the first target images of the demo.

make demo
python -m Figure.results Snap/demo/GTA/GTA_TeacherNet.pth
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
