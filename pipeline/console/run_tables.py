"""Leaderboard and comparison tables on screen."""

from collections.abc import Iterator, Mapping, Sequence
from string import ascii_letters
from typing import Any

from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from pipeline.comparison import (
    Entry,
    Leaderboard,
    Pair,
    Ranking,
    RunScores,
    Status,
    describe_conclusion,
    format_probability,
)
from pipeline.console.output import make_table
from pipeline.errors import shorten
from pipeline.scoring import common_decimals, format_interval, format_number, metric_title

MAX_JOBS = 20  # the others are in the table that MLflow keeps
MAX_NAMED = 5  # jobs with the same reason
MAX_SETTINGS = 5  # with a column of their own
MAX_VALUE = 24  # characters of a value
ID_LENGTH = 8  # characters of a run id; commands accept the start of one
SIGNIFICANT_DIGITS = 4  # of a sampled number
MAX_REASON = 500  # characters
UNLIMITED = 10_000  # columns
STATUS_NAMES: dict[Status, str] = {
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "interrupted",
    "RUNNING": "still running",
}


def leaderboard_tables(board: Leaderboard) -> Iterator[RenderableType]:
    """Yield a heading, a table of the best jobs, and the other jobs by reason."""
    yield Text(_heading(board), style="bold")
    if board.n_ranked:
        yield _best_jobs(board)
        if board.criterion.statistic != "mean":
            yield "Ranked by the worse end of the interval."
        if board.n_ranked > MAX_JOBS:
            yield f"... and {board.n_ranked - MAX_JOBS} more, in leaderboard.json"
    if board.n_distinct_digests > 1:
        yield Text(
            f"The ranked jobs have {board.n_distinct_digests} different data sets or sets of "
            "folds, so their scores are not directly comparable.",
            style="yellow",
        )
    for reason, entries in board.failures().items():
        yield ""
        yield from _describe_failure(reason, entries)
    unranked = [entry for entry in board.entries[board.n_ranked :] if entry.status == "FINISHED"]
    stopped = [entry for entry in unranked if entry.reason]
    undefined = [entry for entry in unranked if not entry.reason]
    if stopped:
        jobs = f"{len(stopped)} {'job' if len(stopped) == 1 else 'jobs'}"
        yield f"{jobs} stopped early by racing (significantly worse): {_list_names(stopped)}"
    if undefined:
        yield f"{metric_title(board.metric)} is missing or undefined for {_list_names(undefined)}"


def _heading(board: Leaderboard) -> str:
    n = max(board.n_jobs or 0, len(board.entries))
    counts = [(board.count(status), name) for status, name in STATUS_NAMES.items()]
    counts.append((board.n_missing, "not run"))
    listed = ", ".join(f"{count} {name}" for count, name in counts if count)
    return f"{n} {'job' if n == 1 else 'jobs'}: {listed or 'none has run'}"


class _WideOrNarrow:
    """A table, or other renderables in its place where the console is too narrow for it."""

    def __init__(self, wide: Table, narrow: Sequence[RenderableType]) -> None:
        self._wide, self._narrow = wide, narrow

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        unlimited = options.update(max_width=UNLIMITED)
        width = Measurement.get(console, unlimited, self._wide).maximum
        yield from [self._wide] if width <= options.max_width else self._narrow


def _best_jobs(board: Leaderboard) -> RenderableType:
    """Return a table of the best jobs; the settings are a list if their columns do not fit."""
    names = dict(zip(board.keys, _short_keys(board.keys), strict=True))
    settings = make_table("rank >", "settings")
    n_shown = min(board.n_ranked, MAX_JOBS)
    for rank, entry in zip(board.ranks[:n_shown], board.entries, strict=False):
        values = [f"{names[key]}={_format(value)}" for key, value in entry.settings.items()]
        settings.add_row(f"{rank}", ", ".join(values))
    narrow = (_job_table(board, ()), "", settings)
    if len(board.keys) > MAX_SETTINGS:
        return Group(*narrow)
    return _WideOrNarrow(_job_table(board, board.keys), narrow)


