"""First weights: every kind of file that is known, and the ones that are refused."""

import random
import re

import numpy as np
import pytest
import torch
import torchvision
from torch import nn
from torchvision.models import VGG16_Weights

from model.pretrained import initialize, load_weights
from model.SEAN import SEANet, network_input
from tests import fixture
from tests.reference import as_tensors
from tools.demo import draw_scene
from utils.errors import UserError

UNTOUCHED = 7.0
CONVOLUTIONS = fixture.VGG_INDICES
HEAD = ("features.29", "features.31", "aconv", "classifier")


@pytest.fixture(scope="module")
def shared_network():
    return SEANet(19)


@pytest.fixture
def network(shared_network):
    """A network in which everything that is loaded can be told from everything that is not."""
    with torch.no_grad():
        for parameter in shared_network.parameters():
            parameter.fill_(UNTOUCHED)
    return shared_network


@pytest.fixture(scope="module")
def fcn8s():
    return as_tensors(fixture.reference_fcn8s_checkpoint())


def assert_head_untouched(network):
    for name, parameter in network.named_parameters():
        if name.startswith(HEAD):
            assert (parameter == UNTOUCHED).all(), name


@pytest.mark.parametrize("shuffled", [False, True])
def test_fcn8s_is_loaded_by_name(network, fcn8s, tmp_path, shuffled):
    names = list(fcn8s)
    if shuffled:
        random.Random(0).shuffle(names)
    path = tmp_path / "fcn8s_from_caffe.pth"
    torch.save({name: fcn8s[name] for name in names}, path)
    report = initialize(network, str(path))
    for index, name in zip(CONVOLUTIONS, fixture.CAFFE_NAMES, strict=True):
        layer = network.features[index]
        assert torch.equal(layer.weight, fcn8s[f"{name}.weight"]), name
        assert torch.equal(layer.bias, fcn8s[f"{name}.bias"]), name
    assert_head_untouched(network)
    assert str(path) in report
    for left_out in ("fc6", "fc7", "score_fr", "upscore8"):
        assert left_out in report
    for fresh in ("features.29", "features.31", "aconv", "classifier.conv2d_list.0"):
        assert fresh in report


@pytest.mark.parametrize("missing", ["conv3_2.weight", "conv5_3.bias"])
def test_fcn8s_that_lacks_a_layer_is_refused(network, fcn8s, missing):
    state = {name: value for name, value in fcn8s.items() if name != missing}
    with pytest.raises(UserError, match=re.escape(missing)):
        load_weights(network, state, "file.pth")


def test_other_shapes_are_refused(network, fcn8s):
    state = {**fcn8s, "conv5_3.weight": torch.zeros(512, 512, 1, 1)}
    with pytest.raises(UserError, match=r"file\.pth .*size mismatch for features\.27\.weight"):
        load_weights(network, state, "file.pth")


@pytest.fixture(scope="module")
def vgg():
    """torchvision's VGG-16 with weights like trained ones in size; the classifier is left out."""
    with torch.device("meta"):
        features = torchvision.models.vgg16(weights=None).features
    features.to_empty(device="cpu")
    torch.manual_seed(0)
    for layer in features:
        if isinstance(layer, nn.Conv2d):
            nn.init.kaiming_normal_(layer.weight, nonlinearity="relu")
            nn.init.normal_(layer.bias, std=0.1)
    return features.requires_grad_(False)


def vgg_file(vgg, classifier):
    """The state dict of a torchvision file, with a classifier of one value."""
    state = {f"features.{name}": value.clone() for name, value in vgg.state_dict().items()}
    return {**state, "classifier.0.weight": torch.full((1, 1), classifier)}


@pytest.mark.parametrize(
    ("weights", "classifier"),
    [
        pytest.param(VGG16_Weights.IMAGENET1K_V1, 0.5, id="ImageNet normalization"),
        pytest.param(VGG16_Weights.IMAGENET1K_FEATURES, float("nan"), id="Caffe-style"),
    ],
)
def test_torchvision_sees_the_same_picture(network, vgg, weights, classifier):
    torch.manual_seed(1)
    images = torch.randint(0, 256, (1, 3, 40, 56), dtype=torch.uint8)
    preset = weights.transforms()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (preset.mean, preset.std))
    load_weights(network, vgg_file(vgg, classifier), "vgg16.pth")
    with torch.no_grad():
        for depth in (1, 4):  # conv1_1 with its sign, and conv1_2 after its ReLU
            theirs = vgg[:depth]((images / 255 - mean) / std)[..., 2:-2, 2:-2]
            ours = network.features[:depth](network_input(images))[..., 2:-2, 2:-2]
            assert (ours - theirs).abs().max() <= 1e-4 * theirs.abs().max()


