"""Own classes: a YAML file with their names, colors and label ids, and the folders of the data.

    classes:                            # in the order of the train ids
      road:
        color: [128, 64, 128]
        source: 1                       # one label id or several
        target: [7, 8]                  # leave it out if the target's label maps lack the class
      sky: {color: [70, 130, 180], source: [4, 5], target: 23}
    source:                             # folders within --data_dir_source
      images: renders/rgb
      labels: renders/ids
    target:
      images: photos/{split}            # {split} stands for train, val or test
      labels: ids/{split}
      image_suffix: _photo              # photos/val/SCENE_photo.jpg belongs to
      label_suffix: _ids                # ids/val/SCENE_ids.png

Without ``source`` (or ``target``), the folders are those of the script's own data set, or
``images`` and ``labels``. Label ids that the file does not name are ignored.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dataset.labels import Color, LabelSpace
from dataset.segmentation_dataset import Description, Layout
from utils.errors import UserError

MOST_CLASSES = 255  # train ids are stored in 8 bits, and one value means "ignored"
HIGHEST_ID = 2**16 - 1  # in a 16-bit label map
DOMAINS = ("source", "target")


class OwnClasses(NamedTuple):
    """The content of a classes file."""

    path: str
    label_space: LabelSpace
    label_ids: Mapping[str, Mapping[str, tuple[int, ...]]]  # domain -> class name -> label ids
    layouts: Mapping[str, Layout]  # domain -> its folders, if the file states them

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.label_space.num_classes

    def describe(self, description: Description) -> Description:
        """Return the description of a source or target with these classes, ids and folders."""
        domain = "target" if description.is_target else "source"
        known = dict.fromkeys((*description.layouts, Layout("images", "labels")))
        return dataclasses.replace(
            description,
            layouts=(self.layouts[domain],) if domain in self.layouts else tuple(known),
            label_space=self.label_space,
            label_ids=self.label_ids[domain],
            guide=self.path,
        )


def read_classes(path: str | Path) -> OwnClasses:
    """Read and check a classes file.

    Raises:
        UserError: the file cannot be read or has a mistake; the message names the file and key.
    """
    try:
        return _own_classes(str(path), yaml.safe_load(Path(path).read_text("utf-8-sig")))
    except UserError as error:
        remedy = "correct it; dataset/own_classes.py documents such files, with an example"
        raise UserError(f"{path}, {error}\n  {remedy}") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(getattr(error, "strerror", str(error)).split())
        remedy = "give --classes a YAML file in UTF-8, indented by spaces"
        raise UserError(f"cannot read {path}: {reason}\n  {remedy}") from None


def _own_classes(path: str, content: Any) -> OwnClasses:
    _check_keys(content, "the file", ("classes",), ("classes", *DOMAINS))
    _check_keys(content["classes"], "classes")
    colors: dict[str, Color] = {}
    ids: dict[str, dict[str, tuple[int, ...]]] = {domain: {} for domain in DOMAINS}
    owners: dict[Any, str] = {}
    for name, values in content["classes"].items():
        key = f"classes.{name}"
        _check_keys(values, key, ("color", "source"), ("color", *DOMAINS))
        color = _numbers(values["color"], f"{key}.color", 255)
        _need(len(color) == 3, f"{key}.color: {len(color)} numbers instead of red, green and blue")
        colors[name] = color[0], color[1], color[2]
        owned: list[tuple[str, Any]] = [("color", color)]
        for domain in [domain for domain in DOMAINS if domain in values]:
            ids[domain][name] = _numbers(values[domain], f"{key}.{domain}", HIGHEST_ID)
            owned += [(domain, label_id) for label_id in ids[domain][name]]
        for kind, value in owned:
            owner = owners.setdefault((kind, value), name)
            _need(owner == name, f"{key}.{kind}: {value} is given to {owner} already")
    _need(2 <= len(colors) <= MOST_CLASSES, f"classes: {len(colors)} instead of 2 to 255")
    layouts = {domain: _layout(content[domain], domain) for domain in DOMAINS if domain in content}
    return OwnClasses(path, LabelSpace(tuple(colors), tuple(colors.values())), ids, layouts)


def _need(condition: bool, problem: str) -> None:
    if not condition:
        raise UserError(problem)


def _check_keys(
    value: Any, key: str, needed: Sequence[str] = (), known: Sequence[str] = ()
) -> None:
    _need(isinstance(value, dict), f"{key}: {value!r:.40} instead of keys with values")
    for name in value:  # YAML takes on, yes and 1 for truth values and numbers
        _need(isinstance(name, str), f"{key}: the key {name!r} is no text; put it in quotes")
        unknown = f"unknown key {name}; known are {', '.join(known)}"
        _need(not known or name in known, f"{key}: {unknown}")
    for name in needed:
        _need(name in value, f"{key}: the key {name} is missing")


def _numbers(value: Any, key: str, highest: int) -> tuple[int, ...]:
    """Return the whole numbers of a list, or the only one."""
    numbers = value if isinstance(value, list) else [value]
    for number in numbers:
        problem = f"{key}: {number!r:.40} instead of a whole number, 0 to {highest}"
        _need(type(number) is int and 0 <= number <= highest, problem)
    return tuple(numbers)


def _layout(value: Any, section: str) -> Layout:
    known = [field.name for field in dataclasses.fields(Layout)]
    _check_keys(value, section, ("images", "labels"), known)
    for name, text in value.items():
        _need(isinstance(text, str), f"{section}.{name}: {text!r:.40} is no text; put it in quotes")
    layout = Layout(**value)
    same = (layout.images, layout.image_suffix) == (layout.labels, layout.label_suffix)
    _need(not same, f"{section}.labels: the same files as the images")
    return layout
