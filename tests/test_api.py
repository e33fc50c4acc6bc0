"""`import pipeline`: the records of the command line, from Python."""

import os
import random
import re
import subprocess
import sys

import numpy as np
import pandas as pd
import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from scipy.sparse import csr_matrix
from sklearn.base import clone
from sklearn.dummy import DummyClassifier
from sklearn.ensemble import RandomForestClassifier
from sklearn.linear_model import LogisticRegression
from sklearn.model_selection import KFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import LinearSVC

import pipeline
from pipeline.config import parse_config
from pipeline.evaluation import load_inputs
from pipeline.evaluation.evaluator import Evaluator
from pipeline.runtime import CONF_DIR
from pipeline.training import sklearn_trainer

FOLDS = {"n_splits": 3, "n_repeats": 1}
CV = {"cv": FOLDS, "preprocessing": "none"}
SHORT = {"cv": FOLDS, "training": {"epochs": 3}}


def by_command(*arguments):
    """Evaluate like the command line, without logging."""
    with initialize_config_dir(str(CONF_DIR), version_base="1.3"):
        config = parse_config(compose("config", overrides=["cv.n_splits=3", *arguments]))
    inputs = load_inputs(config)
    evaluator = Evaluator(config, inputs.dataset, list(inputs.splits))
    list(evaluator.folds(lambda n: None))
    return evaluator.evaluation()


def fold_scores(evaluation):
    return [fold.scores for fold in evaluation.folds]


def test_weights_of_rows_reach_the_estimators_of_all_folds_and_the_final_model():
    rng = np.random.default_rng(3)
    X = rng.normal(size=(60, 2))
    y = (X + rng.normal(size=X.shape) > 0).astype(int)
    weight = rng.choice([0, 0.5, 2], 60)
    evaluation = pipeline.evaluate(X, y, sample_weight=weight, model=LogisticRegression(), **CV)

    def expected(rows, others):
        models = (LogisticRegression().fit(X[rows], it[rows], weight[rows]) for it in y.T)
        return np.stack([model.predict_proba(X[others])[:, 1] for model in models], axis=1)

    for fold in evaluation.folds:
        train, test = fold.split.train, fold.split.test
        np.testing.assert_allclose(fold.y_score, expected(train, test), atol=1e-4)
    y_score = evaluation.model.predict_proba(X)
    np.testing.assert_allclose(y_score, expected(np.arange(60), np.arange(60)), atol=1e-4)
    network = pipeline.evaluate(X, y, sample_weight=weight, **SHORT)
    other = pipeline.evaluate(X, y, sample_weight=weight * 0 + 1, **SHORT)
    assert network.dataset.digest != other.dataset.digest
    assert fold_scores(network) != fold_scores(other)


def test_other_weights_than_one_number_of_at_least_0_a_row_are_errors():
    X, y = np.eye(4), np.eye(4)[:, :2]
    for weight, message in (
        ([1, 2, 3], r"sample_weight: expected one value for each of 4 rows"),
        ([1, 2, None, 3], "missing value in column 'sample_weight', row 2"),
        ([1, 2, -1, 3], "weight of at least 0 for each row. Received: -1 in row 2"),
    ):
        with pytest.raises(pipeline.UserError, match=message):
            pipeline.evaluate(X, y, sample_weight=weight)


@pytest.fixture
def frame():
    """A data frame with numbers, categories, dates and missing values, and its labels."""
    rng = np.random.default_rng(0)
    X = pd.DataFrame(
        {
            "size": rng.normal(size=80),
            "colour": pd.Categorical(rng.choice(["red", "green", "blue"], 80)),
            "shop": rng.choice(["a", "b"], 80),
            "seen": pd.Timestamp("2026-01-01") + pd.to_timedelta(rng.integers(0, 90, 80), "D"),
        }
    )
    X.loc[::9, "size"] = np.nan
    X.loc[3, "shop"] = None
    y = pd.DataFrame(
        {"big": (X["size"].fillna(0) > 0).astype(int), "red": (X["colour"] == "red").astype(int)}
    )
    return X, y


