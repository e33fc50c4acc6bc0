"""Windows in order of time: scikit-learn's, invariants, inner parts, and times of all readers."""

from dataclasses import replace
from io import StringIO
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rich.console import Console
from sklearn.model_selection import TimeSeriesSplit

import pipeline
from pipeline import console
from pipeline.comparison import RunScores, describe_conclusion
from pipeline.comparison.ranking import mean_test_fraction
from pipeline.config.schema_data import TimeSeriesConfig
from pipeline.console.ranking_tables import compare_tables
from pipeline.cv import inner_splits, make_splits, validation_part
from pipeline.cv.time_series import parse_extent
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.in_memory import make_dataset
from pipeline.dataset.label_rates import label_rates, periods_of
from pipeline.errors import UserError
from pipeline.evaluation.inputs import plan_fits
from pipeline.report.paired_differences import draw_ranking
from pipeline.scoring import NO_INTERVAL, format_summary
from tests.test_openml import write_cache
from tests.test_ranking import ranked
from tests.test_splitters import table


def windows(n_splits: int = 3, **sizes: Any) -> TimeSeriesConfig:
    sizes = {"test_size": None, "max_train_size": None, "gap": 0, "outer_splits": None, **sizes}
    return TimeSeriesConfig(kind="time_series", n_splits=n_splits, **sizes)


def timed(times: Any, groups: Any = None, n_labels: int = 2) -> Dataset:
    times = np.asarray(times)
    y = np.random.default_rng(0).integers(0, 2, (len(times), n_labels), dtype=np.int8)
    return replace(table(y, None if groups is None else np.asarray(groups)), times=times)


def days(numbers: Any) -> NDArray[np.datetime64]:
    return np.datetime64("2026-01-01", "us") + np.asarray(numbers) * np.timedelta64(1, "D")


@given(
    st.integers(2, 60),
    st.integers(2, 6),
    st.none() | st.integers(1, 10),
    st.none() | st.integers(1, 20),
    st.integers(0, 5),
)
@settings(max_examples=150)
def test_rows_in_order_are_split_like_scikit_learns(
    n: int, n_splits: int, test_size: int | None, max_train_size: int | None, gap: int
) -> None:
    theirs = TimeSeriesSplit(n_splits, test_size=test_size, max_train_size=max_train_size, gap=gap)
    config = windows(n_splits, test_size=test_size, max_train_size=max_train_size, gap=gap)
    dataset = timed(days(np.cumsum(np.arange(n) % 3 + 1)))
    try:
        expected = list(theirs.split(np.empty(n)))
    except ValueError:
        with pytest.raises(UserError):
            make_splits(config, dataset)
        return
    splits = make_splits(config, dataset)
    assert [(split.repeat, split.fold) for split in splits] == [(0, i) for i in range(n_splits)]
    for split, (train, test) in zip(splits, expected, strict=True):
        np.testing.assert_array_equal(split.train, train)
        np.testing.assert_array_equal(split.test, test)


@st.composite
def cases(draw: st.DrawFn) -> tuple[Dataset, TimeSeriesConfig]:
    """Rows in any order, several of one moment, in groups or not; sizes in rows or in time."""
    n = draw(st.integers(5, 60))
    numbers = draw(st.lists(st.integers(0, draw(st.integers(3, 40))), min_size=n, max_size=n))
    groups = draw(st.none() | st.lists(st.integers(0, 12), min_size=n, max_size=n))

    def size(least: int) -> Any:
        number = draw(st.integers(least, 8))
        return draw(st.sampled_from([number, f"{number}d"]))

    config = windows(
        draw(st.integers(1, 4)),
        test_size=(draw(st.booleans()) and size(1)) or None,
        max_train_size=(draw(st.booleans()) and size(1)) or None,
        gap=size(0),
    )
    return timed(days(numbers), groups), config


@given(cases())
@settings(max_examples=300)
def test_windows_follow_each_other_and_train_on_earlier_rows_alone(
    case: tuple[Dataset, TimeSeriesConfig],
) -> None:
    dataset, config = case
    try:
        splits = make_splits(config, dataset)
    except UserError:
        return
    times: Any = dataset.times
    previous = None
    for split in splits:
        train, test = times[split.train], times[split.test]
        assert len(train)
        assert len(test)
        assert train.max() < test.min()
        assert previous is None or previous < test.min()  # also: no moment is divided
        previous = test.max()
        np.testing.assert_array_equal(split.train, np.sort(split.train))
        expected = naive_train(dataset, config, test.min())
        if dataset.groups is not None:
            expected -= set(np.flatnonzero(np.isin(dataset.groups, dataset.groups[split.test])))
        assert set(split.train) == expected
        window = set(np.flatnonzero((times >= test.min()) & (times <= test.max())))
        assert set(split.test) == window
        if isinstance(config.test_size, str):
            assert test.max() - test.min() < parse_extent("", config.test_size, times)
    assert previous == times.max()


