"""Ranking of runs and their paired tests on screen."""

from collections.abc import Iterator, Mapping, Sequence
from string import ascii_letters
from typing import Any

from rich.console import RenderableType
from rich.table import Table

from pipeline.comparison import Pair, Ranking, RunScores, describe_conclusion, format_probability
from pipeline.console.table_layout import ID_LENGTH, WideOrNarrow, make_table
from pipeline.errors import shorten
from pipeline.scoring import format_interval, format_number, metric_title

MAX_LINES = 30  # of a table
MAX_NAME = 58  # characters of a configuration's name


def compare_tables(ranking: Ranking, named: Mapping[str, RunScores]) -> Iterator[RenderableType]:
    """Yield the ranking and the pairs as tables, with explanations."""
    better = "lower" if ranking.lower_is_better else "higher"
    yield ""
    folds = "folds" if ranking.has_tests else "windows of a time series"
    n_folds = ranking.scores.shape[1]
    yield f"{metric_title(ranking.metric)} of {n_folds} {folds}, {better} is better"
    if n := ranking.n_undefined:
        folds = "1 fold" if n == 1 else f"{n} folds"
        yield f"Skipped {folds} in which it is undefined for at least one run."
    yield _ranking_table(ranking, named)
    yield from _count_more(len(ranking.names))
    if ranking.n_unranked:
        yield f"... and {ranking.n_unranked} with worse means, which are not compared below"
    if not ranking.has_tests:
        yield ""
        yield _pair_table(ranking, ranking.shown_pairs(), _window_columns(ranking))
        yield from _count_more(len(ranking.shown_pairs()))
        yield ""
        return
    yield f"Runs with a common letter do not differ significantly (Holm p >= {ranking.alpha:g})."
    yield ""
    if len(pairs := ranking.shown_pairs()) < len(ranking.pairs):
        yield f"The best against the others; Holm p is adjusted for all {ranking.n_pairs:,} pairs."
    tests, probabilities = _test_columns(ranking, pairs), _probability_columns(pairs)
    narrow = (_pair_table(ranking, pairs, tests), "", _pair_table(ranking, pairs, probabilities))
    yield WideOrNarrow(_pair_table(ranking, pairs, tests | probabilities), narrow)
    yield from _count_more(len(pairs))
    rope = f"{ranking.rope:g}"
    if (detectable := ranking.detectable) is not None:
        yield (
            f"With these folds, a difference of about {format_number(detectable)} is detected with "
            "probability 0.8; smaller ones need more rows or folds."
        )
    yield f"P(better), P(worse): by more than {rope}; P(equivalent): within {rope} of each other"
    yield ""


def _count_more(n: int) -> Iterator[str]:
    if n > MAX_LINES:
        yield f"... and {n - MAX_LINES} more"


def as_dict(ranking: Ranking, named: Mapping[str, RunScores]) -> dict[str, Any]:
    """Return the ranking for a JSON file: configurations, all pairs, groups and conclusion."""
    runs = [named[name] for name in ranking.names]
    return {
        "metric": ranking.metric,
        "lower_is_better": ranking.lower_is_better,
        "alpha": ranking.alpha,
        "rope": ranking.rope,
        "n_folds": ranking.scores.shape[1],
        "n_undefined_folds": ranking.n_undefined,
        "n_unranked": ranking.n_unranked,
        "data_digest": runs[0].data_digest,
        "split_digest": runs[0].split_digest,
        "configurations": [
            {
                "name": run.name,
                "run_ids": list(run.run_ids),
                "mean": float(scores.mean()),
                "std": float(scores.std()),
                "scores": scores.tolist(),
            }
            for run, scores in zip(runs, ranking.scores, strict=True)
        ],
        "pairs": [_pair_as_dict(ranking, pair) for pair in ranking.pairs],
        "not_told_apart": [[i + 1 for i in group] for group in ranking.groups()],
        "conclusion": describe_conclusion(ranking),
    }


def _pair_as_dict(ranking: Ranking, pair: Pair) -> dict[str, Any]:
    test = pair.test
    return {
        "first": pair.first + 1,
        "second": pair.second + 1,
        "advantage": pair.advantage,
        "interval": list(test.ci) if test else None,
        "p": test.p if test else None,
        "p_holm": pair.p_holm,
        "told_apart": ranking.is_significant(pair),
        "p_better": test.better if test else None,
        "p_equivalent": test.equivalent if test else None,
        "p_worse": test.worse if test else None,
        "n_folds_ahead": pair.n_ahead,
    }


def _ranking_table(ranking: Ranking, named: Mapping[str, RunScores]) -> Table:
    letters = [""] * len(ranking.names)
    for i, group in enumerate(ranking.groups() if ranking.has_tests else ()):
        for index in group:
            letters[index] += ascii_letters[i] if i < len(ascii_letters) else f"({i})"
    table = make_table(
        ">", "configuration", "mean >", "std >", *["letters"] * ranking.has_tests, "run"
    )
    for index, name in enumerate(ranking.names[:MAX_LINES]):
        scores, (run_id, *more) = ranking.scores[index], named[name].run_ids
        run = f"{run_id[:ID_LENGTH]} and {len(more)} more" if more else run_id[:ID_LENGTH]
        statistics = (float(scores.mean()), float(scores.std()))
        numbers = [format_number(value, ranking.decimals) for value in statistics]
        own_letters = [letters[index]] * ranking.has_tests
        table.add_row(f"{index + 1}", shorten(name, MAX_NAME), *numbers, *own_letters, run)
    return table


def _window_columns(ranking: Ranking) -> dict[str, list[str]]:
    """Return the columns of pairs without a test: advantage, and windows with an advantage."""
    pairs, n_windows = ranking.shown_pairs(), ranking.scores.shape[1]
    return {
        "advantage": [format_number(pair.advantage, pair.decimals) for pair in pairs],
        "windows ahead": [f"{pair.n_ahead} of {n_windows}" for pair in pairs],
    }


def _test_columns(ranking: Ranking, pairs: Sequence[Pair]) -> dict[str, list[str]]:
    interval = f"{1 - ranking.alpha:.0%} interval"
    return {
        "advantage": [format_number(pair.advantage, pair.decimals) for pair in pairs],
        interval: [
            format_interval(pair.test.ci, pair.decimals) if pair.test else "same in every fold"
            for pair in pairs
        ],
        "p": [format_probability(pair.test.p) if pair.test else "" for pair in pairs],
        "Holm p": [format_probability(pair.p_holm) if pair.test else "" for pair in pairs],
    }


def _probability_columns(pairs: Sequence[Pair]) -> dict[str, list[str]]:
    tests = [pair.test for pair in pairs]
    return {
        "P(better)": [format_probability(test.better) if test else "" for test in tests],
        "P(equivalent)": [format_probability(test.equivalent) if test else "" for test in tests],
        "P(worse)": [format_probability(test.worse) if test else "" for test in tests],
    }


def _pair_table(
    ranking: Ranking, pairs: Sequence[Pair], columns: Mapping[str, Sequence[str]]
) -> Table:
    table = make_table("", *(f"{name} >" for name in columns))
    table.columns[0].no_wrap = True
    for pair, *values in list(zip(pairs, *columns.values(), strict=True))[:MAX_LINES]:
        name = f"{pair.first + 1} over {pair.second + 1}"
        style = "bold" if ranking.is_significant(pair) else None
        table.add_row(name, *values, style=style)
    return table
