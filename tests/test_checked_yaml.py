"""YAML nodes: what is refused, with the line and the key."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from dataset.checked_yaml import CheckedYaml
from utils.errors import UserError

LAUGHS = "a: &a [x, x]\n" + "".join(
    f"{name}: &{name} [*{before}, *{before}]\n"
    for before, name in zip("abcdefgh", "bcdefghi", strict=True)
)

NOT_PLAIN = {
    "unclosed": ("a:\n  b: [1, 2\nc: 3\n", 3, "`c: 3`"),
    "tab": ("a:\n\tb: 1\n", 2, "`b: 1`"),
    "bad indent": ("a:\n  b: 1\n c: 2\n", 3, "`c: 2`"),
    "brace for a text": ("a:\n  images: {split}/rgb\n", 2, "`images: {split}/rgb`"),
    "two documents": ("a: 1\n---\nb: 2\n", 2, "`---`"),
    "code": ("a: 1\nb: !!python/object/apply:os.mkdir [executed]\n", 2, "a YAML tag"),
    "own tag": ("a: !secret 1\n", 1, "a YAML tag"),
    "anchor": ("a: 1\nb: &x [1]\n", 2, "a YAML anchor"),
    "alias": ("a: 1\nb: *x\n", 2, "a YAML alias"),
    "billion laughs": (LAUGHS, 1, "`a: &a [x, x]`"),
    "control character": ("a: 1\nb: \x07\n", 2, "special characters"),
    "nested lists too deeply": ("a:\n" + "- " * 5000 + "1\n", 2, "nested too deeply"),
    "nested too deeply": ("a: 1\nb: " + "[" * 5000 + "]" * 5000, 2, "nested too deeply"),
}


def write(folder: Path, text: str) -> Path:
    path = folder / "file.yaml"
    path.write_text(text, encoding="utf-8")
    return path


@pytest.mark.parametrize("case", NOT_PLAIN)
def test_what_is_not_plain_yaml_is_refused(
    case: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text, line, fragment = NOT_PLAIN[case]
    path = write(tmp_path, text)
    monkeypatch.chdir(tmp_path)
    started = time.monotonic()
    with pytest.raises(UserError) as caught:
        CheckedYaml(path, "--classes")
    assert str(caught.value).startswith(f"{path}, line {line}, `")
    assert fragment in str(caught.value)
    assert "\n  " in str(caught.value)
    assert [file.name for file in tmp_path.iterdir()] == ["file.yaml"]
    assert time.monotonic() - started < 5


@pytest.mark.parametrize("content", [b"\xff\xfea\x00", None], ids=["UTF-16", "missing"])
def test_file_that_cannot_be_read(content: bytes | None, tmp_path: Path) -> None:
    path = tmp_path / "file.yaml"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(UserError, match=r"cannot read .*file.yaml: .*\n  correct --classes"):
        CheckedYaml(path, "--classes")


@pytest.mark.parametrize("start", ["", "\ufeff", "---\n", "# a comment\n\n"])
def test_values_and_their_order(start: str, tmp_path: Path) -> None:
    file = CheckedYaml(write(tmp_path, f"{start}b: [7, 0]\r\na: 'x y'\r\non: 3\n"), "--classes")
    entries = file.entries(file.root)
    assert list(entries) == ["b", "a", "on"]  # what YAML takes for a truth value is a name here
    assert [number for number, _ in file.numbers(entries["b"], 7)] == [7, 0]
    assert [number for number, _ in file.numbers(entries["on"], 7)] == [3]
    assert file.string(entries["a"]) == "x y"


@pytest.mark.parametrize(
    "number",
    ["8", "-1", "1.0", "1e0", "010", "0x1", "0o7", "1_0", "1:30", "'1'", "yes", "~", "[[1]]", "{}"],
)
@pytest.mark.parametrize("form", ["a:\n  {}\n", "a: [0,\n  {}]\n"], ids=["alone", "in a list"])
def test_what_is_no_number(number: str, form: str, tmp_path: Path) -> None:
    file = CheckedYaml(write(tmp_path, form.replace("{}", number)), "--classes")
    with pytest.raises(UserError, match=r"line 2, a: .* instead of a whole number from 0 to 7\n  "):
        file.numbers(file.entries(file.root)["a"], 7)
