"""Importance of features against scikit-learn, plain Keras and SciPy, and its table and command."""

import json
from dataclasses import replace

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.cluster.hierarchy import fcluster, linkage
from scipy.spatial.distance import squareform
from scipy.stats import spearmanr
from sklearn.inspection import permutation_importance
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import accuracy_score, average_precision_score, log_loss, roc_auc_score
from sklearn.multiclass import OneVsRestClassifier

import pipeline
from pipeline.commands import importance as command
from pipeline.cv.splitters import Split, make_splits
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.loading import load
from pipeline.decision.rule import DecisionRule
from pipeline.evaluation import importance
from pipeline.evaluation.evaluator import Evaluator
from pipeline.evaluation.importance import PermutationImportance, group_columns, permutations
from pipeline.preprocessing.table_schema import TableSchema
from pipeline.scoring.feature_importance import FeatureImportance
from pipeline.training.base import fit_seed
from tests.command_runner import CommandRunner
from tests.test_evaluator import SMALL

NO_RULE = DecisionRule(np.ones(3), np.full(3, 0.5))
METRICS = {
    "average_precision": average_precision_score,
    "roc_auc": roc_auc_score,
    "log_loss": lambda y_true, y_score, **options: -log_loss(y_true, y_score, **options),
}


def make_table(n=120, n_features=6, seed=0) -> Dataset:
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, n_features)).astype(np.float32)
    y = (X[:, :3] + X[:, 1:4] + rng.normal(size=(n, 3)) > 0).astype(np.int8)
    schema = TableSchema.of_numbers([f"x{i}" for i in range(n_features)])
    return Dataset("table", X, y, schema, ("a", "b", "c"))


@pytest.mark.parametrize("metric", METRICS)
@pytest.mark.parametrize("max_values", [2**21, 700])
def test_it_equals_permutation_importance_of_scikit_learn(
    make_config, monkeypatch, metric, max_values
):
    monkeypatch.setattr(importance, "MAX_VALUES", max_values)  # the small one: many calls
    dataset, test, seed = make_table(), np.arange(80, 120), 2**32 - 1
    model = OneVsRestClassifier(LogisticRegression()).fit(dataset.X[:80], dataset.y[:80])

    def predict(X):
        return model.predict_proba(X).astype(np.float64)

    config = make_config(f"report.importance_metric={metric}", "report.importance_repeats=3")
    actual = PermutationImportance(config, dataset).measure(
        Split(0, 0, np.arange(80), test), seed, predict, NO_RULE
    )

    def score_label(label):
        return lambda _, X, y: METRICS[metric](y[:, label], predict(X)[:, label])

    scorers = {"overall": lambda _, X, y: accuracy_score(y, predict(X) > 0.5)}
    scorers |= {name: score_label(label) for label, name in enumerate("abc")}
    expected = permutation_importance(
        *(model, dataset.X[test], dataset.y[test]), scoring=scorers, n_repeats=3, random_state=seed
    )
    means = np.column_stack([expected[name].importances_mean for name in scorers])
    np.testing.assert_allclose(actual, means, rtol=0, atol=1e-12)
    assert np.abs(actual).max() > 0.05


