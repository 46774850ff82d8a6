"""The data sets: finding files, reading, resizing, mapping labels."""

import re
from pathlib import Path

import cv2
import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image

from dataset.cityscapes16_dataset import Cityscapes16Dataset
from dataset.cityscapes_dataset import CityscapesDataset
from dataset.demo import write_demo
from dataset.gta5_dataset import GTA5Dataset
from dataset.labels import CITYSCAPES_IDS, CLASSES_16, CLASSES_19, SYNTHIA_IDS
from dataset.layout import Layout, read_list
from dataset.synthia_dataset import SynthiaDataset
from dataset.transforms import network_input
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


# --- against the original ---------------------------------------------------------------------


@pytest.fixture(scope="module", params=["gta5", "synthia"])
def reference(request, tmp_path_factory):
    """The golden arrays, and first samples of source and target."""
    paths = fixture.write_reference_dataset(tmp_path_factory.mktemp("data"), request.param)
    source_class, target_class = DATASETS[request.param]
    source = source_class(paths["source"], (160, 96), paths["source_list"])
    target = target_class(paths["target"], (160, 96), paths["target_list"], labels="own size")
    return golden(request.param), {"source0": source[0], "target0": target[0]}


@pytest.mark.parametrize("sample", ["source0", "target0"])
def test_images_are_the_originals(reference, sample):
    arrays, samples = reference
    ours = network_input(samples[sample].image[None])[0].numpy()
    difference = np.abs(ours - arrays[f"{sample}_image"])
    assert ours.shape == arrays[f"{sample}_image"].shape
    assert difference.max() <= 1
    assert (difference > 1e-4).mean() < 1e-4  # beyond the rounding of float32


@pytest.mark.parametrize("sample", ["source0", "target0"])
def test_labels_are_the_originals(reference, sample):
    arrays, samples = reference
    assert samples[sample].label.dtype == torch.uint8
    np.testing.assert_array_equal(samples[sample].label.numpy(), arrays[f"{sample}_label"])
    assert not samples[sample].problem


# --- image and label --------------------------------------------------------------------------


def test_labels_are_resized_to_the_nearest(tmp_path):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 35, (30, 50), dtype=np.uint8)
    write(tmp_path / "images/1.png", np.zeros((30, 50, 3), np.uint8))
    write(tmp_path / "labels/1.png", ids)
    width, height = 20, 12
    label = GTA5Dataset(tmp_path, (width, height))[0].label.numpy()
    train_ids = CLASSES_19.table(CITYSCAPES_IDS)
    for y in range(height):
        for x in range(width):
            label_id = ids[int((y + 0.5) * 30 / height), int((x + 0.5) * 50 / width)]
            assert label[y, x] == train_ids.get(label_id, 255)


def test_label_of_another_size_than_its_image_is_resized_on_its_own(tmp_path):
    """As a few of GTA-5's are: each half of image and label meets the other's, at its own scale."""
    image = np.zeros((30, 50, 3), np.uint8)
    image[:, 25:] = 200
    ids = np.full((47, 84), CITYSCAPES_IDS["road"], np.uint8)
    ids[:, 42:] = CITYSCAPES_IDS["car"]
    write(tmp_path / "images/1.png", image)
    label = Image.fromarray(ids).convert("P")
    label.putpalette(range(256))
    (tmp_path / "labels").mkdir()
    label.save(tmp_path / "labels/1.png")
    sample = GTA5Dataset(tmp_path, (40, 24))[0]
    assert not sample.problem
    assert sample.label.shape == sample.image.shape[1:] == (24, 40)
    assert (sample.label[:, :20] == CLASSES_19.names.index("road")).all()
    assert (sample.label[:, 20:] == CLASSES_19.names.index("car")).all()
    assert sample.image[:, :, :17].max() < 20
    assert sample.image[:, :, 23:].min() > 180


@pytest.mark.parametrize("ignore_label", [255, 200])
def test_label_use(tmp_path, ignore_label):
    write_gta5(tmp_path)
    ids = np.full((30, 50), 7, np.uint8)
    ids[:15] = 0
    write(tmp_path / "labels/00001.png", ids)
    shapes = {}
    for use in ("none", "resized", "own size"):
        label = GTA5Dataset(tmp_path, SIZE, labels=use, ignore_label=ignore_label)[0].label
        shapes[use] = None if label is None else tuple(label.shape)
        if label is not None:
            assert label.dtype == torch.uint8
            assert sorted(np.unique(label.numpy())) == [0, ignore_label]
    assert shapes == {"none": None, "resized": (24, 40), "own size": (30, 50)}


def test_images_alone_need_no_labels(tmp_path):
    write(tmp_path / "images/1.png", np.zeros((30, 50, 3), np.uint8))
    sample = GTA5Dataset(tmp_path, SIZE, labels="none")[0]
    assert sample.label is None
    assert sample.image.shape == (3, 24, 40)
    assert sample.name == "1.png"


