"""Tables that describe a data set."""

from collections.abc import Iterator, Sequence
from typing import TYPE_CHECKING

import numpy as np
from rich.console import RenderableType
from rich.table import Table

from pipeline.console.table_layout import make_table
from pipeline.errors import shorten

if TYPE_CHECKING:
    from pipeline.dataset import Dataset, DataSummary, LabelCoverage, LabelRates


N_ROWS = 5  # first rows of the data set
N_COLUMNS = 4  # features of the first rows
MAX_LINES = 20  # of a table; of more labels, the most frequent and the rarest
MAX_PAIRS_AND_SETS = 8  # of labels
MAX_RATES = 5  # labels whose rates over time are shown
WIDTH = 26  # characters of a name, so that tables fit 100 columns


def describe_dataset(dataset: "Dataset", summary: "DataSummary") -> Iterator[RenderableType]:
    """Yield tables and texts about the rows, features, labels and label sets of a data set."""
    yield ""
    yield _first_rows(dataset)
    yield ""
    yield _describe_features(summary)
    if summary.categories or summary.missing:
        yield _feature_table(summary)
    if summary.n_groups:
        yield ""
        yield f"Groups: {summary.n_groups}, the largest with {summary.largest_group} rows"
    if weights := summary.weights:
        yield ""
        yield (
            f"Weights: from {weights['min']:.4g} to {weights['max']:.4g}, {weights['n_zero']} rows "
            f"of weight 0, effective sample size {weights['effective_sample_size']:.1f} of "
            f"{summary.n_samples} rows"
        )
    yield ""
    yield (
        f"Labels: cardinality {summary.cardinality:.3f}, density {summary.density:.3f}, "
        f"{summary.n_label_sets} distinct label sets, {summary.describe_unlabelled()}"
    )
    if summary.coverage:
        yield (
            f"{summary.describe_coverage()}. Percentages are of the rows in which the label is "
            "known, and label sets of those in which every label is."
        )
    yield _label_table(summary)
    if summary.label_rates:
        yield ""
        yield from _label_rates(summary, summary.label_rates)
    yield ""
    yield _label_set_table(summary)
    if summary.coverage:
        yield ""
        yield _pattern_table(summary.label_names, summary.coverage)
    if pairs := summary.pairs(MAX_PAIRS_AND_SETS):
        yield ""
        table = make_table("most frequent pairs of labels", "", "rows >")
        for first, second, n_rows in pairs:
            table.add_row(shorten(first, WIDTH), shorten(second, WIDTH), f"{n_rows}")
        yield table
    yield ""


def _first_rows(dataset: "Dataset") -> Table:
    features = range(min(N_COLUMNS, dataset.n_features))
    names = [shorten(dataset.feature_names[feature], 12) for feature in features]
    n_more = dataset.n_features - len(names)
    table = make_table(*names, *([f"and {n_more} more"] if n_more else []), "labels")
    for row in range(min(N_ROWS, dataset.n_samples)):
        values = [shorten(dataset.value(row, feature), 12) for feature in features]
        present = [dataset.label_names[label] for label in dataset.y[row].nonzero()[0]]
        labels = _join(present, ", ", WIDTH)
        if dataset.label_mask is not None and (n := int((~dataset.label_mask[row]).sum())):
            labels += f"; {n} not known"
        table.add_row(*values, *([""] if n_more else []), labels)
    return table


def _describe_features(summary: "DataSummary") -> str:
    n_categorical, n_texts = len(summary.categories), len(summary.texts)
    counts = [
        f"{summary.n_features - n_categorical - n_texts} numeric",
        f"{n_categorical} categorical",
        *([f"{n_texts} of text"] if n_texts else []),
        f"{len(summary.constant)} constant",
        f"{sum(summary.missing.values())} missing values in {summary.n_missing_rows} rows",
    ]
    return f"Features: {', '.join(counts)}"


def _feature_table(summary: "DataSummary") -> Table:
    names = list(dict.fromkeys([*summary.missing, *summary.categories]))
    table = make_table("feature", "kind", "missing >", "% of rows >")
    for name in names[:MAX_LINES]:
        n_categories = summary.categories.get(name)
        kind = "numeric" if n_categories is None else f"{n_categories} categories"
        kind = "text" if name in summary.texts else kind
        n_missing = summary.missing.get(name, 0)
        percentage = f"{n_missing / summary.n_samples:.1%}"
        table.add_row(shorten(name, WIDTH), kind, f"{n_missing}", percentage)
    return _add_more_row(table, len(names) - MAX_LINES)