@pytest.mark.parametrize("metric", METRICS)
def test_labels_that_are_not_known_and_weights_of_rows_count_as_in_scores(make_config, metric):
    rng, table = np.random.default_rng(0), make_table()
    mask, weights = rng.random(table.y.shape) < 0.7, rng.uniform(0.5, 2, 120).astype(np.float32)
    dataset = replace(table, y=table.y * mask, label_mask=mask, sample_weight=weights)
    settings = ("scoring.metrics=[hamming_loss]", "scoring.weighted=true")
    config = make_config(*settings, f"report.importance_metric={metric}")
    test, matrix = np.arange(40, 120), rng.normal(size=(6, 3))

    def predict(X):
        return (1 / (1 + np.exp(-X @ matrix))).astype(np.float64)

    def score(X):
        y, known, weight, p = dataset.y[test], mask[test], weights[test], predict(X)
        is_right = ((p > 0.5) == y)[known]
        scores = [np.average(is_right, weights=np.broadcast_to(weight[:, None], y.shape)[known])]
        for label, rows in enumerate(known.T):
            options = {"sample_weight": weight[rows]}
            scores.append(METRICS[metric](y[rows, label], p[rows, label], **options))
        return np.array(scores)

    actual = PermutationImportance(config, dataset).measure(
        Split(0, 0, np.arange(80), test), 3, predict, NO_RULE
    )
    X = dataset.X[test]
    for column in range(6):
        decreases = []
        for order in permutations(80, 5, 3):
            permuted = X.copy()
            permuted[:, column] = X[order, column]
            decreases.append(score(X) - score(permuted))
        np.testing.assert_allclose(actual[column], np.mean(decreases, axis=0), rtol=0, atol=1e-6)


def evaluate(config, dataset):
    """Evaluate, and return the fitted models and rules of all folds as well."""
    evaluator = Evaluator(config, dataset, make_splits(config.cv, dataset))
    trainer, results = evaluator._trainer, {}
    train = trainer.train

    def recorded(progress, fit_indices):
        for index, result in zip(fit_indices, train(progress, fit_indices), strict=True):
            results[index] = result
            yield result

    trainer.train = recorded
    list(evaluator.folds(lambda n: None))
    models = [
        trainer.final_model([results[i] for i in plan.outer], evaluator._fits[plan.outer[0]])
        for plan in evaluator._fold_plans
    ]
    return evaluator.evaluation(), models


@pytest.mark.parametrize(
    "changes",
    [
        ("scoring.metrics=[log_loss]", "training.early_stopping.patience=1"),
        ("scoring.metrics=[f1_micro]", "model.ensemble_size=2", "decision.calibration=temperature"),
        ("dataset.n_samples=64", "cv.n_splits=2", "model.batch_normalization=true"),
    ],
)
def test_networks_equal_a_naive_loop_over_columns_of_plain_keras(make_config, changes):
    options = ("report.importance=true", "report.importance_repeats=2", "cv.n_repeats=1")
    config = make_config(*SMALL, *options, "report.importance_metric=log_loss", *changes)
    dataset = load(config.dataset)
    evaluation, models = evaluate(config, dataset)
    for fold, model in zip(evaluation.folds, models, strict=True):
        X, y = dataset.X[fold.split.test], dataset.y[fold.split.test]

        def score(X, fold=fold, model=model, y=y):
            y_score = fold.rule.calibrate(keras.ops.convert_to_numpy(model(X)))
            metric = pipeline.scoring.scorer.find_metric(config.scoring.metrics[0], 0.0)
            overall = metric(y, y_score, fold.rule.decide(y_score))
            losses = [log_loss(y[:, j], y_score[:, j], labels=[0, 1]) for j in range(3)]
            sign = 1 if config.scoring.metrics[0] == "log_loss" else -1
            return -np.array([sign * overall, *losses])

        seed = fit_seed(config.seed, (fold.split.repeat, fold.split.fold))
        for column in range(X.shape[1]):
            decreases = []
            for order in permutations(len(X), 2, seed):
                permuted = X.copy()
                permuted[:, column] = X[order, column]
                decreases.append(score(X) - score(permuted))
            np.testing.assert_allclose(
                fold.importance[column], np.mean(decreases, axis=0), rtol=0, atol=1e-5
            )


@pytest.mark.parametrize("model", ["mlp", "random_forest"])
def test_scores_do_not_change_and_a_run_without_it_has_none(make_config, model):
    options = (*SMALL, "cv.n_repeats=1", f"model={model}")
    if model == "random_forest":
        options += ("model.params.n_estimators=5",)
    config = make_config(*options)
    dataset = load(config.dataset)
    splits = make_splits(config.cv, dataset)
    evaluations = []
    for report in (config.report, replace(config.report, importance=True)):
        evaluator = Evaluator(replace(config, report=report), dataset, splits)
        list(evaluator.folds(lambda n: None))
        evaluations.append(evaluator.evaluation())
    without, with_it = evaluations
    for one, other in zip(without.folds, with_it.folds, strict=True):
        assert one.importance is None
        np.testing.assert_array_equal(one.y_score, other.y_score)
        assert other.importance.shape == (6, 4)
    assert without.feature_groups == ()


