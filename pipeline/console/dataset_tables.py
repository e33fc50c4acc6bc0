"""Tables that describe a data set."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

from rich.console import JustifyMethod, RenderableType
from rich.table import Table

from pipeline.errors import shorten

if TYPE_CHECKING:
    from pipeline.dataset import Dataset, DataSummary


N_ROWS = 5  # of the table, shown
N_COLUMNS = 4  # features of them
N_LISTED = 20  # lines of a table; of more labels the most frequent and the rarest
N_SETS = 8  # label sets and pairs of labels
WIDTH = 26  # characters of a name, so that tables fit 100 columns


def describe_dataset(dataset: "Dataset", summary: "DataSummary") -> Iterator[RenderableType]:
    """Yield what there is to say about rows, features and labels, as rich tables and text."""
    yield ""
    yield _first_rows(dataset)
    yield ""
    yield _describe_features(summary)
    if summary.categories or summary.missing:
        yield _features(summary)
    if summary.n_groups:
        yield ""
        yield f"Groups: {summary.n_groups} of rows, the largest of {summary.largest_group}"
    yield ""
    yield (
        f"Labels: cardinality {summary.cardinality:.3f}, density {summary.density:.3f}, "
        f"{summary.n_label_sets} distinct label sets, {summary.n_unlabelled} rows without a label"
    )
    yield _labels(summary)
    yield ""
    yield _label_sets(summary)
    if pairs := summary.pairs(N_SETS):
        yield ""
        table = _table("labels that come together", "", "rows >")
        for first, second, together in pairs:
            table.add_row(shorten(first, WIDTH), shorten(second, WIDTH), f"{together}")
        yield table
    yield ""


def _first_rows(dataset: "Dataset") -> Table:
    shown = range(min(N_COLUMNS, dataset.n_features))
    names = [shorten(dataset.feature_names[feature], 12) for feature in shown]
    n_more = dataset.n_features - len(names)
    table = _table(*names, *([f"and {n_more} more"] if n_more else []), "labels")
    for row in range(min(N_ROWS, dataset.n_samples)):
        values = [shorten(dataset.value(row, feature), 12) for feature in shown]
        present = [dataset.label_names[label] for label in dataset.y[row].nonzero()[0]]
        labels = _listed(present, ", ", WIDTH)
        table.add_row(*values, *([""] if n_more else []), labels)
    return table


def _describe_features(summary: "DataSummary") -> str:
    n_categorical = len(summary.categories)
    words = [
        f"{summary.n_features - n_categorical} numeric",
        f"{n_categorical} categorical",
        f"{len(summary.constant)} constant",
        f"{sum(summary.missing.values())} missing values in {summary.n_missing_rows} rows",
    ]
    return f"Features: {', '.join(words)}"


def _features(summary: "DataSummary") -> Table:
    names = list(dict.fromkeys([*summary.missing, *summary.categories]))
    table = _table("feature", "kind", "missing >", "share >")
    for name in names[:N_LISTED]:
        n_categories = summary.categories.get(name)
        kind = "numeric" if n_categories is None else f"{n_categories} categories"
        missing = summary.missing.get(name, 0)
        table.add_row(
            shorten(name, WIDTH), kind, f"{missing}", f"{missing / summary.n_samples:.1%}"
        )
    return _and_more(table, len(names) - N_LISTED)


def _labels(summary: "DataSummary") -> Table:
    counts, together = summary.label_counts, summary.co_occurrence.copy()
    together[range(summary.n_labels), range(summary.n_labels)] = -1
    order = sorted(range(summary.n_labels), key=lambda label: -counts[label])
    half = N_LISTED // 2
    n_undefined_labels = max(0, len(order) - N_LISTED)
    table = _table("label", "rows >", "share >", "most often with", "rows >")
    for place, label in enumerate(order):
        if n_undefined_labels and half <= place < half + n_undefined_labels:
            if place == half:
                table.add_row(f"... {n_undefined_labels} more ...", "", "", "", "")
            continue
        partner = int(together[label].argmax())
        shared = together[label, partner]
        with_it = (
            (shorten(summary.label_names[partner], WIDTH), f"{shared}") if shared > 0 else ("", "")
        )
        share = f"{counts[label] / summary.n_samples:.1%}"
        table.add_row(
            shorten(summary.label_names[label], WIDTH), f"{counts[label]}", share, *with_it
        )
    return table


def _label_sets(summary: "DataSummary") -> Table:
    table = _table("most frequent label sets", "rows >", "share >")
    for labels, rows in summary.label_sets[:N_SETS]:
        name = _listed(labels, " + ", 3 * WIDTH)
        table.add_row(name, f"{rows}", f"{rows / summary.n_samples:.1%}")
    return _and_more(table, summary.n_label_sets - N_SETS)


def _table(*columns: str) -> Table:
    """Return an empty table; the numbers of a column that ends in > are flush right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        justify: JustifyMethod = "right" if name.endswith(">") else "left"
        table.add_column(name.removesuffix(" >"), justify=justify, no_wrap=justify == "right")
    return table


def _listed(names: Sequence[str], joint: str, width: int) -> str:
    """Return as many of the names as fit, the first at least, and the number of the others."""
    for n in range(len(names), 0, -1):
        more = f" and {len(names) - n} more" if n < len(names) else ""
        text = joint.join(names[:n])
        if len(text) + len(more) <= width or n == 1:
            return shorten(text, width - len(more)) + more
    return "(none)"


def _and_more(table: Table, n: int) -> Table:
    if n > 0:
        table.add_row(f"... and {n} more", *[""] * (len(table.columns) - 1))
    return table