@pytest.mark.parametrize("model", ["mlp", "logistic"])
def test_scores_equal_those_of_the_command_to_the_last_bit(tmp_path, rows, model):
    X, y = rows
    np.savez(tmp_path / "data.npz", X=X, y=y)
    arguments = ["dataset=npz", f"dataset.path={tmp_path / 'data.npz'}", f"model={model}"]
    expected = by_command(*arguments, "cv.n_repeats=1", "training.epochs=3")
    evaluation = pipeline.evaluate(X, y, model=model, **SHORT)
    assert fold_scores(evaluation) == fold_scores(expected)
    for fold, other in zip(evaluation.folds, expected.folds, strict=True):
        np.testing.assert_array_equal(fold.y_score, other.y_score)
    assert evaluation.summary == expected.summary


def test_a_data_frame_equals_its_parquet_file(tmp_path, frame):
    X, y = frame
    patient, ids = np.repeat(np.arange(20), 4), np.arange(100, 180)
    table = X.assign(patient=patient, row=ids, **y)
    table.to_parquet(tmp_path / "data.parquet")
    arguments = ["dataset=table", f"dataset.path={tmp_path / 'data.parquet'}", "cv=group_kfold"]
    columns = ["dataset.group_column=patient", "dataset.id_column=row", "dataset.numeric=[seen]"]
    labels = "dataset.labels=[big,red]"
    expected = by_command(*arguments, *columns, labels, "model=random_forest")
    evaluation = pipeline.evaluate(
        X, y, model="random_forest", groups=patient, ids=ids, cv={"n_splits": 3}
    )
    assert fold_scores(evaluation) == fold_scores(expected)
    assert evaluation.dataset.digest == expected.dataset.digest
    assert evaluation.config.cv.kind == "group_kfold"
    for fold in evaluation.folds:
        assert not {*patient[fold.split.train]} & {*patient[fold.split.test]}
    assert {*evaluation.predictions["id"]} == {*map(str, ids)}


def test_sparse_and_listed_rows_equal_arrays(rows):
    X, y = rows
    expected = pipeline.evaluate(X, y, model="logistic", **CV)
    for same in (csr_matrix(X), X.tolist()):
        evaluation = pipeline.evaluate(same, y.tolist(), model="logistic", **CV)
        assert fold_scores(evaluation) == fold_scores(expected)


def test_folds_are_predefined(rows):
    X, y = rows
    folds = np.arange(len(X)) % 4
    evaluation = pipeline.evaluate(X, y, model="logistic", folds=folds)
    assert [fold.split.test.tolist() for fold in evaluation.folds] == [
        np.flatnonzero(folds == fold).tolist() for fold in range(4)
    ]
    words = np.where(folds == 3, "test", "train")
    (fold,) = pipeline.evaluate(X, y, model="logistic", folds=words).folds
    np.testing.assert_array_equal(fold.split.test, np.flatnonzero(folds == 3))


@pytest.mark.parametrize(
    "estimator",
    [
        RandomForestClassifier(n_estimators=5, random_state=0),
        make_pipeline(StandardScaler(), RandomForestClassifier(n_estimators=5, random_state=0)),
    ],
    ids=["by parameters", "lent"],
)
def test_an_estimator_is_cloned_for_each_fold(rows, estimator):
    X, y = rows
    evaluation = pipeline.evaluate(X, y, model=estimator, **CV)
    splitter = KFold(3, shuffle=True, random_state=np.random.RandomState(1))
    for fold, (train, test) in zip(evaluation.folds, splitter.split(X), strict=True):
        np.testing.assert_array_equal(fold.split.test, test)
        fitted = clone(estimator).fit(X[train], y[train])
        expected = np.column_stack([pair[:, 1] for pair in fitted.predict_proba(X[test])])
        np.testing.assert_allclose(fold.y_score, expected, atol=1e-6)
    assert not hasattr(estimator, "classes_")


def test_a_plain_estimator_is_a_setting_that_the_command_line_takes():
    X, y = np.random.default_rng(0).normal(size=(30, 2)), np.arange(30)[:, None] % 2
    evaluation = pipeline.evaluate(X, y, model=LogisticRegression(C=0.5), **CV)
    model = evaluation.config.model
    assert (model.estimator, model.params) == (
        "sklearn.linear_model._logistic.LogisticRegression",
        {"C": 0.5},
    )
    assert model.strategy == "binary_relevance"


