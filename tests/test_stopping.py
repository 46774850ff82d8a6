from __future__ import annotations

import signal
import subprocess
import sys
import time

import pytest

from tests.runs import ROOT
from training.stopping import StopRequest

SCRIPT = """
import os, signal, sys, time
from training.stopping import StopRequest
stop = StopRequest(None)
assert not stop.wanted
os.kill(os.getpid(), signal.{first})
assert stop.wanted
time.sleep({pause})
os.kill(os.getpid(), signal.{second})
sys.exit(stop.status)
"""


@pytest.mark.parametrize(
    ("first", "second", "pause", "status"),
    [
        ("SIGINT", "SIGINT", 0.0, 130),
        ("SIGTERM", "SIGINT", 0.0, 143),
        ("SIGINT", "SIGINT", 2.3, -signal.SIGINT),
        ("SIGINT", "SIGTERM", 2.3, -signal.SIGTERM),
    ],
)
def test_one_request_is_remembered_and_a_later_one_stops_at_once(
    first: str, second: str, pause: float, status: int
) -> None:
    script = SCRIPT.format(first=first, second=second, pause=pause)
    assert subprocess.run([sys.executable, "-c", script], cwd=ROOT).returncode == status


def test_time_limit_asks_to_stop_in_good_order(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(signal, "signal", lambda *_: None)  # the handlers of this process stay
    stop = StopRequest(max_hours=1)
    assert not stop.wanted
    late = time.monotonic() + 3601
    monkeypatch.setattr(time, "monotonic", lambda: late)
    assert stop.wanted
    assert stop.status == 0
    assert stop.reason == "time limit"
