"""The drawn data sets: what is in them, how they are stored, when they are redrawn."""

import os

import cv2
import numpy as np
import pytest
from PIL import Image

from dataset.labels import CITYSCAPES_IDS, CLASSES_19, SYNTHIA_IDS
from tests.runs import contents
from tools.demo import draw_scene, write_demo
from tools.demo.canvas import Canvas
from utils.errors import UserError

SIZE = (128, 64)
SOURCE, TARGET = 16, 10


@pytest.fixture(scope="module")
def gta5(tmp_path_factory):
    root = tmp_path_factory.mktemp("gta5")
    write_demo(root, "gta5", SOURCE, TARGET, SIZE)
    return root


@pytest.fixture(scope="module")
def scenes():
    """Images (60, H, W, 3) and labels (60, H, W) of both domains, drawn from the same seeds."""
    drawn = {}
    for domain in ("render", "camera"):
        pairs = [draw_scene(np.random.default_rng((7, i)), (256, 128), domain) for i in range(60)]
        drawn[domain] = tuple(map(np.stack, zip(*pairs, strict=True)))
    return drawn


def cityscapes_files(count):
    return {
        f"Cityscapes/{kind}/{split}/demo/demo_{i:06d}_000019_{kind}{suffix}.png"
        for split in ("train", "val")
        for kind, suffix in (("leftImg8bit", ""), ("gtFine", "_labelIds"))
        for i in range(count)
    }


def test_every_class_is_in_many_scenes(scenes):
    images, labels = scenes["render"]
    assert images.shape == (60, 128, 256, 3)
    assert images.dtype == labels.dtype == np.uint8
    assert set(np.unique(labels)) == set(range(19))
    for train_id, name in enumerate(CLASSES_19.names):
        assert ((labels == train_id).sum((1, 2)) >= 20).mean() >= 0.1, name
    assert np.bincount(labels.ravel()).min() > 0.002 * labels.size
    names = "sky", "building", "car", "road"
    rows = [np.nonzero(labels == CLASSES_19.names.index(name))[1].mean() for name in names]
    assert rows == sorted(rows)


def test_domains_show_the_same_streets_the_camera_in_darker_and_paler_colors(scenes):
    (render, labels), (camera, camera_labels) = scenes["render"], scenes["camera"]
    assert (labels == camera_labels).all()
    assert render.mean() > camera.mean() + 15
    leaves = labels == CLASSES_19.names.index("vegetation")
    green = [(images[..., 1] - images.mean(-1))[leaves].mean() for images in (render, camera)]
    assert green[0] > 3 * green[1]


def test_box_hides_what_is_behind_it():
    canvas = Canvas(np.random.default_rng(0), (64, 32))
    canvas.box((-1, 1), (0, 2), (20, 24), (255, 0, 0), "car")
    canvas.box((-1, 1), (0, 2), (10, 14), (0, 0, 255), "bus")
    u, v = map(round, canvas.project([(0, 1, 10)]))
    assert canvas.labels.getpixel((u, v)) == CLASSES_19.names.index("bus")
    assert canvas.depth.getpixel((u, v)) == 10
    assert canvas.image.getpixel((u, v)) == (0, 0, 237)  # 0.93 of the color: its near face


def test_gta5_and_cityscapes_files(gta5):
    source = {f"GTA5/{kind}/{i:05d}.png" for kind in ("images", "labels") for i in range(1, 17)}
    markers = {"GTA5/demo.json", "Cityscapes/demo.json"}
    files = contents(gta5)
    assert set(files) == source | cityscapes_files(TARGET) | markers
    images = sorted(name for name in files if "images" in name or "leftImg8bit" in name)
    assert len({files[name] for name in images}) == SOURCE + 2 * TARGET  # no image twice
    with Image.open(gta5 / images[0]) as image:
        assert (image.mode, image.size) == ("RGB", SIZE)
    for folder, mode in (("GTA5/labels", "P"), ("Cityscapes/gtFine", "L")):
        maps = [Image.open(path) for path in (gta5 / folder).rglob("*.png")]
        assert {(labels.mode, labels.size) for labels in maps} == {(mode, SIZE)}
        assert set(np.unique(maps)) == set(CITYSCAPES_IDS.values())


def test_files_hold_the_scenes(gta5):
    scene = draw_scene(np.random.default_rng((0, 0, 0, 2)), SIZE, "render")
    assert (np.asarray(Image.open(gta5 / "GTA5/images/00003.png")) == scene.image).all()
    with Image.open(gta5 / "GTA5/labels/00003.png") as labels:
        ids = np.asarray(list(CITYSCAPES_IDS.values()))[scene.labels]
        assert (np.asarray(labels) == ids).all()
        colors = np.asarray(CLASSES_19.colors)[scene.labels]
        assert (np.asarray(labels.convert("RGB")) == colors).all()


