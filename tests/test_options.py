"""The command line: names, defaults, mistakes, `--demo`, and what `--resume` compares."""

import dataclasses
import os
import subprocess
from typing import get_type_hints

import pytest
import torch

from training.options import DEMO_EVALUATION, EvaluationOptions, TrainingOptions, demo_training
from utils.command_line import as_arguments, changed_options, read_options

CONFIGS = (TrainingOptions, EvaluationOptions)
FIELDS = [(config, field) for config in CONFIGS for field in dataclasses.fields(config)]

# One value for each type, as text and as parsed, that every option of the type accepts.
SAMPLES = {
    int: ("3", 3),
    float: ("0.25", 0.25),
    str: ("some/where", "some/where"),
    tuple[int, int]: ("64,32", (64, 32)),
    bool: (None, True),
}
# fmt: off
ORIGINAL_NAMES = {
    TrainingOptions: [
        "data_dir_source", "data_list_source", "data_dir_target", "data_list_target",
        "ignore_label", "input_size", "input_size_target", "num_classes", "batch_size",
        "num_workers", "learning_rate", "momentum", "num_epoch", "restore_from", "weight_decay",
        "noise", "teacher_alpha", "attention_threshold", "st_weight", "snapshot_dir",
    ],
    EvaluationOptions: [
        "data_dir", "data_list", "ignore_label", "num_classes", "restore_from", "snapshot_dir",
    ],
}
# fmt: on


def parse(*arguments, defaults=None, demo=None):
    return read_options(defaults or TrainingOptions(), "What it does.", demo or {}, arguments)


def sample(config, field):
    """Words for the command line after the option's name, and the value they stand for."""
    if field.metadata["choices"]:
        choice = next(c for c in field.metadata["choices"] if c != field.default)
        return [choice], choice
    annotation = get_type_hints(config)[field.name]
    optional = [kind for kind in SAMPLES if annotation == kind | None]
    text, value = SAMPLES[optional[0] if optional else annotation]
    return ([] if text is None else [text]), value


# --- names and defaults -----------------------------------------------------------------------


@pytest.mark.parametrize(
    ("config", "field"), FIELDS, ids=[f"{c.__name__}-{f.name}" for c, f in FIELDS]
)
def test_option_is_accepted_in_both_spellings(config, field):
    words, value = sample(config, field)
    assert value != field.default
    expected = field.metadata["implies"].get(value, {}) | {field.name: value}
    for name in (field.name, field.name.replace("_", "-")):
        parsed = parse(f"--{name}", *words, defaults=config())
        assert parsed == dataclasses.replace(config(), **expected)


@pytest.mark.parametrize("config", CONFIGS)
def test_the_originals_names_exist(config):
    assert set(ORIGINAL_NAMES[config]) <= {field.name for field in dataclasses.fields(config)}


@pytest.mark.parametrize("config", CONFIGS)
def test_help_is_shown(config):
    with pytest.raises(SystemExit, match=r"^0$"):
        parse("--help", defaults=config())


# --- mistakes ---------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "words",
    [
        "--batch_size 0", "--batch_size two", "--batch_size 1.5", "--batch_size",
        "--num_workers -1", "--batch_size 1000000", "--num_classes 256", "--num_workers 1000000",
        "--input_size 200000,200000", "--input_size_target 64,16385", "--num_classes 1",
        "--num_epoch 0", "--max_iters 0", "--val_interval 0", "--ignore_label -1",
        "--ignore_label 256", "--classifier_branches 0", "--classifier_branches 5", "--seed -1",
        "--seed 20000000000000000000", "--learning_rate -0.1", "--learning_rate nan",
        "--learning_rate inf", "--noise inf", "--momentum 1", "--teacher_alpha 1.5", "--noise -1",
        "--attention_threshold 2", "--attention-threshold 2", "--input_size 1024",
        "--input_size 1024x512", "--input_size 0,512", "--input_size 64,32,3",
        "--input_size_target big", "--device gpu", "--precision fp16", "--target_split test",
        "--no_such_option 1", "--batch 2", "--resume yes", "stray",
    ],
)  # fmt: skip
def test_mistake_ends_in_one_message(words, capsys):
    with pytest.raises(SystemExit) as caught:
        parse(*words.split())
    assert caught.value.code == 2
    output = capsys.readouterr()
    assert output.out == ""
    assert output.err.startswith("error: ")
    assert output.err.count("error:") == 1
    assert len(output.err.strip().splitlines()) == 2
    message = output.err.splitlines()[0].replace("-", "_")
    assert any(word.strip("-").replace("-", "_") in message for word in words.split())


