"""Draw Figure/results.png: what the demo's networks predict, before and after adaptation.

make demo
python -m Figure.results
"""

from __future__ import annotations

from pathlib import Path

from dataset.cityscapes_dataset import CityscapesDataset
from inference.pictures import panel, predicted_tiles
from model.checkpoint import load_network
from training.options import DEMO_BASELINE, DEMO_EVALUATION, DEMO_FOLDER
from utils.errors import exit_on_error
from utils.files import save_png


@exit_on_error()
def main() -> None:
    """Put the panels of three target images below one another."""
    networks = [load_network(path) for path in (DEMO_BASELINE, DEMO_EVALUATION["restore_from"])]
    size = networks[0][1].input_size
    data = CityscapesDataset(Path(DEMO_FOLDER, "Cityscapes"), size, labels="own size")
    predicted = [predicted_tiles(network, data, 3) for network, _ in networks]
    rows = []
    for (_, before), (_, after) in zip(*predicted, strict=True):
        shown = {"input": after.pop("input"), "source only": before["prediction"]}
        rows.append(shown | {"SEAN": after.pop("prediction")} | after)
    save_png(Path(__file__).with_suffix(".png"), panel(rows, data.label_space, 256))


if __name__ == "__main__":
    main()
