"""What a checkpoint says of itself, and files that are no checkpoint."""

import re
import warnings
from dataclasses import asdict, replace

import pytest
import torch

from dataset.labels import CLASSES_16, CLASSES_19
from model.checkpoint import CheckpointInfo, class_count, load_network, read_state_dict, released
from model.SEAN import SEANet
from tests import fixture
from tests.reference import as_tensors, reference_network
from utils.errors import UserError
from utils.files import save_tensors

BIAS = "classifier.conv2d_list.0.bias"
SIZE = (96, 48)


def info_of(network, space=CLASSES_19):
    return CheckpointInfo.of(network, space.names, space.colors, SIZE, "adapts from a to b")


def save(path, network, info):
    save_tensors(path, released(network, info))
    return path


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return SEANet(19, width=1 / 16)


@pytest.mark.parametrize(
    ("space", "variant"),
    [
        (CLASSES_19, {}),
        (CLASSES_16, {"use_attention": False}),
        (CLASSES_16, {"classifier_branches": 4}),
        (CLASSES_19, {"classifier_branches": 1, "use_attention": False, "width": 1 / 32}),
        (CLASSES_19, {"normalize_colors": True}),
    ],
)
def test_a_file_gives_the_network_back(tmp_path, variant, space):
    network = SEANet(space.num_classes, **{"width": 1 / 16} | variant).eval()
    path = save(tmp_path / "net.pth", network, info_of(network, space))
    loaded, info = load_network(path)
    assert info == info_of(network, space)
    assert (info.names, info.colors, info.input_size) == (space.names, space.colors, SIZE)
    agreeing = (space.num_classes, info.branches, info.attention, SIZE)
    assert load_network(path, *agreeing)[1] == info
    images = torch.randn(1, 3, 32, 48)
    with torch.no_grad():
        for expected, found in zip(network(images), loaded.eval()(images), strict=True):
            assert torch.equal(expected, found)
    trained = dict(network.named_parameters())
    for name, parameter in loaded.named_parameters():
        assert parameter.requires_grad == trained[name].requires_grad, name


def test_released_files_are_contiguous_and_equal(small, tmp_path):
    """Whatever the memory order of the network, which a GPU changes."""
    other = SEANet(19, width=1 / 16)
    other.load_state_dict(small.state_dict())
    other.to(memory_format=torch.channels_last)
    assert all(value.is_contiguous() for value in released(other, info_of(small)).values())
    first = save(tmp_path / "a.pth", small, info_of(small))
    second = save(tmp_path / "b.pth", other, info_of(other))
    assert first.read_bytes() == second.read_bytes()


def test_the_original_loads_our_file(tmp_path):
    """By torch.load and a strict load_state_dict of the 39 names."""
    network = reference_network(19)
    state = torch.load(save(tmp_path / "net.pth", network, info_of(network)), weights_only=True)
    reference = as_tensors(fixture.reference_state(19))
    assert set(state) == set(reference)
    assert len(state) == 39
    original = SEANet(19)
    original.load_state_dict(state, strict=True)
    for name, value in original.state_dict().items():
        assert torch.equal(value, reference[name]), name


def test_the_originals_file_loads(tmp_path):
    reference = as_tensors(fixture.reference_state(16))
    torch.save(reference, tmp_path / "original.pth")
    network, info = load_network(tmp_path / "original.pth")
    assert info == CheckpointInfo((), (), True, 2, 1.0, False, (1024, 512), "")
    for name, value in network.state_dict().items():
        assert torch.equal(value, reference[name]), name
    network, info = load_network(tmp_path / "original.pth", 16, 4, False, (64, 32))
    assert (network.use_attention, network.classifier.branches) == (False, 4)
    assert (info.attention, info.branches, info.input_size) == (False, 4, (64, 32))


def test_a_file_of_the_first_version_loads(tmp_path, small):
    state = released(small, info_of(small))
    described = state._metadata[""]["sean"]
    described["version"] = 1
    del described["normalize_colors"]
    torch.save(state, tmp_path / "net.pth")
    network, info = load_network(tmp_path / "net.pth")
    assert (network.normalize_colors, info.normalize_colors) == (False, False)


