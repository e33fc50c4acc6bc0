"""The preprocessor equals scikit-learn's pipeline and does not depend on test rows."""

from itertools import product

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.compose import make_column_transformer
from sklearn.impute import SimpleImputer
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import MinMaxScaler, OneHotEncoder, RobustScaler, StandardScaler

from pipeline.config.schema import PreprocessingConfig, TextConfig
from pipeline.preprocessing.column import Column
from pipeline.preprocessing.fitting import fit_preprocessors
from pipeline.preprocessing.preprocessor import NO_COLUMN, Preprocessor
from pipeline.preprocessing.table_schema import TableSchema

SCALERS = {"standard": StandardScaler, "robust": RobustScaler, "minmax": MinMaxScaler}
NUMERIC, CATEGORICAL = [0, 2, 3], [1, 4]
SCHEMA = TableSchema(
    (
        Column("p"),
        Column("q", "category", ("a", "b", "c", "d")),
        Column("r"),
        Column("s"),
        Column("t", "category", ("x", "y")),
    )
)
OPTIONS = [
    {
        "scaling": scaling,
        "imputation": imputation,
        "add_indicator": add_indicator,
        "min_frequency": min_frequency,
    }
    for scaling, imputation, add_indicator, min_frequency in product(
        ["none", *SCALERS], ["median", "mean", "constant"], [False, True], CATEGORICAL
    )
]


def text_config(**changes) -> TextConfig:
    """Return the configuration of columns of texts."""
    defaults = {
        "analyzer": "word",
        "ngram_range": (1, 1),
        "max_features": 2000,
        "min_df": 1,
        "hashing": False,
        "n_components": None,
    }
    return TextConfig(**{**defaults, **changes})


def preprocessing(**changes) -> PreprocessingConfig:
    defaults = {
        "scaling": "standard",
        "imputation": "median",
        "fill_value": 0.0,
        "add_indicator": False,
        "min_frequency": 1,
        "category_encoding": "onehot",
        "n_hash_buckets": 16,
        "datetime": (),
        "text": text_config(),
    }
    return PreprocessingConfig(**{**defaults, **changes})


def categorical_schema(*texts) -> TableSchema:
    """Return the schema of one column of categories."""
    return TableSchema((Column("c", "category", texts),))


def numeric_schema(X) -> TableSchema:
    """Return the schema of a matrix of numbers."""
    return TableSchema.of_numbers(f"x{j}" for j in range(X.shape[1]))


def fit_preprocessor(config, X, schema, train, **more) -> Preprocessor:
    """Fit to one set of training rows."""
    (preprocessor,) = fit_preprocessors(config, X, schema, [train], **more)
    return preprocessor


def mixed_table(n=40, seed=0):
    """Return numbers and category codes of `SCHEMA`, a sixth of them missing."""
    rng = np.random.default_rng(seed)
    X = rng.normal(3, 2, size=(n, 5))
    X[:, 1] = rng.choice(4, size=n, p=[0.5, 0.3, 0.15, 0.05])
    X[:, 4] = rng.integers(0, 2, size=n)
    X[rng.random(X.shape) < 1 / 6] = np.nan
    return X.astype(np.float32)


def sklearn_transform(options, X, train):
    """Transform all rows with scikit-learn's pipeline, fitted on the training rows."""
    if options["imputation"] == "constant":
        imputer = SimpleImputer(strategy="constant", fill_value=0.0)
    else:
        imputer = SimpleImputer(strategy=options["imputation"], keep_empty_features=True)
    scaler = SCALERS.get(options["scaling"])
    numbers = make_pipeline(imputer, scaler()) if scaler else imputer
    encoder = OneHotEncoder(handle_unknown="ignore", sparse_output=False)
    parts = make_column_transformer((numbers, NUMERIC), (encoder, CATEGORICAL))
    X = X.astype(np.float64)
    parts.fit(X[train])
    prepared = parts.transform(X)
    names = parts.get_feature_names_out()
    return prepared[:, [not name.endswith("nan") for name in names]]  # missing: all zeros


@pytest.mark.parametrize("options", [o for o in OPTIONS if o["min_frequency"] == 1], ids=str)
def test_equals_scikit_learns_pipeline(options):
    X, train = mixed_table(), np.arange(30)
    preprocessor = fit_preprocessor(preprocessing(**options), X, SCHEMA, train)
    ours = preprocessor.transform(X)
    n_indicators = preprocessor.layout.n_indicators
    assert n_indicators == (3 if options["add_indicator"] else 0)
    where = np.isnan(X[:, NUMERIC])
    np.testing.assert_array_equal(ours[:, 3 : 3 + n_indicators], where[:, :n_indicators])
    without = np.delete(ours, np.arange(3, 3 + n_indicators), axis=1)
    np.testing.assert_allclose(without, sklearn_transform(options, X, train), rtol=1e-5, atol=1e-5)


