"""Scores and ranks of configurations over several data sets: on screen and for papers."""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from rich.console import RenderableType

from pipeline.comparison import format_probability
from pipeline.comparison.across_datasets import AcrossDatasets
from pipeline.console.table_layout import make_table
from pipeline.errors import shorten
from pipeline.scoring import common_decimals, format_number, metric_title

MAX_NAME = 40  # characters
MAX_PAIRS = 30
MAX_MISSING = 5


def across_tables(across: AcrossDatasets) -> Iterator[RenderableType]:
    """Yield scores, mean ranks and pairs, and what the tests say."""
    better = "lower" if across.lower_is_better else "higher"
    yield f"{metric_title(across.metric)} on {len(across.datasets)} data sets, {better} is better"
    header, *rows = score_rows(across)
    table = make_table(header[0], *(f"{name} >" for name in header[1:]))
    for row in rows:
        table.add_row(*row)
    yield table
    if missing := across.missing():
        more = f" and {len(missing) - MAX_MISSING} more" if len(missing) > MAX_MISSING else ""
        yield (
            f"Without a finished run: {', '.join(missing[:MAX_MISSING])}{more}. Ranks and tests "
            f"use the {across.n_complete} data sets on which every configuration has finished."
        )
    if across.p_friedman is not None:
        yield (
            f"Friedman's test that all are equally good: p {format_probability(across.p_friedman)}"
        )
    yield (
        f"Mean ranks that differ by {across.critical_difference:.2f} or more differ significantly "
        f"(Nemenyi, {across.alpha:g})."
    )
    yield ""
    columns = ("Nemenyi p", "Wilcoxon-Holm p", "P(better)", "P(equivalent)", "P(worse)")
    table = make_table("", "wins >", "losses >", *(f"{name} >" for name in columns))
    for pair in across.pairs[:MAX_PAIRS]:
        numbers = (pair.p_nemenyi, pair.p_wilcoxon, pair.better, pair.equivalent, pair.worse)
        table.add_row(
            f"{pair.first + 1} over {pair.second + 1}",
            f"{pair.n_wins}",
            f"{pair.n_losses}",
            *map(format_probability, numbers),
        )
    yield table
    if len(across.pairs) > MAX_PAIRS:
        yield f"... and {len(across.pairs) - MAX_PAIRS} more, in the file of --json"
    yield ""


def score_rows(across: AcrossDatasets) -> list[list[str]]:
    """Return the table of scores and mean ranks as texts, the header first."""
    decimals = common_decimals((value, None) for value in across.scores.ravel() if value == value)
    rows = [["configuration", *across.datasets, "mean rank"]]
    for i, name in enumerate(across.names):
        scores = [
            "-" if np.isnan(value) else format_number(value, decimals) for value in across.scores[i]
        ]
        rows.append([f"{i + 1}  {shorten(name, MAX_NAME)}", *scores, f"{across.ranks[i]:.2f}"])
    return rows


def to_markdown(across: AcrossDatasets) -> str:
    """Return the table of scores in Markdown, the best of each data set in bold."""
    header, *rows = _emphasize(across, "**{}**")
    lines = [header, ["---", *["---:"] * (len(header) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def to_latex(across: AcrossDatasets) -> str:
    """Return the table of scores for LaTeX with booktabs, the best of each data set in bold."""
    header, *rows = _emphasize(across, r"\textbf{{{}}}", escape=_escape_latex)
    lines = [
        rf"\begin{{tabular}}{{l{'r' * (len(header) - 1)}}}",
        r"\toprule",
        " & ".join(header) + r" \\",
        r"\midrule",
        *(" & ".join(row) + r" \\" for row in rows),
        r"\bottomrule",
        r"\end{tabular}",
    ]
    return "\n".join(lines)


def as_dict(across: AcrossDatasets) -> dict[str, Any]:
    """Return everything for a JSON file."""
    return {
        "metric": across.metric,
        "lower_is_better": across.lower_is_better,
        "alpha": across.alpha,
        "datasets": list(across.datasets),
        "complete": across.complete.tolist(),
        "configurations": [
            {
                "name": name,
                "mean_rank": float(across.ranks[i]),
                "scores": [None if np.isnan(value) else value for value in across.scores[i]],
            }
            for i, name in enumerate(across.names)
        ],
        "p_friedman": across.p_friedman,
        "critical_difference": across.critical_difference,
        "pairs": [
            vars(pair) | {"first": pair.first + 1, "second": pair.second + 1}
            for pair in across.pairs
        ],
    }


def _emphasize(
    across: AcrossDatasets, template: str, escape: Any = lambda text: text
) -> list[list[str]]:
    rows = [[escape(text) for text in row] for row in score_rows(across)]
    best = np.nanmin if across.lower_is_better else np.nanmax
    for j, value in enumerate(best(across.scores, axis=0)):
        for i in np.flatnonzero(across.scores[:, j] == value):
            rows[i + 1][j + 1] = template.format(rows[i + 1][j + 1])
    return rows


def _escape_latex(text: str) -> str:
    return "".join(f"\\{mark}" if mark in "_&%$#{}" else mark for mark in text)


def markdown_or_latex(across: AcrossDatasets, options: Sequence[bool]) -> Iterator[str]:
    """Yield the tables for papers that are requested: Markdown, LaTeX."""
    for is_requested, table in zip(options, (to_markdown, to_latex), strict=True):
        if is_requested:
            yield f"{table(across)}\n"
