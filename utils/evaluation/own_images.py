"""Own images and videos -> label maps, colors, overlays. Without labels nothing is scored."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path, PurePosixPath

from torch import nn
from tqdm import tqdm

from dataset.description import files_below
from dataset.image_files import IMAGE_EXTENSIONS, image_shape, read_image
from dataset.labels import LabelSpace
from utils.errors import UserError
from utils.evaluation.output_files import check_apart, check_outputs, save_pictures
from utils.evaluation.pictures import Picture, color_map, legend, overlay, swatches
from utils.evaluation.predict import Prediction, predict_pictures
from utils.evaluation.video import VideoFile, write_video
from utils.files import make_folder, save_png
from utils.options import EvaluationOptions

LEGEND = "legend.png"

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
    source, folder = Path(options.images or ""), Path(options.snapshot_dir)
    if not source.exists():
        raise UserError(f"no image, folder or video {source}\n  correct the path after --images")
    is_video = not source.is_dir() and source.suffix.lower() not in IMAGE_EXTENSIONS
    _check_options(options, is_video)
    check_apart(folder, source)
    predict = partial(
        predict_pictures, network, input_size=input_size, batch_size=options.batch_size
    )
    if is_video:
        done = _predict_video(source, folder, predict, space)
    else:
        done = _predict_images(source, folder, predict, space, options)
    save_png(folder / LEGEND, legend(swatches(space.names, space.colors)))
    print(f"{done}\nnothing was scored: own images have no labels")


def _predict_images(
    source: Path, folder: Path, predict: Predict, space: LabelSpace, options: EvaluationOptions
) -> str:
    parent = source if source.is_dir() else source.parent
    names = sorted(files_below(source)) if source.is_dir() else [source.name]
    names = [name for name in names if PurePosixPath(name).suffix.lower() in IMAGE_EXTENSIONS]
    if not names:
        raise UserError(
            f"no images under {source}\n"
            f"  images end in {' '.join(IMAGE_EXTENSIONS)}; a video is given by its own path"
        )
    stems = [PurePosixPath(name).with_suffix("") for name in names]
    images = [parent.resolve() / name for name in names]
    written = folder.resolve()
    check_outputs([written / stem for stem in stems], [*images, written / LEGEND])
    for image in images:
        image_shape(image)  # an error before the first result is written
    predictions = predict(read_image(image, upright=True) for image in images)
    bar = tqdm(stems, unit="image", desc="own images", dynamic_ncols=True)
    for stem, (picture, prediction) in zip(bar, predictions, strict=True):
        make_folder((folder / stem).parent)
        save_pictures(folder / stem, picture, prediction, space, options)
    return f"{len(names)} images: label maps, colors and overlays in {folder}"


def _predict_video(source: Path, folder: Path, predict: Predict, space: LabelSpace) -> str:
    video = VideoFile(source)
    make_folder(folder)
    path = folder / f"{source.stem}_overlay.mp4"
    predictions = tqdm(predict(video), total=video.announced or None, unit="frame", desc="video")
    overlays = (
        overlay(picture, color_map(prediction.classes.cpu().numpy(), space.colors))
        for picture, prediction in predictions
    )
    frames = write_video(path, overlays, video.size, video.frame_rate)
    (width, height), rate = VideoFile(path).size, video.frame_rate
    done = f"{path}: {frames} frames of {width}x{height}, {rate:.6g} per second, mp4v"
    if (width, height) != video.size:
        done += f" (which takes even sizes: {source.name} is {video.size[0]}x{video.size[1]})"
    if frames < video.announced:
        done += f"\n{source} announces {video.announced} frames, {frames} could be read"
    return done


def _check_options(options: EvaluationOptions, is_video: bool) -> None:
    refused = ["save_label_ids", "compare"]
    if not options.demo:  # --demo sets these for its own images
        refused += ["report", "save_panels"]
    if is_video:
        refused += ["save_attention", "save_confidence"]
    given = [f"--{name}" for name in refused if getattr(options, name)]
    if given:
        raise UserError(
            f"--images {options.images} takes no {' and no '.join(given)}\n"
            "  leave it out: there are no labels; --save_attention and --save_confidence are for "
            "images, not for videos"
        )
