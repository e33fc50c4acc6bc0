"""Computations on parts of a matrix give what they give on the whole matrix."""

import numpy as np
import pytest

from pipeline import matrix_blocks
from pipeline.checks import equal_rows
from pipeline.dataset import duplicate_rows, summarise
from pipeline.errors import UserError
from pipeline.matrix_blocks import column_blocks, read_columns, row_blocks
from pipeline.model.training_profile import describe_training
from pipeline.preprocessing import column_statistics, fitting
from tests.test_fitting import SCHEMA, arrays_of, folds
from tests.test_preprocessor import OPTIONS, mixed_table, preprocessing

CELLS = [1, 7, 40, 10**6]


@pytest.fixture(params=CELLS, ids=lambda n: f"{n} cells")
def few_cells(request, monkeypatch):
    monkeypatch.setattr(matrix_blocks, "MAX_CELLS", request.param)
    monkeypatch.setattr(duplicate_rows, "MAX_CELLS", request.param)
    return request.param


@pytest.mark.parametrize("shape", [(0, 3), (1, 1), (10, 3), (7, 100), (5, 0)])
def test_blocks_have_each_row_once_and_few_cells(shape, few_cells):
    blocks = [*row_blocks(*shape)]
    rows = np.arange(shape[0])
    assert [row for block in blocks for row in rows[block]] == rows.tolist()
    assert all((it.stop - it.start) * shape[1] <= max(few_cells, shape[1]) for it in blocks)


@pytest.mark.parametrize("n_columns", [0, 1, 31, 33, 1000])
def test_blocks_of_columns_are_few(n_columns, few_cells):
    blocks = [*column_blocks(10**6, n_columns)]
    columns = np.arange(n_columns)
    assert [column for block in blocks for column in columns[block]] == columns.tolist()
    assert len(blocks) <= 32


@pytest.mark.parametrize("features", [[5, 0, 2, 4], [1, 2, 3, 4], []])
def test_columns_are_read_in_order(features, few_cells):
    X = np.arange(60, dtype=np.float32).reshape(10, 6)
    rows, features = np.array([3, 1, 8]), np.array(features, dtype=np.int64)
    columns = [*read_columns(X, rows, features)]
    np.testing.assert_array_equal(np.reshape(columns, (-1, 3)), X[np.ix_(rows, features)].T)


@pytest.mark.parametrize("options", [{}, {"scaling": "robust"}, *OPTIONS[::5]], ids=str)
def test_preprocessors_do_not_depend_on_the_blocks(options, monkeypatch):
    X, config = mixed_table(60), preprocessing(**options)
    expected = fitting.fit_preprocessors(config, X, SCHEMA, folds(), is_final=True)
    monkeypatch.setattr(matrix_blocks, "MAX_CELLS", 100)
    monkeypatch.setattr(column_statistics, "MAX_CELLS", 5 * X.shape[1])
    ours = fitting.fit_preprocessors(config, X, SCHEMA, folds(), is_final=True)
    for one, other in zip(ours, expected, strict=True):
        for ours_of_fold, of_fold in zip(arrays_of(one), arrays_of(other), strict=True):
            np.testing.assert_allclose(ours_of_fold, of_fold, rtol=2e-7)  # a bit of float32
        np.testing.assert_allclose(one.fill, other.fill, rtol=2e-7)


@pytest.fixture
def table(make_config, tmp_path):
    """Return a data set of 40 rows with missing values, categories and equal rows."""
    from pipeline.dataset import load

    generator = np.random.default_rng(0)
    lines = ["a,b,c,x,y"]
    for _ in range(20):
        a = generator.integers(9) if generator.random() < 0.8 else ""
        lines.append(f"{a},{generator.normal():.3f},{'uvw'[generator.integers(3)]},0,1")
        lines.append(f"{a or 1},{generator.normal():.3f},u,1,0")
    path = tmp_path / "t.csv"
    path.write_text("\n".join([*lines, *lines[1:9]]) + "\n")
    return load(
        make_config("dataset=table", f"dataset.path={path}", "dataset.labels=[x,y]").dataset
    )


def describe(dataset):
    rows = np.arange(1, dataset.n_samples, 2)
    config = type("config", (), {})()
    scoring = type("scoring", (), {"metrics": [], "zero_division": 0, "greater_is_better": {}})()
    return describe_training(dataset, rows, dataset.y, 5, config, scoring)["columns"]


def test_summaries_and_profiles_do_not_depend_on_the_blocks(table, monkeypatch):
    expected, profile = summarise(table).as_dict(), describe(table)
    X, splits = table.X, []
    assert expected["n_duplicates"] == 8
    assert expected["features"]["missing"] == {"a": int(np.isnan(X[:, 0]).sum())}
    for cells in CELLS:
        monkeypatch.setattr(matrix_blocks, "MAX_CELLS", cells)
        monkeypatch.setattr(duplicate_rows, "MAX_CELLS", cells)
        assert summarise(table).as_dict() == expected
        assert describe(table) == profile
        assert equal_rows._expected_by_chance(X, splits) == 0


def test_the_error_of_missing_values_counts_all_of_them(table, few_cells):
    row, column = np.argwhere(np.isnan(table.X))[0]
    n = int(np.isnan(table.X[:, :2]).sum())
    with pytest.raises(UserError, match=rf"nan in row {row}, feature 'a' \({n} such values in {n}"):
        table.check_complete()
    assert column == 0
