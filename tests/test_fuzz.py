"""Files that are damaged or tampered with at random: a result or one message, and nothing changed.

The generator of a case is seeded with its number, so that a failure can be repeated.
"""

from __future__ import annotations

import json
import os
import random
import re
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

import evaluation
import SEAN_GTA5
from tests.runs import contents, run_main, scoring_words, words
from tools.demo import write_demo

CASES = int(os.environ.get("FUZZ_CASES", 20))  # of each kind
CLASSES = """classes:
  road: {color: [128, 64, 128], source: 7, target: [7, 8]}
  sky: {color: [70, 130, 180], source: [23, 11], target: 23}
source: {images: images, labels: labels}
"""
PLAIN: tuple[Any, ...] = (None, True, -1, 2**70, 1e300, "", "text\n\x1b[31m", [], [[[]]], {"": 0})
TENSORS = (
    torch.zeros(0), torch.zeros(2, 2), torch.full((3,), torch.nan), torch.ones(2).to_sparse(),
    torch.ones(2, dtype=torch.complex64), torch.zeros(1).expand(2**40), torch.ones(3, dtype=int),
)  # fmt: skip
Words = list[object]


def scoring(root: Path, output: Path) -> Words:
    more = ["--data_list", root / "val.txt", "--report"]
    return scoring_words(root / "run/GTA_TeacherNet.pth", root / "Cityscapes", output, *more)


def training(root: Path, output: Path) -> Words:
    return words(root, output, width=1 / 64, input_size="32,32", max_iters=1)


def own_classes(root: Path, output: Path) -> Words:
    return [*training(root, output), "--classes", root / "classes.yaml"]


def resuming(root: Path, output: Path) -> Words:
    shutil.copytree(root / "run", output)
    return [*training(root, output), "--max_iters", 2, "--resume"]


def damage(content: bytes, rng: random.Random) -> bytes:
    """Overwrite, remove, repeat or insert a stretch of bytes."""
    first = rng.randrange(len(content))
    last = min(len(content), first + rng.choice((1, 1, 4, 50, 10**9)))
    noise = rng.randbytes(rng.choice((1, 4, 50)))
    change = rng.choice((noise[: last - first], b"", 2 * content[first:last], noise))
    return content[:first] + change + content[last:]


def damage_png(content: bytes, rng: random.Random) -> bytes:
    """Change the body of a chunk, with a matching checksum, or the file."""
    if rng.random() < 0.3:
        return damage(content, rng)
    chunks, place = [], 8
    while place < len(content):
        size = struct.unpack(">I", content[place : place + 4])[0]
        chunks.append(content[place + 4 : place + 8 + size])  # kind and body
        place += 12 + size
    index = rng.randrange(len(chunks))
    kind, body = chunks[index][:4], chunks[index][4:]
    chunks[index] = kind + (damage(body, rng) if body else rng.randbytes(9))
    parts = [struct.pack(">I", len(c) - 4) + c + struct.pack(">I", zlib.crc32(c)) for c in chunks]
    return content[:8] + b"".join(parts)


def tamper(value: Any, rng: random.Random, odd: tuple[Any, ...]) -> Any:
    """Return a nested value with one part replaced, removed or renamed."""
    if not isinstance(value, (dict, list)) or not value or rng.random() < 0.1:
        return rng.choice(odd)
    keys = list(value) if isinstance(value, dict) else list(range(len(value)))
    key = rng.choice(keys)
    if rng.random() < 0.2:
        removed = value.pop(key)
        if isinstance(value, dict) and rng.random() < 0.5:
            value[rng.choice(("", "text", 0))] = removed
    else:
        value[key] = tamper(value[key], rng, odd)
    return value


def tamper_tensors(path: Path, rng: random.Random) -> None:
    content = torch.load(path, weights_only=True)
    if rng.random() < 0.3 and hasattr(content, "_metadata"):
        content._metadata = tamper(content._metadata, rng, PLAIN)
    else:
        content = tamper(content, rng, (*PLAIN, *TENSORS))
    torch.save(content, path)


def tamper_lines(path: Path, rng: random.Random) -> None:
    lines = path.read_text().splitlines()
    index = rng.randrange(len(lines))
    lines[index] = json.dumps(tamper(json.loads(lines[index]), rng, PLAIN))
    path.write_text("\n".join([*lines, ""]))


def in_bytes(change: Callable[[bytes, random.Random], bytes]) -> Any:
    return lambda path, rng: path.write_bytes(change(path.read_bytes(), rng))


IMAGE = "Cityscapes/leftImg8bit/val/demo/demo_000000_000019_leftImg8bit.png"
LABEL = "Cityscapes/gtFine/val/demo/demo_000000_000019_gtFine_labelIds.png"
KINDS = {
    "weights, damaged": ("run/GTA_TeacherNet.pth", in_bytes(damage), evaluation, scoring),
    "weights, tampered": ("run/GTA_TeacherNet.pth", tamper_tensors, evaluation, scoring),
    "image": (IMAGE, in_bytes(damage_png), evaluation, scoring),
    "label map": (LABEL, in_bytes(damage_png), evaluation, scoring),
    "list": ("val.txt", in_bytes(damage), evaluation, scoring),
    "training's label map": ("GTA5/labels/00001.png", in_bytes(damage_png), SEAN_GTA5, training),
    "classes": ("classes.yaml", in_bytes(damage), SEAN_GTA5, own_classes),
    "state, damaged": ("run/last.pth", in_bytes(damage), SEAN_GTA5, resuming),
    "state, tampered": ("run/last.pth", tamper_tensors, SEAN_GTA5, resuming),
    "metrics, damaged": ("run/metrics.jsonl", in_bytes(damage), SEAN_GTA5, resuming),
    "metrics, tampered": ("run/metrics.jsonl", tamper_lines, SEAN_GTA5, resuming),
}


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Data, a list, a classes file, and a finished run."""
    root = tmp_path_factory.mktemp("whole")
    write_demo(root, "gta5", count_source=2, count_target=1, size=(64, 32))
    (root / "val.txt").write_text(IMAGE.removeprefix("Cityscapes/leftImg8bit/val/") + "\n")
    (root / "classes.yaml").write_text(CLASSES)
    assert run_main(SEAN_GTA5.main, *training(root, root / "run")) == 0
    return root


@pytest.mark.parametrize("kind", KINDS)
def test_one_message_or_a_result(
    kind: str, whole: Path, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    name, change, program, arguments = KINDS[kind]
    root, refused = tmp_path / "root", 0
    for case in range(CASES):
        shutil.copytree(whole, root)
        change(root / name, random.Random(f"{kind} {case}"))
        output = tmp_path / f"output {case}"
        command = arguments(root, output)
        before, saved = contents(root), contents(output, ".lock")
        capfd.readouterr()
        status = run_main(program.main, *command)
        shown = "".join(capfd.readouterr())
        assert status in (0, 2), f"case {case}: {shown}"
        messages = re.findall(r"^error: ", shown, re.MULTILINE)
        assert len(messages) == (status == 2), f"case {case}: {shown}"
        for word in ("Traceback", "Warning", "weights_only", "\x1b[31m"):
            assert word not in shown, f"case {case}: {shown}"
        assert contents(root) == before, f"case {case}"
        if status and "last.pth" in saved:
            assert contents(output, ".lock") == saved, f"case {case}: {shown}"
        refused += status == 2
        shutil.rmtree(root)
    assert refused
