"""Offsets keep the digits of numbers that are large against their spread."""

from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from pipeline.dataset.column_roles import ColumnRoles
from pipeline.dataset.matrix import encode_matrix
from pipeline.dataset.schema_inference import infer_schema
from pipeline.errors import UserError
from pipeline.preprocessing.column import Column
from tests.test_preprocessor import SCALERS, fit_preprocessor, numeric_schema, preprocessing

RNG = np.random.default_rng(0)
MONTH = 1_772_323_200 + RNG.integers(0, 31 * 86_400, size=5_000).astype(np.float64)
WITH_ZERO = MONTH.copy()
WITH_ZERO[17] = 0  # 1970, as where a date was unknown
WITH_GAPS = MONTH.copy()
WITH_GAPS[::7] = np.nan
LARGE = {
    "two neighbours": np.array([16_000_000, 16_000_001] * 50),
    "beyond 24 bits": np.array([2**24 + 1, 2**24 + 3] * 50),
    "a month of seconds": MONTH,
    "a month of seconds and a zero": WITH_ZERO,
    "a month of seconds with gaps": WITH_GAPS,
    "ids": 2**40 + RNG.permutation(1_000),
    "coordinates": (5_412_345.67 + RNG.normal(0, 30, size=1_000)).round(2),
    "negative coordinates": (-5_412_345.67 + RNG.normal(0, 30, size=1_000)).round(2),
    "an hour of microseconds": 1.7e15 + RNG.integers(0, 3_600_000_000, size=1_000),
    "mostly one value": np.where(RNG.random(500) < 0.9, 1e9 + 1, 1e9 + RNG.integers(0, 99, 500)),
    "small numbers": 3e-7 + RNG.normal(0, 1e-12, size=500),
}
SMALL = {
    "standard normal": RNG.normal(size=999),
    "counts": RNG.poisson(3, size=999),
    "56 years of seconds": RNG.integers(0, 56 * 365 * 86_400, size=999),
    "both signs": np.array([-1e9, 1e9] * 50) + RNG.normal(size=100),
    "constant": np.full(50, 16_000_001.0),
    "mostly zero": np.where(RNG.random(500) < 0.9, 0, 1e9 + RNG.random(500)),
}


def scale_in_float64(x, scaling):
    """Return center and scale as scikit-learn computes them in float64, and the scaled values."""
    scaler = SCALERS[scaling]().fit(x[:, None])
    return scaler.transform(x[:, None])[:, 0]


@pytest.mark.parametrize("scaling", SCALERS)
@pytest.mark.parametrize("name", [*LARGE, *SMALL])
def test_scaled_numbers_equal_those_of_float64(name, scaling):
    x = {**LARGE, **SMALL}[name].astype(np.float64)
    X, schema = encode_matrix("t", [Column("a")], x[:, None])
    assert X.dtype == np.float32
    config = preprocessing(scaling=scaling)
    ours = fit_preprocessor(config, X, schema, np.arange(len(x))).transform(X)[:, 0]
    filled = np.where(np.isnan(x), np.nanmedian(x), x)
    expected = scale_in_float64(filled, scaling)
    if name == "constant":
        expected = np.zeros(len(x))
    assert np.abs(ours - expected).max() <= 1e-6 * max(1, np.abs(expected).max())


@pytest.mark.parametrize("name", [*LARGE, *SMALL])
def test_large_numbers_have_an_offset_that_float32_holds(name):
    x = {**LARGE, **SMALL}[name][:, None]
    _, schema = encode_matrix("t", [Column("a")], x)
    (offset,) = schema.offsets
    assert offset == np.float32(offset)
    assert (offset != 0) == (name in LARGE)


@pytest.mark.parametrize("name", LARGE)
def test_without_scaling_a_model_sees_the_plain_numbers(name):
    x = LARGE[name].astype(np.float64)
    X, schema = encode_matrix("t", [Column("a")], x[:, None])
    preprocessor = fit_preprocessor(
        preprocessing(scaling="none"), X, schema, np.arange(len(x)), is_final=True
    )
    seen = preprocessor.transform(X)[:, 0]
    np.testing.assert_allclose(seen[~np.isnan(x)], x[~np.isnan(x)], rtol=2e-7)
    np.testing.assert_allclose(seen[np.isnan(x)], np.nanmedian(x), rtol=2e-7)


