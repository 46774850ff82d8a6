"""The drawn data sets: what is in them, how they are stored, when they are redrawn."""

from pathlib import Path

import cv2
import numpy as np
import pytest
from PIL import Image

from dataset.demo import draw_scene, write_demo
from dataset.demo.canvas import Canvas
from dataset.labels import CITYSCAPES_IDS, CLASSES_16, CLASSES_19, IGNORE_LABEL, SYNTHIA_IDS
from utils.errors import UserError

SIZE = (128, 64)
SOURCE, TARGET = 16, 10
CITYSCAPES = "Cityscapes/{kind}/{split}/demo/demo_{i:06d}_000019_{kind}{suffix}.png"


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


def contents(root):
    return {
        str(p.relative_to(root)): p.read_bytes() for p in sorted(root.rglob("*")) if p.is_file()
    }


def cityscapes_files(count):
    return {
        CITYSCAPES.format(kind=kind, split=split, i=i, suffix=suffix)
        for split in ("train", "val")
        for kind, suffix in (("leftImg8bit", ""), ("gtFine", "_labelIds"))
        for i in range(count)
    }


@pytest.mark.parametrize("domain", ["render", "camera"])
def test_every_class_is_in_many_scenes(scenes, domain):
    images, labels = scenes[domain]
    assert images.shape == (60, 128, 256, 3)
    assert images.dtype == labels.dtype == np.uint8
    assert set(np.unique(labels)) <= {*range(19), IGNORE_LABEL}
    for train_id, name in enumerate(CLASSES_19.names):
        pixels = (labels == train_id).sum((1, 2))  # (60,)
        assert (pixels >= 20).mean() >= 0.1, name
    share = np.bincount(labels.ravel(), minlength=256)[:19] / labels.size
    assert set(np.argsort(share)[-2:].tolist()) == {0, 2}  # road and building
    assert share.min() > 0.002


def test_scene_is_a_street(scenes):
    labels = scenes["render"][1]
    row = {
        name: np.nonzero(labels == CLASSES_19.names.index(name))[1].mean()
        for name in ("sky", "building", "car", "road")
    }
    assert row["sky"] < row["building"] < row["car"] < row["road"]


def test_both_domains_draw_the_same_streets_and_only_the_camera_sees_a_hood(scenes):
    render, camera = scenes["render"][1], scenes["camera"][1]
    ignored = camera == IGNORE_LABEL
    assert (render != IGNORE_LABEL).all()
    assert (render == camera)[~ignored].all()
    assert ignored[:, -1, 128].all()
    assert not ignored[:, :112].any()


def test_camera_is_darker_and_its_colors_are_paler(scenes):
    leaves = scenes["render"][1] == CLASSES_19.names.index("vegetation")
    render, camera = (scenes[domain][0].astype(float) for domain in ("render", "camera"))
    assert render.mean() > camera.mean() + 15
    green = [(images[..., 1] - images.mean(-1))[leaves].mean() for images in (render, camera)]
    assert green[0] > 3 * green[1]


def test_box_hides_what_is_behind_it():
    canvas = Canvas(np.random.default_rng(0), (64, 32))
    canvas.box((-1, 1), (0, 2), (20, 24), (255, 0, 0), "car")
    canvas.box((-1, 1), (0, 2), (10, 14), (0, 0, 255), "bus")
    u, v = map(round, canvas.project((0.0, 1.0, 10.0)))
    assert canvas.labels.getpixel((u, v)) == CLASSES_19.names.index("bus")
    assert canvas.depth.getpixel((u, v)) == 10
    red, green, blue = canvas.image.getpixel((u, v))
    assert (red, green) == (0, 0)
    assert blue > 200


def test_gta5_layout_and_formats(gta5):
    source = {
        f"GTA5/{kind}/{i:05d}.png" for kind in ("images", "labels") for i in range(1, SOURCE + 1)
    }
    markers = {"GTA5/demo.json", "Cityscapes/demo.json"}
    assert set(contents(gta5)) == source | cityscapes_files(TARGET) | markers
    with Image.open(gta5 / "GTA5/images/00001.png") as image:
        assert (image.mode, image.size) == ("RGB", SIZE)
    seen = set()
    for path in (gta5 / "GTA5/labels").iterdir():
        with Image.open(path) as labels:
            assert (labels.mode, labels.size) == ("P", SIZE)
            seen |= set(np.unique(np.asarray(labels)).tolist())
            car = labels.getpalette()[3 * 26 : 3 * 27]
            assert tuple(car) == CLASSES_19.colors[CLASSES_19.names.index("car")]
    assert seen == set(CITYSCAPES_IDS.values())


def test_cityscapes_formats_and_splits(gta5):
    seen, images = set(), []
    for split in ("train", "val"):
        for i in range(TARGET):
            label_file = CITYSCAPES.format(kind="gtFine", split=split, i=i, suffix="_labelIds")
            with Image.open(gta5 / label_file) as labels:
                assert (labels.mode, labels.size) == ("L", SIZE)
                seen |= set(np.unique(np.asarray(labels)).tolist())
            image_file = CITYSCAPES.format(kind="leftImg8bit", split=split, i=i, suffix="")
            images.append((gta5 / image_file).read_bytes())
    assert seen == {0, *CITYSCAPES_IDS.values()}
    assert len(set(images)) == 2 * TARGET


