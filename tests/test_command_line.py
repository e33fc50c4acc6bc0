"""Dispatch of commands, their settings, and exit codes."""

import argparse
import subprocess
import sys
from importlib import import_module

import pytest

from pipeline import command_line
from pipeline.__main__ import main
from pipeline.command_line import parse, run
from pipeline.commands import COMMANDS
from pipeline.errors import UserError


def call(monkeypatch, *arguments: str) -> object:
    """Run `manyfold` with these arguments and return its exit code."""
    monkeypatch.setattr(sys, "argv", ["manyfold", *arguments])
    with pytest.raises(SystemExit) as ended:
        main()
    return ended.value.code


@pytest.fixture
def parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="manyfold test")
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--metric")
    return parser


@pytest.mark.parametrize("name", COMMANDS)
def test_the_first_word_chooses_the_command(monkeypatch, name):
    received = []
    module = import_module(f"pipeline.commands.{name}")
    monkeypatch.setattr(module, "main", lambda argv: received.append(argv) or 3)
    assert call(monkeypatch, name, "a", "b=1") == 3
    assert received == [["a", "b=1"]]
    assert sys.argv == ["manyfold", "a", "b=1"]  # for Hydra


@pytest.mark.parametrize(
    "arguments", [(), ("seed=2",), ("--cfg", "job"), ("tracking.run_name=ui",)]
)
def test_anything_else_is_training(monkeypatch, arguments):
    monkeypatch.setattr(command_line, "train", lambda: 4)
    assert call(monkeypatch, *arguments) == 4


@pytest.mark.parametrize("name", ["compare", "promote", "ui"])
def test_help_ends_with_exit_code_0(monkeypatch, capsys, name):
    assert call(monkeypatch, name, "--help") == 0
    assert capsys.readouterr().out.startswith(f"usage: manyfold {name} ")


def test_settings_are_separated_from_runs_and_options(parser):
    arguments, tracking = parse(
        parser, ["first", "tracking.uri=http://x:1", "second", "--metric", "f1_macro"]
    )
    assert (arguments.runs, arguments.metric) == (["first", "second"], "f1_macro")
    assert (tracking.uri, tracking.experiment_name) == ("http://x:1", "manyfold")


@pytest.mark.parametrize(
    ("name", "arguments", "expected"),
    [
        ("compare", ["a", "--metric", "f1_macro", "b"], {"runs": ["a", "b"], "metric": "f1_macro"}),
        ("compare", ["--rope", "0.1", "a", "tracking.uri=x", "b", "--alpha", "0.1", "c"], {
            "runs": ["a", "b", "c"], "rope": 0.1, "alpha": 0.1}),
        ("promote", ["a", "--name", "m"], {"run": "a", "name": "m"}),
        ("promote", ["--name", "m", "a"], {"run": "a", "name": "m"}),
        ("ui", [], {"run": None, "port": None}),
        ("ui", ["a", "--port", "5050"], {"run": "a", "port": 5050}),
        ("ui", ["--port", "5050", "a"], {"run": "a", "port": 5050}),
    ],
)  # fmt: skip
def test_runs_and_options_come_in_any_order(name, arguments, expected):
    module = import_module(f"pipeline.commands.{name}")
    parsed, _ = parse(module.make_parser(), arguments)
    assert vars(parsed).items() >= expected.items()


@pytest.mark.parametrize(
    ("name", "arguments", "message"),
    [
        ("compare", ["--metric", "f1_macro"], "required: SWEEP|RUN"),
        ("promote", [], "required: RUN"),
        ("promote", ["a", "b"], "unrecognized arguments: b"),
        ("compare", ["a", "--metrics"], "--metric"),
    ],
)
def test_wrong_arguments_are_an_error_of_usage(monkeypatch, capsys, name, arguments, message):
    assert call(monkeypatch, name, *arguments) == 2
    assert message in capsys.readouterr().err


def test_the_name_of_a_run_may_contain_equals_signs(parser):
    name = "model.hidden_units=[20], seed=1"
    arguments, tracking = parse(parser, [name, "tracking.experiment_name=trial"])
    assert arguments.runs == [name]
    assert tracking.experiment_name == "trial"


@pytest.mark.parametrize("arguments", [("--tracking-uri", "x"), ("--tracking-uri=x",)])
@pytest.mark.parametrize("name", ["compare", "promote", "ui"])
def test_the_former_option_of_the_store_names_the_new_setting(monkeypatch, capsys, name, arguments):
    assert call(monkeypatch, name, "RUN", *arguments) == 2
    assert "--tracking-uri was renamed: use tracking.uri=..." in capsys.readouterr().err


@pytest.mark.parametrize(
    ("setting", "message"),
    [("tracking.urii=x", "tracking.uri"), ("tracking.experiment_name=", "experiment_name")],
)
def test_invalid_settings_end_with_exit_code_2(monkeypatch, capsys, setting, message):
    assert call(monkeypatch, "compare", "RUN", setting) == 2
    error = capsys.readouterr().err
    assert message in error
    assert "Traceback" not in error


def test_a_reader_that_ends_early_is_no_error():
    """As in `--help | head -1`."""
    process = subprocess.run(
        f"'{sys.executable}' -m pipeline --help | true", shell=True, capture_output=True, check=True
    )
    assert process.stderr == b""


def raise_(error: BaseException) -> None:
    raise error


@pytest.mark.parametrize(
    ("error", "code", "message"),
    [
        (None, 0, ""),
        (UserError("epochs: expected 1. Received: 0"), 2, "epochs: expected 1. Received: 0\n"),
        (ValueError("broken"), 1, "The job failed: ValueError: broken\n"),
        (KeyboardInterrupt(), 130, "Interrupted.\n"),
    ],
    ids=["success", "user error", "failure", "Ctrl-C"],
)
def test_exit_codes_and_messages_of_run(capsys, error, code, message):
    assert run(lambda: raise_(error) if error else None) == code
    out, err = capsys.readouterr()
    assert out == ""
    assert err.endswith(message)
    assert ("Traceback" in err) == (code == 1)
