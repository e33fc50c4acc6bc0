"""Checks, warnings and digest of a data set."""

import numpy as np
import pytest

from pipeline import console
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.summary import summarise
from pipeline.errors import UserError
from pipeline.preprocessing.column import Column
from pipeline.preprocessing.table_schema import TableSchema

MIXED = TableSchema((Column("a", "category", ("x", "y")), Column("b")))


def make(X=((1.0, 2.0), (3.0, 4.0)), y=((0,), (1,)), **more) -> Dataset:
    arguments = {"schema": TableSchema.of_numbers("ab"), "label_names": ("l",), **more}
    X, y = np.array(X, dtype=np.float32), np.array(y, dtype=np.int8)
    return Dataset(name="small", X=X, y=y, **arguments)


def test_the_digest_covers_every_value_and_name():
    same = make().digest
    assert make().digest == same
    assert len(same) == 32
    others = [
        make(X=((1.0, 2.0), (3.0, 4.5))),
        make(y=((1,), (1,))),
        make(schema=TableSchema.of_numbers("ac")),
        make(groups=np.array([0, 1])),
        make(label_names=("m",)),
        make(schema=MIXED),
        make(schema=TableSchema((Column("a", "category", ("x", "z")), Column("b")))),
        make(schema=TableSchema((Column("a", offset=1.0), Column("b")))),
        make(ids=np.array(["x", "z"])),
        make(ids=np.array(["y", "z"])),
    ]
    assert len({same, *(other.digest for other in others)}) == 1 + len(others)


def test_infinite_values_are_errors():
    with pytest.raises(UserError, match=r"finite features. Received: inf in row 1, feature 'b'"):
        make(X=((1.0, 2.0), (3.0, np.inf)))


def test_missing_values_are_errors_without_imputation():
    dataset = make(X=((1.0, 2.0), (np.nan, 4.0)))
    with pytest.raises(UserError, match=r"no missing value. Received: nan in row 1, feature 'a'"):
        dataset.check_complete()


def test_an_empty_table_is_an_error():
    with pytest.raises(UserError, match="at least one row"):
        make(X=np.empty((0, 2)), y=np.empty((0, 1)))


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_errors_name_the_source_if_there_is_one(value):
    with pytest.raises(UserError, match=rf"^folder/t.csv: .* {value} in row 1, feature 'b'"):
        make(X=((np.nan, 2.0), (3.0, value)), source="folder/t.csv")


def test_a_feature_without_values_is_an_error():
    with pytest.raises(UserError, match=r"none in any of 2 rows of feature 'b'"):
        make(X=((1.0, np.nan), (3.0, np.nan)))


@pytest.mark.parametrize("names", ["aa", "al"])
def test_duplicate_names_are_errors(names):
    with pytest.raises(UserError, match=r"names that occur once .*Received: '[al]' more than once"):
        make(schema=TableSchema.of_numbers(names))


@pytest.mark.parametrize("value", [0, 1])
def test_a_constant_label_is_a_warning(value, capsys):
    dataset = make(y=((value,), (value,)), warnings=("first",))
    assert dataset.warnings[0] == "first"
    assert f"label 'l' is {value} in every row" in dataset.warnings[1]
    assert make(y=((value,), (value,)), warnings=dataset.warnings).warnings == dataset.warnings
    console.show_dataset(dataset, summarise(dataset))
    assert f"Warning: {dataset.warnings[1]}." in capsys.readouterr().out


def test_at_most_five_warnings_are_shown(capsys):
    dataset = make(warnings=tuple(f"warning {i}" for i in range(9)))
    console.show_dataset(dataset, summarise(dataset))
    shown = capsys.readouterr().out
    assert "Warning: warning 4." in shown
    assert "warning 5" not in shown
    assert "... and 4 more" in shown


def test_categories_are_shown_as_texts(capsys):
    mixed = make(X=((1.0, 0.5), (np.nan, 4.0)), schema=MIXED)
    console.show_dataset(mixed, summarise(mixed))
    shown = capsys.readouterr().out
    assert "  y 0.5 -> 0\n  ? 4 -> 1\n" in shown


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (
            (1.0,),
            r"rows of 2 features\. Received: a row of 1\. .*predict_rows=\[\] predicts none\.",
        ),
        (("x", "y"), r"numbers in column 'b'\. Received: 'y' in row 1 \(the first is 0\)\."),
    ],
)
def test_predict_rows_must_match_the_features(row, message):
    dataset = make(X=((1.0, 0.5), (0.0, 4.0)), schema=MIXED)
    dataset.check_predict_rows([("x", None), (None, 3.0), ("never seen", 1.0)])
    with pytest.raises(UserError, match=f"^dataset.predict_rows: expected {message}$"):
        dataset.check_predict_rows([("x", 1.0), row])
