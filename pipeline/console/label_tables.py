"""Differences between two configurations by label on screen."""

import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from typing import Any

from rich.console import RenderableType

from pipeline.comparison import (
    NO_TEST,
    LabelDifference,
    Ranking,
    describe_labels,
    format_probability,
)
from pipeline.console.table_layout import make_table
from pipeline.errors import shorten
from pipeline.scoring import common_decimals, format_interval, format_number, metric_title

MAX_LABELS = 40
MAX_NAME = 40  # characters


def label_tables(
    ranking: Ranking, differences: Sequence[LabelDifference], metric: str
) -> Iterator[RenderableType]:
    """Yield the differences as a table, those that matter first, and a sentence."""
    by_relevance = sorted(differences, key=lambda it: (it.n_folds == 0, it.p_holm, it.p))
    shown = by_relevance[:MAX_LABELS]
    yield f"{metric_title(metric)} of each label, 1 against 2"
    table = make_table(
        "label", "rows >", "1 >", "2 >", "advantage >", "interval", "p >", "Holm p >", "FDR p >"
    )
    decimals = common_decimals(
        (it.advantage, (it.ci[1] - it.ci[0]) / 2 if it.ci else None) for it in shown if it.n_folds
    )
    for it in shown:
        numbers = (it.first, it.second, it.advantage)
        p = [format_probability(value) if it.ci else "" for value in (it.p, it.p_holm, it.p_fdr)]
        table.add_row(
            shorten(it.label, MAX_NAME),
            f"{it.n_true}",
            *(format_number(value, decimals) for value in numbers),
            format_interval(it.ci, decimals),
            *p,
            style="bold" if it.p_holm < ranking.alpha else None,
        )
    yield table
    if len(by_relevance) > MAX_LABELS:
        yield f"... and {len(by_relevance) - MAX_LABELS} more, in the file of --json"
    first, second = ranking.names
    if ranking.has_tests:
        yield f"{describe_labels(differences, first, second, ranking.alpha)}\n"
    else:
        yield f"{NO_TEST}\n"


def as_numbers(difference: LabelDifference) -> dict[str, Any]:
    """Return a difference for a JSON file; None for undefined numbers."""
    values = asdict(difference) | {"advantage": difference.advantage}
    return {
        key: None if isinstance(value, float) and math.isnan(value) else value
        for key, value in values.items()
    }