def naive_train(dataset: Dataset, config: TimeSeriesConfig, begin: Any) -> set[int]:
    """Return the rows that may train a window, moment by moment from the latest."""
    times: Any = dataset.times
    moments = {moment: np.flatnonzero(times == moment) for moment in np.unique(times)}
    in_gap, train, latest = 0, set(), None
    for moment in sorted(moments, reverse=True):
        rows = moments[moment]
        if moment >= begin:
            continue
        if isinstance(config.gap, str):
            if moment >= begin - parse_extent("", config.gap, times):
                continue
        elif in_gap < config.gap:
            in_gap += len(rows)
            continue
        latest = moment if latest is None else latest
        if isinstance(config.max_train_size, str):
            if latest - moment >= parse_extent("", config.max_train_size, times):
                break
        elif config.max_train_size and len(train) + len(rows) > config.max_train_size:
            break
        train |= set(rows.tolist())
    return train


def test_windows_in_time_count_back_from_the_latest_moment() -> None:
    dataset = timed(days([9, 0, 1, 2, 3, 4, 5, 6, 6, 8]))
    first, second = make_splits(windows(2, test_size="2d", gap="1d", max_train_size="3d"), dataset)
    assert (first.train.tolist(), first.test.tolist()) == ([3, 4, 5], [7, 8])  # days 2 to 4, and 6
    assert (second.train.tolist(), second.test.tolist()) == ([5, 6, 7, 8], [0, 9])


def test_durations_without_rows_are_skipped() -> None:
    fridays = days([0, 1, 4, 5, 5, 8])  # with two weekends
    splits = make_splits(windows(4, test_size="1d"), timed(fridays))
    assert [split.test.tolist() for split in splits] == [[1], [2], [3, 4], [5]]
    assert [split.train.tolist() for split in splits] == [[0], [0, 1], [0, 1, 2], [0, 1, 2, 3, 4]]
    unit = make_splits(windows(2, test_size="0.5 units"), timed(np.array([0.1, 3.7, 9.3])))
    assert [split.test.tolist() for split in unit] == [[1], [2]]


def test_sizes_of_times_that_are_numbers_are_units() -> None:
    dataset = timed(np.array([2019, 2020, 2020, 2021, 2022]))
    (split,) = make_splits(windows(1, test_size="1 unit", gap="1 unit"), dataset)
    assert (split.train.tolist(), split.test.tolist()) == ([0, 1, 2], [4])
    assert parse_extent("cv.gap", "1.5 units", np.array([0.5])) == 1.5


def test_a_group_of_the_window_does_not_train_it() -> None:
    dataset = timed(np.arange(6), groups=[0, 1, 2, 1, 0, 1])
    (split,) = make_splits(windows(1, test_size=2), dataset)
    assert (split.train.tolist(), split.test.tolist()) == ([2], [4, 5])
    with pytest.raises(UserError, match="training rows of other groups than those of the window"):
        make_splits(windows(1, test_size=2), timed(np.arange(4), groups=[0, 1, 0, 1]))


