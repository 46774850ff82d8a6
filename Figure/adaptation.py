"""Draw Figure/adaptation.png: the scores of benchmarks/README.md, "Adaptation".

python -m Figure.adaptation
"""

import statistics
from pathlib import Path

from matplotlib.figure import Figure

# Target mIoU of the final teacher in %: as the tables give it, and with seeds 0, 1 and 2.
SCORES = {
    "CARLA to CamVid, from random weights": {
        "source only": ("14.6 ± 0.7", 14.0, 15.4, 14.3),
        "SEAN": ("14.6 ± 0.7", 14.0, 15.3, 14.5),
        "source only, --augment": ("20.5 ± 1.8", 19.9, 19.0, 22.5),
        "SEAN, --augment": ("20.6 ± 1.6", 19.3, 20.1, 22.4),
        "SEAN, --augment --color_matching": ("20.5 ± 0.7", 21.1, 19.8, 20.5),
        "oracle": ("27.1 ± 0.3", 27.3, 27.2, 26.7),
    },
    "CARLA to CamVid, from a pretrained VGG-16": {
        "source only": ("16.2 ± 1.5", 15.9, 17.9, 14.9),
        "SEAN": ("15.7 ± 1.3", 14.4, 17.0, 15.6),
        "source only, --augment": ("24.5 ± 0.8", 23.7, 24.5, 25.3),
        "SEAN, --augment": ("24.2 ± 0.9", 23.4, 24.0, 25.1),
        "SEAN, --augment --color_matching": ("24.8 ± 1.7", 25.9, 25.6, 22.8),
        "oracle": ("41.6 ± 1.6", 42.5, 39.8, 42.6),
    },
    "CamVid, day to dusk, from random weights": {
        "source only": ("17.2 ± 1.0", 17.8, 17.6, 16.0),
        "SEAN": ("16.8 ± 1.4", 17.9, 17.3, 15.3),
        "SEAN, --color_matching": ("23.5 ± 0.4", 23.9, 23.1, 23.6),
        "oracle": ("25.5 ± 0.1", 25.6, 25.4, 25.6),
    },
}


def main() -> None:
    """Draw a dot for each seed, and mean and standard deviation over the seeds."""
    rows = [len(variants) for variants in SCORES.values()]
    figure = Figure(figsize=(8, 0.36 * sum(rows) + 0.6 * len(rows)), dpi=200, layout="constrained")
    panels = figure.subplots(len(rows), sharex=True, height_ratios=rows)
    for index, (title, variants) in enumerate(SCORES.items()):
        axes, color = panels[index], f"C{index}"
        axes.set_title(title, size=11, weight="bold", loc="left")
        for row, (label, *values) in enumerate(variants.values()):
            mean, spread = statistics.mean(values), statistics.stdev(values)
            axes.plot(values, [row] * len(values), "o", color=color, alpha=0.4, markersize=5)
            axes.errorbar(mean, row, xerr=spread, fmt="|", color=color, capsize=4, markersize=14)
            place = max(*values, mean + spread) + 0.4
            axes.text(place, row, label, color=color, va="center")
        axes.set_yticks(range(len(variants)), list(variants))
        axes.set_ylim(len(variants) - 0.5, -0.5)
        axes.grid(axis="x", color="0.9")
        axes.tick_params(length=0)
        axes.spines[["top", "right", "left"]].set_visible(False)
    panels[-1].set_xlabel("target mIoU, %: one dot a seed, mean ± standard deviation")
    figure.savefig(Path(__file__).with_suffix(".png"))


if __name__ == "__main__":
    main()
