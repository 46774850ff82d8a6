"""Own images and videos -> label maps, colors, overlays. Without labels nothing is scored."""

import math
import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import replace
from functools import partial
from pathlib import Path, PurePosixPath

import cv2
import numpy as np
from torch import nn
from tqdm import tqdm

from dataset.image_files import IMAGE_EXTENSIONS, read_image
from dataset.segmentation_dataset import files_below
from inference.output_files import Outputs
from inference.pictures import Picture, color_map, legend, overlay, tiles_of
from inference.predict import Prediction, predict_pictures
from utils.errors import UserError, counted
from utils.files import save_png, whole_file

cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)  # errors are ours to tell
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

LEGEND = "legend.png"

Predict = Callable[[Iterable[Picture]], Iterator[tuple[Picture, Prediction]]]


def predict_own_images(
    network: nn.Module, source: Path, outputs: Outputs, input_size: tuple[int, int], batch_size: int
) -> None:
    """Predict an image, a folder of images, or a video, and write the results.

    For images, writes the files of `Outputs` at each image's size and in its subfolder; for a
    video, STEM_overlay.mp4. UserError if there is nothing to read.
    """
    if not os.path.exists(source):
        raise UserError(f"no image, folder or video {source}\n  correct the path after --images")
    outputs = replace(outputs, kinds=["overlay", *outputs.kinds])
    predict = partial(predict_pictures, network, input_size=input_size, batch_size=batch_size)
    if source.is_file() and source.suffix.lower() not in IMAGE_EXTENSIONS:
        _predict_video(source, predict, outputs)
        return
    parent = source if source.is_dir() else source.parent
    names = sorted(files_below(source)) if source.is_dir() else [source.name]
    names = [name for name in names if PurePosixPath(name).suffix.lower() in IMAGE_EXTENSIONS]
    if not names:
        remedy = f"images end in {' '.join(IMAGE_EXTENSIONS)}; a video is given by its own path"
        raise UserError(f"no images under {source}\n  {remedy}")
    images = [parent / name for name in names]
    stems = [str(PurePosixPath(name).with_suffix("")) for name in names]
    files = [LEGEND, *(file for stem in stems for file in outputs.files(stem).values())]
    with outputs.open(files, images, [source] if source.is_dir() else []):
        save_png(outputs.folder / LEGEND, legend(outputs.space))
        predicted = predict(read_image(image, upright=True) for image in images)
        bar = tqdm(stems, "own images", unit="image", dynamic_ncols=True)
        for stem, (picture, prediction) in zip(bar, predicted, strict=True):
            tiles = {"input": picture}
            if "panels" in outputs.kinds:
                tiles = tiles_of(picture, [prediction], outputs.space)
            outputs.save(stem, prediction, tiles)
    print(f"{counted(len(names), 'image')}: label maps, colors and overlays in {outputs.folder}")


def _predict_video(source: Path, predict: Predict, outputs: Outputs) -> None:
    path, space = outputs.folder / f"{source.stem}_overlay.mp4", outputs.space
    try:
        _ = f"{source.resolve()}{path}".encode()  # OpenCV crashes on other names
    except UnicodeEncodeError:
        remedy = "rename the file or folder"
        raise UserError(f"{source}: videos need a path that is UTF-8\n  {remedy}") from None
    video = cv2.VideoCapture(str(source.resolve()), cv2.CAP_FFMPEG)
    found, first = video.read()
    rate = video.get(cv2.CAP_PROP_FPS)
    if not (found and 0 < rate < math.inf):
        problem = "it is not one, is damaged, or has no frame rate"
        remedy = "convert it with `ffmpeg -i FILE new.mp4`; images are known by their extension"
        raise UserError(f"cannot read {source} as a video: {problem}\n  {remedy}")

    def frames() -> Iterator[Picture]:
        found, frame = True, first
        while found:
            yield np.ascontiguousarray(frame[..., ::-1])
            found, frame = video.read()

    announced = max(0, int(video.get(cv2.CAP_PROP_FRAME_COUNT)))  # some formats estimate it
    bar = tqdm(predict(frames()), "video", announced or None, unit="frame", dynamic_ncols=True)
    with outputs.open([path.name, LEGEND], [source]), whole_file(path) as file:
        save_png(outputs.folder / LEGEND, legend(space))
        # The codec takes even sizes; OpenCV leaves out the last column or row of odd ones.
        codec, size = cv2.VideoWriter.fourcc(*"mp4v"), (first.shape[1], first.shape[0])
        writer = cv2.VideoWriter(file.name, cv2.CAP_FFMPEG, codec, rate, size)
        for picture, prediction in bar:
            shown = overlay(picture, color_map(prediction.classes.cpu().numpy(), space.colors))
            writer.write(np.ascontiguousarray(shown[..., ::-1]))
        writer.release()
        written = int(cv2.VideoCapture(file.name, cv2.CAP_FFMPEG).get(cv2.CAP_PROP_FRAME_COUNT))
        if written != bar.n:  # OpenCV drops what it cannot write, and does not say so
            remedy = "free space, or choose another --snapshot_dir; all frames must have one size"
            raise UserError(f"cannot write {path}: {written} of {bar.n} frames arrived\n  {remedy}")
    print(f"{path}: {counted(written, 'frame')} of {announced} announced, {rate:.6g} per second")
