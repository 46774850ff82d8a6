"""Write a data set once at the network's input size, so that training decodes small files.

    python -m tools.resize_data gta5 data/GTA5 data/GTA5_1024x512 --size 1024,512

Training on it equals training on the original, bit for bit. Scores do not, as label maps are
resized too: score on the original. A run that was stopped continues: files that exist are kept.
"""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path, PurePosixPath
from typing import Any

from numpy.typing import NDArray
from PIL import Image
from tqdm.contrib.concurrent import thread_map

from dataset.image_files import image_shape, read_label_ids, resize_image
from dataset.loaders import available_cores
from tools.check_data import data_parser, open_data
from utils.command_line import size
from utils.errors import UserError, exit_on_error
from utils.files import lock_folder, whole_file


def write(path: Path, size: tuple[int, int], pixels: Callable[[], NDArray[Any]]) -> None:
    """Write pixels, resized to the nearest, unless there is a file; it must have that size."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path, sync=False) as file:
            resized = Image.fromarray(pixels()).resize(size, Image.Resampling.NEAREST)
            resized.save(file, "PNG", compress_level=1)
    elif image_shape(path) != size[::-1]:
        raise UserError(f"{path} has another size\n  choose another output folder")


@exit_on_error()
def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line, write the data set."""
    parser = data_parser(__doc__ or "")
    parser.add_argument("output", type=Path, help="the folder to write")
    parser.add_argument("--size", type=size, required=True, help="WIDTH,HEIGHT: --input_size")
    options = parser.parse_args(arguments)
    data = open_data(options, options.size)
    labelled = data.has_labels() or not data.description.is_target
    if labelled:
        data.with_labels("resized")  # an image without label map is an error
    images, labels = data.layout.folders(options.output, options.split)
    taken = [folder.resolve() for folder in (data.root, data.image_folder, data.label_folder)]
    places = [folder.resolve() for folder in (options.output, images, labels)]
    for place in places:
        if not place.is_relative_to(places[0]) or any(map(place.is_relative_to, taken)):
            raise UserError(f"{place} lies within the data set or outside OUTPUT\n  give another")
    if len({PurePosixPath(name).with_suffix("") for name in data.names}) < len(data):
        raise UserError(f"two images of {data.root} differ in their suffix only\n  rename one")

    def resize_pair(name: str) -> None:
        image, shape = images / PurePosixPath(name).with_suffix(".png"), None
        if labelled:
            ids = read_label_ids(data.label_file(name))
            write(labels / data.layout.label_name(name), data.size, lambda: ids)
            shape = ids.shape
        read = partial(data.picture, name, shape)
        write(image, data.size, lambda: resize_image(read(), data.size, False).transpose(1, 2, 0))

    with lock_folder(options.output):
        thread_map(resize_pair, data.names, max_workers=available_cores(), unit="image")
    target = f"--data_dir_val {options.folder} --data_dir_target"
    use = target if data.description.is_target else "--data_dir_source"
    print(f"train with: {use} {options.output} --input_size {data.size[0]},{data.size[1]}")


if __name__ == "__main__":
    main()
