"""Export a checkpoint for programs without this code, with batch and image size left open.

    python -m tools.export Snap/GTA_TeacherNet.pth --format onnx
    python -m tools.export Snap/GTA_TeacherNet.pth --format torch_export --output sean.pt2

The graph is the network alone. What the images must be is written into the file (`describe`).
"""

from __future__ import annotations

import importlib.util
import io
import json
import os
from collections.abc import Sequence
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

    def forward(self, images: Tensor) -> dict[str, Tensor]:
        """Map (B, 3, H, W) to ``attention``, (B, 1, h, w), and ``logits``, (B, C, h, w)."""
        return self.network(images)._asdict()


def describe(network: SEANet, info: CheckpointInfo) -> dict[str, Any]:
    """Return what a user of the exported file needs to know, as it is stored in the file."""
    return {
        "images": "float32, (batch, 3, height, width), gray levels 0..255 in the order BGR minus "
        "mean_bgr, not scaled; height and width are 16 or more",
        "mean_bgr": MEAN_BGR,
        "input_size": info.input_size,
        "attention": "float32, (batch, 1, height // 8, width // 8), in 0..1",
        "logits": "float32, (batch, num_classes, height // 8, width // 8): resize bilinearly to "
        "the picture's size, corners not aligned; the largest is the class",
        "num_classes": network.num_classes,
        "names": info.names,
        "colors": info.colors,
        "protocol": info.protocol,
    }


def export(network: SEANet, format: str, description: dict[str, Any]) -> bytes:
    """Return a network as a file: of ONNX, or of ``torch_export``, for torch.export.load.

    The description is metadata of an ONNX file, in JSON except for texts, or description.json in a
    .pt2. The network is set to evaluation mode, its parameters frozen.
    """
    module = NamedOutputs(network).eval().requires_grad_(False)
    example = torch.zeros(2, 3, 64, 96)  # a size of 1 would be taken for a constant
    if format == "torch_export":
        dynamic = {0: Dim.DYNAMIC, 2: Dim.DYNAMIC, 3: Dim.DYNAMIC}
        program = torch.export.export(module, (example,), dynamic_shapes={"images": dynamic})
        content = io.BytesIO()  # PyTorch's writer aborts the process when a write fails
        extra = {"description.json": json.dumps(description)}
        torch.export.save(program, content, extra_files=extra)
        return content.getvalue()
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
    about = "trained with --no_attention, --source_only or --oracle"
    add(
        *spellings("no_attention"), dest="attention", action="store_false", default=None, help=about
    )
    options = parser.parse_args(arguments)
    variant = (options.classifier_branches, options.attention, options.input_size)
    network, info = load_network(options.checkpoint, None, *variant)
    output = options.output or Path(options.checkpoint).with_suffix(EXTENSIONS[options.format])
    missing = [name for name in ("onnx", "onnxscript") if importlib.util.find_spec(name) is None]
    if options.format == "onnx" and missing:
        raise UserError(f"--format onnx needs {missing[0]}\n  pip install onnx onnxscript")
    if os.path.lexists(output):
        raise UserError(f"{output} exists\n  choose another --output, or remove it")
    with whole_file(output) as file:
        file.write(export(network, options.format, describe(network, info)))
    print(f"{output}: {network.num_classes} classes, {output.stat().st_size / 1e6:.0f} MB")


if __name__ == "__main__":
    main()