def test_a_copy_hides_a_column_unless_both_are_permuted_together(make_config):
    rng = np.random.default_rng(0)
    dataset = make_table(n_features=4)
    X = dataset.X.copy()
    X[:, 1] = X[:, 0]
    dataset = replace(dataset, X=X, y=np.tile(X[:, :1] + rng.normal(size=(120, 1)) > 0, 3) * 1)
    dataset = replace(dataset, y=dataset.y.astype(np.int8))

    def predict(X):
        both = (X[:, :1] + X[:, 1:2]) / 2
        return np.tile(1 / (1 + np.exp(-4 * both)), 3).astype(np.float32)

    def measure(*changes):
        permutation, rows = PermutationImportance(make_config(*changes), dataset), np.arange(120)
        values = permutation.measure(Split(0, 0, rows, rows), 0, predict, NO_RULE)
        return dict(zip(permutation.groups, values, strict=True))

    alone = measure()
    together = measure("report.importance_groups=0.9")
    assert alone.keys() == {(0,), (1,), (2,), (3,)}
    assert together.keys() == {(0, 1), (2,), (3,)}
    for column in (2, 3):  # which the model does not use
        assert not alone[column,].any()
        assert not together[column,].any()
    assert (together[0, 1] > 1.5 * alone[0,]).all()
    assert (alone[0,] > 0.02).all()


def test_the_parts_of_a_date_are_permuted_with_it():
    days = np.random.default_rng(0).integers(0, 1000, 150)
    frame = pd.DataFrame({"noise": np.arange(150) % 7, "when": days})
    frame["when"] = pd.Timestamp("2020-01-01") + pd.to_timedelta(frame["when"], "D")
    weekday = frame["when"].dt.day_of_week.to_numpy()
    y = np.column_stack([weekday > 3, weekday > 2]).astype(int)
    options = {"model": "hist_gradient_boosting", "cv": {"n_splits": 3, "n_repeats": 1}}
    evaluation = pipeline.evaluate(frame, y, report={"importance": True}, **options)
    result = evaluation.importance.set_index(["feature", "label"])["mean"]
    assert evaluation.final.schema.derived
    assert set(result.index.get_level_values(0)) == {"noise", "when"}
    assert result["when"].min() > 0.2
    assert result["noise"].abs().max() < 0.1


@given(
    n_columns=st.integers(2, 12),
    threshold=st.floats(0.05, 0.95),
    seed=st.integers(0, 2**20),
    columns_at_once=st.sampled_from([1, 5, 1000]),
)
@settings(max_examples=40)
def test_groups_are_those_of_hierarchical_clustering(n_columns, threshold, seed, columns_at_once):
    rng = np.random.default_rng(seed)
    X = (rng.normal(size=(30, n_columns)) @ rng.normal(size=(n_columns, n_columns))).round(1)
    correlation = spearmanr(X).statistic if n_columns > 2 else np.corrcoef(spearmanr_ranks(X).T)
    distance = 1 - np.abs(correlation)
    if (np.abs(distance - (1 - threshold)) < 1e-4).any():
        return  # rounding decides
    np.fill_diagonal(distance, 0)
    distance = np.clip((distance + distance.T) / 2, 0, None)
    numbers = fcluster(linkage(squareform(distance), "single"), 1 - threshold, "distance")
    expected = sorted(tuple(np.flatnonzero(numbers == n).tolist()) for n in set(numbers))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(importance, "COLUMNS_AT_ONCE", columns_at_once)
        assert list(group_columns(X.astype(np.float32), threshold)) == expected


def spearmanr_ranks(X):
    return pd.DataFrame(X).rank().to_numpy()


