"""Promotion of models: comparison with the champion, schema of a registered name, output."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from hashlib import sha256
from types import SimpleNamespace

import mlflow
import numpy as np
import pandas as pd
import pytest
from sklearn.metrics import f1_score

from pipeline.commands import predict, promote
from pipeline.comparison.rescoring import rescore
from pipeline.config import ScoringConfig, compose_tracking
from pipeline.errors import UserError
from pipeline.prediction import ChosenThresholds
from pipeline.scoring.held_out import StoredPredictions
from pipeline.tracking import locate, registry
from pipeline.tracking.model_reader import open_stored_model
from pipeline.tracking.registry import ModelSchema
from tests.command_runner import CommandRunner, artifact

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


def held_out(runs, name):
    """Return probabilities, labels and fold of the held-out rows of a run."""
    store, ids = runs
    table = pd.read_parquet(artifact(store.client.get_run(ids[name]), "predictions.parquet"))
    labels = [column.removeprefix("true_") for column in table if column.startswith("true_")]
    y_score = table[[f"score_{label}" for label in labels]].to_numpy()
    y_true = table[[f"true_{label}" for label in labels]].to_numpy()
    return y_score, y_true, table["fold"].to_numpy()


def best_threshold(y_score, y_true):
    """Return the hundredth with the best F1, of equally good ones the nearest to 0.5."""
    candidates = np.arange(1, 100) / 100
    scores = np.array([f1_score(y_true, y_score > it, zero_division=0) for it in candidates])
    best = candidates[scores >= scores.max() - 1e-12]
    return best[np.abs(best - 0.5).argmin()]


class TestThresholds:
    """The version has a model of its own; the run's stays as it is."""

    def test_the_new_thresholds_decide_wherever_the_version_is_loaded(
        self, runs, command, tmp_path, capsys
    ):
        store, ids = runs
        before = logged_files(store)
        code, out, _ = command("good", "--name", "given", "--threshold", "0.3",
                               "--threshold", "tag_1=0.6")  # fmt: skip
        assert code == 0
        _, version = holder(runs, "given")
        assert version.run_id == ids["good"]
        assert "Thresholds given by the user: tag_0 0.3, tag_1 0.6." in version.description
        assert "Thresholds given by the user: tag_0 0.3, tag_1 0.6." in out
        rows = pd.read_csv(store.folder / "first" / "data.csv")[["a", "b", "c"]]
        rows.to_csv(tmp_path / "rows.csv", index=False)
        mlflow.set_tracking_uri(store.uri)
        uri = re.search(r"models:/m-\w+$", out.strip())[0]
        expected = None
        for name in ("models:/given@champion", uri):
            model = mlflow.pyfunc.load_model(name)
            probabilities = model.predict(rows).to_numpy()
            expected = probabilities > [0.3, 0.6]
            decided = model.predict(rows, params={"decide": True}).to_numpy()
            np.testing.assert_array_equal(decided, expected)
            arguments = [name, str(tmp_path / "rows.csv"), "--decide", f"tracking.uri={store.uri}"]
            assert predict.main([*arguments, "-o", str(tmp_path / "o.csv")]) == 0
            np.testing.assert_array_equal(pd.read_csv(tmp_path / "o.csv"), expected)
        with open_stored_model(
            locate(compose_tracking([f"tracking.uri={store.uri}"])), "models:/given/1"
        ) as stored:
            content = json.loads((stored.folder / "artifacts/model/training.json").read_text())
            card = (stored.folder / "artifacts/model/MODEL_CARD.md").read_text()
        y_score, *_ = held_out(runs, "good")
        rates = (y_score > [0.3, 0.6]).mean(axis=0)
        assert [*content["predicted_label_rates"].values()] == pytest.approx(rates)
        assert card.endswith("Thresholds given by the user: tag_0 0.3, tag_1 0.6.\n")
        # The run's own model decides as before, and its files are as they were.
        original = mlflow.pyfunc.load_model(f"runs:/{ids['good']}/model")
        decided = original.predict(rows, params={"decide": True}).to_numpy()
        np.testing.assert_array_equal(decided, probabilities > 0.5)
        assert before.items() <= logged_files(store).items()

    def test_the_same_thresholds_are_the_same_version(self, runs, command):
        for _ in range(2):
            code, *_ = command("good", "--name", "again", "--threshold", "0.4")
            assert code == 0
        _, out, _ = command("good", "--name", "again", "--threshold", "0.4")
        assert "is the champion already" in out
        command("good", "--name", "again", "--force")
        command("good", "--name", "again", "--threshold", "0.4", "--force")
        store, _ = runs
        assert len(store.client.search_model_versions("name = 'again'")) == 2
        assert int(holder(runs, "again")[1].version) == 1
        models = store.client.search_logged_models(
            [store.runs()[0].info.experiment_id], filter_string="name = 'model_with_thresholds'"
        )
        digests = [model.tags["thresholds_digest"] for model in models]
        assert len(digests) == len(set(digests))

    def test_tuned_thresholds_are_scored_on_other_folds(self, runs, command):
        """For each fold, scikit-learn's F1 chooses the thresholds on the other folds again."""
        code, out, _ = command("bad", "--name", "tuned")
        code, out, _ = command(
            "good", "--name", "tuned", "--threshold-metric", "f1_macro", "--metric", "f1_macro"
        )
        assert (code, holder(runs, "tuned")[0]) == (0, "good")
        assert "tuned again on the other folds" in out
        y_score, y_true, fold = held_out(runs, "good")
        scores = []
        for k in range(5):
            values = [best_threshold(y_score[fold != k, j], y_true[fold != k, j]) for j in range(2)]
            test = fold == k
            scores.append(f1_score(y_true[test], y_score[test] > values, average="macro"))
        _, version = holder(runs, "tuned")
        assert f"F1 macro: {np.mean(scores):.3f} " in version.description
        values = [best_threshold(y_score[:, j], y_true[:, j]) for j in range(2)]
        text = ", ".join(f"tag_{j} {value:g}" for j, value in enumerate(values))
        if values[0] == values[1]:
            text = f"{values[0]:g} for all labels"
        assert (
            f"Thresholds tuned for F1 macro on the held-out predictions of all folds: {text}."
            in version.description
        )
        # A metric of probabilities is the run's.
        metrics = runs[0].client.get_run(version.run_id).data.metrics
        assert f"ROC AUC macro: {metrics['roc_auc_macro_mean']:.3f}" in version.description

    def test_the_model_with_its_own_thresholds_is_compared_with_the_champion(self, runs, command):
        """A threshold of 1 predicts no label, which is worse; and it can be replaced again."""
        command("good", "--name", "both")
        code, out, err = command("good", "--name", "both", "--threshold", "1")
        assert (code, int(holder(runs, "both")[1].version)) == (3, 1)
        assert 'with thresholds 1"' in out
        assert "these are optimistic" in out
        assert "--force" in err
        code, *_ = command("good", "--name", "both", "--threshold", "1", "--force")
        assert (code, int(holder(runs, "both")[1].version)) == (0, 2)
        code, out, _ = command("good", "--name", "both", "--if-better")
        assert (code, int(holder(runs, "both")[1].version)) == (0, 1)
        assert "is significantly better than" in out

    def test_a_metric_of_probabilities_says_nothing_about_thresholds(self, runs, command):
        command("good", "--name", "free")
        arguments = ("good", "--name", "free", "--threshold", "0.45", "--metric", "roc_auc_macro")
        code, out, _ = command(*arguments, "--if-better")
        assert code == 3
        assert "Expected a metric that depends on thresholds" in out
        code, out, _ = command("bad", *arguments[1:], "--if-better")  # of another run: as it is
        assert code == 3
        assert "is significantly better than" in out

    @pytest.mark.parametrize(
        ("arguments", "message"),
        [
            (["--threshold", "2"], "--threshold: expected a threshold from 0 to 1"),
            (["--threshold", "tag_7=0.2"], "Received: 'tag_7'. Available: tag_0, tag_1."),
            (["--threshold-metric", "roc_auc_macro"], "--threshold-metric: expected a metric"),
            (["--threshold-metric", "f1_makro"], "Did you mean 'f1_macro'?"),
            (["--threshold-metric", "f1_macro", "--threshold", "0.2"], "expected no --threshold"),
        ],
    )
    def test_mistakes_leave_nothing_behind(self, runs, command, arguments, message):
        store, _ = runs
        before = logged_files(store)
        code, _, err = command("good", "--name", "mistake", *arguments)
        assert code == 2
        assert message in err
        assert before == logged_files(store)
        assert not store.client.search_registered_models("name = 'mistake'")


