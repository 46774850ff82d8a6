"""Draw Figure/results.png: what a network that the demo trained makes of the demo's target images.

python SEAN_GTA5.py --demo --input_size 192,96 --max_iters 360 --snapshot_dir Snap/figure
python -m Figure.results Snap/figure/GTA_TeacherNet.pth
"""

from __future__ import annotations

from pathlib import Path

from PIL import Image

from dataset.cityscapes_dataset import CityscapesDataset
from model.pretrained import load_weights, read_state_dict
from model.SEAN import SEANet
from utils.command_line import Parser
from utils.device import autocast, choose_device
from utils.evaluation.panels import TILE_WIDTH, look
from utils.evaluation.pictures import panels_with_legend
from utils.options import DEMO_FOLDER

INPUT_SIZE = (192, 96)


def main() -> None:
    """Put the panels of the first target images under one another."""
    parser = Parser("Draw what a demo network sees.")
    parser.add_argument("checkpoint")
    path = parser.parse_args().checkpoint
    network = SEANet(19)
    load_weights(network, read_state_dict(path), path)
    device = choose_device("auto")
    data = CityscapesDataset(Path(DEMO_FOLDER) / "Cityscapes", INPUT_SIZE, labels="own size")
    seen = list(look(network.to(device), data, autocast(device, "fp32"), 4))
    rows, maps = [image.tiles for image in seen], [ids for image in seen for ids in image.maps]
    space = data.label_space
    picture = panels_with_legend(rows, maps, space.names, space.colors, TILE_WIDTH)
    Image.fromarray(picture).save(Path(__file__).with_suffix(".png"), optimize=True)


if __name__ == "__main__":
    main()
