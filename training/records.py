"""The records of a run in metrics.jsonl: read, checked, cut back for a resumed run."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from utils.errors import UserError
from utils.files import read_input, whole_file

MOST_BYTES = 500_000_000
"""Of metrics.jsonl: more than ten million iterations with the default options."""

DRAWN = ("loss", "cls_loss", "st_loss", "kept")


def read_records(path: Path) -> list[dict[str, Any]]:
    """Read metrics.jsonl; a last line that a killed process left unfinished is skipped.

    Returns:
        The records of log intervals, with losses, and of scorings, with ``target_miou``; none if
        there is no file.

    Raises:
        UserError: the file cannot be read, or a line is no such record.
    """
    remedy = "move the file away: a resumed run starts a new one"
    try:
        *lines, last = read_input(path, MOST_BYTES).split(b"\n")
    except FileNotFoundError:
        return []
    except (OSError, ValueError) as error:
        reason = getattr(error, "strerror", None) or error
        raise UserError(f"cannot read {path}: {reason}\n  {remedy}") from None
    records = []
    for number, line in enumerate([*lines, last], 1):
        record = _parse(line)
        if record is not None:
            records.append(record)
        elif number <= len(lines):
            raise UserError(f"{path}, line {number}: not a record of a training run\n  {remedy}")
    return records


def cut_records(path: Path, iteration: int, score_due: bool) -> None:
    """Remove the records that were written after the last checkpoint.

    Args:
        path: metrics.jsonl, which need not exist.
        iteration: of the checkpoint.
        score_due: whether the checkpoint was written before that iteration's scoring.

    Raises:
        UserError: the file cannot be read or written; it is unchanged.
    """
    if not path.exists():
        return
    records = read_records(path)
    with whole_file(path) as file:
        for record in records:
            unscored = score_due and "target_miou" in record
            if record["iteration"] + unscored <= iteration:
                file.write(json.dumps(record).encode() + b"\n")


def _parse(line: bytes) -> dict[str, Any] | None:
    """Return the record of a line; None if it is not one that `Log` writes."""
    try:
        record = json.loads(line.decode())
    except (ValueError, RecursionError):
        return None
    if not isinstance(record, dict):
        return None
    classes = record.get("iou", {})
    values = [value for name, value in record.items() if name not in ("network", "iou")]
    if not isinstance(classes, dict) or not all(
        value is None or _is_number(value) for value in (*values, *classes.values())
    ):
        return None
    if type(record.get("iteration")) is not int:
        return None
    if "network" in record:
        right = record["network"] in ("student", "teacher") and "target_miou" in record
    else:
        right = all(_is_number(record.get(name)) for name in DRAWN)
    return record if right else None


def _is_number(value: Any) -> bool:
    """Return whether a value can be a number of ours: finite in float32, not negative."""
    return type(value) in (int, float) and 0 <= value < 1e39