def test_weights_of_other_precision_become_float32(tmp_path, small):
    state = released(small, info_of(small))
    for name in state:
        state[name] = state[name].double()
    torch.save(state, tmp_path / "net.pth")
    network, _ = load_network(tmp_path / "net.pth")
    assert {parameter.dtype for parameter in network.parameters()} == {torch.float32}


@pytest.mark.parametrize(
    "change",
    [
        {"names": CLASSES_16.names, "colors": CLASSES_16.colors},
        {"names": ("road",) * 19},
        {"names": 7},
        {"protocol": "a line\nand another"},
        {"colors": CLASSES_19.colors[:18]},
        {"colors": ((0, 0, 256),) * 19},
        {"colors": (7,) * 19},
        {"branches": 0},
        {"branches": "two"},
        {"width": 1e9},
        {"width": float("nan")},
        {"input_size": (64,)},
        {"input_size": (64, 1_000_000)},
        {"version": 3},
        7,
        {},
    ],
    ids=str,
)
def test_a_damaged_description_is_refused(tmp_path, small, change):
    state = released(small, info_of(small))
    values = asdict(info_of(small)) | change if isinstance(change, dict) and change else change
    state._metadata[""]["sean"] = values
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(UserError, match=r"net\.pth: its description .* is damaged.*\n  "):
        load_network(tmp_path / "net.pth")


@pytest.mark.parametrize("metadata", [None, {"": 7}], ids=str)
def test_other_metadata_is_no_description(tmp_path, metadata):
    network = SEANet(19)
    state = released(network, info_of(network))
    state._metadata = metadata
    torch.save(state, tmp_path / "net.pth")
    assert load_network(tmp_path / "net.pth")[1].names == ()


def test_a_width_that_is_not_the_files_is_refused(tmp_path, small):
    path = save(tmp_path / "net.pth", small, replace(info_of(small), width=1.0))
    with pytest.raises(UserError, match=r"net\.pth .*size mismatch for features\.0\.weight.*\n  "):
        load_network(path)


def test_class_count_of_something_else_is_refused():
    assert class_count({BIAS: torch.zeros(7)}, "net.pth") == 7
    states = [{"conv1_1.weight": torch.zeros(3)}]
    states += [{BIAS: torch.zeros(shape)} for shape in ((), (19, 1), (1,), (256,))]
    for state in states:
        with pytest.raises(UserError, match=r"net\.pth is not a SEANet checkpoint.*\n  "):
            class_count(state, "net.pth")


def test_missing_file_is_named(tmp_path):
    for path in (tmp_path / "none.pth", tmp_path):
        with pytest.raises(UserError, match=re.escape(f"no checkpoint {path}")):
            read_state_dict(path)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), 1e300])
def test_weights_that_are_not_finite_are_refused_by_name(tmp_path, small, value):
    state = released(small, info_of(small))
    state["aconv.weight"] = state["aconv.weight"].double()
    state["aconv.weight"][0, 3] = value  # 1e300 is not finite in float32
    torch.save(state, tmp_path / "net.pth")
    with pytest.raises(UserError, match=r"net\.pth: aconv\.weight .* not finite\n  "):
        load_network(tmp_path / "net.pth")


def quantized(values):
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # deprecated
        return torch.quantize_per_tensor(values, 0.1, 0, torch.qint8)


@pytest.mark.parametrize(
    "value",
    [
        pytest.param(torch.zeros(19).to_sparse(), id="sparse"),
        pytest.param(quantized(torch.zeros(19)), id="quantized"),
        pytest.param(torch.zeros(19, device="meta"), id="meta"),
        pytest.param(torch.zeros(1).expand(1_000_000_000), id="expanded"),
    ],
)
def test_what_is_no_dense_tensor_is_refused(tmp_path, value):
    torch.save({"aconv.weight": torch.zeros(1), BIAS: value}, tmp_path / "net.pth")
    with pytest.raises(
        UserError, match=r"net\.pth is not a state dict of dense, unquantized tensors\n  "
    ):
        read_state_dict(tmp_path / "net.pth")
