"""Tables of the drift of new rows against the training rows of a model."""

from collections.abc import Iterator

import numpy as np
from rich.console import RenderableType
from rich.text import Text

from pipeline.console.output import make_table
from pipeline.errors import shorten
from pipeline.prediction.drift import Drift, DriftCheck
from pipeline.prediction.row_counts import ColumnCounts
from pipeline.preprocessing.column_values import from_seconds

MAX_CHECKS = 20  # the others are in the JSON file
MAX_COLUMNS = 10  # with new values, likewise
MAX_NAME = 30  # characters of a column's or label's name
DAYS = 10 * 86_400  # seconds; dates over more than that are shown without the time
TINY = 1e-9  # of p-values
MAX_VALUE = 24  # characters of a value
TITLES = {"missing": "missing values", "range": "out of range"}


def drift_tables(drift: Drift) -> Iterator[RenderableType]:
    """Yield the conclusion, the checks that report drift, and values that are new."""
    counts, drifted = drift.counts, drift.drifted
    yield Text(
        f"{counts.n_rows:,} new and {drift.n_training:,} training rows: "
        f"{f'drift in {len(drifted)}' if drifted else 'no drift in any'} of "
        f"{len(drift.checks)} checks",
        style="bold",
    )
    columns = {it.column.name: it for it in counts.columns}
    if drifted:
        table = make_table("name", "what", "training", "now", "effect >", "p >", "drift")
        for check in drifted[:MAX_CHECKS]:
            what = TITLES.get(check.kind, check.kind)
            before, now = _describe(check, columns.get(check.name))
            effect, p = f"{check.effect:.2f}", f"{check.p:.1g}" if check.p > TINY else f"<{TINY:g}"
            name = shorten(check.name, MAX_NAME)
            table.add_row(*map(Text, (name, what, before, now, effect, p, check.level)))
        yield table
        if len(drifted) > MAX_CHECKS:
            yield f"... and {len(drifted) - MAX_CHECKS} more, which --json FILE lists"
    new = [it for it in counts.columns if it.n_unseen + it.n_below + it.n_above]
    if new:
        new.sort(key=lambda it: -(it.n_unseen + it.n_below + it.n_above))
        table = make_table("column", "rows >", "values that the training rows lack")
        for it in new[:MAX_COLUMNS]:
            n = it.n_unseen + it.n_below + it.n_above
            table.add_row(Text(shorten(it.column.name, MAX_NAME)), f"{n:,}", Text(_new_values(it)))
        yield ""
        yield table
        if len(new) > MAX_COLUMNS:
            yield f"... and {len(new) - MAX_COLUMNS} more columns, which --json FILE lists"
    if not drift.has_rates:
        yield (
            "The predicted label rates cannot be compared, as an earlier version of Manyfold "
            "logged the model. Train it again, or continue without them."
        )


def _describe(check: DriftCheck, column: ColumnCounts | None) -> tuple[str, str]:
    """Return how a column was in the training rows, and how it is now."""
    if check.kind == "range" and column:
        low, high = (_format(column, column.profile[end]) for end in ("min", "max"))
        return f"{low} to {high}", f"{check.now:.1%}"
    if check.before is not None and check.now is not None:
        return f"{check.before:.1%}", f"{check.now:.1%}"
    assert column
    before, now = np.array(column.profile["counts"]), column.counts
    if column.column.kind != "category":
        means = column.profile["mean"], column.total / column.n_present
        before_mean, now_mean = (_format(column, mean) for mean in means)
        return f"mean {before_mean}", f"mean {now_mean}"
    rates = before / before.sum(), now / column.n_present
    changes = np.append(np.abs(rates[1] - rates[0]), column.n_unseen / column.n_present)
    code = int(changes.argmax())
    if code == len(before):
        return "unseen 0.0%", f"unseen {column.n_unseen / column.n_present:.1%}"
    text = shorten(column.column.categories[code], MAX_VALUE)
    return f"{text} {rates[0][code]:.1%}", f"{text} {rates[1][code]:.1%}"


def _new_values(column: ColumnCounts) -> str:
    """Return values out of range or unseen categories as text, with the range if there is one."""
    if column.n_unseen:
        shown = column.unseen.most_common(3)
        more = ", ..." if len(column.unseen) > len(shown) else ""
        return f"{', '.join(f'{shorten(text, MAX_VALUE)!r} ({n:,})' for text, n in shown)}{more}"
    low, high = (_format(column, column.profile[end]) for end in ("min", "max"))
    sides = [f"{n:,} {side}" for n, side in ((column.n_below, f"below {low}"),
             (column.n_above, f"above {high}")) if n]  # fmt: skip
    return f"{', '.join(sides)}, such as {', '.join(column.examples)}"


def _format(column: ColumnCounts, number: float) -> str:
    """Return a number, or seconds as the date, time or duration that they are."""
    kind = column.column.kind
    if kind == "number":
        return f"{number:.6g}"
    value = from_seconds(kind, np.array([number]))[0]
    if kind != "datetime":
        return str(value)
    is_long = column.profile["max"] - column.profile["min"] > DAYS
    return f"{value:%Y-%m-%d}" if is_long else f"{value:%Y-%m-%d %H:%M}"
