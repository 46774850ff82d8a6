"""Write a data set once at the network's input size, so that training decodes small files.

    python -m tools.resize_data gta5 data/GTA5 data/GTA5_1024x512 --size 1024,512
    python -m tools.resize_data cityscapes data/Cityscapes data/City_1024x512 --size 1024,512

Images and label maps become PNG files in the same folders. Training on them is equal to training
on the original, bit for bit. Scores are not: label maps are resized too, so score on the original
(--data_dir_val data/Cityscapes). A run that was stopped continues: files that exist are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path, PurePosixPath

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from dataset.image_files import image_shape, read_image, read_label_ids
from dataset.segmentation_dataset import SegmentationDataset
from dataset.transforms import resize_image
from tools.check_data import data_parser, has_maps, in_parallel, open_data
from utils.command_line import size
from utils.errors import UserError, exit_on_error
from utils.files import whole_file


def resize_pair(dataset: SegmentationDataset, output: Path, name: str) -> None:
    """Write an image, and its label map if label maps are read, unless they exist."""
    images, labels = (output / f.relative_to(dataset.root) for f in folders(dataset))
    image = images / PurePosixPath(name).with_suffix(".png")
    if missing(image, dataset.size):
        pixels = read_image(dataset.image_folder / name, upright=dataset.is_plain_folder)
        pixels = resize_image(pixels, dataset.size, exact=False)  # as to train on it
        write(image, pixels.transpose(1, 2, 0))
    label = labels / dataset.layout.label_name(name)
    if dataset.labels != "none" and missing(label, dataset.size):
        ids = Image.fromarray(read_label_ids(dataset.label_file(name)))
        write(label, np.asarray(ids.resize(dataset.size, Image.Resampling.NEAREST)))


def folders(dataset: SegmentationDataset) -> tuple[Path, Path]:
    """Return the folders of images and label maps."""
    return dataset.image_folder, dataset.label_folder


def missing(path: Path, size: tuple[int, int]) -> bool:
    """Return whether a file is still to be written; UserError if one of another size is there."""
    if path.exists() and image_shape(path) != size[::-1]:
        raise UserError(f"{path} has another size\n  choose another output folder")
    return not path.exists()


def write(path: Path, pixels: NDArray[np.generic]) -> None:
    """Write a PNG file; without the wait for the disk, as it can be made again."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with whole_file(path, sync=False) as file:
        Image.fromarray(np.ascontiguousarray(pixels)).save(file, "PNG", compress_level=1)


def check_output(dataset: SegmentationDataset, output: Path) -> None:
    """Check that no input lies where an output would, and that no two outputs are one file."""
    inputs = [folder.resolve() for folder in (dataset.root, *folders(dataset))]
    outputs = [output / folder.relative_to(dataset.root) for folder in folders(dataset)]
    for place in (output, *outputs):
        if any(place.resolve().is_relative_to(folder) for folder in inputs):
            raise UserError(f"{place} lies within the data set\n  choose another output folder")
    if len({PurePosixPath(name).with_suffix("") for name in dataset.names}) < len(dataset):
        remedy = "rename one of them, or leave it out by a list"
        raise UserError(f"two images of {dataset.root} differ in their suffix only\n  {remedy}")


@exit_on_error()
def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, write the data set."""
    parser = data_parser(__doc__ or "")
    parser.add_argument("output", type=Path, help="the folder to write")
    parser.add_argument("--size", type=size, required=True, help="WIDTH,HEIGHT: --input_size")
    options = parser.parse_args(arguments)
    dataset = open_data(options, options.size)
    if has_maps(dataset):
        dataset = dataset.with_labels("resized")
    check_output(dataset, options.output)
    in_parallel(lambda name: resize_pair(dataset, options.output, name), dataset.names)
    use = "--data_dir_source"
    if dataset.description.is_target:
        use = f"--data_dir_val {options.folder} --data_dir_target"
    print(f"train with: {use} {options.output} --input_size {{}},{{}}".format(*options.size))


if __name__ == "__main__":
    main()
