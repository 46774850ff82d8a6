"""The data sets: finding files, reading, resizing, mapping labels."""

import os
import pickle
import re
import shutil

import cv2
import numpy as np
import pytest
import torch
from PIL import Image

from dataset.cityscapes16_dataset import Cityscapes16Dataset
from dataset.cityscapes_dataset import CITYSCAPES, CityscapesDataset
from dataset.description import Description, Layout
from dataset.gta5_dataset import GTA5, GTA5Dataset
from dataset.labels import CITYSCAPES_IDS, CLASSES_16, CLASSES_19, SYNTHIA_IDS
from dataset.segmentation_dataset import SegmentationDataset
from dataset.synthia_dataset import SYNTHIA, SynthiaDataset
from model.SEAN import network_input
from tests import fixture
from tests.reference import golden
from utils.errors import UserError

SIZE = (40, 24)
DATASETS = {
    "gta5": (GTA5Dataset, CityscapesDataset),
    "synthia": (SynthiaDataset, Cityscapes16Dataset),
}


def write(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def write_gta5(root, names=("00001.png", "00002.png"), size=(50, 30)):
    """Images of one gray each, and label maps of one id each: 7, 8, 11, ..."""
    for index, (name, label_id) in enumerate(zip(names, CITYSCAPES_IDS.values(), strict=False)):
        write(root / "images" / name, np.full((*size[::-1], 3), 10 * index + 10, np.uint8))
        label = (root / "labels" / name).with_suffix(".png")
        write(label, np.full(size[::-1], label_id, np.uint8))
    return root


@pytest.fixture(scope="module", params=["gta5", "synthia"])
def reference(request, tmp_path_factory):
    """The golden arrays, and first samples of source and target."""
    paths = fixture.write_reference_dataset(tmp_path_factory.mktemp("data"), request.param)
    source_class, target_class = DATASETS[request.param]
    source = source_class(paths["source"], (160, 96), paths["source_list"])
    target = target_class(paths["target"], (160, 96), paths["target_list"], labels="own size")
    return golden(request.param), {"source0": source[0], "target0": target[0]}


@pytest.mark.parametrize("sample", ["source0", "target0"])
def test_samples_are_the_originals(reference, sample):
    arrays, samples = reference
    ours = network_input(samples[sample].image[None])[0].numpy()
    difference = np.abs(ours - arrays[f"{sample}_image"])
    assert ours.shape == arrays[f"{sample}_image"].shape
    assert difference.max() <= 1
    assert (difference > 1e-4).mean() < 1e-4  # beyond the rounding of float32
    assert samples[sample].label.dtype == torch.uint8
    np.testing.assert_array_equal(samples[sample].label.numpy(), arrays[f"{sample}_label"])


@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
def test_labels_are_resized_to_the_nearest(tmp_path, rng, dtype):
    """Also if they are of another size than their image, as a few of GTA-5's are."""
    ids = rng.integers(0, 35, (47, 84), dtype)
    image = np.zeros((30, 50, 3), np.uint8)
    if dtype == np.uint8:
        write(tmp_path / "images/1.png", image)
        write(tmp_path / "labels/1.png", ids)
        sample, train_ids = GTA5Dataset(tmp_path, SIZE)[0], CLASSES_19.table(CITYSCAPES_IDS)
    else:  # SYNTHIA as it is published
        instances = rng.integers(0, 65536, ids.shape, dtype)
        write(tmp_path / "RGB/1.png", image)
        (tmp_path / "GT/LABELS").mkdir(parents=True)
        bgr = np.stack([np.zeros_like(ids), instances, ids], -1)
        cv2.imwrite(str(tmp_path / "GT/LABELS/1.png"), bgr)
        sample, train_ids = SynthiaDataset(tmp_path, SIZE)[0], CLASSES_16.table(SYNTHIA_IDS)
    assert sample.label.shape == sample.image.shape[1:] == (24, 40)
    for y, x in np.ndindex(24, 40):
        label_id = ids[int((y + 0.5) * 47 / 24), int((x + 0.5) * 84 / 40)]
        assert sample.label[y, x] == train_ids.get(label_id, 255)


@pytest.mark.parametrize("ignore_label", [255, 19])
@pytest.mark.parametrize(("use", "shape"), [("resized", (24, 40)), ("own size", (30, 50))])
def test_label_use_and_ignored_ids(tmp_path, use, shape, ignore_label):
    write_gta5(tmp_path)
    ids = np.full((30, 50), 7, np.uint8)
    ids[:15] = 0
    write(tmp_path / "labels/00001.png", ids)
    label = GTA5Dataset(tmp_path, SIZE, labels=use, ignore_label=ignore_label)[0].label
    assert (label.shape, label.dtype) == (shape, torch.uint8)
    assert label.unique().tolist() == [0, ignore_label]


def test_jpeg_images_with_png_labels(tmp_path):
    for index, stem in enumerate(("b_000001", "a_000000")):
        folder = "val/camvid"
        gray = np.full((30, 50, 3), 100 * index + 50, np.uint8)
        write(tmp_path / f"leftImg8bit/{folder}/{stem}_leftImg8bit.jpg", gray)
        ids = np.full((30, 50), (26, 7)[index], np.uint8)
        write(tmp_path / f"gtFine/{folder}/{stem}_gtFine_labelIds.png", ids)
    (tmp_path / "leftImg8bit/val/camvid/notes.txt").write_text("not an image")
    write(tmp_path / "leftImg8bit/val/camvid/thumbnail.png", np.zeros((3, 5, 3), np.uint8))
    dataset = CityscapesDataset(tmp_path, SIZE, labels="own size")
    names = [f"camvid/{stem}_leftImg8bit.jpg" for stem in ("a_000000", "b_000001")]
    assert dataset.names == names
    for index, (level, name) in enumerate(((150, "road"), (50, "car"))):
        sample = dataset[index]
        assert sample.name == names[index]
        assert (sample.image.int() - level).abs().max() <= 2
        assert sample.label.unique().tolist() == [CLASSES_19.names.index(name)]


def test_list_file_gives_images_and_order(tmp_path):
    write_gta5(tmp_path, ("day/1.png", "dusk/1.png", "dusk/2.png"))
    (tmp_path / "list.txt").write_text("dusk\\1.png\nday/1.png\n\ndusk/1.png\n")
    dataset = GTA5Dataset(tmp_path, SIZE, tmp_path / "list.txt")
    assert dataset.names == ["dusk/1.png", "day/1.png", "dusk/1.png"]
    assert len(dataset) == 3
    assert [dataset[index].image.unique().tolist() for index in range(2)] == [[20], [10]]
    assert dataset.with_labels("none").names == dataset.names


@pytest.mark.parametrize(
    "entry",
    ["00099.png", "../labels/1.png", "/etc/hosts", "C:\\a.png", "..\\labels\\1.png", "\033[2J.png"],
)
def test_entry_that_is_not_in_the_folder_is_named(tmp_path, entry):
    write_gta5(tmp_path)
    list_file, name = tmp_path / "list.txt", entry.replace("\\", "/").replace("\033", r"\x1b")
    list_file.write_text(f"00001.png\n{entry}\n")
    message = f"{list_file} names {name}, which is not in {tmp_path / 'images'}"
    with pytest.raises(UserError, match=re.escape(message)):
        GTA5Dataset(tmp_path, SIZE, list_file)


def test_label_maps_may_be_shared_by_a_link(tmp_path):
    write_gta5(tmp_path, ("day/1.png", "dusk/1.png"))
    shutil.rmtree(tmp_path / "labels/dusk")
    (tmp_path / "labels/dusk").symlink_to("day")
    dataset = GTA5Dataset(tmp_path, SIZE)
    assert len(dataset) == 2
    assert torch.equal(dataset[0].label, dataset[1].label)


def test_no_name_forges_a_line_of_a_message(tmp_path):
    root, name = tmp_path / os.fsdecode(b"caf\xe9\033"), "a\nerror: b.png"
    write_gta5(root, (name,))
    write(root / "labels" / name, np.full((30, 50), 99, np.uint8))
    shown = re.escape(rf"{tmp_path}/caf\udce9\x1b/labels/a\nerror: b.png")
    with pytest.raises(UserError, match=rf"^{shown} has no pixel.*\n  .*$"):
        GTA5Dataset(root, SIZE)[0]
    (root / "labels" / name).unlink()
    with pytest.raises(UserError, match=rf"^1 of .*\n  expected: {shown}\n  .*$"):
        GTA5Dataset(root, SIZE)
    (root / "images" / name).unlink()
    with pytest.raises(UserError, match=r"^no images under .*/caf\\udce9\\x1b\n  .*\n  .*$"):
        GTA5Dataset(root, SIZE)


@pytest.mark.parametrize("use", ["none", "own size"])
def test_a_name_that_is_too_long_is_no_folder(tmp_path, use):
    with pytest.raises(UserError, match=r"^no images under .*xxx\n"):
        CityscapesDataset(tmp_path / ("x" * 300), SIZE, labels=use)


@pytest.mark.parametrize("description", [GTA5, SYNTHIA, CITYSCAPES])
@pytest.mark.parametrize("content", [None, "", "readme.txt"])
def test_folder_without_images_tells_what_is_expected(tmp_path, description, content):
    if content is not None:
        folder = tmp_path / description.layouts[-1].images.format(split="val")
        folder.mkdir(parents=True)
        (folder / content).touch()
    with pytest.raises(UserError, match=re.escape(f"no images under {tmp_path}\n")) as caught:
        SegmentationDataset(description, tmp_path, SIZE)
    for layout in description.layouts:
        for folder in (layout.images, layout.labels):
            assert str(tmp_path / folder.format(split="val")) in str(caught.value)
    assert description.guide in str(caught.value)


def test_label_map_without_a_known_class_is_refused_in_training_alone(tmp_path):
    write_gta5(tmp_path, ("1.png",))
    write(tmp_path / "labels/1.png", np.full((30, 50), 99, np.uint8))
    message = re.escape(f"{tmp_path / 'labels/1.png'} has no pixel of a known class")
    with pytest.raises(UserError, match=message + r" \(found: \[99\]\)\n  known ids: \[7, "):
        GTA5Dataset(tmp_path, SIZE)[0]
    assert (GTA5Dataset(tmp_path, SIZE, labels="own size")[0].label == 255).all()


def test_with_labels_changes_how_label_maps_are_read_and_nothing_else(tmp_path):
    write_gta5(tmp_path)
    dataset = GTA5Dataset(tmp_path, SIZE, labels="none", ignore_label=200, cache_dir="cache")
    assert dataset.has_labels()
    own, resized = dataset.with_labels("own size"), dataset.with_labels("resized")
    for other, shape in ((own, (30, 50)), (resized, (24, 40))):
        assert other.label_shape("00001.png") == shape == other.read_label("00001.png").shape
        assert (other.names, other.root, other.size) == (dataset.names, dataset.root, SIZE)
        assert (other.ignore_label, other.cache.folder) == (200, dataset.cache.folder)
    (tmp_path / "labels/00002.png").unlink()
    assert dataset.has_labels()
    with pytest.raises(UserError, match="1 of 2 images has no label map"):
        dataset.with_labels("own size")
    (tmp_path / "labels/00001.png").unlink()
    assert not dataset.has_labels()


def test_a_plain_folder_has_no_labels_and_serves_a_target_alone(tmp_path):
    write(tmp_path / "a/1.png", np.zeros((30, 50, 3), np.uint8))
    plain = CityscapesDataset(tmp_path, SIZE, labels="none")
    assert (plain.names, plain.is_plain_folder, plain.has_labels()) == (["a/1.png"], True, False)
    assert pickle.loads(pickle.dumps(plain)).is_plain_folder
    for open_again in (
        lambda: plain.with_labels("own size"),
        lambda: GTA5Dataset(tmp_path, SIZE, labels="none"),
    ):
        with pytest.raises(UserError, match="no images under"):
            open_again()


@pytest.mark.parametrize("plain", [True, False])
def test_photographs_of_a_plain_folder_are_turned_upright(tmp_path, plain):
    """A camera notes how it was held; published data sets do not, and are left as they are."""
    folder = tmp_path if plain else tmp_path / "leftImg8bit/val"
    folder.mkdir(parents=True, exist_ok=True)
    picture = Image.new("RGB", (40, 24))
    picture.paste((200, 0, 0), (0, 0, 40, 12))  # red above black
    held = Image.Exif()
    held[0x0112] = 3  # upside down
    picture.save(folder / "a_leftImg8bit.jpg", exif=held, quality=95)
    image = CityscapesDataset(tmp_path, SIZE, labels="none")[0].image
    assert (image[0, -6:].float().mean() > 150) == plain
    assert (image[0, :6].float().mean() > 150) != plain


@pytest.mark.parametrize("images", ["{split}/img", "img/{split}"])
def test_a_folder_that_lacks_a_split_is_no_plain_folder(tmp_path, images):
    layout = Layout(images, images.replace("img", "ids"))
    description = Description("mine", "-", (layout,), CLASSES_19, CITYSCAPES_IDS, is_target=True)
    write(tmp_path / images.format(split="val") / "x.png", np.zeros((24, 40, 3), np.uint8))
    dataset = SegmentationDataset(description, tmp_path, SIZE, labels="none")
    assert (dataset.names, dataset[0].label) == (["x.png"], None)
    assert dataset[0].image.shape == (3, 24, 40)
    with pytest.raises(UserError, match=re.escape(images.format(split="train"))):
        SegmentationDataset(description, tmp_path, SIZE, split="train", labels="none")
