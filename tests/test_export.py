"""Exported networks against the eager one, at batch and image sizes that were not traced."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor

from dataset.labels import CLASSES_19
from dataset.transforms import MEAN_BGR
from model.checkpoint import CheckpointInfo, released
from model.export import EXTENSIONS, main
from model.SEAN import SEANet
from tests.reference import reference_network
from utils.files import save_tensors

# The smallest allowed, multiples of 8 and others, odd numbers of cells; 64x96 is what is traced.
SIZES = [(1, 16, 16), (1, 64, 96), (3, 75, 133), (2, 41, 24), (1, 24, 200)]

Run = Callable[[Tensor], dict[str, np.ndarray]]


def run_onnx(path: Path) -> Run:
    onnxruntime = pytest.importorskip("onnxruntime")
    settings = onnxruntime.SessionOptions()
    settings.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(path, settings)
    names = [output.name for output in session.get_outputs()]

    def run(images: Tensor) -> dict[str, np.ndarray]:
        return dict(zip(names, session.run(None, {"images": images.numpy()}), strict=True))

    return run


def run_torch(path: Path) -> Run:
    module = torch.export.load(path).module()

    def run(images: Tensor) -> dict[str, np.ndarray]:
        outputs = module(images)
        assert type(outputs) is dict
        return {name: value.numpy() for name, value in outputs.items()}

    return run


READERS = {"onnx": run_onnx, "torch_export": run_torch}


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A file that says nothing of itself, as the original's."""
    path = tmp_path_factory.mktemp("weights") / "teacher.pth"
    torch.save(reference_network(19).state_dict(), path)
    return path


@pytest.fixture(scope="module")
def ablation(tmp_path_factory: pytest.TempPathFactory) -> tuple[SEANet, Path]:
    """A small network without attention whose file says so."""
    torch.manual_seed(0)
    network = SEANet(19, classifier_branches=4, use_attention=False, width=1 / 16).eval()
    network.requires_grad_(False)
    space = CLASSES_19
    info = CheckpointInfo.of(network, space.names, space.colors, (144, 72), "trains on a alone")
    path = tmp_path_factory.mktemp("weights") / "ablation.pth"
    save_tensors(path, released(network, info))
    return network, path


@pytest.fixture(scope="module", params=EXTENSIONS)
def exported(request: Any, checkpoint: Path) -> tuple[str, Path]:
    if request.param == "onnx":
        pytest.importorskip("onnxscript")
    main([str(checkpoint), "--format", request.param, "--input-size", "144,72"])
    return request.param, checkpoint.with_suffix(EXTENSIONS[request.param])


