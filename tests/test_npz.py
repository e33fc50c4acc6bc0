import io

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from pipeline.config.schema_data import NpzConfig
from pipeline.dataset import loading
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.npz import _read_arrays
from pipeline.errors import UserError


def load(path) -> Dataset:
    return loading.load(
        NpzConfig(
            kind="npz",
            path=str(path),
            predict_rows=(),
            name=None,
            drop_duplicates=False,
            missing_labels="refuse",
        )
    )


def test_arrays_are_read(tmp_path):
    X = np.array([[1, 2.5], [np.nan, 9]])
    np.savez(tmp_path / "t.npz", X=X, y=[[1, 0], [0, 1]])
    dataset = load(tmp_path / "t.npz")
    assert dataset.name == "t"
    assert dataset.feature_names == ("x0", "x1")
    assert dataset.label_names == ("y0", "y1")
    np.testing.assert_array_equal(dataset.X, X)
    assert dataset.X.dtype == np.float32
    assert dataset.y.tolist() == [[1, 0], [0, 1]]


def test_names_and_groups_are_read(tmp_path):
    np.savez_compressed(
        tmp_path / "t.npz",
        X=np.array([[1], [2], [3]]),
        y=np.array(["yes", "no", "yes"]),
        feature_names=["a"],
        label_names=["l"],
        groups=["u", "v", "u"],
        sample_weight=[1, 0, 2.5],
    )
    dataset = load(tmp_path / "t.npz")
    assert dataset.sample_weight.tolist() == [1, 0, 2.5]
    assert (dataset.feature_names, dataset.label_names) == (("a",), ("l",))
    assert dataset.y.ravel().tolist() == [1, 0, 1]
    assert dataset.groups.tolist() == [0, 1, 0]


@pytest.mark.parametrize("value", [2**24, 2**24 + 1, 2**40 + 1, 2**53 - 2, 0.1])
def test_large_numbers_keep_their_digits(value, tmp_path):
    np.savez(tmp_path / "t.npz", X=np.array([[value], [value + 1]]), y=[0, 1])
    dataset = load(tmp_path / "t.npz")
    assert dataset.X.dtype == np.float32
    assert np.diff(dataset.X[:, 0]) == 1


@pytest.mark.parametrize(
    "X", [[[True], [False]], np.array([[1], [200]], np.uint8), np.array([[-128], [7]], np.int8)]
)
def test_arrays_of_other_types_are_read(X, tmp_path):
    np.savez(tmp_path / "t.npz", X=X, y=[0, 1])
    dataset = load(tmp_path / "t.npz")
    np.testing.assert_array_equal(dataset.X, np.asarray(X, dtype=np.float32))


@pytest.mark.parametrize("value", [2**53 + 2, -(2**60), 2**63])
def test_whole_numbers_that_float64_cannot_hold_are_errors(value, tmp_path):
    dtype = np.uint64 if value == 2**63 else np.int64
    np.savez(tmp_path / "t.npz", X=np.array([[value], [0]], dtype), y=[0, 1])
    with pytest.raises(UserError, match=r"whole numbers up to 2\*\*53 in X\. Received: "):
        load(tmp_path / "t.npz")


@given(position=st.floats(0, 1, exclude_max=True), byte=st.integers(0, 255), cut=st.booleans())
@settings(max_examples=200)
def test_a_damaged_file_is_an_error_or_read(tmp_path_factory, position, byte, cut):
    buffer = io.BytesIO()
    np.savez(buffer, X=np.ones((3, 2)), y=np.array([0, 1, 1]))
    content = bytearray(buffer.getvalue())
    at = int(position * len(content))
    content[at] = byte
    path = tmp_path_factory.getbasetemp() / "damaged.npz"
    path.write_bytes(content[:at] if cut else content)
    try:
        _read_arrays(path)
    except UserError as error:
        assert "expected arrays that numpy.savez wrote" in str(error)  # noqa: PT017
