"""Exported networks against the eager one, at batch and image sizes that were not traced."""

import json
import sys

import numpy as np
import pytest
import torch

from dataset.labels import CLASSES_19
from model.SEAN import MEAN_BGR, SEANet
from tests.reference import reference_network
from tests.runs import full_disk, refusal, save_network
from tools.export import EXTENSIONS, main

# The smallest allowed, multiples of 8 and others, odd numbers of cells; 64x96 is what is traced.
SIZES = [(1, 16, 16), (1, 64, 96), (3, 75, 133), (2, 41, 24)]


def opened(path):
    """What runs an exported file without our code, and what the file says of itself."""
    if path.suffix == ".pt2":
        extra = {"description.json": ""}
        run = torch.export.load(path, extra_files=extra).module()
        return run, json.loads(extra["description.json"])
    onnxruntime = pytest.importorskip("onnxruntime")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, settings)
    names = [output.name for output in session.get_outputs()]
    said = session.get_modelmeta().custom_metadata_map
    texts = ("images", "attention", "logits", "protocol")
    said |= {name: json.loads(said[name]) for name in said if name not in texts}
    return lambda x: dict(zip(names, session.run(None, {"images": x.numpy()}), strict=True)), said


def compare(path, network, sizes):
    """Compare the outputs; return what the file says of itself."""
    run, description = opened(path)
    for batch, height, width in sizes:
        generator = torch.Generator().manual_seed(height)
        images = 45 * torch.randn(batch, 3, height, width, generator=generator)
        with torch.no_grad():
            eager = network(images)
        outputs = run(images)
        assert outputs["logits"].shape == (batch, 19, height // 8, width // 8)
        for name, expected in eager._asdict().items():
            tolerance = 1e-4 * expected.abs().max().item()
            np.testing.assert_allclose(outputs[name], expected.numpy(), rtol=0, atol=tolerance)
    return description


@pytest.fixture(scope="module")
def small(tmp_path_factory):
    """A small network that is not the paper's, and its file, which says so."""
    torch.manual_seed(0)
    network = SEANet(19, classifier_branches=4, use_attention=False, width=1 / 16).eval()
    path = tmp_path_factory.mktemp("weights") / "small.pth"
    return network, save_network(path, network, CLASSES_19, (144, 72), "trains on a alone")


@pytest.mark.parametrize("format", EXTENSIONS)
def test_every_size_gives_the_eager_networks_output(format, tmp_path):
    """The file says nothing of itself, as the original's."""
    if format == "onnx":
        pytest.importorskip("onnxscript")
    path = tmp_path / "teacher.pth"
    torch.save(reference_network(19).state_dict(), path)
    main([str(path), "--format", format, "--input-size", "144,72"])
    path = path.with_suffix(EXTENSIONS[format])
    description = compare(path, reference_network(19), SIZES)
    assert "BGR" in description["images"]
    said = [description[name] for name in ("mean_bgr", "input_size", "num_classes", "names")]
    assert said == [list(MEAN_BGR), [144, 72], 19, []]


def test_the_variant_is_that_of_the_checkpoint(small):
    network, path = small
    output = path.with_name("net.pt2")
    main([str(path), "--format", "torch_export", "--output", str(output)])
    description = compare(output, network, [(1, 40, 50)])
    said = [description[name] for name in ("input_size", "names", "colors", "protocol")]
    colors = [list(color) for color in CLASSES_19.colors]
    assert said == [[144, 72], list(CLASSES_19.names), colors, "trains on a alone"]


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["{folder}/notes.txt"], "notes.txt is not a checkpoint"),
        (["{small}", "--output", "{folder}/notes.txt"], "notes.txt exists"),
        (["{small}", "--classifier_branches", "2"], "--classifier_branches contradicts"),
        (["{small}", "--format", "onnx"], "pip install onnx onnxscript"),
        (["{small}", "--output", "{folder}/full.pt2"], "cannot write {folder}/full.pt2: "),
    ],
)
def test_a_mistake_ends_in_one_message(words, fragment, small, tmp_path, capsys, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnxscript", None)
    (tmp_path / "notes.txt").write_text("mine")
    places = {"folder": tmp_path, "small": small[1]}
    given = ["--format", "torch_export", *(word.format(**places) for word in words)]
    with full_disk(after=5120):
        message = refusal(capsys, lambda: main(given))
    assert fragment.format(**places) in message
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "mine"
