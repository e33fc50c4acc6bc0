"""Parts of dates are those of Python's calendar, in training and in serving alike."""

import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import keras
import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.cv import Split
from pipeline.dataset import load
from pipeline.dataset.in_memory import make_dataset
from pipeline.errors import UserError
from pipeline.evaluation.derived_inputs import derive_columns
from pipeline.evaluation.fingerprint import compute_fingerprint
from pipeline.preprocessing.column import Column
from pipeline.preprocessing.derived_columns import DateParts
from pipeline.preprocessing.fitting import fit_preprocessors
from pipeline.preprocessing.table_schema import TableSchema
from tests.test_layer import assert_equal_outputs, layer_of
from tests.test_preprocessor import OPTIONS, preprocessing

ALL = ("year", "month", "weekday", "hour", "days")
EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def expected_parts(seconds: float) -> list[float]:
    """Return year, and sine and cosine of month, weekday and hour, by Python's calendar."""
    value = EPOCH + timedelta(seconds=seconds)
    hour = value.hour + value.minute / 60 + (value.second + value.microsecond / 1e6) / 3600
    angles = [(value.month - 1) / 12, value.weekday() / 7, hour / 24]
    cycles = [f(2 * math.pi * it) for it in angles for f in (math.sin, math.cos)]
    return [value.year, *cycles]


@given(st.lists(st.integers(-(2**32), 2**33), min_size=1))
@settings(max_examples=50)
def test_parts_are_those_of_the_calendar(seconds):
    ours = DateParts("d", ALL).transform(np.array(seconds, dtype=np.float64))
    expected = np.array([expected_parts(it) for it in seconds])
    np.testing.assert_allclose(ours, expected, rtol=1e-6, atol=1e-6)


def test_a_missing_date_has_no_part():
    assert np.isnan(DateParts("d", ALL).transform(np.array([np.nan]))).all()


def make_table(n: int = 60, years: int = 50) -> pd.DataFrame:
    """Return midnights, last seconds of a day and noons of many years, and times of day."""
    rng = np.random.default_rng(0)
    days = rng.integers(0, 365 * years, n)
    when = pd.Timestamp("1990-01-01") + pd.to_timedelta(days, unit="D")
    when += pd.to_timedelta(np.resize([0, 86_399, 43_210], n), unit="s")
    clock = [f"{hour:02}:30:00" for hour in rng.integers(0, 24, n)]
    frame = pd.DataFrame({"when": when, "day": when.floor("D"), "clock": clock, "x": rng.random(n)})
    frame.loc[3, "when"] = pd.NaT
    return frame


@pytest.fixture
def dataset(tmp_path, make_config):
    """The table with a label, read from a CSV file."""
    frame = make_table().assign(tag=np.arange(60) % 2)
    frame.to_csv(tmp_path / "dates.csv", index=False)
    path = f"dataset.path={tmp_path / 'dates.csv'}"
    return load(make_config("dataset=table", path, "dataset.labels=[tag]").dataset)


def test_dates_are_shown_as_such(dataset):
    shown = [dataset.value(0, j) for j, it in enumerate(dataset.schema.columns)]
    for column, text in zip(dataset.schema.columns, shown, strict=True):
        if column.kind == "datetime":
            assert pd.Timestamp(text).timestamp() == round(dataset.exact[column.name][0])
    plain = [replace(dataset, exact={}).value(0, j) for j in range(len(shown))]
    assert [text[:10] for text in plain] == [text[:10] for text in shown]


def test_a_data_set_gets_the_parts_that_differ(dataset):
    derived = derive_columns(preprocessing(datetime=ALL), dataset)
    assert [it.parts for it in derived.schema.derived] == [ALL, (*ALL[:3], "days"), ("hour",)]
    assert derived.X.shape == (60, 4 + 7 + 5 + 2)
    np.testing.assert_array_equal(derived.X[:, :4], dataset.X)
    frame = make_table()
    for first, name in ((4, "when"), (11, "day")):
        for row, value in enumerate(frame[name]):
            if not pd.isna(value):
                n = 7 if name == "when" else 5
                expected = expected_parts((value.tz_localize(UTC) - EPOCH).total_seconds())[:n]
                np.testing.assert_allclose(derived.X[row, first : first + n], expected, atol=1e-6)
    assert np.isnan(derived.X[3, 4:11]).all()


