"""The summary of a data set, its tables and figure, and the `describe` command."""

import io
import json
import subprocess
import sys
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rich.console import Console

from pipeline import console
from pipeline.commands import describe as command
from pipeline.console.dataset_tables import describe_dataset as tables
from pipeline.cv.diagnostics import SplitWarning
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.duplicate_rows import first_rows
from pipeline.dataset.label_coverage import LabelCoverage
from pipeline.dataset.summary import DataSummary, summarise
from pipeline.errors import shorten
from pipeline.preprocessing.column import Column
from pipeline.preprocessing.table_schema import TableSchema
from pipeline.report.data_facts import format_facts, format_missing_labels
from pipeline.report.per_label import draw_label_frequencies

ROOT = Path(__file__).parents[1]
NAN = np.nan


@pytest.fixture
def small() -> Dataset:
    return Dataset(
        name="small",
        X=np.array(
            [
                [1.0, 0, 7],
                [1.0, 0, 7],
                [-0.0, 1, 7],
                [0.0, 1, 7],
                [NAN, 1, 7],
                [NAN, 1, 7],
                [2, NAN, 7],
            ],
            dtype=np.float32,
        ),
        y=np.array(
            [[1, 1, 0], [1, 0, 0], [0, 0, 0], [0, 0, 0], [1, 1, 0], [1, 1, 0], [0, 1, 0]],
            dtype=np.int8,
        ),
        schema=TableSchema(
            (Column("length"), Column("colour", "category", ("red", "blue")), Column("always"))
        ),
        label_names=("warm", "loud", "never"),
        groups=np.array([3, 3, 3, 9, 9, 5, 5]),
    )


def test_a_row_is_without_labels_only_if_every_label_is_known(small: Dataset) -> None:
    mask = np.ones(small.y.shape, dtype=bool)
    mask[2, 0] = mask[0, 2] = False  # one of the two rows that are negative, and another
    assert summarise(small).n_unlabelled == 2
    assert summarise(replace(small, label_mask=mask)).n_unlabelled == 1


def test_the_summary_of_a_masked_table_counts_what_is_known(small: Dataset) -> None:
    mask = np.ones(small.y.shape, dtype=bool)
    mask[0, 2] = mask[1, 2] = mask[2, 0] = False
    mask[6] = False
    dataset = replace(small, label_mask=mask)
    summary = summarise(dataset)
    assert summary.label_counts.tolist() == [4, 3, 0]
    assert summary.n_labelled.tolist() == [5, 6, 4]
    assert summary.cardinality == pytest.approx(4 / 5 + 3 / 6 + 0 / 4)
    assert summary.density == pytest.approx(summary.cardinality / 3)
    assert dict(summary.label_sets) == {("warm", "loud"): 2, (): 1}  # of rows known as a whole
    assert summary.n_label_sets == 2
    assert summary.coverage
    assert (summary.n_complete, summary.coverage.n_empty) == (3, 1)
    patterns = [(labels.tolist(), n) for labels, n in summary.coverage.patterns]
    assert patterns[:2] == [([], 3), ([2], 2)]
    assert sorted(patterns[2:]) == [([0], 1), ([0, 1, 2], 1)]
    for i in range(3):
        for j in range(3):
            rows = mask[:, j] & (dataset.y[:, i] == 1)
            rate = dataset.y[rows, j].mean() if rows.any() else 0
            assert summary.conditional_rates[i, j] == pytest.approx(rate)
    read = json.loads(json.dumps(summary.as_dict(), allow_nan=False))["labels"]["known"]
    assert read["rows"] == {"warm": 5, "loud": 6, "never": 4}
    assert read["patterns"][1] == {"missing": ["never"], "rows": 2}
    assert "known" not in summarise(small).as_dict()["labels"]
    buffer = Console(file=io.StringIO(), width=100)
    for part in tables(dataset, summary):
        buffer.print(part)
    text = " ".join(buffer.file.getvalue().split())  # type: ignore[attr-defined]
    assert "71.4% of the labels of all rows are known; every label in 3 rows, none in 1" in text
    assert "1 rows that are known to have no label" in text
    assert "warm, loud; 1 not known" in text
    assert "warm 4 71.4% 80.0% loud 3" in text  # rows, known in, of these, most often with
    assert "none 3 never 2" in text  # labels that are not known, and rows
    assert summary.profile()["known_in"] == {"warm": 5, "loud": 6, "never": 4}
    assert format_missing_labels(summary)[:2] == [("none", "3"), ("never", "2")]
    assert dict(format_facts(summary))["Rows known to have no label"] == "1"
    assert format_missing_labels(summarise(small)) == []
    draw_label_frequencies(summary)


