"""The data sets: label ids, list files, finding files, reading, resizing, mapping labels."""

import errno
import os
import pickle
import re

import numpy as np
import pytest
import scipy.io
import torch
from PIL import Image
from torchvision.datasets import Cityscapes

from dataset.cityscapes_dataset import CITYSCAPES, CITYSCAPES_16
from dataset.gta5_dataset import GTA5
from dataset.image_files import files_below, read_list
from dataset.labels import CITYSCAPES_IDS, CLASSES_19
from dataset.segmentation_dataset import Description, Layout, SegmentationDataset
from dataset.synthia_dataset import SYNTHIA
from model.SEAN import network_input
from tests import fixture
from tests.reference import golden
from utils.errors import UserError

SIZE = (40, 24)
DATASETS = {
    "gta5": (GTA5, CITYSCAPES),
    "synthia": (SYNTHIA, CITYSCAPES_16),
}


def write(path, array, **options):
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(array).save(path, **options)


def write_gta5(root, names=("00001.png", "00002.png")):
    """Images of one gray each, 50x30, and label maps of one id each: 7, 8, 11, ..."""
    for index, (name, label_id) in enumerate(zip(names, CITYSCAPES_IDS.values(), strict=False)):
        write(root / "images" / name, np.full((30, 50, 3), 10 * index + 10, np.uint8))
        write(root / "labels" / name, np.full((30, 50), label_id, np.uint8))
    return root


@pytest.mark.parametrize("kind", DATASETS)
@pytest.mark.parametrize("domain", ["source", "target"])
def test_samples_are_the_originals(kind, domain, tmp_path):
    paths, arrays = fixture.write_reference_dataset(tmp_path, kind), golden(kind)
    use = "own size" if domain == "target" else "resized"
    opened = DATASETS[kind][domain == "target"]
    sample = SegmentationDataset(
        opened, paths[domain], (160, 96), paths[f"{domain}_list"], labels=use
    )[0]
    ours = network_input(torch.from_numpy(sample.image[None]))[0].numpy()
    difference = np.abs(ours - arrays[f"{domain}0_image"])
    assert difference.max() <= 1
    assert (difference > 1e-4).mean() < 1e-4  # beyond the rounding of float32
    assert sample.label.dtype == np.uint8
    np.testing.assert_array_equal(sample.label, arrays[f"{domain}0_label"])


@pytest.mark.parametrize("ignore_label", [255, 19])
def test_labels_are_resized_to_the_nearest(tmp_path, rng, ignore_label):
    """Also if they are of another size than their image, as a few of GTA-5's are."""
    ids = rng.integers(0, 35, (47, 80), np.uint8)
    write(tmp_path / "images/1.png", np.zeros((30, 50, 3), np.uint8))
    write(tmp_path / "labels/1.png", ids)
    sample = SegmentationDataset(GTA5, tmp_path, SIZE, ignore_label=ignore_label)[0]
    assert sample.label.shape == sample.image.shape[1:] == (24, 40)
    for y, x in np.ndindex(24, 40):
        label_id = ids[int((y + 0.5) * 47 / 24), int((x + 0.5) * 80 / 40)]
        assert sample.label[y, x] == CITYSCAPES_TO_19.get(label_id, ignore_label)


def test_images_belong_to_label_maps_by_suffix_and_subfolder(tmp_path):
    for index, stem in enumerate(("b", "a")):
        gray = np.full((30, 50, 3), 100 * index + 50, np.uint8)
        write(tmp_path / f"leftImg8bit/val/city/{stem}_leftImg8bit.jpg", gray)
        ids = np.full((30, 50), (26, 7)[index], np.uint8)
        write(tmp_path / f"gtFine/val/city/{stem}_gtFine_labelIds.png", ids)
    write(tmp_path / "leftImg8bit/val/city/thumbnail.png", gray)
    dataset = SegmentationDataset(CITYSCAPES, tmp_path, SIZE, labels="own size")
    assert dataset.names == ["city/a_leftImg8bit.jpg", "city/b_leftImg8bit.jpg"]
    for sample, level, name in zip(dataset, (150, 50), ("road", "car"), strict=True):
        assert np.abs(sample.image.astype(int) - level).max() <= 2
        assert np.unique(sample.label).tolist() == [CLASSES_19.names.index(name)]


