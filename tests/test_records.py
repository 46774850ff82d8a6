"""metrics.jsonl: read, cut back, refused where it holds no records of ours."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

from training.records import cut_records, read_records
from utils.errors import UserError

LINES = [
    {"iteration": 10, "loss": 1.0123457, "cls_loss": 1.0, "st_loss": 1e-07, "kept": 0.5},
    {
        "iteration": 20,
        "network": "teacher",
        "target_miou": 0.25,
        "iou": {"road": 0.5, "train": None},
    },
    {"iteration": 30, "loss": 0.5, "cls_loss": 0.5, "st_loss": 0.0, "kept": 0.0},
]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    made = tmp_path / "metrics.jsonl"
    made.write_text("".join(json.dumps(line) + "\n" for line in LINES))
    return made


@pytest.mark.parametrize(("iteration", "kept"), [(0, 0), (19, 1), (20, 2), (30, 3), (99, 3)])
@pytest.mark.parametrize("torn", ["", '{"iteration": 40, "lo', "\x00\x00", "3", "{}"])
def test_later_lines_are_cut(path: Path, iteration: int, kept: int, torn: str) -> None:
    whole = path.read_text().splitlines(keepends=True)
    path.write_text("".join(whole) + torn)
    cut_records(path, iteration, score_due=False)
    assert path.read_text() == "".join(whole[:kept])
    assert read_records(path) == LINES[:kept]


def test_a_scoring_that_is_made_up_for_is_cut(path: Path) -> None:
    cut_records(path, 20, score_due=True)
    assert read_records(path) == LINES[:1]


def test_a_run_without_lines_is_left_alone(tmp_path: Path) -> None:
    cut_records(tmp_path / "metrics.jsonl", 5, score_due=False)
    assert read_records(tmp_path / "metrics.jsonl") == []
    assert list(tmp_path.iterdir()) == []


def changed(number: int, **changes: object) -> bytes:
    return json.dumps(LINES[number] | changes).encode()


@pytest.mark.parametrize(
    "line",
    [
        *(b"", b"{}", b"[1]", b"3", b"\x00\x00", b"caf\xe9", b"{torn"),
        *(changed(0, iteration="10"), changed(0, iteration=True), changed(0, iteration=-1)),
        *(changed(0, loss="1"), changed(0, loss=None), changed(0, kept=[1]), changed(0, epoch={})),
        *(changed(0, loss=number) for number in (1e300, float("nan"))),
        changed(0, st_loss=float("inf")),
        *(changed(1, network="third"), changed(1, network=[]), changed(1, target_miou="0.5")),
        *(changed(1, iou=[]), changed(1, iou={"road": "0.5"})),
        *(b"[" * 100_000, b'{"iou":' * 100_000, b'{"iteration": ' + b"9" * 5000 + b"}"),
    ],
    ids=lambda line: repr(line)[:60],
)
def test_other_lines_are_refused_by_number(path: Path, line: bytes) -> None:
    content = path.read_bytes() + line + b"\n"
    path.write_bytes(content)
    with pytest.raises(UserError, match=r"metrics\.jsonl, line 4: not a record .*\n  move"):
        cut_records(path, 20, score_due=False)
    assert path.read_bytes() == content


def test_what_is_no_file_is_named(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    for path in (tmp_path, tmp_path / "pipe"):
        with pytest.raises(UserError, match=f"cannot read {path}"):
            read_records(path)