@pytest.mark.parametrize(
    ("labels", "expected"),
    [([], "none"), ([0], "a"), ([1, 2], "all but a"), ([0, 1, 2], "all")],
)
def test_patterns_of_missing_labels_are_named_by_the_fewer_labels(labels, expected) -> None:
    mask = np.ones((2, 3), dtype=bool)
    coverage = LabelCoverage.of(np.zeros((2, 3), dtype=np.int8), mask)
    assert coverage.describe_pattern(np.array(labels, dtype=int), ("a", "b", "c")) == expected


def test_a_table_without_a_row_that_is_known_as_a_whole(small: Dataset) -> None:
    mask = np.ones(small.y.shape, dtype=bool)
    mask[:, 2] = False
    mask[0] = [False, False, True]
    summary = summarise(replace(small, label_mask=mask))
    assert (summary.label_sets, summary.n_label_sets, summary.n_complete) == ((), 0, 0)
    assert list(tables(small, summary))


def test_summary_of_a_small_table(small: Dataset) -> None:
    summary = summarise(small)
    assert (summary.n_samples, summary.n_features, summary.n_labels) == (7, 3, 3)
    assert summary.categories == {"colour": 2}
    assert summary.missing == {"length": 2, "colour": 1}
    assert summary.n_missing_rows == 3
    assert summary.constant == ("always",)
    assert summary.label_counts.tolist() == [4, 4, 0]
    assert summary.co_occurrence.tolist() == [[4, 3, 0], [3, 4, 0], [0, 0, 0]]
    assert summary.cardinality == pytest.approx(8 / 7)
    assert summary.density == pytest.approx(8 / 21)
    assert summary.n_unlabelled == 2
    assert summary.n_label_sets == 4
    assert summary.label_sets[0] == (("warm", "loud"), 3)
    assert (("warm",), 1) in summary.label_sets
    assert ((), 2) in summary.label_sets
    # -0 is 0 and a missing value equals another; one of the three pairs differs in labels.
    assert (summary.n_duplicates, summary.n_conflicting) == (3, 1)
    assert (summary.n_groups, summary.largest_group) == (3, 3)
    assert summary.pairs(5) == [("warm", "loud", 3)]


def test_weights_have_their_range_and_effective_sample_size(small: Dataset) -> None:
    weights = np.zeros(small.n_samples, dtype=np.float32)
    weights[:3] = 1, 2, 3
    summary = summarise(replace(small, sample_weight=weights))
    assert summary.weights == {
        **{"min": 0, "max": 3, "n_zero": small.n_samples - 3},
        "effective_sample_size": pytest.approx(36 / 14),
    }
    assert any("Weights: from 0 to 3, " in str(part) for part in tables(small, summary))
    assert summarise(small).weights is None


def test_summary_goes_through_json(small: Dataset) -> None:
    read = json.loads(json.dumps(summarise(small).as_dict(), allow_nan=False))
    assert read["labels"]["counts"] == {"warm": 4, "loud": 4, "never": 0}
    assert read["labels"]["pairs"] == [{"labels": ["warm", "loud"], "rows": 3}]
    assert read["features"]["n_numeric"] == 2
    assert read["n_duplicates"] == 3


@given(
    X=arrays(
        np.float32,
        st.tuples(st.integers(1, 12), st.just(2)),
        elements=st.sampled_from([0, 1, NAN]),
    ),
    seed=st.integers(0, 1000),
)
@settings(max_examples=50)
def test_summary_agrees_with_counting_one_by_one(X: np.ndarray, seed: int) -> None:
    X[0] = 0  # a feature without values is an error
    y = np.random.default_rng(seed).integers(0, 2, (len(X), 3), dtype=np.int8)
    summary = summarise(Dataset("table", X, y, TableSchema.of_numbers("ab"), ("p", "q", "r")))
    rows = [tuple(map(str, row)) for row in X]
    first_rows = [rows.index(row) for row in rows]
    assert summary.n_duplicates == sum(first < i for i, first in enumerate(first_rows))
    assert summary.n_conflicting == sum(
        first < i and bool((y[first] != y[i]).any()) for i, first in enumerate(first_rows)
    )
    assert summary.n_label_sets == len({tuple(row) for row in y})
    assert summary.co_occurrence.tolist() == [
        [int((y[:, a] & y[:, b]).sum()) for b in range(3)] for a in range(3)
    ]
    json.dumps(summary.as_dict(), allow_nan=False)