def test_a_constant_is_imputed_in_the_units_of_the_table():
    X, schema = encode_matrix("t", [Column("a")], WITH_GAPS[:, None])
    config = preprocessing(imputation="constant", fill_value=1_772_323_205.0)
    preprocessor = fit_preprocessor(config, X, schema, np.arange(len(X)))
    filled = np.where(np.isnan(WITH_GAPS), 1_772_323_205, WITH_GAPS)
    expected = scale_in_float64(filled, "standard")
    np.testing.assert_allclose(preprocessor.transform(X)[:, 0], expected, atol=1e-6)


def test_category_codes_have_no_offset():
    columns = [Column("a", "category", tuple("abcdefghi")), Column("b")]
    X = np.column_stack([np.tile([7.0, 8.0], 20), np.tile([7.0, 8.0], 20)])
    encoded, schema = encode_matrix("t", columns, X)
    assert schema.offsets.tolist() == [0, 7.5]
    assert set(encoded[:, 0]) == {7, 8}


@given(
    st.lists(st.floats(-1e12, 1e12) | st.integers(-(2**40), 2**40), min_size=1, max_size=30),
    st.sampled_from([0, 2**24, 1_700_000_000, -(2**40)]),
)
def test_a_table_and_an_array_have_the_same_schema_and_error_of_a_24th_bit(values, shift):
    x = np.array(values, dtype=np.float64) + shift
    assume(np.abs(x).max() == 0 or np.abs(x).max() > 1e-29)
    of_array, schema = encode_matrix("t", [Column("a")], x[:, None])
    roles = ColumnRoles(features=("a",), labels=())
    of_table, warnings = infer_schema("t", roles, pa.table({"a": x}))
    assert of_table == schema
    assert warnings == ()
    np.testing.assert_array_equal(of_table.encode(pd.DataFrame({"a": x})), of_array)
    shifted = x - schema.offsets[0]
    np.testing.assert_allclose(of_array[:, 0], shifted, rtol=2**-24, atol=1e-38)


def test_offsets_depend_on_a_sample_of_a_long_table():
    x = np.tile(MONTH, 20)
    _, schema = encode_matrix("t", [Column("a")], x[:, None])
    assert MONTH.min() < schema.offsets[0] < MONTH.max()


def test_held_out_rows_change_an_offset_but_not_what_is_learnt_beyond_rounding():
    x = RNG.normal(1e7, 3, size=(100, 1))
    other = x.copy()
    other[80:] = RNG.normal(2e7, 3, size=(20, 1))
    train = np.arange(80)
    outputs = []
    offsets = set()
    for table in (x, other):
        X, schema = encode_matrix("t", [Column("a")], table)
        offsets |= set(schema.offsets)
        preprocessor = fit_preprocessor(preprocessing(), X, schema, train)
        outputs.append(preprocessor.transform(X)[train])
    assert len(offsets) == 2
    np.testing.assert_allclose(*outputs, atol=1e-6)


@pytest.mark.parametrize(
    ("X", "message"),
    [
        (
            [[1.0], [np.inf]],
            r"t: expected finite numbers .* inf in column 'a', row 1 .* Correct it",
        ),
        (
            [[-np.inf], [np.inf]],
            r"t: expected finite .* -inf in column 'a', row 0 .*, one of 2 such",
        ),
        ([[1.0], [1e300]], r"t: expected finite .* 1e\+300 in column 'a', row 1"),
        ([[0.0], [1e-31]], r"t: expected features of at least 1e-30 in size\. .* at most 1e-31 in"),
        (np.array([[2**53 + 1]]), r"t: expected whole numbers up to 2\*\*53 in X"),
    ],
)
def test_numbers_that_cannot_be_trained_with_are_errors(X, message):
    with pytest.raises(UserError, match=message):
        encode_matrix("t", [Column("a")], np.asarray(X))


def test_an_empty_matrix_has_a_schema():
    X, schema = encode_matrix("t", [Column("a"), Column("b")], np.empty((0, 2)))
    assert X.shape == (0, 2)
    assert schema == replace(numeric_schema(X), columns=(Column("a"), Column("b")))