# --- layouts ----------------------------------------------------------------------------------


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


def test_split_chooses_the_folder(tmp_path):
    for split in ("train", "val"):
        image = tmp_path / f"leftImg8bit/{split}/ulm/{split}_leftImg8bit.png"
        write(image, np.zeros((30, 50, 3), np.uint8))
    for split in ("train", "val"):
        dataset = Cityscapes16Dataset(tmp_path, SIZE, split=split, labels="none")
        assert dataset.names == [f"ulm/{split}_leftImg8bit.png"]


@pytest.fixture
def synthia(tmp_path):
    """Both layouts with the same content, and that content's ids."""
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 23, (31, 53), dtype=np.uint8)
    image = rng.integers(0, 256, (31, 53, 3), dtype=np.uint8)
    raw, plain = tmp_path / "RAND_CITYSCAPES", tmp_path / "SYNTHIA"
    write(raw / "RGB/0000000.png", image)
    write(plain / "images/0000000.png", image)
    write(plain / "labels/0000000.png", ids)
    instances = rng.integers(0, 65536, ids.shape, dtype=np.uint16)
    (raw / "GT/LABELS").mkdir(parents=True)
    bgr = np.stack([np.zeros_like(instances), instances, ids.astype(np.uint16)], -1)
    cv2.imwrite(str(raw / "GT/LABELS/0000000.png"), bgr)
    return raw, plain, ids


@pytest.mark.parametrize("use", ["resized", "own size"])
def test_synthia_layouts_hold_the_same(synthia, use):
    raw, plain, ids = synthia
    samples = [SynthiaDataset(root, SIZE, labels=use)[0] for root in (raw, plain)]
    assert torch.equal(samples[0].image, samples[1].image)
    assert torch.equal(samples[0].label, samples[1].label)
    assert not samples[0].problem
    if use == "own size":
        for name, label_id in SYNTHIA_IDS.items():
            expected = ids == label_id
            assert ((samples[0].label.numpy() == CLASSES_16.names.index(name)) == expected).all()


# --- list files -------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "content",
    [
        b"00002.png\n00001.png\n",
        b"00002.png\r\n00001.png\r\n",
        b"\n00002.png\n\n  \n00001.png",
        b"  00002.png \n\t00001.png\t\n",
        pytest.param("\ufeff00002.png\n00001.png\n".encode(), id="byte order mark"),
    ],
)
def test_list_file_gives_images_and_order(tmp_path, content):
    write_gta5(tmp_path, ("00001.png", "00002.png", "00003.png"))
    (tmp_path / "list.txt").write_bytes(content)
    dataset = GTA5Dataset(tmp_path, SIZE, tmp_path / "list.txt")
    assert dataset.names == ["00002.png", "00001.png"]
    assert len(dataset) == 2
    assert dataset[0].image.unique().tolist() == [20]


@pytest.mark.parametrize("separator", ["/", "\\"])
def test_list_entries_are_paths_within_the_folder(tmp_path, separator):
    write_gta5(tmp_path, ("day/1.png", "dusk/1.png"))
    (tmp_path / "list.txt").write_text(f"dusk{separator}1.png\n")
    dataset = GTA5Dataset(tmp_path, SIZE, tmp_path / "list.txt")
    assert dataset.names == ["dusk/1.png"]
    assert dataset[0].image.unique().tolist() == [20]


def test_repeated_entry_is_repeated(tmp_path):
    write_gta5(tmp_path)
    (tmp_path / "list.txt").write_text("00001.png\n" * 3)
    assert len(GTA5Dataset(tmp_path, SIZE, tmp_path / "list.txt")) == 3


def test_absent_entry_is_named(tmp_path):
    write_gta5(tmp_path)
    list_file = tmp_path / "list.txt"
    list_file.write_text("00001.png\n00099.png\n")
    with pytest.raises(UserError, match=re.escape(f"{list_file} names 00099.png")) as caught:
        GTA5Dataset(tmp_path, SIZE, list_file)
    assert str(tmp_path / "images") in str(caught.value)


@pytest.mark.parametrize(
    "entry", ["../secret.png", "day/../../secret.png", "/etc/hosts", "C:\\a.png", "..\\a.png"]
)
def test_entry_outside_the_folder_is_refused(tmp_path, entry):
    list_file = tmp_path / "list.txt"
    list_file.write_text(f"00001.png\n{entry}\n")
    with pytest.raises(UserError, match="outside the data folder") as caught:
        read_list(list_file)
    assert str(list_file) in str(caught.value)


@pytest.mark.parametrize("content", [None, b"", b"\n \n", b"\xff\xfe\x00", b"\x89PNG\r\n"])
def test_useless_list_file_is_named(tmp_path, content):
    list_file = tmp_path / "list.txt"
    if content is not None:
        list_file.write_bytes(content)
    with pytest.raises(UserError, match=re.escape(str(list_file))):
        read_list(list_file)