def test_of_very_many_labels_the_most_frequent_are_paired(small: Dataset, monkeypatch) -> None:
    y = small.y[:, [2, 0, 1]]  # the label of no row comes first
    dataset = replace(small, y=y, label_names=("never", "warm", "loud"))
    monkeypatch.setattr("pipeline.dataset.label_coverage.MAX_PAIRED", 2)
    for mask in (None, np.arange(21).reshape(7, 3) % 5 > 0):
        summary = summarise(replace(dataset, label_mask=mask))
        assert summary.paired.tolist() == [1, 2]
        known = np.ones_like(y) if mask is None else mask
        n_both = (y[:, 1] & y[:, 2] & known[:, 1] & known[:, 2]).sum()
        assert summary.pairs(5) == [("warm", "loud", n_both)]
        assert (
            summary.conditional_rates[0, 1] == n_both / (y[:, 1] & known[:, 1] & known[:, 2]).sum()
        )
        draw_label_frequencies(replace(summary, label_names=("never", "warm", "loud")))
        buffer = Console(file=io.StringIO(), width=100)
        for part in tables(dataset, summary):
            buffer.print(part)
        text = " ".join(buffer.file.getvalue().split())  # type: ignore[attr-defined]
        assert f"loud {n_both}" in text


def test_the_summary_does_not_change_the_data(small: Dataset) -> None:
    before = small.X.copy()
    summarise(small)
    np.testing.assert_array_equal(small.X, before)
    assert np.signbit(small.X[2, 0])


def many(n_labels: int) -> Dataset:
    generator = np.random.default_rng(0)
    y = (generator.uniform(size=(200, n_labels)) < np.linspace(0, 0.4, n_labels)).astype(np.int8)
    X = generator.normal(size=(200, 9)).astype(np.float32)
    X[0, :5] = NAN
    return Dataset(
        name="many / labels: name",
        X=X,
        y=y,
        schema=TableSchema.of_numbers(
            f"a feature with rather a long name, number {i}" for i in range(9)
        ),
        label_names=tuple(f"[red]a label with rather a long name, {i}" for i in range(n_labels)),
    )


@pytest.mark.parametrize("n_labels", [1, 2, 20, 21, 60])
def test_tables_fit_100_columns(n_labels: int) -> None:
    dataset = many(n_labels)
    screen = Console(width=100, markup=False, highlight=False, force_terminal=False)
    with screen.capture() as captured:
        for part in tables(dataset, summarise(dataset)):
            screen.print(part)
    lines = captured.get().splitlines()
    assert max(map(len, lines)) <= 100
    label_lines = [line for line in lines if line.startswith("[red]") and line.count("%") == 1]
    assert any("... 1 more ..." in line for line in lines) == (n_labels == 21)
    assert len(label_lines) >= min(n_labels, 20)
    assert not any(line.startswith(" ") for line in lines)  # nothing is wrapped


