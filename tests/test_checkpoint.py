"""What a checkpoint says of itself, wrapped state dicts, and files that are no checkpoint."""

from dataclasses import replace

import pytest
import torch

from dataset.labels import CLASSES_16, CLASSES_19
from model.checkpoint import CheckpointInfo, load_network, load_state, read_state_dict, released
from model.SEAN import SEANet
from tests import fixture
from tests.reference import as_tensors, reference_network
from utils.errors import UserError
from utils.files import save_tensors

SIZE = (96, 48)


def info_of(network, space=CLASSES_19):
    return CheckpointInfo.of(network, space.names, space.colors, SIZE, "adapts from a to b")


@pytest.fixture(scope="module")
def small():
    torch.manual_seed(0)
    return SEANet(19, width=1 / 16)


@pytest.fixture
def path(tmp_path):
    return tmp_path / "net.pth"


@pytest.mark.parametrize(
    ("space", "variant"),
    [
        (CLASSES_16, {"width": 1 / 16, "classifier_branches": 4}),
        (CLASSES_19, {"width": 1 / 32, "classifier_branches": 1, "use_attention": False}),
    ],
)
def test_a_file_gives_the_network_back(path, variant, space):
    network = SEANet(space.num_classes, **variant)
    save_tensors(path, released(network, info_of(network, space)))
    _, info = load_network(path)
    assert info == info_of(network, space)
    assert (info.names, info.colors, info.input_size) == (space.names, space.colors, SIZE)
    loaded, _ = load_network(path, space.num_classes, info.branches, info.attention, SIZE)
    images = torch.randn(1, 3, 32, 48)
    for expected, found in zip(network(images), loaded(images), strict=True):
        assert torch.equal(expected, found)
    for trained, found in zip(network.parameters(), loaded.parameters(), strict=True):
        assert trained.requires_grad == found.requires_grad


def test_the_original_loads_our_file_and_we_its(path):
    """It loads a file by torch.load and a strict load_state_dict of the 39 names."""
    reference = as_tensors(fixture.reference_state(16))
    network = reference_network(16)
    save_tensors(path, released(network, info_of(network, CLASSES_16)))
    with torch.device("meta"):
        original = SEANet(16)
    original.load_state_dict(torch.load(path, weights_only=True), strict=True, assign=True)
    assert len(original.state_dict()) == 39
    torch.testing.assert_close(original.state_dict(), reference, rtol=0, atol=0)
    torch.save(reference, path)
    network, info = load_network(path)
    assert info == CheckpointInfo((), (), True, 2, 1.0, (1024, 512), "")
    torch.testing.assert_close(network.state_dict(), reference, rtol=0, atol=0)
    _, info = load_network(path, 16, 4, False, (64, 32))
    assert info == CheckpointInfo((), (), False, 4, 1.0, (64, 32), "")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"version": 1}, ""),
        ({"version": 2, "normalize_colors": False}, ""),
        ({"normalize_colors": True}, "--normalize_colors, which is gone"),
        ({"version": 3, "more": 7}, "is of a later version"),
        ({"width": 1.0}, r"does not fit .*size mismatch for features\.0\.weight"),
    ],
)
def test_descriptions_of_earlier_versions_load_and_others_are_refused(path, small, change, message):
    state = released(small, info_of(small))
    state._metadata[""]["sean"] |= change
    torch.save(state, path)
    if not message:
        assert load_network(path)[1] == replace(info_of(small), version=change["version"])
        return
    with pytest.raises(UserError, match=rf"net\.pth .*{message}.*\n  "):
        load_network(path)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.module."])
@pytest.mark.parametrize("wrapper", ["", "state_dict"])
def test_wrapped_state_dicts_are_read(path, small, prefix, wrapper):
    ours = released(small, info_of(small))
    state = {f"{prefix}{name}": value for name, value in ours.items()} if prefix else ours
    torch.save({wrapper: state, "epoch": 3, "optimizer": {}} if wrapper else state, path)
    torch.testing.assert_close(read_state_dict(path), ours, rtol=0, atol=0)
    if not prefix:  # the description is still there
        assert load_network(path)[1] == info_of(small)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"student": {}, "teacher": {}, "progress": {}}, "is a stopped run.*\n.*--resume.*Teacher"),
        ({"epoch": 3, "lr": 0.1}, r"is not a state dict.*\n.*state_dict\(\)"),
        ([1, 2], "is not a state dict"),
        ({"conv1_1.weight": torch.zeros(3)}, "has no classifier.* not a SEANet's"),
    ],
)
def test_what_is_no_checkpoint_is_named(path, content, message):
    with pytest.raises(UserError, match=r"no checkpoint .*net\.pth"):
        load_network(path)
    torch.save(content, path)
    with pytest.raises(UserError, match=rf"net\.pth {message}"):
        load_network(path)


@pytest.mark.parametrize("value", [float("nan"), 1e300])  # which is not finite in float32
def test_weights_that_are_not_finite_are_refused_by_name(path, small, value):
    state = {name: tensor.double() for name, tensor in released(small, info_of(small)).items()}
    state["aconv.weight"][0, 3] = value
    with pytest.raises(UserError, match=r"net\.pth: aconv\.weight .* not finite\n"):
        load_state(SEANet(19, width=1 / 16), state, path)