def test_constant_and_missing_columns_are_groups_of_their_own():
    X = np.random.default_rng(0).normal(size=(50, 5)).astype(np.float32)
    X[:, 1], X[:, 2], X[:, 4] = 1, np.nan, X[:, 0]
    X[:5, 4] = np.nan
    assert group_columns(X, 0.8) == ((0, 4), (1,), (2,), (3,))
    assert group_columns(X, None) == ((0,), (1,), (2,), (3,), (4,))


def make_importance(targets=("a", "overall"), n_folds=3, n_features=4):
    values = np.random.default_rng(0).normal(size=(n_folds, n_features, 1 + len(targets)))
    values[0, :, 1] = np.nan
    values[:, :, 2] = np.nan
    names = [f"x{i}, z" for i in range(n_features)]
    folds = [f"0-{fold}" for fold in range(n_folds)]
    return FeatureImportance.of(names, targets, ("accuracy", "roc_auc"), folds, values), values


def test_its_table_is_ordered_skips_undefined_folds_and_is_read_back(tmp_path):
    result, values = make_importance()
    table = result.to_table()
    order = np.argsort(-values[:, :, 0].mean(axis=0))
    assert table["feature"][::3].tolist() == [f"x{i}, z" for i in order]
    assert table["label"][:3].tolist() == ["overall", "a", "label overall"]
    assert table["metric"][:3].tolist() == ["accuracy", "roc_auc", "roc_auc"]
    assert table["n_folds"][:3].tolist() == [3, 2, 0]
    first = table.iloc[1]
    assert first["mean"] == pytest.approx(np.nanmean(values[:, order[0], 1]))
    assert first["std"] == pytest.approx(np.nanstd(values[:, order[0], 1]))
    assert table["mean"][2::3].isna().all()
    assert table[["0-0", "0-1", "0-2"]].iloc[0].tolist() == values[:, order[0], 0].tolist()
    table.to_parquet(tmp_path / "table.parquet")
    again = FeatureImportance.from_table(pd.read_parquet(tmp_path / "table.parquet"))
    for name in ("features", "targets", "metrics", "folds"):
        assert getattr(again, name) == getattr(result, name)
    np.testing.assert_array_equal(again.values, result.values)


def test_labels_named_beside_a_feature_depend_on_it_beyond_the_deviation():
    values = np.zeros((2, 1, 4))
    values[:, 0, 1:] = [[0.1, 0.30, 0.2], [0.3, 0.30, -0.1]]
    names = ("a", "b", "c")
    result = FeatureImportance.of(["x"], names, ("accuracy", "roc_auc"), ["0-0", "0-1"], values)
    assert [result.targets[target] for target in result.most_dependent(0, 3)] == ["b", "a"]
    assert [result.targets[target] for target in result.most_dependent(0, 1)] == ["b"]