class Constant(DummyClassifier):
    """An estimator of the user's own."""


def make_network(n_features=4, n_labels=3):
    import keras

    layers = [keras.layers.Dense(20, activation="relu", kernel_initializer="he_uniform")]
    layers += [keras.layers.Dense(n_labels, activation="sigmoid")]
    return keras.Sequential([keras.Input((n_features,)), *layers])


@pytest.fixture(scope="module")
def by_option(shared_rows):
    """An evaluation of the network of `make_network`, as an option."""
    return pipeline.evaluate(*shared_rows, **SHORT)


@pytest.mark.parametrize("kind", ["model", "compiled", "function", "function without sizes"])
def test_a_network_gets_the_weights_of_its_seed_in_each_fold(rows, by_option, kind):
    X, y = rows
    model = make_network()
    model.set_weights([np.ones_like(weight) for weight in model.get_weights()])
    if kind == "compiled":
        model.compile("sgd", "mse")
    if kind == "function":
        model = make_network
    if kind == "function without sizes":
        model = lambda: make_network()  # noqa: E731
    evaluation = pipeline.evaluate(X, y, model=model, **SHORT)
    for fold, other in zip(evaluation.folds, by_option.folds, strict=True):
        np.testing.assert_allclose(fold.y_score, other.y_score, atol=1e-6)
    assert any("has no effect" in text for text in evaluation.all_warnings) == (kind == "compiled")


def test_a_changed_function_is_compiled_anew(rows):
    X, y = rows
    scores = []
    for units in (2, 40):

        def build(n_features, n_labels, units=units):
            import keras

            hidden = keras.layers.Dense(units, activation="relu")
            output = keras.layers.Dense(n_labels, activation="sigmoid")
            return keras.Sequential([keras.Input((n_features,)), hidden, output])

        final = pipeline.evaluate(X, y, model=build, **SHORT).final
        scores.append(final.model.count_params())
    assert scores[0] < scores[1]


def test_a_network_of_another_width_is_refused(frame):
    X, y = frame
    with pytest.raises(pipeline.UserError, match=r"network of \d+ inputs.*model=build"):
        pipeline.evaluate(X, y, model=make_network(4, 2), **SHORT)


def test_metrics_can_be_functions(rows):
    def half_error(y_true, y_score, y_pred):
        return np.mean(y_true != y_pred) / 2

    X, y = rows
    scoring = {"metrics": ["hamming_loss", half_error]}
    evaluation = pipeline.evaluate(X, y, model="logistic", scoring=scoring, **CV)
    scores = evaluation.scores
    np.testing.assert_allclose(scores["half_error"], scores["hamming_loss"] / 2)


def test_the_evaluation_has_tables_and_shows_itself(rows):
    X, y = rows
    evaluation = pipeline.evaluate(X, y, model="logistic", name="a<b", **CV)
    assert isinstance(evaluation, pipeline.Evaluation)
    scores = evaluation.scores
    assert scores.shape == (3, 5)
    assert scores.index.names == ["repeat", "fold"]
    assert scores["accuracy"].mean() == pytest.approx(evaluation.summary["accuracy"].mean)
    assert evaluation.labels.index.tolist() == ["y0", "y1", "y2"]
    assert len(evaluation.predictions) == len(X)
    html = evaluation._repr_html_()
    assert "a&lt;b" in html
    assert "data:image/png;base64," in html
    assert "Hamming loss" in html
    assert len(html) < 100_000
    assert repr(evaluation).startswith("<Evaluation of a<b: LogisticRegression: Accuracy: 0.")


def test_the_report_is_text_or_a_file(tmp_path, rows):
    evaluation = pipeline.evaluate(*rows, model="logistic", **CV)
    path = evaluation.report(tmp_path / "report.html")
    assert path.read_text().count("<figure") == evaluation.report().count("<figure") > 3
    assert "Run id in MLflow" not in path.read_text()


