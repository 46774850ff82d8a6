"""How programs end: with one message, the right status, and never a traceback."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests.runs import ROOT
from utils.errors import counted, exit_on_error

PROGRAM = """
import os, signal, sys, time
from pathlib import Path
from utils.errors import UserError, exit_on_error

@exit_on_error()
def main():
{body}

main()
"""


def start(
    body: str,
    *words: str | bytes,
    stdout: int = subprocess.PIPE,
    stderr: int = subprocess.PIPE,
    encoding: str = "utf-8",
) -> subprocess.Popen[bytes]:
    program = PROGRAM.format(body="\n".join(f"    {line}" for line in body.splitlines()))
    environment = {**os.environ, "PYTHONUNBUFFERED": "", "PYTHONIOENCODING": encoding}
    return subprocess.Popen(
        [sys.executable, "-c", program, *words], cwd=ROOT, env=environment,
        stdout=stdout, stderr=stderr,
    )  # fmt: skip


LONG = b"error: " + 493 * b"a" + b" ... " + 500 * b"a" + b"\n  b\n"


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        ("raise UserError('a\\n  b')", 2, b"error: a\n  b\n"),
        ("raise UserError('a\\033[2J\\r\\udce9\\n  b')", 2, rb"error: a\x1b[2J\r\udce9" b"\n  b\n"),
        ("raise UserError('a' * 10**7 + '\\n  b')", 2, LONG),
        ("raise KeyboardInterrupt", 130, b""),
        ("os.kill(os.getpid(), signal.SIGINT); time.sleep(9)", 130, b""),
        ("os.kill(os.getpid(), signal.SIGTERM); time.sleep(9)", 143, b""),
    ],
)
def test_status_and_message(body: str, status: int, message: bytes) -> None:
    with start(body) as process:
        assert process.communicate() == (b"", message)
    assert process.returncode == status


@pytest.mark.parametrize(
    ("first", "is_file", "trace"),
    [
        ("from utils.errors import UserError", True, False),
        ("from utils.errors import UserError", False, True),  # as in a notebook
        ("from utils.files import whole_file", True, True),
    ],
)
def test_ctrl_c_while_a_program_imports(
    first: str, is_file: bool, trace: bool, tmp_path: Path
) -> None:
    """Ends without a traceback where the program itself imports utils.errors."""
    code, file = f"{first}\nprint('a', flush=True)\nimport time\ntime.sleep(9)", tmp_path / "a.py"
    file.write_text(code)
    words = [file] if is_file else ["-c", code]
    with subprocess.Popen(
        [sys.executable, *words], env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    ) as process:  # fmt: skip
        assert process.stdout is not None
        assert process.stdout.readline() == b"a\n"
        process.send_signal(signal.SIGINT)
        assert (b"KeyboardInterrupt" in process.communicate()[1]) == trace
    assert process.returncode == -signal.SIGINT


def test_programs_import_the_errors_first() -> None:
    """So that the above holds for them."""
    folders = [ROOT / name for name in ("dataset", "model", "benchmarks", "Figure")]
    files = [*ROOT.glob("*.py"), *(file for folder in folders for file in folder.rglob("*.py"))]
    sources = [file.read_text() for file in files]
    programs = [source for source in sources if "\n@exit_on_error" in source]
    assert len(programs) == 7
    for source in programs:
        imports = re.findall(r"^(?:from|import) (\S+)", source, re.MULTILINE)
        assert next(name for name in imports if name != "__future__") == "utils.errors"


WRITES = """
from utils.files import whole_file
with whole_file(Path(sys.argv[1])) as file:
    file.write(b"half")
    print("writing", flush=True)
    time.sleep(60)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_what_is_half_written_is_removed(number: signal.Signals, tmp_path: Path) -> None:
    with start(WRITES, str(tmp_path / "a.mp4")) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"writing\n"
        assert [path.suffix for path in tmp_path.iterdir()] == [".mp4"]
        process.send_signal(number)
        assert process.communicate() == (b"", b"")
    assert process.returncode == 128 + number
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    "body",
    [
        "print('a')",
        "print('a', flush=True)",
        "for _ in range(99): print('a' * 9999)",
        "from utils.command_line import Parser; Parser('a' * 9999).parse_args(['--help'])",
        "print('a'); sys.exit(2)",
        "print('a'); raise UserError('b')",
    ],
)
def test_nobody_reads_the_output(body: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with start(body, stdout=writer) as process:
        os.close(writer)
        message = b"error: b\n" if "UserError" in body else b""
        assert process.communicate() == (None, message)
    assert process.returncode == 141


def test_nobody_reads_the_errors() -> None:
    reader, writer = os.pipe()
    os.close(reader)
    with start("print('a', flush=True); raise UserError('b')", stderr=writer) as process:
        os.close(writer)
        assert process.communicate() == (b"a\n", None)
    assert process.returncode == 141


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="needs /dev/full")
@pytest.mark.parametrize(
    "body",
    [
        "print('a')",
        "print('a', flush=True)",
        "from utils.command_line import Parser; Parser('a' * 9999).parse_args(['--help'])",
    ],
)
def test_the_output_goes_to_a_full_disk(body: str) -> None:
    with open("/dev/full", "wb") as full, start(body, stdout=full.fileno()) as process:
        _, message = process.communicate()
    assert message == (
        b"error: cannot write the output: No space left on device\n"
        b"  free some space, or write elsewhere\n"
    )
    assert process.returncode == 2


@pytest.mark.parametrize(("closed", "message"), [(">&-", b"error: b\n"), ("2>&-", b"a\n")])
def test_a_program_can_be_started_without_streams(closed: str, message: bytes) -> None:
    body = "print('a', flush=True)\nsys.stderr.write('')\nraise UserError('b')"
    program = PROGRAM.format(body="\n".join(f"    {line}" for line in body.splitlines()))
    shell = ["sh", "-c", f'exec "$0" -c "$1" {closed}', sys.executable, program]
    ended = subprocess.run(shell, cwd=ROOT, capture_output=True)
    assert (ended.stdout + ended.stderr, ended.returncode) == (message, 2)


@pytest.mark.parametrize("encoding", ["ascii:strict", "latin-1:strict", "utf-8:strict"])
def test_every_console_shows_every_name(encoding: str) -> None:
    body = "print('\\u732b', os.fsdecode(sys.argv[1])); raise UserError(f'no {sys.argv[1]}')"
    with start(body, b"\xe9", encoding=encoding) as process:
        out, err = process.communicate()
    assert out.endswith(rb" \udce9" b"\n")
    assert err == rb"error: no \udce9" b"\n"
    assert process.returncode == 2


def test_the_handler_before_is_restored() -> None:
    handler = signal.signal(signal.SIGTERM, signal.SIG_IGN)
    try:
        with exit_on_error():
            assert callable(signal.getsignal(signal.SIGTERM))
        assert signal.getsignal(signal.SIGTERM) == signal.SIG_IGN
    finally:
        signal.signal(signal.SIGTERM, handler)


def test_things_are_counted() -> None:
    assert [counted(count, "image") for count in range(3)] == ["0 images", "1 image", "2 images"]