@pytest.mark.parametrize(
    ("config", "times", "message"),
    [
        (windows(), None, "cv=time_series: expected data with the time of each row"),
        (windows(5), np.arange(4), "expected rows in each window. Received: none in window 1 of 5"),
        (windows(2), np.zeros(9), "expected rows in each window. Received: none in window 1 of 2"),
        (windows(2, test_size=2), np.arange(4), "none before window 1 of 2, which begins at 0"),
        (windows(1, gap=3), np.arange(4), "a smaller gap"),
        (windows(1, gap="7x"), days([1, 2]), "cv.gap: expected a number of rows, or a duration"),
        (windows(1, gap="7"), days([1, 2]), "Type: 'cv.gap=7d'"),
        (windows(1, gap="7d"), np.arange(4), "Type: 'cv.gap=2 units'"),
        (windows(3, test_size="1d"), days([0, 1, 3]), "none before window 1 of 3"),
        (windows(3, test_size="1d"), days([0, 1, 3]), "Type: cv.n_splits=2"),
        (windows(4, test_size="1d"), days([0, 1, 3]), "none in window 1 of 4"),
        (windows(3, test_size=2), np.arange(16) // 4, "Type: cv.n_splits=1 or cv.test_size=4"),
        (windows(1, test_size="0d"), days([0, 1]), "cv.test_size: expected more than 0"),
    ],
)
def test_impossible_windows_are_errors(config: Any, times: Any, message: str) -> None:
    dataset = timed(np.arange(4)) if times is None else timed(times)
    with pytest.raises(UserError) as error:
        make_splits(config, replace(dataset, times=times))
    assert message in str(error.value)


@pytest.mark.parametrize("n_splits", [1, 3])
@pytest.mark.parametrize("gap", [0, 4, "2d"])
def test_inner_parts_keep_the_order(n_splits: int, gap: Any) -> None:
    dataset = timed(days(np.random.default_rng(1).permutation(60) // 2))
    train = np.arange(5, 55)
    parts = inner_splits(dataset, train, n_splits, 0.2, 1, windows(gap=gap))
    assert len(parts) == n_splits
    times: Any = dataset.times
    for inner, valid in parts:
        assert {*inner, *valid} <= {*train}
        distance = times[valid].min() - times[inner].max()
        if gap == "2d":
            assert distance > np.timedelta64(2, "D")
        between = (times[train] > times[inner].max()) & (times[train] < times[valid].min())
        assert between.sum() >= (gap if isinstance(gap, int) else 0)
    latest = parts[-1][1]
    assert times[latest].max() == times[train].max()
    if n_splits == 1:
        assert len(latest) == pytest.approx(10, abs=1)
        np.testing.assert_array_equal(
            latest, validation_part(dataset, train, 0.2, 1, windows(gap=gap))[1]
        )
    with pytest.raises(UserError, match=r"Received: 3 rows of \d moments, with nothing left to"):
        inner_splits(dataset, np.arange(3), 3, 0.2, 1, windows(gap=9))


DATES = ["2026-01-05", "2026-01-03", "2026-01-04"]
HOURS = days([0, 0]) + np.array([0, 3]) * np.timedelta64(1, "h")
DURATIONS = np.array([0, 120], "timedelta64[h]").astype("timedelta64[us]")
MICROSECONDS = np.array(DATES, dtype="datetime64[us]")


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (DATES, MICROSECONDS),
        (MICROSECONDS.astype("datetime64[D]"), MICROSECONDS),
        (pd.Series(DATES, dtype="datetime64[ns]"), MICROSECONDS),
        (pd.to_datetime(DATES).tz_localize("UTC"), MICROSECONDS),
        (["5.1.2026", "3.1.2026", "31.12.2025"], np.array([DATES[0], DATES[1], "2025-12-31"])),
        ([5, 3, 2**62 + 1], np.array([5, 3, 2**62 + 1])),
        ([5.0, 3.0, 4.0], np.array([5, 3, 4])),
        ([5.5, 3.0, 4.0], np.array([5.5, 3, 4])),
        (pd.to_timedelta([5, 3, 4], unit="h"), np.array([5, 3, 4], dtype="timedelta64[h]")),
    ],
    ids=["texts", "days", "pandas", "zone", "format", "integers", "whole", "numbers", "durations"],
)
def test_times_of_arrays(given: Any, expected: Any) -> None:
    times: Any = make_dataset("data", np.zeros((3, 1)), [[0], [1], [1]], times=given).times
    if expected.dtype.kind == "U":
        expected = expected.astype("datetime64[us]")
    assert times.dtype.kind == expected.dtype.kind
    np.testing.assert_array_equal(times, expected)


ROWS = {"a": [1.5, 2, 3], "l": [1, 0, 1], "m": [0, 1, 1]}


@pytest.mark.parametrize("reader", ["csv", "tsv", "parquet", "jsonl", "arff", "openml", "frame"])
@pytest.mark.parametrize("kind", ["dates", "numbers"])
def test_times_and_weights_of_all_readers(reader: str, kind: str, tmp_path: Path) -> None:
    when = DATES if kind == "dates" else [5, 3, 4]
    frame = pd.DataFrame({"when": when, **ROWS, "w": [0.5, 0.0, 2.0]})
    if kind == "dates" and reader == "parquet":
        frame["when"] = pd.to_datetime(frame["when"])
    columns: dict[str, Any] = {"time_column": "when", "weight_column": "w", "labels": ["l", "m"]}
    path, settings = tmp_path / f"t.{reader}", {}
    match reader:
        case "csv" | "tsv":
            frame.to_csv(path, index=False, sep="\t" if reader == "tsv" else ",")
        case "parquet":
            frame.to_parquet(path)
        case "jsonl":
            frame.to_json(path, orient="records", lines=True)
        case _:
            form = 'date "yyyy-MM-dd"' if kind == "dates" else "numeric"
            form = "string" if reader == "openml" and kind == "dates" else form
            names = [f"@attribute {it} {'numeric' if it in 'aw' else '{0,1}'}" for it in "almw"]
            lines = ["@relation r", f"@attribute when {form}", *names, "@data"]
            text = "\n".join(lines) + "\n" + frame.to_csv(index=False, header=False)
            path.write_text(text)
    if reader == "frame":
        X = frame.drop(columns=["l", "m", "w", "when"])
        y, w = frame[["l", "m"]], frame["w"]
        dataset = make_dataset("data", X, y, times=frame["when"], sample_weight=w)
    elif reader == "openml":
        write_cache(tmp_path, text)
        settings = {"data_id": 7, "data_home": str(tmp_path)}
        dataset = pipeline.load_dataset("openml", **settings, **columns)
    else:
        option = "arff" if reader == "arff" else "table"
        dataset = pipeline.load_dataset(option, path=str(path), **columns)
    expected: Any = MICROSECONDS if kind == "dates" else np.array(when)
    assert dataset.times is not None
    assert dataset.sample_weight is not None
    assert dataset.times.dtype == expected.dtype
    assert dataset.times.tolist() == expected.tolist()
    assert dataset.sample_weight.tolist() == [0.5, 0, 2]
    assert (dataset.feature_names, dataset.label_names) == (("a",), ("l", "m"))


@pytest.mark.parametrize(
    ("given", "message"),
    [
        (["a", "b", "c"], "expected dates or numbers in the column of times. Received: 'a'"),
        ([1.0, None, 2.0], "missing value in column 'times', row 1"),
        (pd.to_datetime(["2026-01-01", None, None]), "missing value in column 'times', row 1"),
        ([1, 2], r"times: expected one value for each of 3 rows"),
    ],
)
def test_what_is_no_time_is_an_error(given: Any, message: str) -> None:
    with pytest.raises(UserError, match=message):
        pipeline.evaluate(np.zeros((3, 1)), [[0], [1], [1]], times=given)


def test_the_digest_depends_on_the_times() -> None:
    one, other = timed(np.arange(5)), timed(np.arange(5)[::-1])
    assert len({one.digest, other.digest, replace(one, times=None).digest}) == 3


@pytest.fixture(scope="module")
def evaluation() -> Any:
    """Return the evaluation of a network on rows in order of time, with tuned thresholds."""
    rng = np.random.default_rng(0)
    X = rng.normal(size=(120, 3)).astype(np.float32)
    y = (X[:, :2] + 0.3 * rng.normal(size=(120, 2)) > 0).astype(np.int8)
    return pipeline.evaluate(
        X,
        y,
        times=days(np.arange(120) // 2)[::-1],
        cv={"n_splits": 3, "gap": "1d"},
        training={"epochs": 2, "early_stopping": {"patience": 1}},
        decision={"threshold": "global", "inner_cv": {"n_splits": 2}},
        scoring={"metrics": ["f1_micro", "accuracy"]},
    )


def test_windows_have_scores_in_place_of_an_interval(evaluation: Any, capsys: Any) -> None:
    summary = evaluation.summary["f1_micro"]
    scores = [fold.scores["f1_micro"] for fold in evaluation.folds]
    assert summary.ci is None
    assert summary.windows == tuple(scores)
    assert summary.mean == pytest.approx(np.mean(scores))
    assert summary.as_dict().keys() == {"mean", "std"}
    formatted = format_summary(summary)
    assert [float(text) for text in formatted.interval.split(", ")] == pytest.approx(
        scores, abs=5e-4
    )
    console.show_result(evaluation.summary)
    out = capsys.readouterr().out
    assert "windows, the earliest first" in out
    assert NO_INTERVAL in " ".join(out.split())
    page = evaluation.report()
    assert NO_INTERVAL in page
    assert "95% interval" not in page
    assert "Label rates over time" in page
    assert repr(evaluation).endswith(f", windows {formatted.interval}>")
    many = replace(summary, windows=tuple(np.linspace(0.2, 0.8, 7)))
    assert format_summary(many).interval.split(" to ") == ["0.200", "0.800"]


def test_rows_of_no_window_have_no_prediction_and_the_final_model_trains_on_all(
    evaluation: Any,
) -> None:
    tested = np.concatenate([fold.split.test for fold in evaluation.folds])
    assert evaluation.predictions["row"].tolist() == tested.tolist()
    assert evaluation.predictions["time"].tolist() == evaluation.dataset.times[tested].tolist()
    assert len(np.unique(tested)) == len(tested) < evaluation.dataset.n_samples
    assert evaluation.final.n_train == evaluation.dataset.n_samples
    assert evaluation.config.cv.kind == "time_series"
    assert {finding.code for finding in evaluation.findings} <= {"MF001", "MF010", "MF011", "MF015"}


def test_inner_fits_validate_on_later_rows(evaluation: Any) -> None:
    dataset = evaluation.dataset
    splits = [fold.split for fold in evaluation.folds]
    fits, plans, final = plan_fits(evaluation.config, dataset, splits)
    for plan in (*plans, final):
        for index in plan.fit_indices:
            fit = fits[index]
            later = np.concatenate([fit.valid, fit.test]).astype(int)
            gap = dataset.times[fit.valid].min() - dataset.times[fit.train].max()
            assert gap > np.timedelta64(1, "D")
            assert dataset.times[later].min() > dataset.times[fit.train].max()


def test_a_ranking_of_windows_has_no_test() -> None:
    assert mean_test_fraction(np.array([[8, 2]]), {"cv.kind": "time_series"}) is None
    assert mean_test_fraction(np.array([[8, 2]]), {"cv.kind": "repeated_kfold"}) == 0.25
    scores = {"a": [0.5, 0.7, 0.6], "b": [0.4, 0.6, 0.61]}
    ranking = ranked(scores, test_fraction=None)
    (pair,) = ranking.pairs
    assert (pair.test, pair.p_holm, pair.n_ahead) == (None, 1.0, 2)
    assert not ranking.is_significant(pair)
    sentence = describe_conclusion(ranking)
    assert sentence.startswith('No test: "a" is ahead of "b" by 0.0633 on average, and in 2 of 3')
    named = {name: RunScores(name, (name * 32,), "D", "S", (), {}, {}) for name in ranking.names}
    screen = Console(width=100, file=StringIO())
    screen.print(*compare_tables(ranking, named))
    shown = screen.file.getvalue()  # type: ignore[attr-defined]
    assert "3 windows of a time series" in shown
    assert "2 of 3" in shown
    assert "letter" not in shown
    assert "P(better)" not in shown
    texts = [text.get_text() for axes in draw_ranking(ranking).axes for text in axes.texts]
    assert "ahead in 2 of 3 windows" in texts
    assert "Holm p" not in texts


@pytest.mark.parametrize(
    ("times", "names"),
    [
        (days([0, 1, 1, 5]), ["2026-01-01", "2026-01-02", "2026-01-06"]),
        (days([0, 31, 40, 364 + 31]), ["2026-01", "2026-02", "2027-01"]),
        (days([4, 31]), ["week of 2026-01-05", "week of 2026-01-26"]),
        (days([0, 900]), ["2026 Q1", "2028 Q2"]),
        (days([0, 8000]), ["2026", "2047"]),
        (
            days([0, 0]) + np.array([0, 3]) * np.timedelta64(1, "h"),
            ["2026-01-01 00h", "2026-01-01 03h"],
        ),
        (np.array([2019, 2021]), ["2019", "2021"]),
        (np.array([0.0, 12.0]), ["from 0", "from 11"]),
        (
            np.array([0, 120], "timedelta64[h]").astype("timedelta64[us]"),
            ["from 0 days", "from 4.583 days"],
        ),
    ],
)
def test_periods(times: Any, names: list[str]) -> None:
    codes, periods = periods_of(times)
    assert periods == names
    assert (np.diff(codes) >= 0).all()


def test_label_rates_are_those_of_pandas() -> None:
    rng = np.random.default_rng(3)
    dataset = timed(days(rng.integers(0, 300, 200)), n_labels=3)
    dataset.y[:, 2] = dataset.times > days(150)  # type: ignore[operator]
    mask = rng.random(dataset.y.shape) < 0.7
    rates: Any = label_rates(replace(dataset, label_mask=mask))
    frame = pd.DataFrame(np.where(mask, dataset.y, np.nan))
    by_month = frame.groupby(pd.Series(dataset.times).dt.to_period("M").astype(str))
    assert rates.periods == tuple(by_month.mean().index)
    np.testing.assert_allclose(rates.rates, by_month.mean().to_numpy())
    np.testing.assert_array_equal(rates.n_rows, by_month.size())
    assert rates.by_change[0] == 2
    assert label_rates(replace(dataset, times=None)) is None