def test_the_final_model_takes_raw_rows(frame):
    X, y = frame
    evaluation = pipeline.evaluate(X, y, model="random_forest", cv=FOLDS)
    shuffled = X.iloc[::-1, ::-1]
    proba = evaluation.model.predict_proba(shuffled)
    assert list(proba.columns) == ["big", "red"]
    assert proba.index.equals(shuffled.index)
    expected = evaluation.final.predict_proba(evaluation.final.schema.encode(X))
    np.testing.assert_allclose(proba, expected[::-1], atol=1e-6)
    decisions = evaluation.model.predict(shuffled)
    np.testing.assert_array_equal(decisions, (proba > 0.5).astype(int))
    with pytest.raises(pipeline.UserError, match="colour"):
        evaluation.model.predict(X.drop(columns="colour"))


def test_evaluations_are_compared(rows):
    X, y = rows
    forest = pipeline.evaluate(X, y, model="random_forest", **CV)
    dummy = pipeline.evaluate(X, y, model="dummy", **CV)
    comparison = pipeline.compare({"trees": forest, "constant": dummy}, metric="f1_macro")
    assert comparison.names == ("trees", "constant")
    np.testing.assert_array_equal(comparison.scores[0], forest.scores["f1_macro"])
    assert "trees" in comparison._repr_html_()
    assert '"trees"' in comparison.conclusion
    other = pipeline.evaluate(X, y, model="dummy", cv={"n_splits": 4, "n_repeats": 1})
    with pytest.raises(pipeline.UserError, match="same folds"):
        pipeline.compare([forest, other])


def test_a_lent_estimator_is_fitted_in_other_processes(rows, monkeypatch):
    X, y = rows
    estimator = make_pipeline(StandardScaler(), RandomForestClassifier(5, random_state=0))
    alone = pipeline.evaluate(X, y, model=estimator, **CV)
    monkeypatch.setattr(sklearn_trainer, "START_SECONDS", -1.0)
    several = pipeline.evaluate(X, y, model=estimator, training={"n_threads": 2}, **CV)
    assert fold_scores(several) == fold_scores(alone)


def test_a_tracked_evaluation_is_a_run(tmp_path, frame, capfd):
    X, y = frame
    store = {"uri": f"sqlite:///{tmp_path / 'mlflow.db'}"}
    arguments = {"cv": FOLDS, "track": True, "tracking": store}
    dummy = pipeline.evaluate(X, y, model="dummy", **arguments)
    estimator = make_pipeline(StandardScaler(), LogisticRegression())
    logistic = pipeline.evaluate(X, y, model=estimator, **arguments)
    assert capfd.readouterr() == ("", "")
    expected = pipeline.evaluate(X, y, model=estimator, cv=FOLDS)
    assert fold_scores(logistic) == fold_scores(expected)
    comparison = pipeline.compare([dummy.run_id, logistic.run_id], tracking=store)
    of_evaluations = pipeline.compare([dummy, logistic])
    np.testing.assert_array_equal(comparison.scores, of_evaluations.scores)
    model = pipeline.load_model(logistic.run_id, tracking=store)
    rows = X.iloc[:5, ::-1]
    pd.testing.assert_frame_equal(model.predict_proba(rows), expected.model.predict_proba(rows))
    pd.testing.assert_frame_equal(model.predict(rows), expected.model.predict(rows))
    with pytest.raises(pipeline.UserError, match="colour"):
        model.predict(X.drop(columns="colour"))
    with pytest.raises(pipeline.UserError, match="Received: 'nothing'"):
        pipeline.load_model("nothing", tracking=store)


def test_a_class_of_the_program_itself_is_not_logged(rows, monkeypatch):
    monkeypatch.setattr(Constant, "__module__", "__main__")
    monkeypatch.setattr(sys.modules["__main__"], "Constant", Constant, raising=False)
    assert pipeline.evaluate(*rows, model=Constant(), **CV).scores["accuracy"].isna().sum() == 0
    with pytest.raises(pipeline.UserError, match="Move it to a file"):
        pipeline.evaluate(*rows, model=Constant(), track=True, **CV)


def test_data_sets_are_loaded(tmp_path, frame):
    X, y = frame
    path = str(tmp_path / "data.csv")
    X.assign(**y).to_csv(path, index=False)
    dataset = pipeline.load_dataset("table", path=path, labels=["big", "red"], numeric=["seen"])
    assert isinstance(dataset, pipeline.Dataset)
    assert isinstance(dataset.schema, pipeline.TableSchema)
    evaluation = pipeline.evaluate(dataset, model="dummy", cv=FOLDS)
    assert evaluation.dataset.digest == dataset.digest


