"""Facts about a data set, as texts of the report and the model card."""

from pipeline.dataset import DataSummary
from pipeline.errors import shorten

N_LABEL_SETS = 5  # and patterns of missing labels
MAX_PATTERN = 120  # characters
N_RATES = 6  # labels whose rates over time are shown
UNDEFINED = "\N{EN DASH}"


def format_shape(summary: DataSummary) -> str:
    """Format the numbers of rows, features and labels."""
    labels = f"{summary.n_labels} label{'s' if summary.n_labels > 1 else ''}"
    return f"{summary.n_samples:,} rows, {summary.n_features:,} features, {labels}"


def format_facts(summary: DataSummary) -> list[tuple[str, str]]:
    """Format the facts about the data set by name."""
    n_categorical = len(summary.categories)
    categorical = f" ({n_categorical:,} categorical)" if n_categorical else ""
    unlabelled = "Rows known to have no label" if summary.coverage else "Rows without a label"
    facts = [
        ("Rows", f"{summary.n_samples:,}"),
        ("Features", f"{summary.n_features:,}{categorical}"),
        ("Labels", f"{summary.n_labels:,}"),
        ("Labels per row", f"{summary.cardinality:.2f}"),
        (unlabelled, f"{summary.n_unlabelled:,}"),
        ("Different label sets", f"{summary.n_label_sets:,}"),
        *_coverage_facts(summary),
        ("Rows with missing values", f"{summary.n_missing_rows:,}"),
        ("Duplicate rows", f"{summary.n_duplicates:,}"),
        ("Constant features", f"{len(summary.constant):,}"),
    ]
    if summary.n_groups is not None:
        groups = f"{summary.n_groups:,}, the largest with {summary.largest_group:,} rows"
        facts.append(("Groups", groups))
    return facts


def _coverage_facts(summary: DataSummary) -> list[tuple[str, str]]:
    if summary.coverage is None:
        return []
    return [
        ("Known labels", f"{summary.coverage.fraction(summary.n_samples):.1%}"),
        ("Rows with every label known", f"{summary.coverage.n_complete:,}"),
        ("Rows with no label known", f"{summary.coverage.n_empty:,}"),
    ]


def format_label_sets(summary: DataSummary) -> list[tuple[tuple[str, ...], str]]:
    """Format the most frequent label sets with their numbers of rows."""
    return [(names, f"{rows:,}") for names, rows in summary.label_sets[:N_LABEL_SETS]]


def format_missing_labels(summary: DataSummary) -> list[tuple[str, str]]:
    """Format the most frequent patterns of missing labels; empty if all labels are known."""
    if (coverage := summary.coverage) is None:
        return []
    return [
        (shorten(coverage.describe_pattern(labels, summary.label_names), MAX_PATTERN), f"{rows:,}")
        for labels, rows in coverage.patterns[:N_LABEL_SETS]
    ]


def format_label_rates(summary: DataSummary) -> list[tuple[str, ...]]:
    """Format periods, numbers of rows and label rates, below a row of names; empty without times.

    The labels are those whose rates vary most.
    """
    if (rates := summary.label_rates) is None:
        return []
    labels = rates.by_change[:N_RATES]
    lines = zip(rates.periods, rates.n_rows, rates.rates[:, labels], strict=True)
    return [
        ("period", "rows", *(summary.label_names[label] for label in labels)),
        *(
            (period, f"{n:,}", *(UNDEFINED if it != it else f"{it:.1%}" for it in row))
            for period, n, row in lines
        ),
    ]
