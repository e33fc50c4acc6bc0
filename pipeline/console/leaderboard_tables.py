"""Leaderboard of a sweep on screen."""

from collections.abc import Iterator, Sequence

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.comparison import (
    SEED,
    BestJobEstimate,
    Entry,
    Leaderboard,
    NestedScores,
    Status,
)
from pipeline.console.table_layout import ID_LENGTH, WideOrNarrow, make_table
from pipeline.errors import shorten
from pipeline.scoring import (
    choose_decimals,
    common_decimals,
    describe_metric,
    format_interval,
    format_number,
    metric_title,
)

MAX_JOBS = 20  # the others are in the table that MLflow keeps
MAX_NAMED = 5  # jobs with the same reason
MAX_SETTINGS = 5  # with a column of their own
MAX_VALUE = 24  # characters of a value
SIGNIFICANT_DIGITS = 4  # of a sampled number
MAX_REASON = 500  # characters
STATUS_NAMES: dict[Status, str] = {
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "interrupted",
    "RUNNING": "still running",
}


def leaderboard_tables(board: Leaderboard, by_job: bool = False) -> Iterator[RenderableType]:
    """Yield a heading, a table of the best jobs, and the other jobs by reason.

    Args:
        board: The leaderboard.
        by_job: Whether to list jobs that differ only in their seed one by one.
    """
    yield Text(_heading(board), style="bold")
    if board.has_seeds and not by_job:
        yield from _seed_table(board)
    elif board.n_ranked:
        yield _best_jobs(board)
        if board.criterion.statistic != "mean":
            yield "Ranked by the worse end of the interval."
        if board.n_ranked > MAX_JOBS:
            yield f"... and {board.n_ranked - MAX_JOBS} more, in leaderboard.json"
    if board.is_across:
        yield (
            f"Each of {board.n_datasets} data sets is ranked by itself. To rank configurations "
            "over all of them: manyfold compare SWEEP --across"
        )
    elif board.n_distinct_digests > 1:
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


def describe_estimate(estimate: BestJobEstimate) -> Iterator[RenderableType]:
    """Yield the score to expect of the best job in one line, and a note if there is one."""
    if estimate.scores:
        score = estimate.scores[0]
        decimals = choose_decimals(score.mean, (score.ci[1] - score.ci[0]) / 2)
        best, mean = (format_number(value, decimals) for value in (score.best, score.mean))
        interval = format_interval(score.ci, decimals)
        yield Text(
            f"Best {best}; expected of the chosen one: {mean} ({interval}), as the best of "
            f"{estimate.n_configurations} configurations is partly the luckiest",
            style="bold",
        )
    if estimate.note:
        yield estimate.note


def describe_nested(nested: NestedScores | None) -> Iterator[RenderableType]:
    """Yield the outer score of the chosen configurations, and which is chosen how often."""
    if nested and nested.selections:
        folds = f"{nested.n_folds} outer fold{'s' if nested.n_folds > 1 else ''}"
        score = describe_metric(*next(iter(nested.summary.items())))
        yield ""
        yield Text(
            f"Nested cross-validation, {folds}. {score}, of what is chosen without their test rows",
            style="bold",
        )
        table = make_table("chosen", "configuration", "")
        for configuration, n in nested.counts:
            final = "best on all rows: the final one" if configuration is nested.final else ""
            table.add_row(f"{n} of {nested.n_folds}", configuration.name, final)
        yield table
    if nested and nested.note:
        yield nested.note


def _heading(board: Leaderboard) -> str:
    n = max(board.n_jobs or 0, len(board.entries))
    counts = [(board.count(status), name) for status, name in STATUS_NAMES.items()]
    counts.append((board.n_missing, "not run"))
    listed = ", ".join(f"{count} {name}" for count, name in counts if count)
    return f"{n} {'job' if n == 1 else 'jobs'}: {listed or 'none has run'}"


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
    return WideOrNarrow(_job_table(board, board.keys), narrow)


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
        std = board.value(entry, "std")
        if ci is None and not std:  # a single fold has no deviation
            std = None
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


def _seed_table(board: Leaderboard) -> Iterator[RenderableType]:
    """Yield a table of the best configurations, each with all its seeds."""
    configurations = board.configurations[:MAX_JOBS]
    keys = [key for key in board.keys if key != SEED]
    names = ("rank >", metric_title(board.metric), "std of seeds", "std of folds", "seeds >")
    table = make_table(*names, *_short_keys(keys), "first run")
    for column in table.columns:
        column.no_wrap = column.header != metric_title(board.metric)
    decimals = common_decimals((one.mean, one.fold_std) for one in configurations)
    for rank, one in zip(board.configuration_ranks, configurations, strict=False):
        numbers = (one.mean, one.seed_std, one.fold_std)
        table.add_row(
            f"{rank}",
            *(format_number(value, decimals) for value in numbers),
            f"{len(one.entries)}",
            *(_format(one.settings.get(key, "")) for key in keys),
            one.entries[0].run_id[:ID_LENGTH],
        )
    yield table
    if len(board.configurations) > MAX_JOBS:
        yield f"... and {len(board.configurations) - MAX_JOBS} more, in leaderboard.json"


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
