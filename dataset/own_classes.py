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
import io
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dataset.description import Description, Layout
from dataset.labels import Color, LabelSpace
from utils.errors import UserError
from utils.files import read_input

LONGEST_FILE = 1_000_000  # bytes
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
        text = io.StringIO(read_input(path, LONGEST_FILE).decode("utf-8-sig"))
        return _own_classes(str(path), yaml.load(text, Loader=_Loader) or "")
    except UserError as error:
        remedy = "correct it; dataset/own_classes.py documents such files, with an example"
        raise UserError(f"{path}, {error}\n  {remedy}") from None
    except (OSError, ValueError, yaml.YAMLError, RecursionError) as error:
        reason = " ".join(getattr(error, "strerror", str(error)).split())
        reason = reason.replace('in "<file>", ', "at ")
        remedy = "give --classes a YAML file in UTF-8: each key once, indented by spaces"
        raise UserError(f"cannot read {path}: {reason}\n  {remedy}") from None


class _Loader(yaml.BaseLoader):
    """Reads every value as text, so that a class may be called `on` and 010 is not taken for 8."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that is given twice, which YAML's own loaders accept."""
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            keys = [key.value for key, _ in node.value]
            twice = next(key for key in keys if keys.count(key) > 1)
            raise yaml.MarkedYAMLError(f"the key {twice} is given twice", node.start_mark)
        return mapping


def _own_classes(path: str, content: Any) -> OwnClasses:
    sections = _mapping(content, "the file", ("classes", *DOMAINS), needed=("classes",))
    classes = _mapping(sections["classes"], "classes")
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise UserError(f"classes: {len(classes)} instead of 2 to {MOST_CLASSES}")
    colors: dict[str, Color] = {}
    ids: dict[str, dict[str, tuple[int, ...]]] = {domain: {} for domain in DOMAINS}
    for name, described in classes.items():
        key = f"classes.{name}"
        if name != name:
            raise UserError(f"{key}: a character in the name that cannot be printed")
        values = _mapping(described, key, ("color", *DOMAINS), needed=("color", "source"))
        color = _numbers(values.pop("color"), f"{key}.color", 255)
        if len(color) != 3:
            raise UserError(f"{key}.color: {len(color)} numbers instead of red, green and blue")
        colors[name] = color[0], color[1], color[2]
        for domain, value in values.items():
            ids[domain][name] = _numbers(value, f"{key}.{domain}", HIGHEST_ID)
    _check_unique({name: [color] for name, color in colors.items()}, "color")
    for domain in DOMAINS:
        _check_unique(ids[domain], domain)
    layouts = {key: _layout(value, key) for key, value in sections.items() if key in DOMAINS}
    return OwnClasses(path, LabelSpace(tuple(colors), tuple(colors.values())), ids, layouts)


def _mapping(
    value: Any, key: str, known: Sequence[str] = (), needed: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a mapping after checking its keys."""
    if not isinstance(value, dict):
        raise UserError(f"{key}: {_shown(value)} instead of keys with values")
    for name in value:
        if known and name not in known:
            unknown = name
            raise UserError(f"{key}: unknown key {unknown}; known are {', '.join(known)}")
    for name in needed:
        if name not in value:
            raise UserError(f"{key}: the key {name} is missing")
    return value


def _numbers(value: Any, key: str, highest: int) -> tuple[int, ...]:
    """Return the whole numbers of a list, or the only one."""
    texts = value if isinstance(value, list) else [value]
    for text in texts:
        decimal = isinstance(text, str) and re.fullmatch("0|[1-9][0-9]{0,4}", text)
        if not decimal or int(text) > highest:
            raise UserError(f"{key}: {_shown(text)} instead of a whole number from 0 to {highest}")
    return tuple(int(text) for text in texts)


def _check_unique(values: Mapping[str, Iterable[Any]], key: str) -> None:
    owners: dict[Any, str] = {}
    for name, own in values.items():
        for value in own:
            owner = owners.setdefault(value, name)
            if owner != name:
                raise UserError(f"classes.{name}.{key}: {value} is given to {owner} already")


def _layout(value: Any, section: str) -> Layout:
    known = [field.name for field in dataclasses.fields(Layout)]
    texts = _mapping(value, section, known, needed=("images", "labels"))
    for name, text in texts.items():
        if not isinstance(text, str):
            raise UserError(f"{section}.{name}: {_shown(text)} instead of text")
        if text != text:
            raise UserError(
                f"{section}.{name}: {_shown(text)} has a character that cannot be printed"
            )
    layout = Layout(**texts)
    if (layout.images, layout.image_suffix) == (layout.labels, layout.label_suffix):
        raise UserError(f"{section}.labels: the same files as the images")
    return layout


def _shown(value: Any) -> str:
    return repr(value[:40]) if isinstance(value, str) else f"a {type(value).__name__}"