def test_make_config_composes_like_the_command_line(make_config):
    expected = make_config("cv=group_kfold", "cv.n_splits=4", "seed=3", "model.hidden_units=[8]")
    model = {"hidden_units": np.array([8])}
    assert pipeline.make_config("cv=group_kfold", cv={"n_splits": 4}, seed=3, model=model) == (
        expected
    )


def test_an_experiment_leaves_the_data_as_they_are(rows):
    X, y = rows
    settings = ["experiment=yeast", "training.epochs=1"]
    evaluation = pipeline.evaluate(X, y, cv=FOLDS, settings=settings)
    assert evaluation.dataset.n_samples == len(X)
    assert evaluation.config.dataset.kind == "python"


def test_a_hydra_around_it_is_kept():
    with initialize_config_dir(str(CONF_DIR), version_base="1.2"):
        instance = GlobalHydra.instance()
        pipeline.make_config()
        assert GlobalHydra.instance() is instance
        assert instance.is_initialized()
        compose("config")


def test_random_states_are_kept(rows):
    random.seed(3)
    np.random.seed(3)
    expected = random.random(), np.random.random()
    random.seed(3)
    np.random.seed(3)
    pipeline.evaluate(*rows, **SHORT)
    assert (random.random(), np.random.random()) == expected


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"model": "forest"}, "model: no such option 'forest'. Did you mean 'random_forest'?"),
        ({"model": {"hidden": 3}}, "model.hidden: no such key"),
        ({"model": 3}, "model: expected the name of an option"),
        ({"model": lambda: 3}, "a function that returns a int"),
        ({"model": LinearSVC()}, 'Calibrate it: settings=["model.calibration=sigmoid"]'),
        ({"groups": [1, 2]}, "groups: expected one value for each of 90 rows"),
        ({"groups": [None] * 90}, "groups"),
        ({"cv": "group_kfold"}, "groups"),
        ({"cv": {"n_splits": 1}}, "cv.n_splits: expected a value greater than or equal to 2"),
        ({"y": None}, "y: missing"),
        ({"y": np.full((90, 2), 3)}, "X and y: expected labels of value 0 or 1"),
        ({"X": np.zeros((3, 2))}, "X and y: expected X and y of equal length"),
        ({"settings": ["resume=true"]}, "resume"),
    ],
)
def test_errors_name_the_argument(rows, arguments, message):
    X, y = rows
    with pytest.raises(pipeline.UserError, match=re.escape(message)) as caught:
        pipeline.evaluate(**{"X": X, "y": y, "cv": FOLDS, **arguments})
    assert isinstance(caught.value, ValueError)
    assert "--" not in str(caught.value)
    assert "dataset.group_column" not in str(caught.value)


def test_errors_of_a_file_name_its_keywords(tmp_path):
    with pytest.raises(pipeline.UserError) as caught:
        pipeline.load_dataset("table", path=str(tmp_path))
    assert "dataset." not in str(caught.value)


def test_the_import_costs_nothing_and_nothing_is_printed():
    script = (
        "import sys, pipeline\n"
        "assert not {'numpy', 'hydra', 'pandas', 'tensorflow'} & sys.modules.keys()\n"
        "import keras, numpy as np\n"
        "print('before', flush=True)\n"
        "rng = np.random.default_rng(0)\n"
        "X = rng.normal(size=(60, 4)); y = (X[:, :2] > 0).astype(int)\n"
        "pipeline.evaluate(X, y, cv={'n_splits': 2, 'n_repeats': 1}, training={'epochs': 2})\n"
        "assert 'mlflow' not in sys.modules\n"
        "print('after', flush=True)\n"
    )
    environment = {key: value for key, value in os.environ.items() if not key.startswith("TF_")}
    process = subprocess.run(
        [sys.executable, "-c", script],
        check=True,
        text=True,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        env=environment,
    )
    assert process.stdout.partition("before\n")[2] == "after\n"
