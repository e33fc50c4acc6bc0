"""Files of extreme classification: svmlight with a first line of rows, features and labels."""

import gzip

import numpy as np
import pytest

from pipeline.config.schema_data import SvmlightConfig
from pipeline.dataset import loading
from pipeline.dataset.dataset import Dataset
from pipeline.errors import UserError


@pytest.fixture
def load(tmp_path):
    def load(text: str, file: str = "t.txt", **more) -> Dataset:
        path = tmp_path / file
        path.write_bytes(gzip.compress(text.encode()) if file.endswith("gz") else text.encode())
        arguments = {
            "n_features": None,
            "zero_based": None,
            "predict_rows": (),
            "name": None,
            "drop_duplicates": False,
            "missing_labels": "refuse",
        }
        return loading.load(SvmlightConfig(kind="svmlight", path=str(path), **arguments | more))

    return load


@pytest.mark.parametrize("header", ["3 3 4", "3\t3 4  # rows, features, labels", "# x\n\n3 3 4\r"])
@pytest.mark.parametrize("file", ["t.txt", "t.txt.gz"])
def test_the_header_gives_the_number_of_features(header, file, load):
    dataset = load(f"{header}\n0,2 0:0.5\n1 1:0.25\n 0:1 1:1\n", file)
    np.testing.assert_array_equal(dataset.X, [[0.5, 0, 0], [0, 0.25, 0], [1, 1, 0]])
    assert dataset.feature_names == ("x0", "x1", "x2")
    assert dataset.label_names == ("y0", "y1", "y2")
    assert dataset.y.tolist() == [[1, 0, 1], [0, 1, 0], [0, 0, 0]]


def test_indices_from_1_are_recognised(load):
    dataset = load("2 3 2\n1,2 1:5 3:6\n2 2:7\n")
    assert dataset.feature_names == ("x1", "x2", "x3")
    np.testing.assert_array_equal(dataset.X, [[5, 0, 6], [0, 7, 0]])
    assert load("2 3 2\n1 1:5 2:6\n0 2:7\n").feature_names == ("x0", "x1", "x2")
    assert load("2 3 2\n1 1:5 2:6\n0 2:7\n", zero_based=False).feature_names == ("x1", "x2", "x3")


def test_a_blank_line_is_a_row_if_the_header_counts_it(load):
    dataset = load("4 2 2\n0 0:1\n\n1 1:1\n\n")
    np.testing.assert_array_equal(dataset.X, [[1, 0], [0, 0], [0, 1], [0, 0]])
    assert dataset.y.tolist() == [[1, 0], [0, 0], [0, 1], [0, 0]]
    assert load("2 2 2\n0 0:1\n\n1 1:1\n\n").n_samples == 2


@pytest.mark.parametrize(
    ("text", "more", "message"),
    [
        ("9 2 3\n0 0:1\n1 1:1\n", {}, "9 rows, as its first line says. Received: 2"),
        ("1 2 3\n0 0:1\n1 1:1\n", {}, "1 rows, as its first line says. Received: 2"),
        ("2 2 3\n0 0:1\n1 3:1\n", {}, r"2 features, as its first line says. Received: .* 3"),
        ("2 2 2\n0 0:1\n3 1:1\n", {}, r"2 labels, as its first line says. Received: .* 3"),
        ("2 2 2\n0 0:1\n1 1:1\n", {"n_features": 5}, "2 features, .*n_features=5"),
        ("2 2 2\n0 0:1\n1 x\n", {}, "'1 x' in line 3"),
    ],
)
def test_the_header_is_checked(text, more, message, load):
    with pytest.raises(UserError, match=message):
        load(text, **more)