@pytest.mark.parametrize("name", ["vgg13", "vgg19", "vgg16_bn", "resnet18"])
def test_other_torchvision_networks_are_refused(network, name):
    with torch.device("meta"):
        other = torchvision.models.get_model(name, weights=None)
    state = {key: value for key, value in other.state_dict().items() if value.numel() < 3_000_000}
    state = {key: torch.zeros(value.shape, dtype=value.dtype) for key, value in state.items()}
    with pytest.raises(UserError, match=rf"{name}\.pth"):
        load_weights(network, state, f"{name}.pth")


FETCH = "torchvision.models._api.load_state_dict_from_url"


def test_download_is_loaded(network, vgg, monkeypatch):
    state = vgg_file(vgg, float("nan"))
    first = state["features.0.weight"].clone()
    shuffled = dict(random.Random(0).sample(list(state.items()), len(state)))
    files = {VGG16_Weights.IMAGENET1K_FEATURES.url: shuffled}
    monkeypatch.setattr(FETCH, lambda url, *_, **__: files[url])
    report = initialize(network, "torchvision")
    assert torch.equal(state["features.0.weight"], first)  # what is loaded is left alone
    theirs = [index for index, layer in enumerate(vgg) if isinstance(layer, nn.Conv2d)]
    for index, their_index in list(zip(CONVOLUTIONS, theirs, strict=True))[1:]:
        assert torch.equal(network.features[index].weight, vgg[their_index].weight), index
        assert torch.equal(network.features[index].bias, vgg[their_index].bias), index
    assert_head_untouched(network)
    assert "IMAGENET1K_FEATURES" in report


@pytest.mark.parametrize("error", [TimeoutError("timed out"), RuntimeError("invalid hash value")])
def test_failed_download_tells_what_to_fetch(network, monkeypatch, error):
    def fetch(*_, **__):
        raise error

    monkeypatch.setattr(FETCH, fetch)
    with pytest.raises(UserError) as caught:
        initialize(network, "torchvision")
    assert VGG16_Weights.IMAGENET1K_FEATURES.url in str(caught.value)
    assert "--restore_from" in str(caught.value)


@pytest.mark.parametrize(
    ("name", "shape", "message"),
    [
        ("features.31.bias", None, "features.31.bias"),
        ("features.33.bias", (3,), "features.33.bias"),
        ("features.31.weight", (1024, 1024, 1, 1), "features.31.weight"),
        ("classifier.conv2d_list.0.bias", (16,), "16 classes, not 19"),
    ],
)
def test_checkpoint_of_another_network_is_refused(network, name, shape, message):
    state = dict(network.state_dict())
    state.pop(name, None)
    if shape:
        state[name] = torch.zeros(shape)
    with pytest.raises(UserError, match=rf"net\.pth .*{re.escape(message)}.*\n  "):
        load_weights(network, state, "net.pth")


@pytest.mark.parametrize(
    "state",
    [
        {},
        {"module.aconv.weight": torch.zeros(1, 1024, 1, 1)},
        pytest.param({0: torch.zeros(3)}, id="numbers for names"),
        pytest.param({"features.28.weight": torch.zeros(3)}, id="one name of torchvision's"),
    ],
)
def test_nothing_that_fits_is_an_error(network, tmp_path, state):
    path = tmp_path / "net.pth"
    torch.save(state, path)
    with pytest.raises(UserError, match=re.escape(str(path))) as caught:
        initialize(network, str(path))
    assert "1 tensors" not in str(caught.value)


def test_missing_file_tells_the_choices(network, tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(UserError, match=re.escape(str(path))) as caught:
            initialize(network, str(path))
        assert "'none' to train from scratch" in str(caught.value)


def test_checkpoint_of_a_stopped_run_is_told_apart(network, tmp_path):
    path = tmp_path / "last.pth"
    weights = {"aconv.weight": torch.zeros(1, 1024, 1, 1)}
    torch.save({"student": weights, "teacher": weights, "epoch": 2, "options": {}}, path)
    with pytest.raises(UserError, match=re.escape(str(path))) as caught:
        initialize(network, str(path))
    assert "--resume" in str(caught.value)
    assert "TeacherNet.pth" in str(caught.value)


@pytest.mark.parametrize("domain", ["render", "camera"])
def test_from_scratch_activations_are_of_order_one(network, domain):
    torch.manual_seed(0)
    report = initialize(network, "none")
    image, _ = draw_scene(np.random.default_rng(0), (192, 96), domain)
    activations = network_input(torch.from_numpy(image.transpose(2, 0, 1).copy())[None])
    sizes = []
    with torch.no_grad():
        for layer in network.features:
            activations = layer(activations)
            if isinstance(layer, nn.ReLU):
                sizes.append(activations.square().mean().sqrt().item())
    assert len(sizes) == 15
    assert 0.3 < min(sizes) <= max(sizes) < 3, sizes
    assert all((network.features[index].bias == 0).all() for index in (*CONVOLUTIONS, 29, 31))
    assert "nothing loaded" in report