# --- demo -------------------------------------------------------------------------------------

DEMOS = [(TrainingOptions, demo_training("GTA", "GTA5")), (EvaluationOptions, DEMO_EVALUATION)]


@pytest.mark.parametrize(("config", "demo"), DEMOS)
def test_demo_sets_its_values(config, demo):
    parsed = parse("--demo", defaults=config(), demo=demo)
    assert parsed == dataclasses.replace(config(), demo=True, **demo)
    assert parsed != dataclasses.replace(config(), demo=True)


@pytest.mark.parametrize(("config", "demo"), DEMOS)
def test_without_demo_its_values_are_not_used(config, demo):
    assert parse(defaults=config(), demo=demo) == config()


@pytest.mark.parametrize(
    "words",
    [
        ["--demo", "--input_size", "64,32", "--restore-from", "mine.pth"],
        ["--input-size", "64,32", "--restore_from", "mine.pth", "--demo"],
    ],
)
@pytest.mark.parametrize(("config", "demo"), DEMOS)
def test_explicit_options_win_over_the_demo(config, demo, words):
    expected = {**demo, "demo": True, "input_size": (64, 32), "restore_from": "mine.pth"}
    parsed = parse(*words, defaults=config(), demo=demo)
    assert parsed == dataclasses.replace(config(), **expected)


def test_explicit_default_wins_over_the_demo():
    demo = {"learning_rate": 0.1}
    assert parse("--demo", "--learning_rate", "1e-5", demo=demo).learning_rate == 1e-5
    assert parse("--demo", demo=demo).learning_rate == 0.1


# --- what --resume compares -------------------------------------------------------------------


def test_options_survive_a_checkpoint(tmp_path):
    config = parse("--input_size", "64,32", "--max_iters", "7", "--demo")
    torch.save(dataclasses.asdict(config), tmp_path / "options.pth")
    saved = torch.load(tmp_path / "options.pth", weights_only=True)
    assert changed_options(config, saved) == []
    assert TrainingOptions(**saved) == config


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("learning_rate", 1e-3), ("input_size", (64, 32)), ("seed", 1), ("no_shuffle", True),
        ("batch_size", 2), ("teacher_alpha", 0.9), ("target_split", "train"), ("precision", "bf16"),
        ("data_list_target", "list.txt"),
    ],
)  # fmt: skip
def test_option_that_changes_the_training_is_told(field, value):
    saved = dataclasses.asdict(TrainingOptions())
    changed = dataclasses.replace(TrainingOptions(), **{field: value})
    assert changed_options(changed, saved) == [f"--{field} {saved[field]} -> {value}"]


def test_options_that_leave_the_training_alone_are_not_told():
    changes = {"print_interval": 1, "snapshot_dir": "elsewhere", "num_workers": 5, "resume": True}
    config = dataclasses.replace(TrainingOptions(), device="cpu", **changes)
    assert changed_options(config, dataclasses.asdict(TrainingOptions())) == []


def test_logged_options_can_be_pasted_onto_a_command_line():
    folders = ["my runs/it's", "-x", "$HOME", "é 漢", "a\nb\x1b[1m7", os.fsdecode(b"caf\xe98")]
    for folder in folders:
        options = parse("--input_size", "64,32", f"--snapshot_dir={folder}", "--resume")
        line = as_arguments(options)
        assert line.encode().decode().isprintable()
        shell = ["bash", "-c", f"printf '%s\\0' {line}"]
        *words, end = subprocess.run(shell, capture_output=True, check=True).stdout.split(b"\0")
        assert parse(*map(os.fsdecode, words)) == options
        assert end == b""
        assert "--max_iters" not in line
