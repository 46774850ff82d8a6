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
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import yaml

from dataset.description import Description, Layout, leaves_folder
from dataset.labels import LabelSpace
from utils.errors import UserError

MOST_CLASSES = 255  # train ids are stored in 8 bits, and one value means "ignored"
HIGHEST_ID = 2**16 - 1  # in a 16-bit label map
DOMAINS = ("source", "target")


class OwnClasses(NamedTuple):
    """The content of a classes file.

    Attributes:
        label_space: names and colors of the classes.
        label_ids: "source" and "target" -> class name -> label ids.
        layouts: the folders of "source" and "target", if the file states them.
    """

    label_space: LabelSpace
    label_ids: Mapping[str, Mapping[str, tuple[int, ...]]]
    layouts: Mapping[str, Layout]

    @property
    def num_classes(self) -> int:
        """Number of classes."""
        return self.label_space.num_classes

    @property
    def meaning(self) -> str:
        """All that the training depends on: everything but the colors."""
        domains = [(self.label_ids[domain], self.layouts.get(domain)) for domain in DOMAINS]
        return repr((self.label_space.names, domains))

    def describe(self, description: Description) -> Description:
        """Return the description of a source or target with these classes, ids and folders."""
        domain = "target" if description.is_target else "source"
        known = dict.fromkeys((*description.layouts, Layout("images", "labels")))
        return dataclasses.replace(
            description,
            layouts=(self.layouts[domain],) if domain in self.layouts else tuple(known),
            label_space=self.label_space,
            label_ids=self.label_ids[domain],
        )


def read_classes(path: str | Path) -> OwnClasses:
    """Read and check a classes file.

    Raises:
        UserError: the file cannot be read or has a mistake; the message names the file and key.
    """
    try:
        content = yaml.load(Path(path).read_text(encoding="utf-8-sig"), Loader=_Loader)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror}\n  correct --classes") from None
    except (UnicodeDecodeError, yaml.YAMLError, RecursionError) as error:
        mark = getattr(error, "problem_mark", None)
        problem = getattr(error, "problem", None) or str(error).partition("\n")[0]
        reason = f"line {mark.line + 1}: {problem}" if mark else problem
        raise UserError(
            f"cannot read {path}: {reason}\n"
            "  write plain YAML in UTF-8: each key once, with its value, indented by spaces"
        ) from None
    try:
        return _own_classes(content)
    except UserError as error:
        raise UserError(f"{path}, {error}") from None


class _Loader(yaml.BaseLoader):
    """Reads every value as text, so that a class may be called `on` and 010 is not taken for 8."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Refuse a key that is given twice, which YAML's own loaders accept."""
        mapping = super().construct_mapping(node, deep)
        if len(mapping) < len(node.value):
            keys = [key.value for key, _ in node.value]
            twice = next(key for key in keys if keys.count(key) > 1)
            problem = f"the key {twice} is given twice"
            raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark)
        return mapping


def _own_classes(content: Any) -> OwnClasses:
    sections = _mapping(content, "", ("classes", *DOMAINS), needed=("classes",))
    classes = _mapping(sections["classes"], "classes")
    if not 2 <= len(classes) <= MOST_CLASSES:
        raise _mistake("classes", f"it has {len(classes)}", f"give 2 to {MOST_CLASSES} classes")
    colors: dict[str, tuple[int, ...]] = {}
    ids: dict[str, dict[str, tuple[int, ...]]] = {domain: {} for domain in DOMAINS}
    for name, described in classes.items():
        key = f"classes.{name}"
        if not name.strip() or not name.isprintable():
            raise _mistake("classes", f"{name!r} is no name", "use printable characters")
        values = _mapping(described, key, ("color", *DOMAINS), needed=("color", "source"))
        color = colors[name] = _numbers(values.pop("color"), f"{key}.color", 255)
        if len(color) != 3:
            problem = f"{len(color)} number(s) instead of 3"
            raise _mistake(f"{key}.color", problem, "give red, green and blue: [128, 64, 128]")
        for domain, value in values.items():
            ids[domain][name] = _numbers(value, f"{key}.{domain}", HIGHEST_ID)
    _check_unique({name: [list(color)] for name, color in colors.items()}, "color")
    for domain in DOMAINS:
        _check_unique(ids[domain], domain)
    layouts = {key: _layout(value, key) for key, value in sections.items() if key in DOMAINS}
    space = LabelSpace(tuple(colors), tuple((r, g, b) for r, g, b in colors.values()))
    return OwnClasses(space, ids, layouts)


def _mapping(
    value: Any, key: str, known: Sequence[str] = (), needed: Sequence[str] = ()
) -> dict[str, Any]:
    """Return a mapping after checking its keys; ``key`` leads to it, and is empty for the file."""
    names = ", ".join(known) or "any names"
    if not isinstance(value, dict):
        problem = f"{_shown(value)} instead of keys with values"
        raise _mistake(key or "the file", problem, f"its keys: {names}")
    prefix = f"{key}." if key else ""
    for name in value:
        if known and name not in known:
            raise _mistake(prefix + name, "unknown key", f"known keys: {names}")
    for name in needed:
        if name not in value:
            raise _mistake(prefix + name, "missing", f"add the key {name}")
    return value


def _numbers(value: Any, key: str, highest: int) -> tuple[int, ...]:
    """Return the whole numbers of a list, or the only one."""
    texts = value if isinstance(value, list) else [value]
    if not texts:
        raise _mistake(key, "no number", "give at least one, or leave a target out")
    for text in texts:
        decimal = isinstance(text, str) and re.fullmatch("0|[1-9][0-9]{0,8}", text)
        if not decimal or int(text) > highest:
            problem = f"{_shown(text)} instead of a whole number from 0 to {highest}"
            raise _mistake(key, problem, "write it in decimals, without leading zeros")
    return tuple(int(text) for text in texts)


def _check_unique(values: Mapping[str, Sequence[Any]], key: str) -> None:
    owners: dict[str, str] = {}
    for name, own in values.items():
        for value in map(str, own):
            if value in owners:
                problem = f"{value} is given to {owners[value]} already"
                raise _mistake(f"classes.{name}.{key}", problem, "give it to one class, once")
            owners[value] = name


def _layout(value: Any, section: str) -> Layout:
    known = [field.name for field in dataclasses.fields(Layout)]
    texts = _mapping(value, section, known, needed=("images", "labels"))
    for name, text in texts.items():
        key = f"{section}.{name}"
        if not isinstance(text, str):
            raise _mistake(key, f"{_shown(text)} instead of text", "put it in quotes")
        if set("{}") & set(text.replace("{split}", "")):
            remedy = "{split} stands for train, val or test"
            raise _mistake(key, "other braces than {split}", remedy)
        if leaves_folder(text):
            remedy = f"give a path within --data_dir_{section}"
            raise _mistake(key, f"{text} leaves the data folder", remedy)
    layout = Layout(**texts)
    if (layout.images, layout.image_suffix) == (layout.labels, layout.label_suffix):
        remedy = "give another folder, or suffixes that tell them apart"
        raise _mistake(f"{section}.labels", "the same files as the images", remedy)
    return layout


def _mistake(key: str, problem: str, remedy: str) -> UserError:
    return UserError(f"{key}: {problem}\n  {remedy}")


def _shown(value: Any) -> str:
    return repr(value[:40]) if isinstance(value, str) else f"a {type(value).__name__}"