def test_python_returns_a_table_and_a_section_of_the_report():
    table = make_table()
    options = {"model": "logistic", "cv": {"n_splits": 3, "n_repeats": 1}}
    plain = pipeline.evaluate(table, **options)
    with pytest.raises(pipeline.UserError, match=r"report=\{'importance': True\}"):
        _ = plain.importance
    assert "Importance of features" not in plain.report()
    evaluation = pipeline.evaluate(table, report={"importance": True}, **options)
    result = evaluation.importance
    assert set(result["feature"]) == {f"x{i}" for i in range(6)}
    overall = result[result["label"] == "overall"].set_index("feature")["mean"]
    assert overall.is_monotonic_decreasing
    assert overall[["x1", "x2"]].min() > 0.1 > 0.05 > overall[["x4", "x5"]].abs().max()
    page = evaluation.report()
    assert "<h2>Importance of features</h2>" in page
    assert f"<td><bdi>{result['feature'][0]}</bdi></td>" in page
    assert "Decrease of Accuracy when a feature is permuted" in page  # of the figure


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with a run that has importance and one that has none."""
    folder = tmp_path_factory.mktemp("importance")
    table = make_table(80, 4)
    frame = pd.DataFrame(np.hstack([table.X, table.y]))
    frame.columns = [*"pqrs", *(f"tag_{name}" for name in "abc")]
    frame.to_csv(folder / "data.csv", index=False)
    store = CommandRunner(folder)
    for name, *options in (("plain",), ("full", "report.importance=true")):
        store.run_here(
            *("dataset=table", f"dataset.path={folder / 'data.csv'}", "dataset.labels=[tag_*]"),
            *("model=logistic", "cv.n_splits=4", "cv.n_repeats=1", "report=none"),
            *(f"tracking.run_name={name}", *options),
        )
    return store


@pytest.fixture
def run_command(store, capsys):
    """Run the command and return exit code, output and errors."""

    def call(*arguments):
        code = command.main([*arguments, f"tracking.uri={store.uri}"])
        captured = capsys.readouterr()
        return code, captured.out, " ".join(captured.err.split())

    return call


def test_the_command_shows_what_a_run_has_and_measures_what_it_lacks(store, run_command, tmp_path):
    code, of_full, _ = run_command("full", "-o", str(tmp_path / "full.csv"))
    assert code == 0
    assert "trained again" not in of_full
    code, of_plain, _ = run_command("plain", "-o", str(tmp_path / "plain.csv"))
    assert code == 0
    assert "trained again" in of_plain
    table = of_full[of_full.index("\nfeature ") :].partition("\n\n")[0]
    assert table in of_plain
    assert table.split()[:3] == ["feature", "Accuracy", "std"]
    assert (tmp_path / "full.csv").read_text() == (tmp_path / "plain.csv").read_text()
    assert "trained again" not in run_command("plain")[1]  # as it was logged to the run
    full, plain = store.runs()[:2]
    assert full.data.params["report.importance"] == "True"
    assert not any("importance" in key for key in plain.data.params)
    assert full.data.tags["config_digest"] == plain.data.tags["config_digest"]
    code, out, _ = run_command("plain", "report.importance_groups=0.01")
    assert "p, q, r, s" in out


def test_the_command_refuses_other_settings_other_data_and_other_scores(
    store, run_command, tmp_path, monkeypatch
):
    code, _, errors = run_command("plain", "seed=3")
    assert (code, "Received: seed=3" in errors) == (2, True)
    path = tmp_path / "data.csv"
    path.write_text((store.folder / "data.csv").read_text().replace("1.0\n", "0.0\n", 1))
    code, _, errors = run_command("plain", f"dataset.path={path}", "report.importance_repeats=2")
    assert (code, "other data_digest" in errors) == (2, True)
    reader = "pipeline.tracking.RunReader.fold_scores"
    monkeypatch.setattr(reader, lambda *_: np.full(4, 0.123))
    code, _, errors = run_command("plain", "report.importance_repeats=2")
    assert code == 2
    assert "have another accuracy: no: differs by up to" in errors
    assert "manyfold reproduce" in errors
    assert run_command("plain", "-o", "table.txt")[0] == 2


def test_a_run_is_resumed_only_if_it_has_the_importance_that_is_requested(store):
    arguments = (
        *("dataset=table", f"dataset.path={store.folder / 'data.csv'}", "dataset.labels=[tag_*]"),
        *("model=logistic", "cv.n_splits=4", "cv.n_repeats=1", "report=none", "resume=true"),
    )
    n_runs = len(store.runs())
    store.run_here(*arguments)
    store.run_here(*arguments, "report.importance=true")
    assert len(store.runs()) == n_runs
    store.run_here(*arguments, "report.importance=true", "report.importance_repeats=2")
    assert len(store.runs()) == n_runs + 1


def test_the_settings_are_checked(make_config):
    for setting in ("report.importance_groups=1.5", "report.importance_repeats=0"):
        with pytest.raises(pipeline.UserError, match=setting.partition("=")[0]):
            make_config(setting)
    assert json.dumps(importance.importance_settings(make_config())) == "{}"