def test_last_seconds_of_a_day_are_exact_where_float32_is_not(dataset):
    rounded = replace(dataset, exact={it: dataset.exact[it].astype("f4") for it in dataset.exact})
    config = preprocessing(datetime=("weekday",))
    exact, wrong = derive_columns(config, dataset), derive_columns(config, rounded)
    assert not np.allclose(exact.X, wrong.X, equal_nan=True, atol=1e-3)


def test_rows_to_predict_are_encoded_like_the_table(dataset, tmp_path):
    derived = derive_columns(preprocessing(datetime=ALL), dataset)
    schema = TableSchema.from_dict(derived.schema.as_dict())
    assert schema == derived.schema
    texts = pd.read_csv(tmp_path / "dates.csv", dtype=str, keep_default_na=False)
    np.testing.assert_array_equal(schema.encode(texts), derived.X)
    np.testing.assert_array_equal(schema.encode(make_table()), derived.X)


def test_without_dates_or_parts_nothing_changes(dataset, make_config):
    assert derive_columns(preprocessing(datetime=()), dataset) is dataset
    numbers = make_dataset("numbers", np.eye(3), np.eye(3, dtype=int))
    assert derive_columns(preprocessing(datetime=ALL), numbers) is numbers
    splits = [Split(0, 0, np.arange(2), np.arange(2, 3))]
    digests = {
        compute_fingerprint(make_config(f"preprocessing.datetime={it}"), data, splits)[
            "config_digest"
        ]
        for it in ("[]", "[year,days]")
        for data in (numbers, dataset)
    }
    assert len(digests) == 3  # one of the table without dates


@given(
    options=st.sampled_from(OPTIONS),
    parts=st.lists(st.sampled_from(ALL), unique=True),
    seed=st.integers(0, 1000),
    offset=st.sampled_from([0.0, 1.6e9]),
)
@settings(max_examples=40)
def test_the_layer_equals_transform(options, parts, seed, offset):
    rng = np.random.default_rng(seed)
    columns = (Column("x"), Column("d", "datetime", offset=offset), Column("c", "category", ("a",)))
    schema = TableSchema(columns, derived=(DateParts("d", tuple(parts)),) if parts else ())
    rows = np.column_stack(
        [rng.normal(size=30), rng.integers(14e8, 17e8, 30), rng.integers(0, 1, 30)]
    )
    rows[rng.random(rows.shape) < 0.2] = np.nan
    X = schema.encode(rows)
    (preprocessor,) = fit_preprocessors(preprocessing(**options), X, schema, [np.arange(20)])
    assert ("days" in parts or not parts) == (1 in preprocessor.numeric)
    layer = layer_of(preprocessor)
    assert_equal_outputs(layer, preprocessor, X)
    model = keras.Sequential([keras.Input((X.shape[1],)), layer])
    assert model.output_shape == (None, preprocessor.n_columns)


def test_days_since_the_first_training_row():
    schema = TableSchema(
        (Column("d", "datetime", offset=1.7e9),), derived=(DateParts("d", ("days", "year")),)
    )
    days = np.array([10.0, 5.0, 6.5, 0.0])
    X = schema.encode(19_000 * 86_400.0 + days[:, None] * 86_400)
    config = preprocessing(scaling="none")
    (preprocessor,) = fit_preprocessors(config, X, schema, [np.arange(3)])
    np.testing.assert_allclose(preprocessor.transform(X)[:, 0], days - 5, atol=1e-4)
    assert preprocessor.transform(X)[:, 1].tolist() == [2022, 2022, 2022, 2022]


def test_one_column_indicates_a_missing_date():
    parts = [("year", "hour"), ("year", "days")]
    for chosen in parts:
        schema = TableSchema((Column("d", "datetime"),), derived=(DateParts("d", chosen),))
        X = schema.encode(np.array([[0.0], [4e8], [np.nan]]))
        config = preprocessing(add_indicator=True)
        (preprocessor,) = fit_preprocessors(config, X, schema, [np.arange(3)])
        assert preprocessor.transform(X)[:, -1].tolist() == [0, 0, 1]
        assert len(preprocessor.indicators) == 1


def test_parts_that_leave_no_feature_are_refused():
    frame = pd.DataFrame({"d": pd.to_datetime(["2020-01-01", "2020-01-02"])})
    dataset = make_dataset("days", frame, np.array([[0], [1]]))
    with pytest.raises(UserError, match=r"datetime: expected a part .* Received: hour\."):
        derive_columns(preprocessing(datetime=("hour",)), dataset)
