"""The preprocessor equals scikit-learn's pipeline and does not depend on test rows."""

from itertools import product
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, RobustScaler, StandardScaler

from pipeline.config.schema import PreprocessingConfig
from pipeline.decision.rule import DecisionRule
from pipeline.evaluation.evaluator import FinalModel
from pipeline.preprocessing.preprocessor import NO_COLUMN, fit_preprocessor

SCALERS = {"standard": StandardScaler, "robust": RobustScaler, "minmax": MinMaxScaler}
CATEGORIES = (None, ("a", "b", "c", "d"), None, None, ("x", "y"))
OPTIONS = [
    {
        "scaling": scaling,
        "imputation": imputation,
        "add_indicator": add_indicator,
        "min_frequency": min_frequency,
    }
    for scaling, imputation, add_indicator, min_frequency in product(
        ["none", *SCALERS], ["median", "mean", "constant"], [False, True], [1, 4]
    )
]


def preprocessing(**changes) -> PreprocessingConfig:
    defaults = {
        "scaling": "standard",
        "imputation": "median",
        "fill_value": 0.0,
        "add_indicator": False,
        "min_frequency": 1,
    }
    return PreprocessingConfig(**{**defaults, **changes})


def mixed_table(n=40, seed=0):
    """Return numbers and category codes, a sixth of them missing."""
    rng = np.random.default_rng(seed)
    X = rng.normal(3, 2, size=(n, 5))
    X[:, 1] = rng.choice(4, size=n, p=[0.5, 0.3, 0.15, 0.05])
    X[:, 4] = rng.integers(0, 2, size=n)
    X[rng.random(X.shape) < 1 / 6] = np.nan
    return X


def sklearn_transform(options, X, train):
    """Transform all rows with scikit-learn's pipeline, fitted on the training rows."""
    if options["imputation"] == "constant":
        imputer = SimpleImputer(strategy="constant", fill_value=0.0)
    else:
        imputer = SimpleImputer(strategy=options["imputation"], keep_empty_features=True)
    scaler = SCALERS.get(options["scaling"])
    numbers = make_pipeline(imputer, scaler()) if scaler else imputer
    numeric, categorical = [0, 2, 3], [1, 4]
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    parts = make_column_transformer((numbers, numeric), (encoder, categorical))
    parts.fit(X[train])
    prepared = parts.transform(X)
    names = parts.get_feature_names_out()
    return prepared[:, [not name.endswith("nan") for name in names]]  # missing: all zeros