def _label_table(summary: "DataSummary") -> Table:
    counts, co_occurrence = summary.label_counts, summary.co_occurrence.copy()
    np.fill_diagonal(co_occurrence, -1)
    by_count = sorted(range(summary.n_labels), key=lambda label: -counts[label])
    n_more = max(0, len(by_count) - MAX_LINES)
    columns = ("known in >", "% of rows >") if summary.coverage else ("% of rows >",)
    table = make_table("label", "rows >", *columns, "most often with", "rows >")
    for line, label in enumerate(by_count):
        if n_more and MAX_LINES // 2 <= line < MAX_LINES // 2 + n_more:
            if line == MAX_LINES // 2:
                table.add_row(f"... {n_more} more ...", *[""] * (len(table.columns) - 1))
            continue
        name, n_labelled = summary.label_names[label], summary.n_labelled[label]
        cells = [f"{counts[label]}", f"{counts[label] / max(n_labelled, 1):.1%}"]
        if summary.coverage:
            cells.insert(1, f"{n_labelled / summary.n_samples:.1%}")
        pair = ("", "")
        for with_others in co_occurrence[summary.paired == label]:  # none of a rare label
            partner = int(with_others.argmax())
            if with_others[partner] > 0:
                partner_name = summary.label_names[summary.paired[partner]]
                pair = (shorten(partner_name, WIDTH), f"{with_others[partner]}")
        table.add_row(shorten(name, WIDTH), *cells, *pair)
    return table


def _label_rates(summary: "DataSummary", rates: "LabelRates") -> Iterator[RenderableType]:
    """Yield the rates of the labels that vary most, by period."""
    labels = rates.by_change[:MAX_RATES]
    names = [shorten(summary.label_names[label], 12) for label in labels]
    table = make_table("label rates over time", "rows >", *(f"{name} >" for name in names))
    for period, n_rows, row in zip(rates.periods, rates.n_rows, rates.rates, strict=True):
        table.add_row(period, f"{n_rows}", *(_percentage(row[label]) for label in labels))
    yield table
    if len(labels) < summary.n_labels:
        yield f"... of the {len(labels)} labels that vary most, of {summary.n_labels}"


def _percentage(rate: float) -> str:
    return "" if rate != rate else f"{rate:.1%}"


def _label_set_table(summary: "DataSummary") -> Table:
    table = make_table("most frequent label sets", "rows >", "% of rows >")
    for labels, n_rows in summary.label_sets[:MAX_PAIRS_AND_SETS]:
        name = _join(labels, " + ", 3 * WIDTH)
        table.add_row(name, f"{n_rows}", f"{n_rows / summary.n_complete:.1%}")
    return _add_more_row(table, summary.n_label_sets - MAX_PAIRS_AND_SETS)


def _pattern_table(label_names: Sequence[str], coverage: "LabelCoverage") -> Table:
    """Return the most frequent patterns of missing labels."""
    table = make_table("labels that are not known", "rows >")
    for labels, n_rows in coverage.patterns[:MAX_PAIRS_AND_SETS]:
        text = shorten(coverage.describe_pattern(labels, label_names), 2 * WIDTH)
        table.add_row(text, f"{n_rows}")
    return _add_more_row(table, coverage.n_patterns - MAX_PAIRS_AND_SETS)


def _add_more_row(table: Table, n_more: int) -> Table:
    if n_more > 0:
        table.add_row(f"... and {n_more} more", *[""] * (len(table.columns) - 1))
    return table


def _join(names: Sequence[str], separator: str, width: int) -> str:
    """Join as many names as fit the width, at least one, and count the others."""
    for n in range(min(len(names), width), 0, -1):
        more = f" and {len(names) - n} more" if n < len(names) else ""
        text = separator.join(names[:n])
        if len(text) + len(more) <= width or n == 1:
            return shorten(text, width - len(more)) + more
    return "(none)"