def compare(run: Run, network: SEANet, batch: int, height: int, width: int) -> None:
    generator = torch.Generator().manual_seed(height)
    images = 45 * torch.randn(batch, 3, height, width, generator=generator)
    with torch.no_grad():
        eager = network(images)
    outputs = run(images)
    assert set(outputs) == {"attention", "logits"}
    assert outputs["logits"].shape == (batch, 19, height // 8, width // 8)
    for name, expected in eager._asdict().items():
        tolerance = 1e-4 * expected.abs().max().item()
        np.testing.assert_allclose(outputs[name], expected.numpy(), rtol=0, atol=tolerance)


def test_every_size_gives_the_eager_networks_output(exported: tuple[str, Path]) -> None:
    format, path = exported
    run = READERS[format](path)
    for size in SIZES:
        compare(run, reference_network(19), *size)


def test_the_file_says_what_the_images_must_be(exported: tuple[str, Path]) -> None:
    format, path = exported
    if format == "onnx":
        onnx = pytest.importorskip("onnx")
        graph = onnx.load(path)
        onnx.checker.check_model(graph)
        description = {entry.key: entry.value for entry in graph.metadata_props}
        for name in ("mean_bgr", "input_size", "num_classes"):
            description[name] = json.loads(description[name])
        shapes = {
            value.name: [
                axis.dim_param or axis.dim_value for axis in value.type.tensor_type.shape.dim
            ]
            for value in (*graph.graph.input, *graph.graph.output)
        }
        assert shapes["images"] == ["batch", 3, "height", "width"]
        assert list(shapes) == ["images", "attention", "logits"]
        assert shapes["logits"][:2] == ["batch", 19]
    else:
        extra = {"description.json": ""}
        torch.export.load(path, extra_files=extra)
        description = json.loads(extra["description.json"])
    assert description["mean_bgr"] == list(MEAN_BGR)
    assert description["input_size"] == [144, 72]
    assert description["num_classes"] == 19
    assert "BGR" in description["images"]


def test_a_file_that_describes_itself_needs_no_options(
    ablation: tuple[SEANet, Path], tmp_path: Path
) -> None:
    network, path = ablation
    output = tmp_path / "ablation.pt2"
    main([str(path), "--format", "torch_export", "--output", str(output)])
    compare(run_torch(output), network, 1, 40, 50)
    extra = {"description.json": ""}
    torch.export.load(output, extra_files=extra)
    description = json.loads(extra["description.json"])
    assert description["input_size"] == [144, 72]
    assert description["names"] == list(CLASSES_19.names)
    assert description["colors"] == [list(color) for color in CLASSES_19.colors]
    assert description["protocol"] == "trains on a alone"


def test_options_serve_files_that_do_not(tmp_path: Path) -> None:
    pytest.importorskip("onnxscript")
    reference = reference_network(19)
    network = SEANet(19, classifier_branches=4, use_attention=False).eval()
    network.load_state_dict(reference.state_dict())
    torch.save(network.state_dict(), tmp_path / "old.pth")
    options = ["--no_attention", "--classifier-branches", "4"]
    main([str(tmp_path / "old.pth"), "--format", "onnx", *options])
    compare(run_onnx(tmp_path / "old.onnx"), network, 1, 40, 50)


@pytest.mark.parametrize(
    ("words", "fragment"),
    [
        (["{folder}/no.pth"], "no.pth"),
        (["{folder}/notes.txt"], "notes.txt is not a checkpoint"),
        (["{checkpoint}", "--output", "{folder}/notes.txt"], "notes.txt exists"),
        (["{checkpoint}", "--output", "{folder}/none/net.pt2"], "none/net.pt2"),
        (["{checkpoint}", "--output", "{checkpoint}/net.pt2"], "teacher.pth/net.pt2"),
        (["{checkpoint}", "--output", "{folder}/" + 300 * "a"], "cannot write"),
        (["{checkpoint}", "--output", "/"], "/ exists"),
        (["/"], "no checkpoint /"),
        ([""], "no checkpoint"),
        (["{checkpoint}", "--classifier_branche", "2"], "--classifier_branche"),
        ([], "checkpoint"),
        (["{checkpoint}", "--classifier_branches", "5"], "--classifier_branches"),
        (["{checkpoint}", "--format", "tflite"], "tflite"),
        (["{ablation}", "--classifier_branches", "2"], "--classifier_branches contradicts"),
        (["{ablation}", "--input_size", "64,32"], "--input_size contradicts"),
    ],
)
def test_a_mistake_ends_in_one_message(
    words: list[str],
    fragment: str,
    checkpoint: Path,
    ablation: tuple[SEANet, Path],
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (tmp_path / "notes.txt").write_text("mine")
    places = {"folder": tmp_path, "checkpoint": checkpoint, "ablation": ablation[1]}
    given = [word.format(**places) for word in words]
    with pytest.raises(SystemExit) as ended:
        main(["--format", "torch_export", *given])
    assert ended.value.code == 2
    errors = capsys.readouterr().err
    assert errors.startswith("error: ")
    assert errors.count("error: ") == 1
    assert "\n  " in errors, "no remedy"
    assert fragment in errors
    assert [path.name for path in tmp_path.iterdir()] == ["notes.txt"]
    assert (tmp_path / "notes.txt").read_text() == "mine"


def test_onnx_without_its_packages(
    checkpoint: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(
        importlib.util, "find_spec", lambda name: None if name == "onnxscript" else find(name)
    )
    with pytest.raises(SystemExit) as ended:
        main([str(checkpoint), "--format", "onnx", "--output", str(tmp_path / "net.onnx")])
    assert ended.value.code == 2
    assert "needs onnxscript\n  pip install onnx onnxscript" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_a_failed_export_leaves_no_file(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(torch.export, "export", stop)
    with pytest.raises(SystemExit) as ended:
        main([str(checkpoint), "--format", "torch_export", "--output", str(tmp_path / "net.pt2")])
    assert ended.value.code == 130
    assert list(tmp_path.iterdir()) == []
