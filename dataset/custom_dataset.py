"""Own classes: a YAML file with their names, colors and label ids, and where the files lie.

    classes:                            # in the order of the train ids
      road:
        color: [128, 64, 128]
        source: 1                       # one label id or several
        target: [7, 8]                  # left out where the target's label maps lack the class
      sky: {color: [70, 130, 180], source: [4, 5], target: 23}
    source:                             # folders within --data_dir_source
      images: renders/rgb
      labels: renders/ids
    target:
      images: photos/{split}            # {split} stands for train, val or test
      labels: ids/{split}
      image_suffix: _photo              # photos/val/SCENE_photo.jpg belongs to
      label_suffix: _ids                # ids/val/SCENE_ids.png

Without ``source`` (or ``target``) the files lie as in the script's own data set, or in ``images``
and ``labels``. Label ids that the file does not name are ignored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

from dataset.checked_yaml import CheckedYaml, Entry
from dataset.labels import Color, LabelSpace
from dataset.layout import Layout
from dataset.segmentation_dataset import SegmentationDataset

MOST_CLASSES = 255  # train ids are stored in 8 bits, of which one value means "ignored"
HIGHEST_ID = 2**16 - 1  # of a 16-bit label map
DOMAINS = ("source", "target")


class Domain(NamedTuple):
    """What the file says of one data set.

    Attributes:
        classes: names and colors.
        label_ids: class name -> label ids in this data set's files.
        layout: where its files lie; None as the script's own data set keeps them.
    """

    classes: LabelSpace
    label_ids: Mapping[str, tuple[int, ...]]
    layout: Layout | None

    def data_set(self, base: type[SegmentationDataset]) -> type[SegmentationDataset]:
        """Make a data set with these classes, ids and folders, and all else from ``base``."""
        layouts = (self.layout,) if self.layout else (*base.layouts, Layout("images", "labels"))
        attributes = {
            "label_space": self.classes,
            "label_ids": self.label_ids,
            "layouts": tuple(dict.fromkeys(layouts)),
            # The class is made while the program runs, and pickle cannot find it by its name.
            "__reduce__": lambda dataset: (_unpickle, (self, base), vars(dataset)),
        }
        made: Any = type(f"Own{base.__name__}", (base,), attributes)
        return made


def _unpickle(domain: Domain, base: type[SegmentationDataset]) -> SegmentationDataset:
    kind = domain.data_set(base)
    return kind.__new__(kind)


class OwnClasses(NamedTuple):
    """What the file says of both data sets, which have the same classes."""

    source: Domain
    target: Domain

    @property
    def meaning(self) -> str:
        """What makes another training if it changes: everything but the colors."""
        domains = [(domain.label_ids, domain.layout) for domain in self]
        return repr((self.source.classes.names, domains))


def read_classes(path: Path) -> OwnClasses:
    """Read and check the file.

    Raises:
        UserError: it cannot be read, or has a mistake: the message names its line and key.
    """
    file = CheckedYaml(path, "--classes")
    sections = file.entries(file.root, ("classes", *DOMAINS), needed=("classes",))
    described = file.entries(sections["classes"])
    if not 2 <= len(described) <= MOST_CLASSES:
        few = len(described) < 2
        odd = sections["classes"] if few else list(described.values())[MOST_CLASSES]
        problem = "1 class" if len(described) == 1 else f"{len(described)} classes"
        raise file.mistake(odd.key, odd.place, problem, f"give 2 to {MOST_CLASSES} classes")
    colors: dict[Color, str] = {}
    ids: dict[str, dict[str, tuple[int, ...]]] = {domain: {} for domain in DOMAINS}
    owners: dict[tuple[str, int], str] = {}
    for name, entry in described.items():
        if not name.strip() or not name.isprintable():
            raise file.mistake(entry.key, entry.place, "no name", "use printable characters")
        values = file.entries(entry, ("color", *DOMAINS), needed=("color", "source"))
        colors[_color(file, values.pop("color"), colors)] = name
        for domain, value in values.items():
            ids[domain][name] = _label_ids(file, value, name, domain, owners)
    classes = LabelSpace(tuple(described), tuple(colors))
    layouts = {
        domain: _layout(file, sections[domain]) if domain in sections else None
        for domain in DOMAINS
    }
    return OwnClasses(*(Domain(classes, ids[domain], layouts[domain]) for domain in DOMAINS))


def _color(file: CheckedYaml, entry: Entry, owners: Mapping[Color, str]) -> Color:
    """A class's color; ``owners`` holds the classes of the colors that are taken."""
    numbers = [number for number, _ in file.numbers(entry, 255)]
    if len(numbers) != 3:
        problem = f"{len(numbers)} number(s) instead of 3"
        remedy = "give red, green and blue, as [128, 64, 128]"
        raise file.mistake(entry.value, entry.place, problem, remedy)
    color = numbers[0], numbers[1], numbers[2]
    if color in owners:
        problem = f"the color {list(color)} is given to {owners[color]} already"
        raise file.mistake(entry.value, entry.place, problem, "a color belongs to one class")
    return color


def _label_ids(
    file: CheckedYaml, entry: Entry, name: str, domain: str, owners: dict[tuple[str, int], str]
) -> tuple[int, ...]:
    """A class's label ids; ``owners`` holds, and is given, the class of each id of a domain."""
    numbers = file.numbers(entry, HIGHEST_ID)
    if not numbers:
        remedy = f"give at least one, or leave {domain} out if its label maps lack the class"
        raise file.mistake(entry.value, entry.place, "no label id", remedy)
    for number, node in numbers:
        if (domain, number) in owners:
            problem = f"label id {number} is given to {owners[domain, number]} already"
            raise file.mistake(node, entry.place, problem, "an id belongs to one class, once")
        owners[domain, number] = name
    return tuple(number for number, _ in numbers)


def _layout(file: CheckedYaml, section: Entry) -> Layout:
    known = [field.name for field in dataclasses.fields(Layout)]
    entries = file.entries(section, known, needed=("images", "labels"))
    texts = {name: file.string(entry) for name, entry in entries.items()}
    for name, text in texts.items():
        path, entry = PurePosixPath(text), entries[name]
        if "{" in text.replace("{split}", "") or "}" in text.replace("{split}", ""):
            remedy = "{split} is replaced by train, val or test, and nothing else"
            raise file.mistake(entry.value, entry.place, "other braces than {split}", remedy)
        if path.is_absolute() or ".." in path.parts or ":" in text:
            remedy = f"give a path within the folder of --data_dir_{section.place}"
            raise file.mistake(entry.value, entry.place, f"{text} leaves the data folder", remedy)
    layout = Layout(**texts)
    if (layout.images, layout.image_suffix) == (layout.labels, layout.label_suffix):
        entry = entries["labels"]
        remedy = "give another folder, or suffixes that tell them apart"
        raise file.mistake(entry.value, entry.place, "the same files as images", remedy)
    return layout
