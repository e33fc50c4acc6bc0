"""Errors of the command line show what to type, and what is shown can be typed."""

import shlex
import sys

import pytest
from hydra import compose, initialize_config_dir

from pipeline import command_line
from pipeline.config import parse_config, quote_arguments
from pipeline.errors import UserError
from pipeline.outcome import Outcome
from pipeline.runtime import CONF_DIR

TABLE = ("dataset=table", "dataset.path=x")


@pytest.fixture
def refuse(monkeypatch, capsys, tmp_path):
    """Return what a command line that is refused prints."""

    def call(*arguments: str) -> str:
        def check(composed, position):
            return command_line.attempt(lambda: parse_config(composed))

        argv = ["manyfold", *arguments, f"hydra.run.dir={tmp_path}/hydra"]
        monkeypatch.setattr(sys, "argv", argv)
        monkeypatch.setattr(command_line, "_train", check)
        assert command_line.train() == 2
        err = capsys.readouterr().err
        assert "Traceback" not in err
        return " ".join(err.split())

    return call


@pytest.mark.parametrize(
    ("argument", "typed"),
    [
        ("+model.params={a: R&B}", None),
        ("model=keras model.builder=a.b +model.params.x=R&B", '+model.params.x="R&B"'),
        ("model.hidden_units=[3", "model.hidden_units=[3]"),
        ("model.hidden_units=(20)", "model.hidden_units=[20]"),
        ("model.hidden_units=20", "model.hidden_units=[20]"),
        ("scoring.metrics=accuracy", "scoring.metrics=[accuracy]"),
        ("report.figures=no", "report.figures=false"),
        ("resume=on", "resume=true"),
        ("training.learning_rate=0,001", "training.learning_rate=0.001"),
    ],
)
def test_the_setting_to_type_is_shown_and_accepted(refuse, argument, typed):
    message = refuse(*argument.split())
    if typed is None:
        assert "does not follow Hydra's grammar" in message or "Type: " in message
        return
    assert shlex.quote(typed) in message
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        *others, _ = argument.split()
        overrides = [*others, typed]
        parse_config(compose("config", overrides=quote_arguments(overrides)))


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["training.class_weight=choice(null,balanced)"], "NoneType is incompatible"),
        (
            ["training.class_weight=choice(null,balanced)"],
            "Type: --multirun training.class_weight=null,balanced",
        ),
        (["seed=range(1,b)"], "str is incompatible"),
        (["seed=1,2"], "to try each of them: --multirun seed=1,2"),
        (["model=mlp,svm"], "--multirun model=mlp,svm"),
        ([*TABLE, "dataset.labels=a,b"], "as a list: 'dataset.labels=[a,b]'"),
        (["model.activation=a,b"], "as one text: 'model.activation=\"a,b\"'"),
        (["dataset.path=my", "data.csv"], "for the shell: 'dataset.path=my data.csv'"),
        ([*TABLE, "dataset.labels=R&B"], "Type: 'dataset.labels=[R&B]'"),
        (["hydra.sweeper.sampler.seed=3"], "hydra/sweeper=optuna (the key is hydra.sweeper.seed"),
        (["hydra.sweeper.n_trials=3"], "an option is chosen that has it: hydra/sweeper=optuna"),
        (["hydra.launcher.partition=x"], "hydra/launcher=slurm"),
        (["cv=3"], "cv=3: expected the name of an option. Available: group_kfold,"),
        (["=3"], "expected key=value. Received: '=3'"),
    ],
)
def test_a_refusal_says_what_to_type(refuse, arguments, message):
    assert message in refuse(*arguments)


@pytest.mark.parametrize(
    ("argument", "message"),
    [
        ("report=none", "Set its keys: report.figures=false report.html=false"),
        ("report=none", "defaults: [report: none, _self_]"),
        ("cv=shuffle_split", "defaults: [cv: shuffle_split, _self_]"),
        ("model=svm", "none of its options can be chosen"),
        ("seed=2", "seed: no such key in this configuration. Add it: ++seed=2"),
        ("cv.n_splits=3", "Add it: ++cv.n_splits=3"),
    ],
)
def test_a_saved_configuration_has_no_options_to_choose(refuse, tmp_path, argument, message):
    (tmp_path / "mine.yaml").write_text("report:\n  figures: true\n  html: true\n")
    printed = refuse(f"--config-dir={tmp_path}", "--config-name=mine", argument)
    assert message in printed
    assert "Did you mean" not in printed


def test_numbers_for_names_in_a_file_are_refused_with_the_remedy(make_config):
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        composed = compose("config", overrides=[*TABLE, "dataset.labels=[0,1]"])
    with pytest.raises(UserError) as caught:
        parse_config(composed)
    assert "dataset.labels.0: expected a text, in quotes" in str(caught.value)
    assert "at least" not in str(caught.value)
    assert make_config(*TABLE, *quote_arguments(["dataset.labels=[0,1]"])).dataset.labels == (
        *("0", "1"),
    )


def test_workers_receive_plain_words_unchanged(monkeypatch, tmp_path):
    names = ["a, b (1).csv", "epoch=3.csv", "Höhe's.csv", "a ${x}.csv"]
    monkeypatch.chdir(tmp_path)
    for name in names:
        (tmp_path / name).write_text("a\n")
    received = []

    def record(composed, position):
        received.append((composed.dataset.path, list(composed.dataset.labels)))
        return Outcome(0)

    paths = f"dataset.path={','.join(names)}"
    sweep = ("--multirun", "dataset=table", paths, "dataset.labels=[R&B,Sci-Fi]")
    folder = f"hydra.sweep.dir={tmp_path}/sweep"
    quiet = ("~hydra.callbacks.sweep", folder)
    monkeypatch.setattr(sys, "argv", ["manyfold", *sweep, *quiet])
    assert command_line.hydra_command(record) == 0
    assert received == [(name, ["R&B", "Sci-Fi"]) for name in names]
