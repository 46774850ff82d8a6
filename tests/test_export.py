"""Exported networks against the eager one, at batch and image sizes that were not traced."""

from __future__ import annotations

import importlib.util
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dataset.labels import CLASSES_19
from model.SEAN import MEAN_BGR, SEANet
from tests.reference import reference_network
from tests.runs import Capture, full_disk, refusal, save_network
from tools.export import EXTENSIONS, main

# The smallest allowed, multiples of 8 and others, odd numbers of cells; 64x96 is what is traced.
SIZES = [(1, 16, 16), (1, 64, 96), (3, 75, 133), (2, 41, 24)]


def run(path: Path, images: Tensor) -> dict[str, np.ndarray]:
    """Run an exported file as a program without our code does."""
    if path.suffix == ".pt2":
        outputs = torch.export.load(path).module()(images)
        assert type(outputs) is dict
        return {name: value.numpy() for name, value in outputs.items()}
    onnxruntime = pytest.importorskip("onnxruntime")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, settings)
    names = [output.name for output in session.get_outputs()]
    return dict(zip(names, session.run(None, {"images": images.numpy()}), strict=True))


def read_description(path: Path) -> dict[str, Any]:
    if path.suffix == ".pt2":
        extra = {"description.json": ""}
        torch.export.load(path, extra_files=extra)
        return json.loads(extra["description.json"])
    metadata = pytest.importorskip("onnx").load(path).metadata_props
    description = {entry.key: entry.value for entry in metadata}
    texts = ("images", "attention", "logits", "protocol")
    return {k: v if k in texts else json.loads(v) for k, v in description.items()}


def compare(path: Path, network: SEANet, sizes: list[tuple[int, int, int]]) -> None:
    for batch, height, width in sizes:
        generator = torch.Generator().manual_seed(height)
        images = 45 * torch.randn(batch, 3, height, width, generator=generator)
        with torch.no_grad():
            eager = network(images)
        outputs = run(path, images)
        assert set(outputs) == {"attention", "logits"}
        assert outputs["logits"].shape == (batch, 19, height // 8, width // 8)
        for name, expected in eager._asdict().items():
            tolerance = 1e-4 * expected.abs().max().item()
            np.testing.assert_allclose(outputs[name], expected.numpy(), rtol=0, atol=tolerance)


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that says nothing of itself, as the original's."""
    path = tmp_path_factory.mktemp("weights") / "teacher.pth"
    torch.save(reference_network(19).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> tuple[SEANet, Path]:
    """A small network of another variant whose file says so."""
    torch.manual_seed(0)
    network = SEANet(
        19, classifier_branches=4, use_attention=False, width=1 / 16, normalize_colors=True
    ).eval()
    network.requires_grad_(False)
    path = tmp_path_factory.mktemp("weights") / "ablation.pth"
    return network, save_network(path, network, CLASSES_19, (144, 72), "trains on a alone")


@pytest.fixture(scope="module", params=EXTENSIONS)
def exported(request: Any, checkpoint: Path) -> Path:
    if request.param == "onnx":
        pytest.importorskip("onnxscript")
    main([str(checkpoint), "--format", request.param, "--input-size", "144,72"])
    return checkpoint.with_suffix(EXTENSIONS[request.param])


def test_every_size_gives_the_eager_networks_output(exported: Path) -> None:
    compare(exported, reference_network(19), SIZES)


def test_the_file_says_what_the_images_must_be(exported: Path) -> None:
    description = read_description(exported)
    assert description["mean_bgr"] == list(MEAN_BGR)
    assert description["input_size"] == [144, 72]
    assert description["num_classes"] == 19
    assert "BGR" in description["images"]


@pytest.mark.parametrize("describes_itself", [True, False])
def test_the_variant_is_that_of_the_checkpoint_or_the_options(
    describes_itself: bool, ablation: tuple[SEANet, Path], tmp_path: Path
) -> None:
    network, path = ablation
    options: list[str] = []
    if not describes_itself:
        network = SEANet(19, classifier_branches=4, use_attention=False).eval()
        network.requires_grad_(False)
        path = tmp_path / "old.pth"
        torch.save(network.state_dict(), path)
        options = ["--no_attention", "--classifier-branches", "4"]
    output = tmp_path / "net.pt2"
    main([str(path), "--format", "torch_export", "--output", str(output), *options])
    compare(output, network, [(1, 40, 50)])
    description = read_description(output)
    assert description["input_size"] == ([144, 72] if describes_itself else [1024, 512])
    names, colors = CLASSES_19.names, [list(color) for color in CLASSES_19.colors]
    assert description["names"] == (list(names) if describes_itself else [])
    assert description["colors"] == (colors if describes_itself else [])
    assert description["protocol"] == ("trains on a alone" if describes_itself else "")


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["{folder}/no.pth"], "no.pth"),
        (["{folder}/notes.txt"], "notes.txt is not a checkpoint"),
        (["{checkpoint}", "--output", "{folder}/notes.txt"], "notes.txt exists"),
        (["{checkpoint}", "--output", "{folder}/none/net.pt2"], "none/net.pt2"),
        ([], "checkpoint"),
        (["{checkpoint}", "--classifier_branches", "5"], "--classifier_branches"),
        (["{checkpoint}", "--format", "tflite"], "tflite"),
        (["{ablation}", "--classifier_branches", "2"], "--classifier_branches contradicts"),
    ],
)
def test_a_mistake_ends_in_one_message(
    words: list[str], fragment: str, checkpoint: Path, ablation: tuple[SEANet, Path],
    tmp_path: Path, capsys: Capture,
) -> None:  # fmt: skip
    (tmp_path / "notes.txt").write_text("mine")
    places = {"folder": tmp_path, "checkpoint": checkpoint, "ablation": ablation[1]}
    given = [word.format(**places) for word in words]
    assert fragment in refusal(capsys, lambda: main(["--format", "torch_export", *given]))
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_a_full_disk_ends_in_one_message(
    ablation: tuple[SEANet, Path], tmp_path: Path, capsys: Capture
) -> None:
    given = [str(ablation[1]), "--format", "torch_export", "--output", str(tmp_path / "net.pt2")]
    with full_disk(after=5120):
        message = refusal(capsys, lambda: main(given))
    assert f"cannot write {tmp_path / 'net.pt2'}: " in message
    assert list(tmp_path.iterdir()) == []


def test_onnx_without_its_packages(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name)
    )
    given = [str(checkpoint), "--format", "onnx", "--output", str(tmp_path / "net.onnx")]
    message = refusal(capsys, lambda: main(given))
    assert "needs onnxscript\n  pip install onnx onnxscript" in message
    assert list(tmp_path.iterdir()) == []
