"""Draw Figure/results.png: what the demo's networks predict, before and after adaptation.

make demo
python -m Figure.results
"""

import itertools
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from dataset.cityscapes_dataset import CITYSCAPES
from dataset.image_files import read_image
from dataset.labels import CLASSES_19
from dataset.segmentation_dataset import SegmentationDataset
from inference.pictures import attention_over, color_map
from inference.predict import predict_dataset
from model.checkpoint import load_network
from utils.errors import exit_on_error

RUNS = ("source_only", "sean")
COUNT = 3


@exit_on_error()
def main() -> None:
    """Put three target images below one another, with predictions, labels and attention."""
    loaded = [load_network(f"Snap/demo/{run}/GTA_TeacherNet.pth") for run in RUNS]
    networks = [network.eval() for network, _ in loaded]
    data = SegmentationDataset(
        CITYSCAPES, "data/demo/Cityscapes", loaded[0][1].input_size, labels="own size"
    )
    rows = []
    for name, label, predictions in itertools.islice(predict_dataset(networks, data, 1, 0), COUNT):
        picture = read_image(data.image_folder / name)
        maps = [p.classes.numpy() for p in predictions] + [label.numpy().astype(np.uint8)]
        colored = [color_map(classes, CLASSES_19.colors) for classes in maps]
        attention = predictions[-1].attention
        assert attention is not None
        rows.append([picture, *colored, attention_over(picture, attention.numpy())])
    figure = Figure(figsize=(12.8, 5), dpi=100, layout="constrained")
    axes = figure.subplots(COUNT, 5)
    titles = ("target image", "source only", "SEAN", "ground truth", "attention")
    for axis, title in zip(axes[0], titles, strict=True):
        axis.set_title(title)
    for axis, tile in zip(axes.flat, itertools.chain(*rows), strict=True):
        axis.imshow(tile, interpolation="nearest")
        axis.axis("off")
    colors = [np.array(color) / 255 for color in CLASSES_19.colors]
    patches = [Patch(color=c, label=n) for c, n in zip(colors, CLASSES_19.names, strict=True)]
    figure.legend(handles=patches, loc="outside lower center", ncols=10, frameon=False)
    figure.savefig(Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main()
