"""Who may import whom: read from the source files, so that nothing needs to be imported."""

import ast
import graphlib
from fnmatch import fnmatchcase
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
FOLDERS = ("dataset", "model", "utils")
SCRIPTS = tuple(sorted(file.stem for file in ROOT.glob("SEAN_*.py")))
LEAVES = ("utils.errors", "utils.files", "utils.output_folder", "utils.command_line")

# Pattern of the importing module -> patterns of what it may import of the project; first one wins.
ALLOWED = {
    "utils.errors": (),
    "utils.files": ("utils.errors",),
    "utils.output_folder": ("utils.errors", "utils.files"),
    "utils.command_line": ("utils.errors",),
    "utils.device": ("utils.errors",),
    "utils.options": ("utils.command_line",),
    "utils.training.losses": (),
    "utils.evaluation.metrics": (),
    "utils.training*": ("dataset.*", "model.*", "utils.*"),
    "utils.evaluation*": (
        "dataset.*", "model.*", *LEAVES, "utils.device", "utils.options", "utils.evaluation.*",
    ),
    "utils": (),
    "dataset*": ("dataset.*", *LEAVES),
    "model*": ("model.*", *LEAVES),
    **{name: ("dataset.*", "model.*", "utils.*") for name in (*SCRIPTS, "evaluation")},
}  # fmt: skip


def find_modules():
    """Module name -> source file."""
    files = [*ROOT.glob("SEAN_*.py"), ROOT / "evaluation.py"]
    files += [file for folder in FOLDERS for file in (ROOT / folder).rglob("*.py")]
    modules = {}
    for file in files:
        parts = file.relative_to(ROOT).with_suffix("").parts
        modules[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = file
    return modules


def imported(tree, known):
    """The project's modules that a module's source names anywhere, in functions too."""
    found = set()
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert not node.level, "a relative import"
            inner = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= (inner & known) or {node.module}
    return found & known


def violations(imports):
    """Every import that no rule allows, given module name -> names imported."""
    wrong = []
    for name, targets in imports.items():
        rules = [rule for pattern, rule in ALLOWED.items() if fnmatchcase(name, pattern)]
        assert rules, f"ALLOWED has no rule for {name}"
        rule = rules[0]
        wrong += [
            f"{name} imports {target}"
            for target in sorted(targets)
            if not any(fnmatchcase(target, pattern) for pattern in rule)
        ]
    return wrong


@pytest.fixture(scope="module")
def trees():
    return {
        name: ast.parse(file.read_text(encoding="utf-8")) for name, file in find_modules().items()
    }


@pytest.fixture(scope="module")
def imports(trees):
    return {name: imported(tree, set(trees)) for name, tree in trees.items()}


def test_rules_meet_the_modules_they_name(imports):
    named = {pattern for pattern in ALLOWED if "*" not in pattern}
    assert named <= set(imports)
    assert {"dataset.labels", "model.SEAN", "utils.training.loop"} <= set(imports)
    assert "dataset.labels" in imports["dataset.gta5_dataset"]


def test_imports_follow_the_rules(imports):
    assert violations(imports) == []


def test_a_forbidden_import_is_found():
    tree = ast.parse("def later():\n    from utils.evaluation import metrics")
    found = imported(tree, {"utils.evaluation.metrics"})
    assert violations({"utils.training.losses": found}) == [
        "utils.training.losses imports utils.evaluation.metrics"
    ]


def test_no_cycles(imports):
    graphlib.TopologicalSorter(imports).prepare()  # raises on a cycle


@pytest.mark.parametrize("script", SCRIPTS)
def test_training_scripts_are_values_and_one_function(script, trees):
    assert 40 <= len((ROOT / f"{script}.py").read_text().splitlines()) <= 80
    docstring, *statements = trees[script].body
    assert isinstance(docstring, ast.Expr)
    *values, main, last = statements
    for statement in values:
        assert isinstance(statement, (ast.Import, ast.ImportFrom, ast.Assign, ast.AnnAssign))
    assert isinstance(main, ast.FunctionDef)
    assert isinstance(last, ast.If)
    assert ast.unparse(last.test) == "__name__ == '__main__'"
