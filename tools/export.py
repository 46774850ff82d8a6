"""Export a checkpoint for programs without this code, with batch and image size left open.

    python -m tools.export Snap/GTA_TeacherNet.pth --format onnx
    python -m tools.export Snap/GTA_TeacherNet.pth --format torch_export --output sean.pt2

The file says what its inputs must be: in ONNX's metadata, or in description.json within a .pt2.
"""

import io
import json
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.export import Dim

from model.checkpoint import CheckpointInfo, load_network
from model.SEAN import MEAN_BGR, SEANet
from utils.command_line import Parser, integer, size, spellings
from utils.errors import UserError, exit_on_error
from utils.files import whole_file

EXTENSIONS = {"onnx": ".onnx", "torch_export": ".pt2"}


class NamedOutputs(nn.Module):
    """A network with its outputs in a dictionary, so that readers need none of our classes."""

    def __init__(self, network: SEANet) -> None:
        super().__init__()
        self.network = network

    def forward(self, images: Tensor) -> dict[str, Tensor]:  # noqa: D102
        return self.network(images)._asdict()


def export(network: SEANet, format: str, info: CheckpointInfo) -> bytes:
    """Return a network as a file that says what its user needs to know."""
    description: dict[str, Any] = {
        "images": "float32, (batch, 3, height, width): BGR, 0..255, minus mean_bgr; from 16x16 on",
        "mean_bgr": MEAN_BGR,
        "attention": "float32, (batch, 1, height // 8, width // 8), in 0..1",
        "logits": "float32, (batch, num_classes, height // 8, width // 8): resize bilinearly to "
        "the picture's size, corners not aligned; the largest is the class",
        "num_classes": network.num_classes,
        **{name: getattr(info, name) for name in ("input_size", "names", "colors", "protocol")},
    }
    module = NamedOutputs(network).eval().requires_grad_(False)
    example = torch.zeros(2, 3, 64, 96)  # a size of 1 would be taken for a constant
    if format == "torch_export":
        dynamic = dict.fromkeys((0, 2, 3), Dim.DYNAMIC)
        program = torch.export.export(module, (example,), dynamic_shapes={"images": dynamic})
        file = io.BytesIO()  # PyTorch's writer aborts the process when a write fails
        torch.export.save(program, file, extra_files={"description.json": json.dumps(description)})
        return file.getvalue()
    import onnx

    exported = torch.onnx.export(
        module, (example,), input_names=["images"], output_names=["attention", "logits"],
        dynamic_shapes={"images": {0: "batch", 2: "height", 3: "width"}},
        dynamo=True, external_data=False, verbose=False,
    )  # fmt: skip
    assert exported is not None  # None only if a file name is given
    graph = exported.model_proto
    notes = {k: v if isinstance(v, str) else json.dumps(v) for k, v in description.items()}
    onnx.helper.set_model_props(graph, notes)
    return graph.SerializeToString()


@exit_on_error()
def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and export."""
    parser = Parser(__doc__ or "")
    parser.add_argument("checkpoint", help="file written by training, or by the original")
    parser.add_argument("--format", choices=EXTENSIONS, required=True)
    parser.add_argument("--output", type=Path, help="default: the checkpoint's name, .onnx or .pt2")
    add = parser.add_argument_group("for checkpoints that do not describe themselves").add_argument
    add(*spellings("input_size"), type=size, metavar="W,H", help="default: 1024,512")
    add(*spellings("classifier_branches"), type=integer(1, 4), metavar="N", help="default: 2")
    options = parser.parse_args(arguments)
    if options.format == "onnx" and not (find_spec("onnx") and find_spec("onnxscript")):
        raise UserError("--format onnx needs more packages\n  pip install onnx onnxscript")
    given = {"branches": options.classifier_branches, "input_size": options.input_size}
    network, info = load_network(options.checkpoint, **given)
    output = options.output or Path(options.checkpoint).with_suffix(EXTENSIONS[options.format])
    if output.exists():
        raise UserError(f"{output} exists\n  choose another --output, or remove it")
    with whole_file(output) as file:
        file.write(export(network, options.format, info))
    print(f"{output}: {network.num_classes} classes, {output.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