def _job_table(board: Leaderboard, keys: Sequence[str]) -> Table:
    entries = board.entries[: min(board.n_ranked, MAX_JOBS)]
    statistics = ("rank >", metric_title(board.metric), "std", "95% interval")
    table = make_table(*statistics, *_short_keys(keys), "seconds >", "run")
    for column in table.columns:
        column.no_wrap = column.header != metric_title(board.metric)
    rows = []
    for entry in entries:
        low, high = board.value(entry, "ci_low"), board.value(entry, "ci_high")
        ci = None if low is None or high is None else (low, high)
        std = board.value(entry, "std") if ci else None  # a single fold has no deviation
        rows.append((board.value(entry, "mean"), std, ci))
    decimals = common_decimals((mean, std) for mean, std, _ in rows)
    for rank, entry, (mean, std, ci) in zip(board.ranks, entries, rows, strict=False):
        table.add_row(
            f"{rank}",
            format_number(mean, decimals),
            format_number(std, decimals),
            format_interval(ci, decimals),
            *(_format(entry.settings.get(key, "")) for key in keys),
            "" if entry.seconds is None else f"{entry.seconds:.1f}",
            entry.run_id[:ID_LENGTH],
        )
    return table


def _short_keys(keys: Sequence[str]) -> list[str]:
    """Return the last part of each key, or the whole key if others have the same last part."""
    ends = [key.rpartition(".")[2] for key in keys]
    return [end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)]


def _describe_failure(reason: str, entries: Sequence[Entry]) -> Iterator[RenderableType]:
    status = STATUS_NAMES[entries[0].status]
    yield Text(f"{len(entries)} {status}: {_list_names(entries)}", style="red")
    if reason:
        text = reason if len(reason) <= MAX_REASON else f"{reason[:MAX_REASON]}…"
        yield Text("\n".join(f"  {line}" for line in text.strip().splitlines()))


def _list_names(entries: Sequence[Entry]) -> str:
    more = f" and {len(entries) - MAX_NAMED} more" if len(entries) > MAX_NAMED else ""
    return "; ".join(entry.name for entry in entries[:MAX_NAMED]) + more


def _format(value: str) -> str:
    """Return a value with few digits if it is a number, else shortened."""
    try:
        return value if value.isdigit() else f"{float(value):.{SIGNIFICANT_DIGITS}g}"
    except ValueError:
        return shorten(value, MAX_VALUE)


MAX_LINES = 30  # of a table
MAX_NAME = 58  # characters of a configuration's name


def compare_tables(ranking: Ranking, named: Mapping[str, RunScores]) -> Iterator[RenderableType]:
    """Yield the ranking and the pairs as tables, with explanations."""
    better = "lower" if ranking.lower_is_better else "higher"
    yield ""
    yield f"{metric_title(ranking.metric)} of {ranking.scores.shape[1]} folds, {better} is better"
    if n := ranking.n_undefined:
        folds = "1 fold" if n == 1 else f"{n} folds"
        yield f"Skipped {folds} in which it is undefined for at least one run."
    yield _ranking_table(ranking, named)
    yield from _count_more(len(ranking.names))
    if ranking.n_unranked:
        yield f"... and {ranking.n_unranked} with worse means, which are not compared below"
    yield f"Runs with a common letter do not differ significantly (Holm p >= {ranking.alpha:g})."
    yield ""
    if len(pairs := ranking.shown_pairs()) < len(ranking.pairs):
        yield f"The best against the others; Holm p is adjusted for all {ranking.n_pairs:,} pairs."
    tests, probabilities = _test_columns(ranking, pairs), _probability_columns(pairs)
    narrow = (_pair_table(ranking, pairs, tests), "", _pair_table(ranking, pairs, probabilities))
    yield _WideOrNarrow(_pair_table(ranking, pairs, tests | probabilities), narrow)
    yield from _count_more(len(pairs))
    rope = f"{ranking.rope:g}"
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
    }


def _ranking_table(ranking: Ranking, named: Mapping[str, RunScores]) -> Table:
    letters = [""] * len(ranking.names)
    for i, group in enumerate(ranking.groups()):
        for index in group:
            letters[index] += ascii_letters[i] if i < len(ascii_letters) else f"({i})"
    table = make_table(">", "configuration", "mean >", "std >", "letters", "run")
    for index, name in enumerate(ranking.names[:MAX_LINES]):
        scores, (run_id, *more) = ranking.scores[index], named[name].run_ids
        run = f"{run_id[:ID_LENGTH]} and {len(more)} more" if more else run_id[:ID_LENGTH]
        statistics = (float(scores.mean()), float(scores.std()))
        numbers = [format_number(value, ranking.decimals) for value in statistics]
        table.add_row(f"{index + 1}", shorten(name, MAX_NAME), *numbers, letters[index], run)
    return table


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
