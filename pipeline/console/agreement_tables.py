"""Tables of a run and its repetition."""

from collections.abc import Sequence

from rich.table import Table

from pipeline.comparison.reproduction import Agreement
from pipeline.console.table_layout import make_table
from pipeline.scoring import choose_decimals, format_interval, format_number, metric_title


def agreement_table(rows: Sequence[Agreement]) -> Table:
    """Return a row for each metric: means of both runs, and to which digit they agree."""
    table = make_table("metric", "before >", "now >", "agrees")
    for row in rows:
        means = [format_number(mean) for mean in row.means]
        table.add_row(metric_title(row.metric), *means, row.describe())
    return table


def difference_table(rows: Sequence[Agreement], is_paired: bool) -> Table:
    """Return a row for each metric: means of both runs and their difference.

    Args:
        rows: The metrics.
        is_paired: Whether both runs have the same data and folds, so that there is an interval.
    """
    columns = ["metric", "before >", "now >", "difference >"]
    table = make_table(*columns, *(["95% interval"] if is_paired else []))
    for row in rows:
        half_width = (row.ci[1] - row.ci[0]) / 2 if row.ci else None
        decimals = choose_decimals(row.difference, half_width)
        numbers = [*row.means, row.difference]
        interval = format_interval(row.ci, decimals) or "same in every fold"
        cells = [format_number(number, decimals) for number in numbers]
        table.add_row(metric_title(row.metric), *cells, *([interval] if is_paired else []))
    return table