def test_synthia_labels_are_16_bit_with_the_ids_in_red(tmp_path):
    write_demo(tmp_path, "synthia", 12, 1, SIZE)
    files = [tmp_path / f"SYNTHIA/GT/LABELS/{i:07d}.png" for i in range(12)]
    assert sorted(tmp_path.glob("SYNTHIA/GT/LABELS/*")) == files
    assert len(list(tmp_path.glob("SYNTHIA/RGB/00000[01][0-9].png"))) == 12
    maps = np.stack([cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in files])
    assert (maps.dtype, maps.shape) == (np.uint16, (12, *SIZE[::-1], 3))
    blue, green, red = np.moveaxis(maps, -1, 0)
    assert set(np.unique(red).tolist()) == {0, *SYNTHIA_IDS.values()}
    assert (red == 0).mean() < 0.1  # terrain, truck, train
    assert green.max() > 1
    assert ((green > 0) == (red == SYNTHIA_IDS["car"])).all()
    assert not blue.any()


def test_files_depend_on_seed_and_number_but_not_on_counts(gta5, tmp_path):
    for name, seed in (("again", 0), ("other", 1)):
        write_demo(tmp_path / name, "gta5", 3, 2, SIZE, seed)
    large, again, other = map(contents, (gta5, tmp_path / "again", tmp_path / "other"))
    pngs = [name for name in again if name.endswith(".png")]
    assert len(pngs) == 2 * 3 + 4 * 2
    assert all(again[name] == large[name] != other[name] for name in pngs)


def test_complete_demo_is_left_alone_until_a_version_changes_it(tmp_path, monkeypatch):
    write_demo(tmp_path, "gta5", 2, 1, SIZE)
    image = tmp_path / "GTA5/images/00002.png"
    before = image.read_bytes()
    image.write_bytes(b"changed")
    write_demo(tmp_path, "gta5", 2, 1, SIZE)
    assert image.read_bytes() == b"changed"
    monkeypatch.setattr("tools.demo.folders.VERSION", -1)
    write_demo(tmp_path, "gta5", 2, 1, SIZE)
    assert image.read_bytes() == before


def test_interrupted_drawing_is_not_taken_for_complete(tmp_path, monkeypatch):
    def interrupted(rng, size, domain):
        if (tmp_path / "GTA5/images/00001.png").exists():
            raise KeyboardInterrupt
        return draw_scene(rng, size, domain)

    with monkeypatch.context() as patch:
        patch.setattr("tools.demo.folders.draw_scene", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_demo(tmp_path, "gta5", 2, 1, SIZE)
    write_demo(tmp_path, "gta5", 2, 1, SIZE)
    assert (tmp_path / "GTA5/images/00002.png").exists()


@pytest.mark.parametrize("marker", [None, b"{}\n"])
def test_other_parameters_replace_our_files_and_no_others(tmp_path, marker):
    write_demo(tmp_path, "gta5", 3, 1, (32, 16))
    mine = tmp_path / "GTA5/images/mine.png"
    mine.write_bytes(b"mine")
    if marker is not None:  # drawing was interrupted
        (tmp_path / "GTA5/demo.json").write_bytes(marker)
    write_demo(tmp_path, "gta5", 1, 1, SIZE)
    write_demo(tmp_path / "fresh", "gta5", 1, 1, SIZE)
    fresh = contents(tmp_path / "fresh/GTA5")
    assert contents(tmp_path / "GTA5") == fresh | {"images/mine.png": b"mine"}


@pytest.mark.parametrize(
    "marker", [None, b"", b'{"version": 1}', b"[]", b"\xff\xfe", bytes(2000), "pipe", "folder"]
)
def test_real_data_is_never_touched(tmp_path, marker):
    real, path = tmp_path / "GTA5/images/00001.png", tmp_path / "GTA5/demo.json"
    real.parent.mkdir(parents=True)
    real.write_bytes(b"real")
    if isinstance(marker, bytes):
        path.write_bytes(marker)
    elif marker:
        (os.mkfifo if marker == "pipe" else os.mkdir)(path)
    reason = "GTA5 holds files that are not the demo's|cannot read .*demo.json: "
    with pytest.raises(UserError, match=rf"({reason}).*\n  "):
        write_demo(tmp_path, "gta5", 1, 1, SIZE)
    assert contents(tmp_path, "demo.json") == {"GTA5/images/00001.png": b"real"}


def test_unwritable_folder_is_named(tmp_path):
    (tmp_path / "GTA5").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot make the demo's folder .*GTA5"):
        write_demo(tmp_path, "gta5", count_source=1, count_target=1, size=(64, 32))
