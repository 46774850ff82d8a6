"""Own classes: a YAML file with their names, colors and label ids, and the folders of the data.

    classes:                            # in the order of the train ids
      road:
        color: [128, 64, 128]
        source: 1                       # one label id or several
        target: [7, 8]                  # leave it out if the target's label maps lack the class
      sky: {color: [70, 130, 180], source: [4, 5], target: 23}
    source: {images: renders/rgb, labels: renders/ids}      # folders within --data_dir_source
    target:                             # {split} stands for train, val or test
      images: photos/{split}
      labels: ids/{split}
      image_suffix: _photo              # photos/val/SCENE_photo.jpg belongs to
      label_suffix: _ids                # ids/val/SCENE_ids.png

Without ``source`` (or ``target``), the folders are those of the script's own data set, or
``images`` and ``labels``. Label ids that the file does not name are ignored.
"""

from collections.abc import Collection
from dataclasses import fields, replace
from pathlib import Path
from typing import Any

import yaml

from dataset.labels import LabelSpace
from dataset.segmentation_dataset import ANY_ID, Description, Layout
from utils.errors import UserError


class _UniqueKeys(yaml.SafeLoader):
    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        """Return keys with values; of a key that is there twice, YAML would keep the last."""
        keys = [key.value for key, _ in node.value]
        for key, _ in reversed(node.value):
            problem = f"line {key.start_mark.line + 1}: the key {key.value} is there twice"
            _need(keys.count(key.value) == 1, problem)
        return super().construct_mapping(node, deep)


def with_classes(path: str | None, *descriptions: Description) -> tuple[Description, ...]:
    """Return descriptions of sources and targets with a file's classes, label ids and folders.

    Without a file they are as given. UserError about a mistake names the file and key.
    """
    if path is None:
        return descriptions
    try:
        content = yaml.load(Path(path).read_text("utf-8-sig"), _UniqueKeys)
        return tuple(_described(path, content, description) for description in descriptions)
    except UserError as error:
        raise UserError(f"{path}, {error}\n  dataset/own_classes.py has an example") from None
    except (OSError, ValueError, yaml.YAMLError) as error:
        reason = " ".join(getattr(error, "strerror", str(error)).split())
        raise UserError(f"cannot read {path}: {reason}\n  give --classes a YAML file") from None


def _described(path: str, content: Any, description: Description) -> Description:
    _check_keys(content, "the file", ("classes",), ("classes", "source", "target"))
    _check_keys(content["classes"], "classes")
    names = tuple(content["classes"])
    _need(2 <= len(names) <= 255, f"classes: {len(names)} instead of 2 to 255")  # 8 bits
    numbers: dict[str, dict[str, tuple[int, ...]]] = {"color": {}, "source": {}, "target": {}}
    owners: dict[tuple[str, Any], str] = {}
    for name, values in content["classes"].items():
        _check_keys(values, f"classes.{name}", ("color", "source"), numbers)
        for kind, value in values.items():
            key = f"classes.{name}.{kind}"
            found = _numbers(value, key, 255 if kind == "color" else 2**16 - 1)
            if kind == "color":
                _need(len(found) == 3, f"{key}: {len(found)} numbers instead of three")
            for own in [found] if kind == "color" else found:
                owner = owners.setdefault((kind, own), name)
                _need(owner == name, f"{key}: {own} is given to {owner} already")
            numbers[kind][name] = found
    colors = tuple((red, green, blue) for red, green, blue in numbers["color"].values())
    stated = {domain: _layout(content[domain], domain) for domain in content.keys() - {"classes"}}
    domain = "target" if description.is_target else "source"
    usual = tuple(dict.fromkeys((*description.layouts, Layout("images", "labels"))))
    return replace(
        description, guide=path, label_space=LabelSpace(names, colors), highest_id=ANY_ID,
        label_ids=numbers[domain], layouts=(stated[domain],) if domain in stated else usual,
    )  # fmt: skip


def _need(condition: bool, problem: str) -> None:
    if not condition:
        raise UserError(problem)


def _check_keys(
    value: Any, key: str, needed: Collection[str] = (), known: Collection[str] = ()
) -> None:
    _need(isinstance(value, dict), f"{key}: {value!r:.40} instead of keys with values")
    for name in value:  # YAML takes on, yes and 1 for truth values and numbers
        _need(isinstance(name, str), f"{key}: the key {name!r} is no text; put it in quotes")
        _need(name in (known or value), f"{key}: unknown key {name}; known are {', '.join(known)}")
    for name in needed:
        _need(name in value, f"{key}: the key {name} is missing")


def _numbers(value: Any, key: str, highest: int) -> tuple[int, ...]:
    """Return the whole numbers of a list, or the only one."""
    numbers = value if isinstance(value, list) else [value]
    for number in numbers:
        problem = f"{key}: {number!r:.40} instead of a whole number, 0 to {highest}"
        _need(type(number) is int and 0 <= number <= highest, problem)
    return tuple(numbers)


def _layout(value: Any, key: str) -> Layout:
    _check_keys(value, key, ("images", "labels"), [field.name for field in fields(Layout)])
    for name, text in value.items():
        _need(isinstance(text, str), f"{key}.{name}: {text!r:.40} is no text; put it in quotes")
    return Layout(**value)