@pytest.mark.parametrize("start", ["", "./", "images/", "{root}/images/"])
def test_list_file_gives_images_and_order(tmp_path, start):
    write_gta5(tmp_path, ("day/1.png", "dusk/1.png", "dusk/2.png"))
    list_file = tmp_path / "list.txt"
    list_file.write_text(f"{start.format(root=tmp_path)}dusk/1.png\n\nday/1.png\n")
    dataset = SegmentationDataset(GTA5, tmp_path, SIZE, list_file)
    assert dataset.names == ["dusk/1.png", "day/1.png"]
    assert [np.unique(sample.image).tolist() for sample in dataset] == [[20], [10]]
    outside = f"which is not in {tmp_path / 'images'}"
    for entry, problem in (("dusk/1.png", "twice"), ("../labels/day/1.png", outside)):
        list_file.write_text(f"dusk/1.png\n{entry}\n")
        with pytest.raises(UserError, match=re.escape(f"list.txt names {entry}, {problem}\n")):
            SegmentationDataset(GTA5, tmp_path, SIZE, list_file)


LISTS = "  b.png \r\n\n\ta\\a.png\r\n", "./b.png\r\na/a.png\r\n"


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
def test_list_files(tmp_path, encoding):
    for text in LISTS:
        (tmp_path / "list.txt").write_bytes(text.encode(encoding))
        assert read_list(tmp_path / "list.txt") == ["b.png", "a/a.png"]


def test_useless_list_files_are_named_and_split_mat_lists_training_images(tmp_path):
    split = tmp_path / "split.mat"
    scipy.io.savemat(split, {"trainIds": np.array([[2], [24966]]), "valIds": np.array([[1]])})
    assert read_list(split) == ["00002.png", "24966.png"]
    scipy.io.savemat(split, {"valIds": np.array([[1]])})
    (tmp_path / "empty.txt").write_text("\n \n")
    Image.new("L", SIZE).save(tmp_path / "picture.txt", "PNG")
    for path in (split, tmp_path / "empty.txt", tmp_path / "picture.txt"):
        with pytest.raises(UserError, match=rf"list file {re.escape(str(path))}.*\n  "):
            read_list(path)


