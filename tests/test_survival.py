"""`python -m benchmarks survival`: what it makes of runs that end, fail or differ."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from benchmarks import survival
from tests.runs import run_main
from utils.errors import UserError


def test_a_failed_run_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The script is found from another folder, and its own message tells what is wrong."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(UserError) as error:
        survival.run_whole(survival.command(tmp_path / "missing", tmp_path / "run", 1))
    assert "the run ended with status 2" in str(error.value)
    assert f"no images under {tmp_path / 'missing'}" in str(error.value)


def test_only_kills_of_running_processes_count(tmp_path: Path) -> None:
    log = tmp_path / "log"
    code = f"import time; open({str(log)!r}, 'a').write('started '); time.sleep(0.5)"
    assert survival.run_killed([sys.executable, "-c", code], [0.3, 60.0, 0.3]) == 1
    assert log.read_text().split() in (["started"] * 2, ["started"] * 3)  # killed early, or late


@pytest.mark.parametrize("result", ["the same", "another"])
def test_other_results_end_with_status_1(
    result: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def run(words: list[str], content: str) -> None:
        folder = Path(words[-1])
        folder.mkdir()
        for name in survival.RESULTS:
            (folder / name).write_text(content)

    def run_killed(words: list[str], moments: list[float]) -> int:
        run(words, result)
        return len(moments)

    monkeypatch.setattr(survival, "run_whole", lambda words: run(words, "the same"))
    monkeypatch.setattr(survival, "run_killed", run_killed)
    assert run_main(lambda: survival.main(["--kills", "12"])) == (result == "another")
    equal = 2 if result == "the same" else 0
    assert f"12 kills in 2 runs, {equal} with equal results" in capsys.readouterr().out


GROWING = """
import time
memory = []
for _ in range(40):
    memory.append(bytearray(GROWTH))
    time.sleep(0.05)
"""


@pytest.mark.parametrize(("growth", "grows"), [(0, False), (2**21, True)])
def test_growing_memory_ends_with_status_1(
    growth: int, grows: bool, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    code = GROWING.replace("GROWTH", str(growth))
    monkeypatch.setattr(survival, "command", lambda *_: [sys.executable, "-c", code])
    assert run_main(lambda: survival.measure_memory(100)) == grows
    assert "resident memory in each quarter" in capsys.readouterr().out


def test_memory_of_a_failed_run_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(survival, "command", lambda *_: [sys.executable, "-c", "raise OSError"])
    with pytest.raises(UserError, match="status 1"):
        survival.measure_memory(100)