@pytest.mark.parametrize("options", [o for o in OPTIONS if o["min_frequency"] == 1], ids=str)
def test_equals_scikit_learns_pipeline(options):
    X, train = mixed_table(), np.arange(30)
    preprocessor = fit_preprocessor(preprocessing(**options), X, CATEGORIES, train)
    ours = preprocessor.transform(X)
    n_indicators = len(preprocessor.indicators)
    if options["add_indicator"]:
        where = np.isnan(X[:, [0, 2, 3]])
        np.testing.assert_array_equal(ours[:, 3 : 3 + n_indicators], where)
    without = np.delete(ours, np.arange(3, 3 + n_indicators), axis=1)
    np.testing.assert_allclose(without, sklearn_transform(options, X, train), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_test_rows_have_no_influence(options):
    X, train = mixed_table(), np.arange(30)
    config = preprocessing(**options)
    expected = fit_preprocessor(config, X, CATEGORIES, train).transform(X[train])
    rng = np.random.default_rng(1)
    perturbed, missing, poisoned = X.copy(), X.copy(), X.copy()
    perturbed[30:, [0, 2, 3]] += rng.normal(size=(10, 3))
    missing[30:] = np.nan
    poisoned[30:, [0, 2, 3]] = 1e30
    poisoned[30:, [1, 4]] = 0
    for changed in (perturbed, missing, poisoned, X[:30]):
        preprocessor = fit_preprocessor(config, changed, CATEGORIES, train)
        np.testing.assert_array_equal(preprocessor.transform(X[train]), expected)


def test_a_category_of_test_rows_alone_is_unknown():
    X = np.array([[0.0], [1.0], [0.0], [2.0]])
    preprocessor = fit_preprocessor(preprocessing(), X, (("a", "b", "c"),), np.array([0, 1, 2]))
    assert preprocessor.transform(X).tolist() == [[1, 0], [0, 1], [1, 0], [0, 0]]


def test_rare_categories_share_a_column():
    X = np.array([[0.0]] * 5 + [[1.0]] * 2 + [[2.0]] + [[np.nan]])
    categories = (("often", "seldom", "once", "never"),)
    config = preprocessing(min_frequency=3)
    preprocessor = fit_preprocessor(config, X, categories, np.arange(9))
    assert preprocessor.columns[0].tolist() == [0, 1, 1, NO_COLUMN]
    assert preprocessor.transform(X).tolist() == [[1, 0]] * 5 + [[0, 1]] * 3 + [[0, 0]]


def test_the_number_of_category_columns_is_rounded_up():
    widths = set()
    for n in (5, 16, 90, 93, 95):
        X = np.arange(n, dtype=float)[:, None]
        names = tuple(f"c{i:03}" for i in range(n))
        preprocessor = fit_preprocessor(preprocessing(), X, (names,), np.arange(n))
        assert n <= preprocessor.n_columns <= n * 9 / 8
        prepared = preprocessor.transform(X)
        np.testing.assert_array_equal(prepared[:, :n], np.eye(n))
        assert not prepared[:, n:].any()
        widths.add(preprocessor.n_columns)
    assert widths == {5, 16, 96}


def served(dataset, preprocessor):
    """Return the metadata of a served model."""
    from pipeline.evaluation.final_model import _serving_data

    rule = DecisionRule(np.ones(1), np.full(1, 0.5))
    network = SimpleNamespace(code_path=None)
    evaluation = SimpleNamespace(dataset=dataset, config=SimpleNamespace(model=network))
    return _serving_data(evaluation, FinalModel(None, preprocessor, rule))


def test_served_rows_are_encoded_like_a_file(tmp_path, make_config):
    from pipeline.dataset.loading import load
    from pipeline.tracking.pyfunc_model import prepare

    path = tmp_path / "t.csv"
    path.write_text(
        "size,room,open,amount,l\n8.0,8.0,TRUE,1.5,0\n9.5,9.0,FALSE,NA,1\n7,10.0,TRUE,?,1\n"
        "7,8.0,FALSE,2.5,0\n"
    )
    settings = ("dataset=table", f"dataset.path={path}", "dataset.labels=[l]")
    dataset = load(make_config(*settings, "dataset.categorical=[room,open]").dataset)
    preprocessor = fit_preprocessor(preprocessing(), dataset.X, dataset.categories, np.arange(4))
    expected = preprocessor.transform(dataset.X)
    for reading in ({}, {"dtype": str}, {"dtype": str, "keep_default_na": False}):
        rows = pd.read_csv(path, **reading)
        np.testing.assert_allclose(
            prepare(served(dataset, preprocessor), rows), expected, rtol=1e-6
        )


def test_a_served_model_without_imputation_rejects_missing_values():
    from pipeline.tracking.pyfunc_model import prepare

    X = np.ones((3, 1))
    preprocessor = fit_preprocessor(
        preprocessing(scaling="none", imputation="none"), X, (), np.arange(3)
    )
    dataset = SimpleNamespace(feature_names=("a",), label_names=("l",), categories=())
    with pytest.raises(ValueError, match="missing values in a"):
        prepare(served(dataset, preprocessor), pd.DataFrame({"a": [1.0, None]}))


def test_flags_have_one_column():
    X = np.array([[0.0], [1.0], [np.nan]])
    for train in (np.arange(3), np.array([0, 2])):
        preprocessor = fit_preprocessor(preprocessing(min_frequency=2), X, (("0", "1"),), train)
        assert preprocessor.transform(X).tolist() == [[0], [1], [0]]


def test_a_number_missing_in_all_training_rows_becomes_zero():
    X = np.array([[np.nan, 1.0], [np.nan, 3.0], [5.0, 2.0]])
    preprocessor = fit_preprocessor(preprocessing(), X, (), np.array([0, 1]))
    np.testing.assert_array_equal(preprocessor.transform(X)[:, 0], [0, 0, 5])


VALUES = st.one_of(st.just(np.nan), st.floats(-1e3, 1e3, width=32))


@given(arrays(np.float64, (12, 3), elements=VALUES), st.permutations(range(12)))
def test_standard_is_scikit_learns_for_any_numbers(X, permutation):
    train = np.array(permutation[:8])
    ours = fit_preprocessor(preprocessing(), X, (), train)
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    scaler = StandardScaler().fit(imputer.fit_transform(X[train]))
    needed = np.isnan(X).any(axis=0)
    np.testing.assert_allclose(ours.fill[needed], imputer.statistics_[needed])
    final = fit_preprocessor(preprocessing(), X, (), np.arange(12))  # imputes every feature
    imputer_of_all = SimpleImputer(strategy="median", keep_empty_features=True).fit(X)
    np.testing.assert_allclose(final.fill, imputer_of_all.statistics_)
    np.testing.assert_allclose(ours.center, scaler.mean_, rtol=1e-9, atol=1e-9)
    filled = imputer.transform(X[train])
    spread = filled.std(axis=0) > 1e-6 * (1 + np.abs(filled).max(axis=0))
    np.testing.assert_allclose(ours.scale[spread], scaler.scale_[spread], rtol=1e-6)
    assert (ours.scale[filled.max(axis=0) == filled.min(axis=0)] == 1).all()


@pytest.mark.parametrize("options", OPTIONS[::5], ids=str)
def test_the_compiled_program_prepares_the_same(options):
    import tensorflow as tf
    from pipeline.training.prepared import apply, layout_of, stacked

    X = mixed_table(60)
    trains = [np.arange(60), np.arange(5, 60), np.arange(55)]
    preprocessors = [fit_preprocessor(preprocessing(**options), X, CATEGORIES, t) for t in trains]
    (layout,) = {layout_of(preprocessor) for preprocessor in preprocessors}
    assert layout.n_columns == preprocessors[0].n_columns
    x = tf.constant(X, tf.float32)
    prepared = tf.vectorized_map(lambda one: apply(one, layout, x), stacked(preprocessors))
    for ours, preprocessor in zip(prepared.numpy(), preprocessors, strict=True):
        np.testing.assert_allclose(ours, preprocessor.transform(X), rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("options", OPTIONS[::7], ids=str)
def test_the_served_model_prepares_the_same(options):
    from pipeline.tracking.pyfunc_model import prepare

    X = mixed_table()
    preprocessor = fit_preprocessor(preprocessing(**options), X, CATEGORIES, np.arange(30))
    names = ("p", "q", "r", "s", "t")
    dataset = SimpleNamespace(feature_names=names, label_names=("l",), categories=CATEGORIES)
    rows = pd.DataFrame(X, columns=names).astype({"q": object, "t": object})
    for feature in (1, 4):
        categories = CATEGORIES[feature]
        rows[names[feature]] = [
            None if np.isnan(code) else categories[int(code)] for code in X[:, feature]
        ]
    rows.loc[0, "q"] = "never seen"
    X[0, 1] = np.nan
    model_input = prepare(served(dataset, preprocessor), rows[list("tsrqp")])
    np.testing.assert_allclose(model_input, preprocessor.transform(X), rtol=1e-5, atol=1e-6)