def test_what_is_left_out_is_hidden_or_counted(tmp_path, capsys):
    write(tmp_path / "a/1.png", np.zeros((30, 50, 3), np.uint8))
    hidden = ("a/._1.png", ".ipynb_checkpoints/1.png", "@eaDir/1.png", "notes.txt")
    for name in (*hidden, "b/2.HEIC", "4.gif"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    assert SegmentationDataset(CITYSCAPES, tmp_path, SIZE, labels="none").names == ["a/1.png"]
    warning = f"warning: 2 pictures left out, such as {tmp_path}/4.gif; convert to PNG\n"
    assert capsys.readouterr().err == warning


def test_with_labels_changes_how_label_maps_are_read_and_nothing_else(tmp_path):
    dataset = SegmentationDataset(GTA5, write_gta5(tmp_path), SIZE, labels="none", ignore_label=200)
    other = dataset.with_labels("own size")
    assert (other[0].label.shape, dataset[0].label) == ((30, 50), None)
    assert (other.names, other.size, other.ignore_label) == (dataset.names, SIZE, 200)
    (tmp_path / "labels/00002.png").unlink()
    assert dataset.has_labels()
    with pytest.raises(UserError, match="1 of 2 images without label map"):
        dataset.with_labels("own size")
    (tmp_path / "labels/00001.png").unlink()
    assert not dataset.has_labels()


def test_a_plain_folder_has_no_labels_and_serves_a_target_alone(tmp_path):
    write(tmp_path / "a/1.png", np.zeros((30, 50, 3), np.uint8))
    plain = SegmentationDataset(CITYSCAPES, tmp_path, SIZE, labels="none")
    assert (plain.names, plain.is_plain_folder, plain.has_labels()) == (["a/1.png"], True, False)
    assert pickle.loads(pickle.dumps(plain)).is_plain_folder
    for refused in (
        lambda: plain.with_labels("own size"),
        lambda: SegmentationDataset(GTA5, tmp_path, SIZE),
    ):
        with pytest.raises(UserError, match=re.escape(f"no images under {tmp_path}\n")):
            refused()


@pytest.mark.parametrize("plain", [True, False])
def test_photographs_of_a_plain_folder_are_turned_upright(tmp_path, rng, plain):
    """A camera notes how it was held; published data sets do not, and are left as they are."""
    pixels, held = rng.integers(0, 256, (24, 40, 3), np.uint8), Image.Exif()
    held[0x0112] = 3  # upside down
    folder = tmp_path if plain else tmp_path / "leftImg8bit/val"
    write(folder / "a_leftImg8bit.png", pixels, exif=held)
    image = SegmentationDataset(CITYSCAPES, tmp_path, SIZE, labels="none")[0].image.transpose(
        1, 2, 0
    )
    np.testing.assert_array_equal(image, pixels[::-1, ::-1] if plain else pixels)


@pytest.mark.parametrize("upright", [True, False])
def test_an_image_is_turned_where_only_then_it_fits_its_label_map(tmp_path, rng, upright):
    pixels, held = rng.integers(0, 256, (30, 50, 3), np.uint8), Image.Exif()
    held[0x0112] = 6  # the camera's left side is the picture's top
    write(tmp_path / "images/1.png", pixels, exif=held)
    ids = np.full((50, 30) if upright else (30, 50), 7, np.uint8)
    write(tmp_path / "labels/1.png", ids)
    image = SegmentationDataset(GTA5, tmp_path, ids.shape[::-1])[0].image.transpose(1, 2, 0)
    np.testing.assert_array_equal(image, np.rot90(pixels, 3) if upright else pixels)


@pytest.mark.parametrize("images", ["{split}/img", "img/{split}"])
def test_a_folder_that_lacks_a_split_is_no_plain_folder(tmp_path, images):
    layout = Layout(images, images.replace("img", "ids"))
    description = Description("mine", "-", (layout,), CLASSES_19, CITYSCAPES_IDS, is_target=True)
    write(tmp_path / images.format(split="val") / "x.png", np.zeros((24, 40, 3), np.uint8))
    with pytest.raises(UserError, match=re.escape(images.format(split="train"))):
        SegmentationDataset(description, tmp_path, SIZE, split="train", labels="none")


def test_links_are_followed_but_not_round_and_round(tmp_path):
    folder, elsewhere = tmp_path / "folder", tmp_path / "elsewhere"
    for path in (folder / "aachen/a.png", folder / "bochum/deep/b.png", elsewhere / "d.png"):
        path.parent.mkdir(parents=True)
        path.touch()
    for name, target in {"aachen/up": "..", "bochum/deep/loop": ".", "x": elsewhere}.items():
        (folder / name).symlink_to(target)
    assert files_below(folder) == {"aachen/a.png", "bochum/deep/b.png", "x/d.png"}
    assert files_below(folder / "missing") == set()


def test_a_folder_that_cannot_be_read_is_named(tmp_path, monkeypatch):
    def refuse(path):  # as without permissions for everyone but root
        raise PermissionError(errno.EACCES, "not permitted", str(path))

    monkeypatch.setattr(os, "scandir", refuse)
    with pytest.raises(UserError, match=re.escape(f"folder {tmp_path}: not permitted\n")):
        files_below(tmp_path)


# Label spaces are compared with tables written out, and torchvision's copy of Cityscapes' own.
SHORTER = {"traffic light": "light", "traffic sign": "sign"}
THEIRS = {SHORTER.get(c.name, c.name): c for c in Cityscapes.classes if 0 <= c.train_id < 19}
# fmt: off
SYNTHIA_TO_16 = {
    3: 0, 4: 1, 2: 2, 21: 3, 5: 4, 7: 5, 15: 6, 9: 7, 6: 8, 1: 9, 10: 10, 17: 11, 8: 12, 19: 13,
    12: 14, 11: 15,
}
# fmt: on
CITYSCAPES_TO_19 = {theirs.id: theirs.train_id for theirs in THEIRS.values()}
NAMES_16 = [name for name in THEIRS if name not in ("terrain", "truck", "train")]
CITYSCAPES_TO_16 = {THEIRS[name].id: train_id for train_id, name in enumerate(NAMES_16)}


def test_label_spaces_are_those_of_cityscapes():
    for description, table, names in (
        (GTA5, CITYSCAPES_TO_19, THEIRS),
        (CITYSCAPES, CITYSCAPES_TO_19, THEIRS),
        (CITYSCAPES_16, CITYSCAPES_TO_16, NAMES_16),
        (SYNTHIA, SYNTHIA_TO_16, NAMES_16),
    ):
        space = description.label_space
        assert space.table(description.label_ids) == table
        assert space.names == tuple(names)
        assert space.colors == tuple(THEIRS[name].color for name in names)
        assert description.is_target == description.name.startswith("Cityscapes")
