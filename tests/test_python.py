import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy import sparse

from pipeline.config.schema_data import PythonDatasetConfig
from pipeline.dataset import loading
from pipeline.dataset.dataset import Dataset
from pipeline.errors import UserError

X = np.array([[1, 2.5], [np.nan, 4], [0, 1]])
Y = np.array([[1, 0], [0, 1], [1, 1]])
FRAME = pd.DataFrame({"a": X[:, 0], "b": X[:, 1]})
LABELS = pd.DataFrame({"l": [True, False, True], "m": ["no", "yes", "yes"]})
RETURNED: dict[str, object] = {}


def returned(key: str) -> object:
    """Return the value that a test has stored; the loader of the tests' configurations."""
    if key == "error":
        raise ValueError("no such year")
    return RETURNED[key]


def load(key: str = "it", path: str = f"{__name__}.returned", **more) -> Dataset:
    config = PythonDatasetConfig(
        kind="python",
        loader=path,
        params={"key": key},
        predict_rows=(),
        **{"name": None, "drop_duplicates": False, "missing_labels": "refuse", **more},
    )
    return loading.load(config)


@pytest.mark.parametrize(
    ("features", "labels", "names"),
    [
        (X, Y, ("x0", "x1", "y0", "y1")),
        (X.tolist(), Y.tolist(), ("x0", "x1", "y0", "y1")),
        (sparse.csr_array(np.nan_to_num(X)), sparse.csr_array(Y), ("x0", "x1", "y0", "y1")),
        (FRAME, LABELS, ("a", "b", "l", "m")),
        (FRAME, Y, ("a", "b", "y0", "y1")),
        (X, LABELS, ("x0", "x1", "l", "m")),
        (pa.table(FRAME), pa.table(LABELS), ("a", "b", "l", "m")),
        (FRAME.set_axis([0, 1], axis=1), LABELS, ("0", "1", "l", "m")),
        (FRAME.set_axis([5, 7, 5]), LABELS, ("a", "b", "l", "m")),
    ],
)
def test_arrays_and_frames(features, labels, names, monkeypatch):
    monkeypatch.setitem(RETURNED, "it", (features, labels))
    dataset = load()
    assert dataset.name == "returned"
    assert (*dataset.feature_names, *dataset.label_names) == names
    expected = np.nan_to_num(X) if sparse.issparse(features) else X
    np.testing.assert_array_equal(dataset.X, expected)
    np.testing.assert_array_equal(dataset.y, Y)


def test_texts_are_categories(monkeypatch):
    frame = FRAME.assign(c=["y", None, "x"], d=pd.Categorical(["1", "2", "z"]))
    monkeypatch.setitem(RETURNED, "it", (frame, LABELS))
    dataset = load(name="mine")
    assert dataset.name == "mine"
    assert dataset.categories == (None, None, ("x", "y"), ("1", "2", "z"))
    np.testing.assert_array_equal(dataset.X[:, 2], [1, np.nan, 0])


def test_one_label_may_be_a_vector(monkeypatch):
    monkeypatch.setitem(RETURNED, "it", (X, Y[:, 0]))
    assert load().label_names == ("y0",)
    monkeypatch.setitem(RETURNED, "it", (FRAME, LABELS["l"]))
    assert load().y.ravel().tolist() == [1, 0, 1]


@pytest.mark.parametrize(
    ("result", "message"),
    [
        (None, "return X and y. Received: a NoneType"),
        ((X, Y, Y), "return X and y. Received: a tuple of 3"),
        ((X, Y[:2]), "X and y of equal length. Received: 3 and 2 rows"),
        ((FRAME, LABELS[:2]), "X and y of equal length. Received: 3 and 2 rows"),
        ((X[0], Y), r"X of shape \(n_samples, n_columns\)"),
        ((X, Y + 1), r"label 'y0', row 0"),
        ((np.where(np.isnan(X), np.inf, X), Y), "inf in column 'x0', row 1"),
        ((np.array([["a"], ["b"], ["c"]]), Y), "X of numbers. Received: an array of <U1"),
        ((FRAME, FRAME), "'a' in both"),
        ((pd.concat([FRAME, FRAME], axis=1), LABELS), "different names. Received: 'a'"),
        ((FRAME.assign(c=[1, "x", 2.5]), LABELS), "columns of one type each"),
        ((FRAME.assign(c=[{}, 1, object()]), LABELS), "columns of one type each"),
        ((FRAME.assign(c=[b"x", b"y", b"z"]), LABELS), "binary in column 'c'"),
        (([[1, 2], [3]], [0, 1]), "X as a matrix"),
        ((np.empty((0, 2)), np.empty((0, 1))), "at least one row"),
        ((X, np.empty((3, 0))), "0 labels"),
        ((np.array([[2**60], [1]]), [0, 1]), "up to 2..53"),
        ((np.full((3, 1), np.nan), Y), "a value in each feature"),
        ((np.array([[1j], [2]]), [0, 1]), "X of numbers"),
    ],
)
def test_other_results_are_errors(result, message, monkeypatch):
    monkeypatch.setitem(RETURNED, "it", result)
    with pytest.raises(UserError, match=message):
        load()


def test_an_error_of_the_loader_names_its_line():
    with pytest.raises(UserError, match=r"ValueError: no such year \(.*test_python.py, line \d+\)"):
        load("error")


@pytest.mark.parametrize(
    ("path", "message"),
    [("no_such_module.load", "dotted path"), ("os.no_such", "dotted path"), ("os", "dotted path"),
     ("os.sep", "a callable"), ("os.getcwd", "unexpected keyword|takes no")],
)  # fmt: skip
def test_a_loader_that_cannot_be_called_is_an_error(path, message):
    with pytest.raises(UserError, match=message) as caught:
        load(path=path)
    assert str(caught.value).startswith("dataset.loader: expected")