def test_files_hold_the_scenes(gta5):
    scene = draw_scene(np.random.default_rng((0, 0, 0, 2)), SIZE, "render")
    assert (np.asarray(Image.open(gta5 / "GTA5/images/00003.png")) == scene.image).all()
    ids = np.asarray(list(CITYSCAPES_IDS.values()))[scene.labels]
    assert (np.asarray(Image.open(gta5 / "GTA5/labels/00003.png")) == ids).all()


def test_synthia_labels_are_16_bit_with_the_ids_in_red(tmp_path):
    write_demo(tmp_path, "synthia", 12, 1, SIZE)
    source = {f"SYNTHIA/{kind}/{i:07d}.png" for kind in ("RGB", "GT/LABELS") for i in range(12)}
    markers = {"SYNTHIA/demo.json", "Cityscapes/demo.json"}
    assert set(contents(tmp_path)) == source | cityscapes_files(1) | markers
    files = [tmp_path / f"SYNTHIA/GT/LABELS/{i:07d}.png" for i in range(12)]
    maps = np.stack([cv2.imread(str(file), cv2.IMREAD_UNCHANGED) for file in files])
    assert maps.dtype == np.uint16
    assert maps.shape == (12, *SIZE[::-1], 3)
    blue, green, red = np.moveaxis(maps, -1, 0)
    assert set(np.unique(red).tolist()) == {0, *SYNTHIA_IDS.values()}
    assert set(SYNTHIA_IDS) == set(CLASSES_16.names)
    assert (red == 0).mean() < 0.1  # terrain, truck, train
    assert np.nonzero(red == SYNTHIA_IDS["sky"])[1].mean() < SIZE[1] / 2
    assert green.max() > 1
    assert ((green > 0) == (red == SYNTHIA_IDS["car"])).all()
    assert not blue.any()


def test_files_depend_on_seed_and_number_but_not_on_counts(gta5, tmp_path):
    for name, seed in (("again", 0), ("other", 1)):
        write_demo(tmp_path / name, "gta5", 3, 2, SIZE, seed)
    large = contents(gta5)
    again, other = contents(tmp_path / "again"), contents(tmp_path / "other")
    pngs = [name for name in again if name.endswith(".png")]
    assert len(pngs) == 2 * 3 + 4 * 2
    assert all(again[name] == large[name] for name in pngs)
    assert all(other[name] != large[name] for name in pngs)


def test_complete_demo_is_left_alone_until_a_version_changes_it(tmp_path, monkeypatch):
    write_demo(tmp_path, "gta5", 2, 1, SIZE)
    before = contents(tmp_path)
    image = tmp_path / "GTA5/images/00002.png"
    image.write_bytes(b"changed")
    write_demo(tmp_path, "gta5", 2, 1, SIZE)
    assert image.read_bytes() == b"changed"

    monkeypatch.setattr("dataset.demo.folders.VERSION", -1)
    write_demo(tmp_path, "gta5", 2, 1, SIZE)
    assert contents(tmp_path)["GTA5/images/00002.png"] == before["GTA5/images/00002.png"]


def test_interrupted_drawing_is_not_taken_for_complete(tmp_path, monkeypatch):
    def interrupted(rng, size, domain):
        if (tmp_path / "GTA5/images/00001.png").exists():
            raise KeyboardInterrupt
        return draw_scene(rng, size, domain)

    with monkeypatch.context() as patch:
        patch.setattr("dataset.demo.folders.draw_scene", interrupted)
        with pytest.raises(KeyboardInterrupt):
            write_demo(tmp_path, "gta5", 2, 1, SIZE)
    assert (tmp_path / "GTA5/images/00001.png").exists()
    write_demo(tmp_path, "gta5", 2, 1, SIZE)
    assert (tmp_path / "GTA5/images/00002.png").exists()


def test_other_parameters_replace_our_files_and_no_others(tmp_path):
    write_demo(tmp_path, "gta5", 3, 1, SIZE)
    mine = tmp_path / "GTA5/images/mine.png"
    mine.write_bytes(b"mine")
    write_demo(tmp_path, "gta5", 1, 1, (64, 32))
    names = sorted(path.name for path in (tmp_path / "GTA5").rglob("*.png"))
    assert names == ["00001.png", "00001.png", "mine.png"]
    assert mine.read_bytes() == b"mine"
    with Image.open(tmp_path / "GTA5/images/00001.png") as image:
        assert image.size == (64, 32)


@pytest.mark.parametrize("content", [b"", b'{"version": 1, "cou', b"\xff\xfe"])
def test_damaged_marker_means_that_the_demo_is_redrawn(tmp_path, content):
    write_demo(tmp_path, "gta5", 2, 1, (32, 16))
    (tmp_path / "GTA5/demo.json").write_bytes(content)
    write_demo(tmp_path, "gta5", 1, 1, (64, 32))
    write_demo(tmp_path / "fresh", "gta5", 1, 1, (64, 32))
    assert contents(tmp_path / "GTA5") == contents(tmp_path / "fresh/GTA5")


def test_real_data_is_never_touched(tmp_path):
    real = tmp_path / "GTA5/images/00001.png"
    real.parent.mkdir(parents=True)
    real.write_bytes(b"real")
    with pytest.raises(UserError, match="GTA5 holds files that are not the demo's"):
        write_demo(tmp_path, "gta5", 1, 1, SIZE)
    assert contents(tmp_path) == {str(Path("GTA5/images/00001.png")): b"real"}


def test_unwritable_folder_is_named(tmp_path):
    (tmp_path / "GTA5").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot make the demo's folder .*GTA5"):
        write_demo(tmp_path, "gta5", count_source=1, count_target=1, size=(64, 32))
