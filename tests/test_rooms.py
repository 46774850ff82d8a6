"""The layout: an ordered list of rooms, what each may import, and how many lines it may have."""

import ast
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
LARGEST_FILE = 300  # lines

# In order: a room imports itself and the rooms above it, except those on its own floor.
FLOORS = (  # room -> budget in lines
    {"utils": 450},
    {"dataset": 850, "model": 500},
    {"inference": 900},
    {"training": 1150},
    {"SEAN_GTA5.py": 80, "SEAN_Synthia.py": 80, "evaluation.py": 160, "tools": 600,
     "benchmarks": 550},
)  # fmt: skip
OTHERS = {"tests": 4500, "examples": 100, "Figure": 160}
BUDGETS = {room: lines for floor in FLOORS for room, lines in floor.items()} | OTHERS
PRODUCT = 4700  # lines of the rooms without benchmarks


def tracked():
    command = ["git", "ls-files", "--cached", "--others", "--exclude-standard"]
    listed = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    if listed.returncode:
        pytest.skip("the files are counted in a git checkout")
    return [name for name in listed.stdout.splitlines() if (ROOT / name).exists()]


def lines_of(name):
    return len((ROOT / name).read_text(encoding="utf-8").splitlines())


def sources(*rooms):
    kinds = (".py", ".html", ".css")
    return [n for n in tracked() if n.endswith(kinds) and n.split("/")[0] in rooms]


def imported_rooms(text):
    """The rooms that a module's source names anywhere, in functions too."""
    found = set()
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.Import):
            found |= {alias.name.split(".")[0] for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import"
            found.add((node.module or "").split(".")[0])
    return {room for room in BUDGETS if room.removesuffix(".py") in found}


def allowed(room):
    level = next((i for i, floor in enumerate(FLOORS) if room in floor), len(FLOORS))
    above = {other for floor in FLOORS[:level] for other in floor}
    return above | {room} | (set(BUDGETS) if level == len(FLOORS) else set())


@pytest.mark.parametrize("room", BUDGETS)
def test_a_room_imports_what_stands_above_it(room):
    files = [name for name in sources(room) if name.endswith(".py")]
    assert files
    for name in files:
        wrong = imported_rooms((ROOT / name).read_text(encoding="utf-8")) - allowed(room)
        assert not wrong, f"{name} imports {wrong}"


def test_a_forbidden_import_is_found():
    assert imported_rooms("def later():\n    from training import run") - allowed("inference")


@pytest.mark.parametrize("room", BUDGETS)
def test_a_room_keeps_its_budget(room):
    used = {name: lines_of(name) for name in sources(room)}
    assert sum(used.values()) <= BUDGETS[room], used


def test_the_product_is_small():
    rooms = BUDGETS.keys() - OTHERS.keys() - {"benchmarks"}
    assert sum(map(lines_of, sources(*rooms))) <= PRODUCT
    assert not [name for name in sources(*BUDGETS) if lines_of(name) > LARGEST_FILE]


def test_words_keep_their_budgets():
    assert lines_of("README.md") <= 180
    assert lines_of("benchmarks/README.md") <= 120
    pages = [name for name in tracked() if name.startswith("docs/")]
    assert sum(map(lines_of, pages)) <= 650
    assert sum(map(lines_of, (*pages, "README.md"))) <= 900


@pytest.mark.parametrize("script", ["SEAN_GTA5.py", "SEAN_Synthia.py"])
def test_training_scripts_are_values_and_one_function(script):
    statements = ast.parse((ROOT / script).read_text(encoding="utf-8")).body
    first, *values, main, last = (type(statement).__name__ for statement in statements)
    assert (first, main, last) == ("Expr", "FunctionDef", "If")
    assert set(values) <= {"Import", "ImportFrom", "Assign", "AnnAssign"}
    assert ast.unparse(statements[-1].test) == "__name__ == '__main__'"