def test_rows_are_equal_by_their_features_not_by_their_hashes(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    X = np.random.default_rng(0).integers(0, 3, (200, 4)).astype(np.float32)
    X[::7, 1] = np.nan
    X[::5, 0] *= -1  # -0.0
    rows = [tuple(map(str, row + np.float32(0))) for row in X]
    expected = [rows.index(row) for row in rows]
    assert first_rows(X).tolist() == expected
    equal = SimpleNamespace(integers=lambda high, size, dtype: np.ones(size, dtype))
    monkeypatch.setattr(np.random, "default_rng", lambda seed: equal)  # so that hashes collide
    assert first_rows(X).tolist() == expected
    assert first_rows(X[:1]).tolist() == [0]


def test_first_rows_show_categories_and_missing_values(small: Dataset) -> None:
    screen = Console(width=100)
    with screen.capture() as captured:
        for part in tables(small, summarise(small)):
            screen.print(part)
    text = captured.get()
    assert "blue" in text
    assert "2 categories" in text
    assert "28.6%" in text
    assert "Groups: 3, the largest with 3 rows" in text


@pytest.mark.parametrize("n_labels", [1, 3, 159, 161])
def test_the_figure_names_its_labels(n_labels: int) -> None:
    summary = summarise(many(n_labels))
    figure = draw_label_frequencies(summary)
    bars, cells, _ = figure.axes
    names = [tick.get_text() for tick in cells.get_xticklabels()]
    assert len(names) == len(bars.patches) == min(n_labels, 80)
    assert [bar.get_width() for bar in bars.patches] == sorted(summary.label_counts)[::-1][:80]
    title = figure.get_suptitle()
    assert title.startswith(f"many / labels: name: 200 rows, {n_labels} label")
    assert ("the 80 most frequent shown" in title) == (n_labels > 80)


@pytest.mark.parametrize(
    ("name", "length", "expected"),
    [
        ("short", 5, "short"),
        ("label number 1", 9, "labe…er 1"),
        ("abcdef", 2, "a…"),
        ("ab", 1, "…"),
    ],
)
def test_shorten_keeps_beginning_and_end(name: str, length: int, expected: str) -> None:
    assert shorten(name, length) == expected
    assert len(expected) <= length


def test_split_warnings_take_a_line_each(capsys: pytest.CaptureFixture[str]) -> None:
    labels = tuple((f"label {i}", 9 - i) for i in range(8))
    console.show_split_warnings(
        [
            SplitWarning("No test row has", labels, 9, 10, "try something."),
            SplitWarning("No training row has", labels[:1], 9, 10, "try something."),
            SplitWarning("Rows of one group both train and test", (), 3, 10, "try something."),
        ]
    )
    assert capsys.readouterr().out.splitlines() == [
        "No test row has label 0 in 9 of 10 folds, label 1 in 8, label 2 in 7, label 3 in 6, "
        "label 4 in 5 and 3 more labels: try something.",
        "No training row has label 0 in 9 of 10 folds: try something.",
        "Rows of one group both train and test in 3 of 10 folds: try something.",
    ]


def test_duplicates_are_shown_if_there_are_any(
    small: Dataset, capsys: pytest.CaptureFixture[str]
) -> None:
    summary: DataSummary = summarise(small)
    console.show_duplicates(summary)
    assert "3 rows have the features of a previous row, 1 of them" in capsys.readouterr().out
    console.show_duplicates(replace(summary, n_duplicates=0))
    assert capsys.readouterr().out == "No two rows have the same features.\n"


RUN = """
import sys
from pathlib import Path
from pipeline.commands import describe
describe.mlruns = lambda: Path("results")
try:
    code = describe.main(sys.argv[1:])
finally:
    heavy = {"tensorflow", "keras", "mlflow"} & set(sys.modules)
    assert not heavy, heavy
sys.exit(code)
"""


def describe(folder: Path, *overrides: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", RUN, *overrides],
        cwd=folder,
        env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin", "HOME": str(folder)},
        capture_output=True,
        text=True,
        timeout=120,
    )


def test_the_command_writes_the_figure_and_nothing_else(tmp_path: Path) -> None:
    settings = ("dataset.n_samples=50", "dataset.n_classes=30", "cv.n_splits=5")
    done = describe(tmp_path, *settings, "dataset.name='a / b: c'")
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("a / b: c: 50 rows, 10 features, 30 labels")
    assert "HYDRA" not in done.stdout
    assert "No test row has" in done.stdout
    assert "try cv=multilabel_stratified" in done.stdout
    assert max(map(len, done.stdout.split("No two rows have")[0].splitlines())) <= 100
    assert done.stdout.splitlines()[-1] == "Figure: results/describe/a_b_c.png"
    files = {str(path.relative_to(tmp_path)) for path in tmp_path.rglob("*.*") if path.is_file()}
    assert {path for path in files if not path.startswith(".")} == {"results/describe/a_b_c.png"}


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dataset.foo=1", "dataset.foo: no such key"),
        ("cv.n_splits=1", "cv.n_splits: expected"),
        ("dataset=nothing", "dataset"),
    ],
)
def test_invalid_settings_end_with_exit_code_2(monkeypatch, capsys, override, message) -> None:
    monkeypatch.setattr("sys.argv", ["describe", override])
    assert command.main([]) == 2
    assert message in capsys.readouterr().err


def test_impossible_folds_do_not_hide_the_data(tmp_path: Path) -> None:
    done = describe(tmp_path, "cv=group_kfold", "dataset.n_samples=20")
    assert done.returncode == 0, done.stderr
    assert (
        "These folds are not possible. cv=group_kfold: expected data with the group" in done.stdout
    )