def test_list_that_is_a_folder_is_named(tmp_path):
    with pytest.raises(UserError, match=re.escape(str(tmp_path))):
        read_list(tmp_path)


# --- what is missing or damaged ---------------------------------------------------------------


def test_missing_label_map_is_named_with_its_place(tmp_path):
    write_gta5(tmp_path, ("1.png", "2.png", "3.png"))
    (tmp_path / "labels/2.png").unlink()
    (tmp_path / "labels/3.png").unlink()
    with pytest.raises(UserError) as caught:
        GTA5Dataset(tmp_path, SIZE)
    message = str(caught.value)
    assert message.startswith("2 of 3 images")
    assert str(tmp_path / "images/2.png") in message
    assert str(tmp_path / "labels/2.png") in message


@pytest.mark.parametrize("dataset", [GTA5Dataset, SynthiaDataset, CityscapesDataset])
def test_missing_folder_tells_what_is_expected(tmp_path, dataset):
    with pytest.raises(UserError) as caught:
        dataset(tmp_path / "nowhere", SIZE)
    message = str(caught.value)
    for layout in dataset.layouts:
        assert str(tmp_path / "nowhere" / layout.images.format(split="val")) in message
        assert str(tmp_path / "nowhere" / layout.labels.format(split="val")) in message
    assert f"{dataset.__module__.replace('.', '/')}.py" in message


@pytest.mark.parametrize("content", [None, "readme.txt"])
def test_empty_folder_is_named(tmp_path, content):
    (tmp_path / "images").mkdir()
    if content:
        (tmp_path / "images" / content).write_text("no image")
    with pytest.raises(UserError, match=re.escape(f"no images under {tmp_path / 'images'}")):
        GTA5Dataset(tmp_path, SIZE)


def test_label_map_without_a_known_class_is_reported(tmp_path):
    write_gta5(tmp_path, ("1.png",))
    write(tmp_path / "labels/1.png", np.full((30, 50), 99, np.uint8))
    sample = GTA5Dataset(tmp_path, SIZE)[0]
    assert str(tmp_path / "labels/1.png") in sample.problem
    assert "99" in sample.problem
    assert sample.image.shape == (3, 24, 40)
    assert sample.label.shape == (24, 40)
    assert (sample.label == 255).all()


def test_label_map_without_a_known_class_may_be_scored(tmp_path):
    write_gta5(tmp_path, ("1.png",))
    write(tmp_path / "labels/1.png", np.full((30, 50), 0, np.uint8))
    sample = GTA5Dataset(tmp_path, SIZE, labels="own size")[0]
    assert not sample.problem
    assert (sample.label == 255).all()


@pytest.mark.parametrize("folder", ["images", "labels"])
def test_unreadable_file_is_reported_and_another_stands_in(tmp_path, folder):
    write_gta5(tmp_path)
    damaged = tmp_path / folder / "00001.png"
    damaged.write_bytes(damaged.read_bytes()[:40])
    dataset = GTA5Dataset(tmp_path, SIZE)
    sample, other = dataset[0], dataset[1]
    assert str(damaged) in sample.problem
    assert sample.name == other.name
    assert torch.equal(sample.image, other.image)
    assert torch.equal(sample.label, other.label)
    assert not other.problem
    blank = GTA5Dataset(tmp_path, SIZE, labels="own size")[0]  # what is scored is not replaced
    assert str(damaged) in blank.problem
    assert blank.name == "00001.png"
    assert (blank.label == 255).all()


def test_gta5_split_mat_names_its_training_part(tmp_path: Path) -> None:
    write_demo(tmp_path, "gta5", count_source=4, count_target=1, size=(64, 32))
    split = tmp_path / "split.mat"
    scipy.io.savemat(split, {"trainIds": np.array([[2], [4]]), "valIds": np.array([[1]])})
    dataset = GTA5Dataset(tmp_path / "GTA5", (64, 32), split)
    assert dataset.names == ["00002.png", "00004.png"]
    split.write_bytes(b"not a mat file")
    with pytest.raises(UserError, match=r"split\.mat"):
        GTA5Dataset(tmp_path / "GTA5", (64, 32), split)


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


def test_a_missing_split_is_no_plain_folder_where_splits_come_first(tmp_path):
    class SplitFirst(CityscapesDataset):
        layouts = (Layout(images="{split}/img", labels="{split}/ids"),)

    write(tmp_path / "val/img/x.png", np.zeros((24, 40, 3), np.uint8))
    write(tmp_path / "val/ids/x.png", np.zeros((24, 40), np.uint8))
    with pytest.raises(UserError, match="train/img"):
        SplitFirst(tmp_path, SIZE, split="train", labels="none")
