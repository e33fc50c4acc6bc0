import subprocess
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sklearn.datasets import dump_svmlight_file, load_svmlight_file

from pipeline.config.schema_data import SvmlightConfig
from pipeline.dataset import loading
from pipeline.dataset.dataset import Dataset
from pipeline.errors import UserError


def load(path: Path, **more) -> Dataset:
    arguments = {
        "n_features": None,
        "zero_based": None,
        "predict_rows": (),
        "name": None,
        "drop_duplicates": False,
        "missing_labels": "refuse",
        **more,
    }
    return loading.load(SvmlightConfig(kind="svmlight", path=str(path), **arguments))


def test_lists_of_labels_become_columns(tmp_path):
    path = tmp_path / "t.svm"
    path.write_text("# a comment\n7,2 1:0.5 3:2\n 2:1\n2 1:-1 # more\n")
    dataset = load(path)
    assert dataset.name == "t"
    assert dataset.feature_names == ("x1", "x2", "x3")
    assert dataset.label_names == ("y2", "y7")
    np.testing.assert_array_equal(dataset.X, [[0.5, 0, 2], [0, 1, 0], [-1, 0, 0]])
    assert dataset.y.tolist() == [[1, 1], [0, 0], [1, 0]]


@pytest.mark.parametrize(
    ("text", "zero_based", "names"),
    [
        ("1 0:1 1:2\n0 1:1\n", None, ("x0", "x1")),
        ("1 1:1 2:2\n0 1:1\n", None, ("x1", "x2")),
        ("1 1:1 2:2\n0 1:1\n", True, ("x0", "x1", "x2")),
    ],
)
def test_features_are_counted_from_0_or_1(text, zero_based, names, tmp_path):
    path = tmp_path / "t.svm"
    path.write_text(text)
    assert load(path, zero_based=zero_based).feature_names == names
    assert load(path, zero_based=zero_based, n_features=9).n_features == 9


LABELS = st.lists(st.sampled_from(["0", "7", "07", "3.0", "-2", "1e3"]), max_size=4)
FEATURES = st.dictionaries(st.integers(1, 5), st.sampled_from(["1", "-0.5", "nan", "1e9"]))
ENDS = st.sampled_from(["", " ", "\t", "\r", " # 3:4", "#"])


@given(st.lists(st.tuples(LABELS, FEATURES, ENDS), min_size=1, max_size=8))
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_rows_are_those_of_scikit_learn(tmp_path, lines):
    path = tmp_path / "t.svm"
    path.write_text(
        "1000000\t9:1\n# a comment\n\n"
        + "".join(
            f"{','.join(labels)} {' '.join(f'{j}:{row[j]}' for j in sorted(row))}{end}\n"
            for labels, row, end in lines
        )
    )
    X, row_labels = load_svmlight_file(str(path), multilabel=True)
    labels = sorted({label for labels in row_labels for label in labels})
    dataset = load(path)
    assert dataset.label_names == tuple(f"y{label:.0f}" for label in labels)
    np.testing.assert_array_equal(dataset.y, [[it in row for it in labels] for row in row_labels])
    np.testing.assert_array_equal(dataset.schema.decode(dataset.X), X.toarray())


def test_a_number_that_is_too_large_is_named_by_row_and_column(tmp_path, monkeypatch):
    monkeypatch.setattr("pipeline.dataset.matrix._MAX_DENSE", 2)
    path = tmp_path / "t.svm"
    path.write_text("1 1:2\n2 2:3\n1 1:4 2:-1e31\n2 1:1e32\n")
    with pytest.raises(UserError, match=r"1e.32 in column 'x1', row 3 \(the first"):
        load(path)


def test_columns_far_from_0_have_an_offset(tmp_path):
    path = tmp_path / "t.svm"
    path.write_text("".join(f"{i % 2} 1:{16777216 + i} 2:{i % 3}\n" for i in range(9)))
    dataset = load(path)
    assert dataset.schema.offsets.tolist() == [16777220, 0]
    np.testing.assert_array_equal(dataset.X[:, 0], np.arange(9) - 4)


@given(
    X=st.lists(
        st.lists(st.integers(-9, 9).map(float), min_size=3, max_size=3), min_size=2, max_size=6
    ),
    data=st.data(),
)
@settings(
    max_examples=50,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
def test_files_of_scikit_learn_are_read_back(tmp_path, X, data):
    labels = st.lists(st.integers(0, 1), min_size=2, max_size=2)
    y = np.array([data.draw(labels) for _ in X])
    y[0] = 1
    X = np.hstack([X, np.ones((len(X), 1))])  # a row of zeros would be a blank line, hence no row
    path = tmp_path / "t.svm"
    dump_svmlight_file(X, y, str(path), multilabel=True, zero_based=False)
    dataset = load(path, n_features=4, zero_based=False)
    np.testing.assert_array_equal(dataset.schema.decode(dataset.X), X)
    np.testing.assert_array_equal(dataset.y, y)


@pytest.mark.parametrize(("no", "yes"), [("-1", "+1"), ("0", "1")])
def test_a_file_of_one_yes_or_no_label_has_a_warning_with_what_to_type(no, yes, tmp_path):
    path = tmp_path / "one.svm"
    path.write_text("".join(f"{(no, yes)[i % 2]} 1:{i} 2:3\n" for i in range(6)))
    (warning,) = (it for it in load(path).warnings if "To read one" in it)
    command = warning.partition("To read one: ")[2].partition(" >")[0]
    done = subprocess.run(command, shell=True, capture_output=True, text=True, check=True)
    path.write_text(done.stdout)
    dataset = load(path)
    assert dataset.warnings == ()
    np.testing.assert_array_equal(dataset.y, [[0], [1]] * 3)
