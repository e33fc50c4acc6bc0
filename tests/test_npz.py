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
    return loading.load(NpzConfig(kind="npz", path=str(path), predict_rows=(), name=None))


def test_arrays_are_read(tmp_path):
    X = np.array([[1, 2.5], [np.nan, 4]])
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
    )
    dataset = load(tmp_path / "t.npz")
    assert (dataset.feature_names, dataset.label_names) == (("a",), ("l",))
    assert dataset.y.ravel().tolist() == [1, 0, 1]
    assert dataset.groups.tolist() == [0, 1, 0]


@pytest.mark.parametrize(
    ("value", "dtype"), [(2**24, "float32"), (2**24 + 1, "float64"), (1e-60, "float64")]
)
def test_float32_unless_values_are_lost(value, dtype, tmp_path):
    np.savez(tmp_path / "t.npz", X=np.array([[value], [0]]), y=[0, 1])
    dataset = load(tmp_path / "t.npz")
    assert dataset.X.dtype == dtype
    assert dataset.X[0, 0] == value


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
