"""Promotion of models: comparison with the champion, schema of a registered name, output."""

import re
import subprocess
import sys
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest

from pipeline.commands import promote
from pipeline.errors import UserError
from pipeline.tracking import registry
from pipeline.tracking.registry import ModelSchema
from tests.command_runner import CommandRunner

CV = ("cv.n_splits=5", "cv.n_repeats=1", "report=none")


def write_table(path, n_labels=2, seed=0, shift=0.0):
    """Write 90 rows whose labels logistic regression can learn."""
    X = np.random.default_rng(seed).normal(size=(90, 3))
    table = pd.DataFrame(X, columns=["a", "b", "c"])
    for label in range(n_labels):
        table[f"tag_{label}"] = (X[:, label] > shift).astype(int)
    path.parent.mkdir(exist_ok=True)
    table.to_csv(path, index=False)
    return ("dataset=table", f"dataset.path={path}", "dataset.labels=[tag_*]")


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Return a store and the ids of runs by name, of which `good` is better than `bad`."""
    folder = tmp_path_factory.mktemp("promote")
    store = CommandRunner(folder)
    table = write_table(folder / "first" / "data.csv")
    other = write_table(folder / "second" / "data.csv", n_labels=3)
    for name, arguments in {
        "good": (*table, "model=logistic"),
        "same": (*table, "model=logistic", "model.params.C=1.01"),
        "bad": (*table, "model=dummy"),
        "folds": (*table, "model=logistic", "cv.random_state=7"),
        "columns": (*other, "model=dummy"),
    }.items():
        store.run_here(*arguments, *CV, f"tracking.run_name={name}")
    return store, {run.info.run_name: run.info.run_id for run in store.runs()}


@pytest.fixture
def command(runs, capsys):
    """Run the command and return exit code, output and errors, each on one line."""
    store, _ = runs

    def call(*arguments):
        code = promote.main([*arguments, f"tracking.uri={store.uri}"])
        captured = capsys.readouterr()
        return code, captured.out, " ".join(captured.err.split())

    return call


def holder(runs, name, alias="champion"):
    store, ids = runs
    version = store.client.get_model_version_by_alias(name, alias)
    return next(each for each, run_id in ids.items() if run_id == version.run_id), version


def test_only_a_significantly_better_model_replaces_the_champion_if_asked(runs, command):
    code, out, _ = command("bad", "--name", "better")
    assert (code, holder(runs, "better")[0]) == (0, "bad")
    assert "The first champion" in holder(runs, "better")[1].description
    code, out, _ = command("good", "--name", "better", "--if-better")
    assert (code, holder(runs, "better")[0]) == (0, "good")
    _, ids = runs
    better = f'"run {ids["good"][:8]}" is significantly better than "run {ids["bad"][:8]}"'
    assert better in out
    code, out, _ = command("same", "--name", "better", "--if-better")
    assert (code, holder(runs, "better")[0]) == (3, "good")
    assert "better version 2 stays the champion" in out
    code, out, _ = command("good", "--name", "better", "--if-better")
    assert code == 0
    assert "is the champion already" in out


def test_a_significantly_worse_model_is_refused_without_force(runs, command):
    command("good", "--name", "worse")
    code, out, err = command("bad", "--name", "worse")
    assert (code, holder(runs, "worse")[0]) == (3, "good")
    assert "is significantly better than" in out
    assert "--force" in err
    assert len(runs[0].client.search_model_versions("name = 'worse'")) == 1
    code, *_ = command("bad", "--name", "worse", "--force")
    assert (code, holder(runs, "worse")[0]) == (0, "bad")


def test_without_the_same_folds_nothing_is_concluded(runs, command):
    command("good", "--name", "open")
    code, out, _ = command("folds", "--name", "open", "--if-better")
    assert (code, holder(runs, "open")[0]) == (3, "good")
    code, out, _ = command("folds", "--name", "open")
    assert (code, holder(runs, "open")[0]) == (0, "folds")
    assert "cannot be paired: Expected runs with the same folds" in out
    code, out, _ = command("same", "--name", "open")  # folds differ again
    assert (code, holder(runs, "open")[0]) == (0, "same")


def test_a_name_keeps_its_features_and_labels(runs, command):
    """Tables of the same file name have the same default name."""
    code, *_ = command("good")
    assert (code, holder(runs, "data")[0]) == (0, "good")
    code, _, err = command("columns", "--force")
    assert (code, holder(runs, "data")[0]) == (2, "good")
    assert "whose model adds the label 'tag_2', compared with version 1" in err
    assert "--name data_2" in err
    code, *_ = command("columns", "--name", "data_2", "--alias", "candidate")
    assert (code, holder(runs, "data_2", "candidate")[0]) == (0, "columns")


def test_the_description_has_reason_scores_with_intervals_and_run(runs, command):
    command("bad", "--name", "described")
    command("good", "--name", "described")
    _, version = holder(runs, "described")
    store, ids = runs
    metrics = store.client.get_run(ids["good"]).data.metrics
    low, high = (f"{metrics[f'accuracy_ci_{end}']:.3f}" for end in ("low", "high"))
    reason, *scores, origin = version.description.splitlines()
    assert "is significantly better than" in reason
    assert scores[0].startswith("Accuracy: ")
    assert scores[0].endswith(f"95% interval {low} to {high}")
    assert len(scores) == 5
    assert origin.startswith(f"Run {ids['good']}; data ")


def test_what_is_printed_works_from_any_folder(runs, command, tmp_path):
    _, out, _ = command("good", "--name", "pasted")
    lines = [line.strip() for line in out.splitlines() if line.startswith("  ")]
    uri = re.search(r"runs:/[0-9a-f]{32}/model$", out.strip())[0]
    lines += [f"again = mlflow.pyfunc.load_model({uri!r})", "print(model.predict)"]
    process = subprocess.run(
        [sys.executable, "-c", "\n".join(lines)], cwd=tmp_path, capture_output=True, text=True
    )
    assert process.returncode == 0, process.stderr
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("good", "--metric", "f1_makro"), "Did you mean 'f1_macro'?"),
        (("good", "--name", "a/b"), "The model registry refused"),
        (("none",), "Expected a run or a sweep of the store"),
    ],
)
def test_invalid_arguments_are_refused_before_anything_is_registered(
    runs, command, arguments, message
):
    command("bad", "--name", "invalid")
    named = arguments if "--name" in arguments else (*arguments, "--name", "invalid")
    code, _, err = command(*named)
    assert code == 2
    assert message in err
    assert holder(runs, "invalid")[0] == "bad"
    assert len(runs[0].client.search_model_versions("name = 'invalid'")) == 1


@pytest.mark.parametrize("alias", ["v1", "Latest", "a b", ""])
def test_an_alias_that_mlflow_refuses_is_an_error_of_usage(command, capsys, alias):
    with pytest.raises(SystemExit, match="2"):
        command("good", "--alias", alias)
    assert "--alias: expected letters" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("features", "labels", "difference"),
    [
        ({"a": "number"}, ("x", "y"), ""),
        ({"a": "category"}, ("x", "y"), "feature 'a' is a category, not a number"),
        ({"a": "of unknown kind"}, ("x", "y"), ""),
        ({"b": "number"}, ("x", "y"), "adds the feature 'b' and lacks the feature 'a'"),
        ({"a": "number"}, ("y", "x"), "the labels are in another order"),
        ({"a": "number"}, ("x",), "lacks the label 'y'"),
    ],
)
def test_differences_of_schemas_are_described(features, labels, difference):
    registered = ModelSchema({"a": "number"}, ("x", "y"))
    assert ModelSchema(features, labels).describe_difference(registered) == difference


@pytest.mark.parametrize(
    ("dataset", "expected"),
    [
        ("a/b:c", "a_b_c"),
        ("50% ? #1 & 'x' @y", "50_ _ _1 _ _x_ _y"),
        ("ünï 統計", "ünï 統計"),
        ("///", "_"),
        ("n" * 300, "n" * 200),
    ],
)
def test_the_default_name_of_a_model_can_be_part_of_its_uri(monkeypatch, dataset, expected):
    run = SimpleNamespace(run_id="1", name=dataset)
    client = SimpleNamespace(get_run=lambda run_id: SimpleNamespace(inputs=None))
    monkeypatch.setattr(registry.mlflow, "MlflowClient", lambda: client)
    assert registry.default_name(run) == expected
    registry.check_name(expected)


@pytest.mark.parametrize("name", ["a/b", "a:1", "a@b", "50%", "a?b", "a#b", " ", "a\nb", "n" * 201])
def test_a_name_that_is_no_part_of_a_uri_is_rejected(name):
    with pytest.raises(
        UserError, match=r"registry refused the name .*: expected at most 200 characters"
    ):
        registry.check_name(name)
