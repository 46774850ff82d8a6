"""Run a measurement; `python -m benchmarks NAME --help` lists its options.

python -m benchmarks speed       the project's speed compared with the original's
python -m benchmarks ablation    variants of an experiment, over several seeds
"""

import sys

from benchmarks import ablation, speed
from utils.command_line import Parser
from utils.errors import exit_on_error


@exit_on_error()
def main() -> None:
    """Read the name of the measurement and run it."""
    measurements = {"speed": speed.main, "ablation": ablation.main}
    parser = Parser(__doc__ or "")
    parser.prog = "python -m benchmarks"
    parser.add_argument("measurement", choices=measurements)
    name = parser.parse_args(sys.argv[1:2]).measurement
    sys.argv[0] = f"{parser.prog} {name}"  # messages and --help name the measurement
    measurements[name](sys.argv[2:])


if __name__ == "__main__":
    main()
