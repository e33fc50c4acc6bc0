"""Repetition of runs: composed from what they logged, and compared score by score."""

import re
import shutil

import numpy as np
import pandas as pd
import pytest

from pipeline.commands import reproduce
from pipeline.comparison.reproduction import Agreement, compare_scores, find_causes
from pipeline.config import parse_config, recompose, to_yaml
from pipeline.errors import UserError
from pipeline.tracking import RunRecord
from tests.command_runner import CommandRunner

CV = ("cv.n_splits=4", "cv.n_repeats=1", "report=none")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with a run of a table, given by a relative path."""
    folder = tmp_path_factory.mktemp("reproduce")
    X = np.random.default_rng(0).normal(size=(80, 3))
    y = (X[:, :2] + np.random.default_rng(1).normal(size=(80, 2)) > 0).astype(int)
    table = pd.DataFrame(np.hstack([X, y]), columns=["a", "b", "c", "tag_x", "tag_y"])
    table.to_csv(folder / "data.csv", index=False)
    store = CommandRunner(folder)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(folder)
        store.run_here(
            *("dataset=table", "dataset.path=data.csv", "dataset.labels=[tag_*]"),
            *("model=logistic", "tracking.run_name=base", *CV),
        )
    return store


@pytest.fixture
def command(store, capsys):
    """Run the command and return exit code, output and errors."""

    def call(*arguments):
        code = reproduce.main([*arguments, f"tracking.uri={store.uri}"])
        captured = capsys.readouterr()
        return code, captured.out, " ".join(captured.err.split())

    return call


def test_every_score_of_a_repetition_agrees_from_any_folder(store, command, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    code, out, _ = command("base")
    assert code == 0
    assert out.splitlines()[-1] == "Reproduced: all scores agree."
    assert out.count("to the last digit") == 5
    repeated, run = store.runs()[:2]
    assert repeated.data.tags["reproduces"] == run.info.run_id
    assert repeated.info.run_name == "base, reproduced"
    assert repeated.data.tags["config_digest"] != run.data.tags["config_digest"]  # the path
    for metric in ("accuracy", "roc_auc_macro"):
        histories = [
            [value.value for value in store.client.get_metric_history(each.info.run_id, key)]
            for each in (run, repeated)
            for key in [f"fold/{metric}"]
        ]
        assert histories[0] == histories[1]


def test_scores_of_outer_folds_are_compared(store, command, monkeypatch):
    monkeypatch.chdir(store.folder)
    settings = ("dataset=table", "dataset.path=data.csv", "dataset.labels=[tag_*]", *CV)
    store.run_here(*settings, "model=logistic", "tracking.run_name=nested", "cv.outer_splits=2")
    code, out, _ = command("nested")
    assert code == 0
    assert len([line for line in out.splitlines() if re.match("Outer .* last digit", line)]) == 5
    code, out, _ = command("nested", "seed=2")
    assert code == 0
    assert "Outer accuracy" in out


def test_other_data_are_named(store, command, tmp_path):
    table = pd.read_csv(store.folder / "data.csv")
    table.loc[0, "tag_x"] = 1 - table.loc[0, "tag_x"]
    table.to_csv(tmp_path / "data.csv", index=False)
    code, out, _ = command("base", f"dataset.path={tmp_path / 'data.csv'}")
    assert code == 1
    _, causes = out.split("Not reproduced. What differs:\n")
    assert [line.partition(":")[0].strip() for line in causes.splitlines()] == ["data", "settings"]


def test_changed_settings_show_differences_with_intervals(store, command):
    code, out, err = command("base", "model=dummy", "tracking.experiment_name=others")
    assert code == 0, err
    assert "With model=dummy, compared with run" in out
    assert "95% interval" in out
    (run,) = store.runs("others")
    assert run.data.params["model.estimator"] == "sklearn.dummy.DummyClassifier"
    code, out, err = command("base", "cv.random_state=3")
    assert code == 0, err
    assert "The data or the folds differ, so there is no interval." in out


def test_missing_data_are_refused(store, command, tmp_path):
    moved = shutil.move(store.folder / "data.csv", tmp_path / "data.csv")
    try:
        code, _, err = command("base")
    finally:
        shutil.move(moved, store.folder / "data.csv")
    assert code == 2
    assert "dataset.path" in err


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ("modle=dummy", "modle: no such key. Did you mean 'model'?"),
        ("model=dumy", "model: no such option 'dumy'. Did you mean 'dummy'?"),
        ("seed=1,2", "Expected settings such as seed=2 or model=logistic. Received: seed=1,2"),
        ("cv.n_splits=two", "cv.n_splits: expected a valid integer"),
    ],
)
def test_invalid_changes_are_refused(command, change, message):
    code, _, err = command("base", change)
    assert code == 2
    assert message in err


def test_a_saved_configuration_composes_to_itself(make_config):
    for options in (("model=logistic",), ("model.hidden_units=[64,32]", "cv=shuffle_split")):
        config = make_config(*options, "seed=7")
        assert parse_config(recompose(to_yaml(config), [])) == config
    changed = parse_config(recompose(to_yaml(config), ["seed=8", "model=random_forest"]))
    assert changed == make_config("model=random_forest", "cv=shuffle_split", "seed=8")


def test_former_keys_are_translated_and_new_ones_get_their_defaults(make_config):
    text = to_yaml(make_config()).replace("preprocessing:\n", "preparation:\n")
    text = text.replace("  scaling:", "  numeric:").replace("racing: null\n", "")
    assert ("  numeric:" in text, "racing" in text) == (True, False)
    assert parse_config(recompose(text, [])) == make_config()


@pytest.mark.parametrize("name", ["${oc.env:HOME}", "\\${oc.env:HOME}", "a${b}", "\\\\${x"])
def test_texts_of_a_saved_configuration_are_literal(make_config, name):
    text = to_yaml(make_config()).replace("run_name: null", f"run_name: '{name}'")
    assert parse_config(recompose(text, [])).tracking.run_name == name


@pytest.mark.parametrize(
    ("now", "agrees", "description"),
    [
        ([0.5, 0.7, 0.9], True, "to the last digit"),
        ([0.5, 0.7, 0.9 + 2e-8], True, "to 7 decimals: differs by up to 2.0e-08 in 1 of 3 folds"),
        ([0.5, 0.71, 0.9], False, "no: differs by up to 1.0e-02 in 1 of 3 folds"),
        ([0.5, np.nan, 0.9], False, "no: undefined on one side only in 1 of 3 folds"),
    ],
)
def test_agreement_is_told_to_its_digit(now, agrees, description):
    row = compare_scores("accuracy", np.array([0.5, 0.7, 0.9]), np.array(now), 0.5)
    assert (row.agrees, row.describe()) == (agrees, description)


def test_folds_undefined_in_both_runs_agree():
    scores = np.array([0.5, np.nan, 0.9])
    row = compare_scores("roc_auc_macro", scores, scores.copy(), 0.5)
    assert row == Agreement("roc_auc_macro", (0.7, 0.7), 3, 3, 0.0, agrees=True, ci=None)


def test_causes_are_differences_of_tags():
    def record(**tags):
        return RunRecord("1", "0", "n", "FINISHED", 0, 0, {}, tags, {})

    tags = {"data_digest": "d" * 32, "machine": "Linux x86_64, 2 cores", "version.keras": "3.14"}
    assert find_causes(record(**tags), record(**tags)) == []
    assert find_causes(record(**tags), record(**{**tags, "version.keras": "3.15"})) == [
        "keras: 3.14 before, 3.15 now"
    ]
    on_gpu = {**tags, "device": "GPU (NVIDIA H100, 85.0 GB)"}
    assert find_causes(record(**on_gpu), record(**{**tags, "device": "CPU"})) == [
        "device: GPU (NVIDIA H100, 85.0 GB) before, CPU now"
    ]
    assert find_causes(record(**tags), record(**on_gpu)) == []  # of a run from before the tag
    assert find_causes(record(), record(data_digest="e" * 32)) == [
        "data: not logged before, eeeeeeeeeeee now"
    ]


def test_an_unknown_run_and_a_removed_setting_are_refused(command, make_config):
    code, _, err = command("nothing")
    assert code == 2
    assert "Expected a run or a sweep of the store" in err
    with pytest.raises(UserError, match="Expected settings"):
        recompose(to_yaml(make_config()), ["~seed"])
