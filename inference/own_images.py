"""Own images and videos -> label maps, colors, overlays. Without labels nothing is scored."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from torch import nn
from tqdm import tqdm

from dataset.segmentation_dataset import files_below
from dataset.image_files import IMAGE_EXTENSIONS, image_shape, read_image
from dataset.labels import LabelSpace
from inference.output_files import image_files, open_outputs, save_pictures
from inference.pictures import Picture, color_map, legend, overlay, swatches
from inference.predict import Prediction, predict_pictures
from inference.video import VideoFile, write_video
from training.options import EvaluationOptions
from utils.errors import UserError, counted
from utils.files import save_png
from utils.output_folder import OutputFolder

LEGEND = "legend.png"

NO_LABELS = "own images have no label maps"
REFUSED = {
    "compare": f"it scores, and {NO_LABELS}",
    "save_label_ids": "they are for the Cityscapes benchmark",
    "report": f"it shows scores, and {NO_LABELS}",
    "save_panels": f"they show ground truth, and {NO_LABELS}",
    "data_list": "it names images of a data set",
}
"""Option that own images do not take -> why."""

REFUSED_FOR_VIDEOS = dict.fromkeys(("save_attention", "save_confidence"), "it is for images")

Predict = Callable[[Iterable[Picture]], Iterator[tuple[Picture, Prediction]]]
"""`predict_pictures` of one network."""


def predict_own_images(
    network: nn.Module, space: LabelSpace, input_size: tuple[int, int], options: EvaluationOptions
) -> None:
    """Predict the image, folder of images, or video ``options.images``, and write the results.

    For images, writes STEM.png (train ids), STEM_color.png, STEM_overlay.png, and on demand
    STEM_attention.png and STEM_confidence.png, at each image's size and in its subfolder; for a
    video, STEM_overlay.mp4. legend.png shows what the colors mean.

    Args:
        network: a SEANet, or a wrapper of one.
        space: names and colors of its classes.
        input_size: width and height that images are stretched to, as in training.
        options: say which files, and where.

    Raises:
        UserError: there is nothing to read, results would replace images or each other, an option
            does not apply, or a file cannot be written.
    """
    source = Path(options.images or "")
    if not os.path.exists(source):
        raise UserError(f"no image, folder or video {source}\n  correct the path after --images")
    is_video = not os.path.isdir(source) and source.suffix.lower() not in IMAGE_EXTENSIONS
    _check_options(options, is_video)
    predict = partial(
        predict_pictures, network, input_size=input_size, batch_size=options.batch_size
    )
    predict_all = _predict_video if is_video else _predict_images
    done = predict_all(source, predict, space, options)
    print(f"{done}\nnothing was scored: own images have no labels")


def _open(
    options: EvaluationOptions, space: LabelSpace, names: list[str], images: list[Path]
) -> OutputFolder:
    """Open the output folder for the files ``names``, and write the legend."""
    source = Path(options.images or "")
    searched = {source, *(image.parent for image in images)} if source.is_dir() else set()
    output = open_outputs(options, [*names, LEGEND], images, searched)
    save_png(output.path / LEGEND, legend(swatches(space.names, space.colors)))
    return output


def _predict_images(
    source: Path, predict: Predict, space: LabelSpace, options: EvaluationOptions
) -> str:
    parent = source if source.is_dir() else source.parent
    names = sorted(files_below(source)) if source.is_dir() else [source.name]
    names = [name for name in names if PurePosixPath(name).suffix.lower() in IMAGE_EXTENSIONS]
    if not names:
        raise UserError(
            f"no images under {source}\n"
            f"  images end in {' '.join(IMAGE_EXTENSIONS)}; a video is given by its own path"
        )
    images = [parent / name for name in names]
    for image in images:
        image_shape(image)  # an error before the first result is written
    stems = [str(PurePosixPath(name).with_suffix("")) for name in names]
    output = _open(
        options, space, [f for stem in stems for f in image_files(stem, options)], images
    )
    predictions = predict(read_image(image, upright=True) for image in images)
    bar = tqdm(stems, unit="image", desc="own images", dynamic_ncols=True)
    for stem, (picture, prediction) in zip(bar, predictions, strict=True):
        save_pictures(output.path / stem, picture, prediction, space, options)
    done = f"{counted(len(names), 'image')}: label maps, colors and overlays in "
    return f"{done}{output.path}"


def _predict_video(
    source: Path, predict: Predict, space: LabelSpace, options: EvaluationOptions
) -> str:
    video, name = VideoFile(source), f"{source.stem}_overlay.mp4"
    output = _open(options, space, [name], [source])
    path = output.path / name
    predictions = tqdm(predict(video), total=video.announced or None, unit="frame", desc="video")
    overlays = (
        overlay(picture, color_map(prediction.classes.cpu().numpy(), space.colors))
        for picture, prediction in predictions
    )
    frames = write_video(path, overlays, video.size, video.frame_rate)
    (width, height), rate = VideoFile(path).size, video.frame_rate
    done = f"{path}: {counted(frames, 'frame')} of {width}x{height}, {rate:.6g} per "
    done += "second, mp4v"
    if (width, height) != video.size:
        taken = f"{video.size[0]}x{video.size[1]}"
        done += f" (which takes even sizes: {source.name} is {taken})"
    if frames < video.announced:
        announced = counted(video.announced, "frame")
        done += f"\n{source} announces {announced}, {frames} could be read"
    return done


def _check_options(options: EvaluationOptions, is_video: bool) -> None:
    refused = REFUSED | (REFUSED_FOR_VIDEOS if is_video else {})
    given = [f"--{name} ({why})" for name, why in refused.items() if getattr(options, name)]
    if given:
        raise UserError(
            f"--images {options.images} takes no {' and no '.join(given)}\n"
            "  leave out what it does not take"
        )