@pytest.mark.parametrize("options", OPTIONS, ids=str)
def test_test_rows_have_no_influence(options):
    X, train = mixed_table(), np.arange(30)
    config = preprocessing(**options)
    expected = fit_preprocessor(config, X, SCHEMA, train).transform(X[train])
    rng = np.random.default_rng(1)
    perturbed, missing, poisoned = X.copy(), X.copy(), X.copy()
    perturbed[30:, NUMERIC] += rng.normal(size=(10, 3))
    missing[30:] = np.nan
    poisoned[30:, NUMERIC] = 1e30
    poisoned[30:, CATEGORICAL] = 0
    for changed in (perturbed, missing, poisoned, X[:30]):
        preprocessor = fit_preprocessor(config, changed, SCHEMA, train)
        np.testing.assert_array_equal(preprocessor.transform(X[train]), expected)


def test_a_category_of_test_rows_alone_is_unknown():
    X = np.array([[0.0], [1.0], [0.0], [2.0]])
    preprocessor = fit_preprocessor(
        preprocessing(), X, categorical_schema("a", "b", "c"), np.arange(3)
    )
    assert preprocessor.transform(X).tolist() == [[1, 0], [0, 1], [1, 0], [0, 0]]


def test_rare_categories_share_a_column():
    X = np.array([[0.0]] * 5 + [[1.0]] * 2 + [[2.0]] + [[np.nan]])
    schema = categorical_schema("often", "seldom", "once", "never")
    preprocessor = fit_preprocessor(preprocessing(min_frequency=3), X, schema, np.arange(9))
    assert preprocessor.columns[0].tolist() == [0, 1, 1, NO_COLUMN]
    assert preprocessor.transform(X).tolist() == [[1, 0]] * 5 + [[0, 1]] * 3 + [[0, 0]]


def test_the_number_of_category_columns_is_rounded_up():
    widths = set()
    for n in (5, 16, 90, 93, 95):
        X = np.arange(n, dtype=float)[:, None]
        names = tuple(f"c{i:03}" for i in range(n))
        preprocessor = fit_preprocessor(
            preprocessing(), X, categorical_schema(*names), np.arange(n)
        )
        assert n <= preprocessor.n_columns <= n * 9 / 8
        prepared = preprocessor.transform(X)
        np.testing.assert_array_equal(prepared[:, :n], np.eye(n))
        assert not prepared[:, n:].any()
        widths.add(preprocessor.n_columns)
    assert widths == {5, 16, 96}


def test_flags_have_one_column():
    X = np.array([[0.0], [1.0], [np.nan]])
    for train in (np.arange(3), np.array([0, 2])):
        preprocessor = fit_preprocessor(
            preprocessing(min_frequency=2), X, categorical_schema("0", "1"), train
        )
        assert preprocessor.transform(X).tolist() == [[0], [1], [0]]


def test_a_number_missing_in_all_training_rows_becomes_zero():
    X = np.array([[np.nan, 1.0], [np.nan, 3.0], [5.0, 2.0]])
    preprocessor = fit_preprocessor(preprocessing(), X, numeric_schema(X), np.array([0, 1]))
    np.testing.assert_array_equal(preprocessor.transform(X)[:, 0], [0, 0, 5])


VALUES = st.one_of(st.just(np.nan), st.floats(-1e3, 1e3, width=32))
TINY = np.finfo(np.float32).tiny  # below it, float32 has fewer digits


@given(arrays(np.float32, (12, 3), elements=VALUES), st.permutations(range(12)))
def test_standard_is_scikit_learns_for_any_numbers(X, permutation):
    train, X64 = np.array(permutation[:8]), X.astype(np.float64)
    ours = fit_preprocessor(preprocessing(), X, numeric_schema(X), train)
    imputer = SimpleImputer(strategy="median", keep_empty_features=True)
    scaler = StandardScaler().fit(imputer.fit_transform(X64[train]))
    needed = np.isnan(X).any(axis=0)
    np.testing.assert_allclose(ours.fill[needed], imputer.statistics_[needed], rtol=1e-7, atol=TINY)
    final = fit_preprocessor(preprocessing(), X, numeric_schema(X), np.arange(12), is_final=True)
    imputer_of_all = SimpleImputer(strategy="median", keep_empty_features=True).fit(X64)
    np.testing.assert_allclose(final.fill, imputer_of_all.statistics_, rtol=1e-7, atol=TINY)
    np.testing.assert_allclose(ours.center, scaler.mean_, rtol=1e-7, atol=1e-9)
    filled = imputer.transform(X64[train])
    spread = filled.std(axis=0) > 1e-6 * (1 + np.abs(filled).max(axis=0))
    np.testing.assert_allclose(ours.scale[spread], scaler.scale_[spread], rtol=1e-6)
    assert (ours.scale[filled.max(axis=0) == filled.min(axis=0)] == 1).all()
