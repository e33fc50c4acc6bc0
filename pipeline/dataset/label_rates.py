"""Rates of the labels over time: by year, month, day or another period that suits the times."""

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from pipeline.dataset.dataset import Dataset, Times

MAX_PERIODS = 24
N_BINS = 12  # of equal width, of times that no period suits
MONDAY = 3  # days from a Monday to 1970-01-01


@dataclass(frozen=True, eq=False)
class LabelRates:
    """Rates of the labels in consecutive periods; periods without rows are left out.

    Attributes:
        periods: Name of each period, such as 2026-01.
        n_rows: Number of rows of each period.
        rates: Fraction of the rows with each label, of those where it is known, of shape
            (n_periods, n_labels); NaN without any.
        by_change: Labels in descending order of how much their rates vary, in relation to what the
            numbers of rows let expect by chance.
    """

    periods: tuple[str, ...]
    n_rows: NDArray[np.int64]
    rates: NDArray[np.float64]
    by_change: NDArray[np.int64]

    def as_dict(self, label_names: tuple[str, ...]) -> dict[str, Any]:
        """Return periods, numbers of rows, and rates by label as JSON types."""
        columns = [[None if value != value else value for value in it] for it in self.rates.T]
        return {
            "periods": list(self.periods),
            "rows": self.n_rows.tolist(),
            "rates": dict(zip(label_names, columns, strict=True)),
        }


def label_rates(dataset: Dataset) -> LabelRates | None:
    """Return the rates of the labels over time; None of data without times, or of one period."""
    if dataset.times is None:
        return None
    codes, names = periods_of(dataset.times)
    n_periods = len(names)
    if n_periods < 2:
        return None
    mask = np.ones_like(dataset.y) if dataset.label_mask is None else dataset.label_mask
    n_labelled, n_true = (
        np.stack([np.bincount(codes, column, n_periods) for column in table.T], axis=1)
        for table in (mask, dataset.y)
    )
    with np.errstate(invalid="ignore", divide="ignore"):
        rates = n_true / n_labelled
        mean = n_true.sum(axis=0) / n_labelled.sum(axis=0)
        change = np.nansum(n_labelled * (rates - mean) ** 2, axis=0) / (mean * (1 - mean))
    order = np.argsort(-np.nan_to_num(change, posinf=0.0), kind="stable")
    return LabelRates(tuple(names), np.bincount(codes, minlength=n_periods), rates, order)


def periods_of(times: Times) -> tuple[NDArray[np.int64], list[str]]:
    """Return the index of each row's period, and the names of the periods in order of time.

    Of dates, these are the shortest of hours, days, weeks, months, quarters and years of which
    there are at most 24; of whole numbers of up to 24 values, these values.
    """
    if times.dtype.kind == "M":
        days = times.astype("datetime64[D]").astype(np.int64)
        months = times.astype("datetime64[M]").astype(np.int64)
        for codes, name in (
            (times.astype("datetime64[h]").astype(np.int64), _name_hour),
            (days, _name_day),
            ((days + MONDAY) // 7, lambda week: f"week of {_name_day(7 * week - MONDAY)}"),
            (months, lambda month: str(np.datetime64(month, "M"))),
            (months // 3, lambda quarter: f"{1970 + quarter // 4} Q{quarter % 4 + 1}"),
            (months // 12, lambda year: str(1970 + year)),
        ):
            if np.ptp(codes) < MAX_PERIODS:
                return _number(codes, name)
    elif times.dtype.kind == "i" and int(times.max()) - int(times.min()) < MAX_PERIODS:
        return _number(times.astype(np.int64), str)
    numbers = times.astype(np.int64) if times.dtype.kind in "mM" else times
    edges = np.linspace(float(numbers.min()), float(numbers.max()), N_BINS + 1)
    codes = np.clip(np.searchsorted(edges, numbers, side="right") - 1, 0, N_BINS - 1)
    return _number(codes, lambda index: f"from {_name_edge(times, float(edges[index]))}")


def _name_hour(hour: int) -> str:
    return str(np.datetime64(hour, "h")).replace("T", " ") + "h"


def _name_day(day: int) -> str:
    return str(np.datetime64(day, "D"))


def _name_edge(times: Times, edge: float) -> str:
    if times.dtype.kind == "M":
        return str(np.datetime64(int(edge), "us").astype("datetime64[s]")).replace("T", " ")
    if times.dtype.kind == "m":
        return f"{edge / 86_400e6:.4g} days"
    return f"{edge:.6g}"


def _number(codes: NDArray[np.int64], name: Any) -> tuple[NDArray[np.int64], list[str]]:
    used, indices = np.unique(codes, return_inverse=True)
    return indices, [name(int(code)) for code in used]
