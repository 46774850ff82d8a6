"""Run a measurement; `python -m benchmarks NAME --help` lists its options.

python -m benchmarks speed       the project's speed against the original's
python -m benchmarks ablation    variants of an experiment, over several seeds
python -m benchmarks survival    killed and resumed runs against an unbroken one
"""

from __future__ import annotations

import sys

from benchmarks import ablation, speed, survival
from utils.command_line import Parser
from utils.errors import exit_on_error

MEASUREMENTS = {"speed": speed.main, "ablation": ablation.main, "survival": survival.main}


@exit_on_error()
def main() -> None:
    """Read the name of the measurement and run it."""
    parser = Parser(__doc__ or "")
    parser.prog = "python -m benchmarks"
    parser.add_argument("measurement", choices=MEASUREMENTS)
    name = parser.parse_args(sys.argv[1:2]).measurement
    sys.argv = [f"{parser.prog} {name}", *sys.argv[2:]]  # messages and --help name the measurement
    MEASUREMENTS[name](sys.argv[1:])


if __name__ == "__main__":
    main()
