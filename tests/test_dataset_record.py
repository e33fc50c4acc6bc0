import numpy as np
import pytest

from pipeline import console
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.summary import summarise
from pipeline.errors import UserError


def make(X=((1.0, 2.0), (3.0, 4.0)), y=((0,), (1,)), **more) -> Dataset:
    arguments = {"feature_names": ("a", "b"), "label_names": ("l",), **more}
    return Dataset(name="small", X=np.array(X), y=np.array(y, dtype=np.int8), **arguments)


def test_the_digest_covers_ids():
    digests = {make().digest, *(make(ids=np.array([name, "z"])).digest for name in "xy")}
    assert len(digests) == 3


@pytest.mark.parametrize("value", [np.inf, -np.inf])
def test_the_source_is_named_rather_than_the_data_set(value):
    with pytest.raises(UserError, match=rf"^folder/t.csv: .* {value} in row 1, feature 'b'"):
        make(X=((np.nan, 2.0), (3.0, value)), source="folder/t.csv")


def test_a_feature_without_any_value_is_refused():
    with pytest.raises(UserError, match=r"none in any of 2 rows of feature 'b'"):
        make(X=((1.0, np.nan), (3.0, np.nan)))


@pytest.mark.parametrize("names", [{"feature_names": ("a", "a")}, {"feature_names": ("a", "l")}])
def test_names_occur_once(names):
    with pytest.raises(UserError, match=r"names that occur once .*Received: '[al]' more than once"):
        make(**names)


@pytest.mark.parametrize("value", [0, 1])
def test_a_constant_label_is_a_warning(value, capsys):
    found = make(y=((value,), (value,)), warnings=("first",))
    assert found.warnings[0] == "first"
    assert f"label 'l' is {value} in every row" in found.warnings[1]
    assert make(y=((value,), (value,)), warnings=found.warnings).warnings == found.warnings
    console.show_dataset(found, summarise(found))
    assert f"Warning: {found.warnings[1]}." in capsys.readouterr().out


def test_only_some_warnings_are_shown(capsys):
    odd = make(warnings=tuple(f"odd {i}" for i in range(9)))
    console.show_dataset(odd, summarise(odd))
    shown = capsys.readouterr().out
    assert "Warning: odd 4." in shown
    assert "odd 5" not in shown
    assert "Warning: 4 more." in shown


def test_categories_are_shown_as_texts(capsys):
    mixed = make(X=((1.0, 0.5), (np.nan, 4.0)), categories=(("x", "y"), None))
    console.show_dataset(mixed, summarise(mixed))
    shown = capsys.readouterr().out
    assert "  y 0.5 -> 0\n  ? 4 -> 1\n" in shown


@pytest.mark.parametrize(
    ("row", "words"),
    [
        ((1.0,), r"rows of 2 features\. Received: a row of 1\. .*predict_rows=\[\] predicts none\."),
        (("x", "y"), r"a number or null for feature 'b'\. Received: 'y'\."),
    ],
)
def test_predict_rows_that_do_not_fit_are_refused(row, words):
    found = make(X=((1.0, 0.5), (0.0, 4.0)), categories=(("x", "yy"), None))
    found.check_model([("x", None), (None, 3.0), ("never seen", 1.0)])
    with pytest.raises(UserError, match=f"^dataset.predict_rows: expected {words}$"):
        found.check_model([("x", 1.0), row])
