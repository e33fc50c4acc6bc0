"""Windows in order of time: each is tested by a model of earlier rows alone."""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice, pairwise
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from pipeline.config import TimeSeriesConfig
from pipeline.dataset import Dataset, Times
from pipeline.errors import UserError

Rows: TypeAlias = NDArray[np.int32]
_MICROSECONDS = {
    **{"us": 1, "ms": 1_000, "s": 1_000_000, "min": 60_000_000},
    **{"h": 3_600_000_000, "d": 86_400_000_000, "w": 604_800_000_000},
}
_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(us|ms|s|min|h|d|w)", re.IGNORECASE)
MAX_TRIED = 50  # smaller numbers of windows that a message may name
_UNITS = re.compile(r"(\d+(?:\.\d+)?)\s*units?")


@dataclass(frozen=True, eq=False)
class Timeline:
    """Rows in order of time.

    Attributes:
        rows: Row numbers, of shape (n,); rows of one moment in the order of the table.
        times: Their times, ascending.
        groups: Their groups, or None.
    """

    rows: Rows
    times: Times
    groups: NDArray[np.int64] | None

    @classmethod
    def of(cls, dataset: Dataset, rows: Rows) -> "Timeline":
        """Order some rows of a data set that has times."""
        assert dataset.times is not None
        rows = rows[np.argsort(dataset.times[rows], kind="stable")]
        groups = None if dataset.groups is None else dataset.groups[rows]
        return cls(rows, dataset.times[rows], groups)

    def first_of_moment(self, position: int) -> int:
        """Return the position of the first row of the moment at a position."""
        if position >= len(self.rows):
            return len(self.rows)
        return int(np.searchsorted(self.times, self.times[max(position, 0)], side="left"))

    def next_moment(self, position: int) -> int:
        """Return the first position from `position` on at which a moment begins."""
        first = self.first_of_moment(position)
        if first == position or position >= len(self.rows):
            return position
        return int(np.searchsorted(self.times, self.times[position], side="right"))

    def windows(self, n_splits: int, test_size: Any) -> list[tuple[int, int]]:
        """Return the first position of each test window and that behind it, in order of time.

        The windows follow each other up to the last row. As many rows as a window has, or its
        duration, are counted from the end; a window begins with the first row of a moment. Of a
        duration, windows without rows are skipped, such as days without any.

        Returns:
            The windows; fewer than `n_splits` if no more of that duration have rows.
        """
        n = len(self.rows)
        if test_size is None:
            test_size = n // (n_splits + 1)
        if isinstance(test_size, int):
            edges = [self.first_of_moment(n - k * test_size) for k in range(n_splits, -1, -1)]
            return list(pairwise(edges))
        windows: list[tuple[int, int]] = []
        end, back = n, 1  # a window ends `back` - 1 durations before the latest moment
        while end and len(windows) < n_splits:
            first = int(np.searchsorted(self.times, self.times[-1] - back * test_size, "right"))
            if first < end:
                windows.append((first, end))
                back += 1
            else:  # to the window of the next earlier row
                back = max(back, int((self.times[-1] - self.times[end - 1]) // test_size)) + 1
            end = first
        return windows[::-1]

    def train_before(self, window: tuple[int, int], gap: Any, max_train_size: Any) -> Rows:
        """Return the positions of the training rows of a test window.

        These are all earlier ones, without the gap before the window, and at most
        `max_train_size` of them, the latest. No group of the window is among them.
        """
        first, end = window
        if isinstance(gap, int):
            stop = self.first_of_moment(max(first - gap, 0))
        else:
            stop = int(np.searchsorted(self.times, self.times[first] - gap, side="left"))
        start = 0
        if isinstance(max_train_size, int):
            start = self.next_moment(max(stop - max_train_size, 0))
        elif max_train_size is not None and stop:
            earliest = self.times[stop - 1] - max_train_size
            start = int(np.searchsorted(self.times, earliest, side="right"))
        train = np.arange(start, stop, dtype=np.int32)
        if self.groups is None:
            return train
        tested = np.unique(self.groups[first:end])
        return train[~np.isin(self.groups[train], tested)]


def time_series_splits(config: TimeSeriesConfig, dataset: Dataset) -> list[tuple[Rows, Rows]]:
    """Return training and test rows of each window, the earliest window first.

    With rows of different times in order of time, and sizes in rows, these are the arrays of
    scikit-learn's `TimeSeriesSplit`. A window never divides the rows of one moment: those at its
    beginning all belong to it. Of groups, the training rows lack those that the window tests.

    Raises:
        UserError: If the rows have no times, or a window or its training rows would be empty.
    """
    if dataset.times is None:
        raise UserError(
            f"cv=time_series: expected data with the time of each row. Received: {dataset.name}, "
            "which has none. Name their column: dataset.time_column=..., with dates or numbers"
        )
    timeline = Timeline.of(dataset, np.arange(dataset.n_samples, dtype=np.int32))
    test_size, max_train_size, gap = (
        parse_extent(f"cv.{key}", getattr(config, key), dataset.times)
        for key in ("test_size", "max_train_size", "gap")
    )
    if test_size is not None and test_size <= test_size * 0:
        raise UserError(f"cv.test_size: expected more than 0. Received: {config.test_size!r}")

    def divide(n_splits: int, size: Any) -> list[tuple[tuple[int, int], Rows]]:
        """Return each window with the positions of its training rows; (0, 0) if it lacks rows."""
        windows = timeline.windows(n_splits, size)
        windows = [(0, 0)] * (n_splits - len(windows)) + windows
        return [(it, timeline.train_before(it, gap, max_train_size)) for it in windows]

    def works(n_splits: int, size: Any) -> bool:
        return all(len(train) and a < b for (a, b), train in divide(n_splits, size))

    divided = divide(config.n_splits, test_size)
    for number, (window, train) in enumerate(divided, start=1):
        if not len(train) or window[0] == window[1]:
            most = min(config.n_splits - 1, sum(a < b for (a, b), _ in divided))
            fewer = (n for n in range(most, max(most - MAX_TRIED, 0), -1) if works(n, test_size))
            settings = [f"cv.n_splits={n}" for n in islice(fewer, 1)]
            largest = int(np.unique(dataset.times, return_counts=True)[1].max())
            if (
                isinstance(test_size, int)
                and test_size < largest
                and works(config.n_splits, largest)
            ):
                settings.append(f"cv.test_size={largest}")
            raise UserError(_explain(config, timeline, number, window, settings))
    return [
        (np.sort(timeline.rows[train]), np.sort(timeline.rows[slice(*window)]))
        for window, train in divided
    ]


def latest_part(
    config: TimeSeriesConfig, dataset: Dataset, train: Rows, fraction: float
) -> tuple[Rows, Rows]:
    """Return the training rows without their latest part and the gap before it, and that part.

    Raises:
        UserError: If no row is left to train on.
    """
    ((inner, valid),) = _inner_windows(config, dataset, train, 1, round(fraction * len(train)))
    return inner, valid


def forward_splits(
    config: TimeSeriesConfig, dataset: Dataset, train: Rows, n_splits: int
) -> list[tuple[Rows, Rows]]:
    """Return inner windows of training rows: rows to train on, and later ones to validate on.

    The earliest of the `n_splits` + 1 parts validates no model.

    Raises:
        UserError: If there are too few moments.
    """
    return list(_inner_windows(config, dataset, train, n_splits, None))


def _inner_windows(
    config: TimeSeriesConfig, dataset: Dataset, train: Rows, n_splits: int, test_size: int | None
) -> Iterator[tuple[Rows, Rows]]:
    timeline = Timeline.of(dataset, train)
    gap = parse_extent("cv.gap", config.gap, timeline.times)
    size = None if test_size is None else max(test_size, 1)
    for window in timeline.windows(n_splits, size):
        inner = timeline.train_before(window, gap, None)
        if not len(inner) or window[0] == window[1]:
            raise UserError(
                f"Expected training rows of more moments, to validate on the latest of them "
                f"(decision.inner_cv, training.early_stopping.validation_fraction, cv.gap). "
                f"Received: {len(train)} rows of {len(np.unique(timeline.times))} moments, with "
                f"nothing left to {'train' if not len(inner) else 'validate'} on."
            )
        yield np.sort(timeline.rows[inner]), np.sort(timeline.rows[slice(*window)])


def parse_extent(key: str, value: int | str | None, times: Times) -> Any:
    """Return a number of rows as it is, and a text as a difference of times.

    Args:
        key: Key of the setting, for the message.
        value: Number of rows; `7d` or `12h`, for dates and durations; `2 units`, for times that
            are numbers; or None.
        times: Times of rows.

    Raises:
        UserError: If a text is no such difference.
    """
    if not isinstance(value, str):
        return value
    if times.dtype.kind in "mM":
        parts = list(_DURATION.finditer(value.strip()))
        if parts and not re.sub(r"[\s,]", "", _DURATION.sub("", value)):
            total = sum(float(part[1]) * _MICROSECONDS[part[2].lower()] for part in parts)
            return np.timedelta64(round(total), "us")
        expected, example = "a duration such as 7d, 12h or 2w", "7d"
    else:
        if match := _UNITS.fullmatch(value.strip()):
            number = float(match[1])
            return np.int64(number) if number.is_integer() else number
        expected, example = "units of the times, which are numbers, such as '2 units'", "2 units"
    raise UserError(
        f"{key}: expected a number of rows, or {expected}. Received: {value!r}. Type: "
        f"'{key}={example}'"
    )


def _explain(
    config: TimeSeriesConfig,
    timeline: Timeline,
    number: int,
    window: tuple[int, int],
    works: Sequence[str],
) -> str:
    """Return the message of a window without rows to test or to train on.

    Args:
        config: The windows as configured.
        timeline: All rows.
        number: Number of the window, from 1.
        window: Its first position and that behind it.
        works: Settings with which all windows have such rows.
    """
    first, end = window
    settings = ", ".join(
        f"cv.{key}={getattr(config, key)}"
        for key in ("n_splits", "test_size", "max_train_size", "gap")
        if getattr(config, key)
    )
    where = f"window {number} of {config.n_splits}"
    fewer = f". Type: {' or '.join(works)}" if works else ""
    if first == end:
        return (
            f"cv=time_series: expected rows in each window. Received: none in {where}, with "
            f"{settings} and {len(timeline.rows)} rows of {len(np.unique(timeline.times))} "
            "different times. Choose fewer windows, or windows of another size: cv.n_splits, "
            f"cv.test_size{fewer}"
        )
    has_groups = timeline.groups is not None and first > 0
    reason = " of other groups than those of the window" if has_groups else ""
    way = ", or leave out dataset.group_column to train and test on one group" if has_groups else ""
    return (
        f"cv=time_series: expected training rows{reason} before each window. Received: none before "
        f"{where}, which begins at {timeline.times[first]}, with {settings}. Choose fewer or "
        f"smaller windows, or a smaller gap: cv.n_splits, cv.test_size, cv.gap{way}{fewer}"
    )