def logged_files(store):
    """Return digests of all files of the store by path."""
    files = [path for path in store.folder.glob("artifacts/**/*") if path.is_file()]
    return {path: sha256(path.read_bytes()).hexdigest() for path in files}


def test_held_out_predictions_of_one_fold_cannot_score_what_they_tuned():
    """With the splits of a shuffle, other rows of any fold take the place of the other folds."""
    y = np.array([[0], [1], [1], [0]], np.int8)
    y_score = np.array([[0.2], [0.3], [0.9], [0.25]], np.float32)
    scoring = ScoringConfig(
        metrics=("f1_macro",), zero_division=0.0, greater_is_better={}, weighted=False
    )
    tuned = ChosenThresholds(("l",), np.array([0.28]), "f1_macro")
    rows = np.arange(4)
    one = StoredPredictions(("l",), np.zeros((4, 2), int), rows, None, None, y, y_score, y)
    with pytest.raises(UserError, match="held-out predictions of several folds"):
        rescore(one, tuned, scoring)
    fold = np.array([[0, 0], [0, 0], [1, 0], [1, 0]])
    shuffled = replace(one, fold=fold)  # each repeat has one fold
    scores = rescore(shuffled, tuned, scoring)["f1_macro"]
    # Fold 0 is decided at the threshold of fold 1, where 0.5 is as good as any from 0.25 to 0.89.
    np.testing.assert_allclose(scores, [0, 1])
    given = replace(tuned, metric=None)
    np.testing.assert_allclose(rescore(one, given, scoring)["f1_macro"], [1])
