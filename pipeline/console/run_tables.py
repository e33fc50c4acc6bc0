"""Leaderboard and comparison tables on screen."""

from collections.abc import Iterator, Mapping, Sequence
from string import ascii_letters
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.comparison import (
    Entry,
    Leaderboard,
    Pair,
    Ranking,
    RunScores,
    Status,
    conclusion,
    of_probability,
)
from pipeline.errors import shorten
from pipeline.scoring import metric_title

N_BEST = 20  # shown; the others are in the table that MLflow keeps
N_NAMED = 5  # jobs with the same reason
MAX_KEYS = 5  # that have a column of their own
WIDTH = 24  # characters of a value
ID = 8  # characters of a run's id; the other commands take its start for it
DIGITS = 4  # of a number that was drawn
MAX_REASON = 500  # characters
ENDS: dict[Status, str] = {
    "FINISHED": "finished",
    "FAILED": "failed",
    "KILLED": "interrupted",
    "RUNNING": "still running",
}


def leaderboard_on_screen(board: Leaderboard) -> Iterator[RenderableType]:
    """Yield a heading, the best jobs as a table, and the others by what became of them."""
    yield Text(_heading(board), style="bold")
    if board.n_ranked:
        yield _table(board)
        if board.criterion.of != "mean":
            yield "Ranked by the worse end of the interval."
        if board.n_ranked > N_BEST:
            yield f"... and {board.n_ranked - N_BEST} more, in leaderboard.json"
    if board.n_tried_on > 1:
        yield Text(
            f"These were tried on {board.n_tried_on} different data sets or sets of folds: their "
            "ranks compare what differs in more than the configuration.",
            style="yellow",
        )
    for reason, entries in board.failures().items():
        yield ""
        yield from _failure(reason, entries)
    unranked = [entry for entry in board.entries[board.n_ranked :] if entry.status == "FINISHED"]
    stopped = [entry for entry in unranked if entry.reason]
    undefined = [entry for entry in unranked if not entry.reason]
    if stopped:
        yield f"{len(stopped)} behind beyond noise, stopped after a repeat: {_named(stopped)}"
    if undefined:
        yield f"{metric_title(board.metric)} is unknown or undefined for {_named(undefined)}"


def _heading(board: Leaderboard) -> str:
    n = max(board.n_jobs or 0, len(board.entries))
    counts = [(board.count(status), end) for status, end in ENDS.items()]
    counts.append((board.n_missing, "not run"))
    told = ", ".join(f"{count} {end}" for count, end in counts if count)
    return f"{n} {'job' if n == 1 else 'jobs'}: {told or 'none has run'}"


def _table(board: Leaderboard) -> Table:
    keys = board.keys if len(board.keys) <= MAX_KEYS else ()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("rank", metric_title(board.metric), "std", "95% interval"):
        table.add_column(name, justify="right" if name == "rank" else "left", no_wrap=True)
    for name in _headings(keys) if keys else ("varied",):
        table.add_column(name, overflow="fold")
    table.add_column("seconds", justify="right", no_wrap=True)
    table.add_column("run", no_wrap=True)
    for rank, entry in list(zip(board.ranks, board.entries, strict=True))[:N_BEST]:
        if rank is None:
            break
        low, high = board.value(entry, "ci_low"), board.value(entry, "ci_high")
        varied = [_value(entry.varied.get(key, "")) for key in keys] if keys else [entry.name]
        table.add_row(
            f"{rank}",
            _number(board.value(entry, "mean")),
            _number(board.value(entry, "std")),
            "" if low is None or high is None else f"{low:.3f} to {high:.3f}",
            *varied,
            "" if entry.seconds is None else f"{entry.seconds:.1f}",
            entry.run_id[:ID],
        )
    return table


def _headings(keys: Sequence[str]) -> list[str]:
    """Return the last part of each key, or all of it where others end so, too."""
    ends = [key.rpartition(".")[2] for key in keys]
    return [end if ends.count(end) == 1 else key for key, end in zip(keys, ends, strict=True)]


def _failure(reason: str, entries: Sequence[Entry]) -> Iterator[RenderableType]:
    end = ENDS[entries[0].status]
    yield Text(f"{len(entries)} {end}: {_named(entries)}", style="red")
    if reason:
        told = reason if len(reason) <= MAX_REASON else f"{reason[:MAX_REASON]}…"
        yield Text("\n".join(f"  {line}" for line in told.strip().splitlines()))


def _named(entries: Sequence[Entry]) -> str:
    more = f" and {len(entries) - N_NAMED} more" if len(entries) > N_NAMED else ""
    return "; ".join(entry.name for entry in entries[:N_NAMED]) + more


def _value(text: str) -> str:
    """Return a value as short as its column; of a long number its first digits."""
    try:
        return text if text.isdigit() else f"{float(text):.{DIGITS}g}"
    except ValueError:
        return shorten(text, WIDTH)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


N_LISTED = 30  # lines of a table
NAME_WIDTH = 58  # characters of a configuration's name


def compare_tables(ranking: Ranking, named: Mapping[str, RunScores]) -> Iterator[RenderableType]:
    """Yield the ranking and the pairs as rich tables, and what is left out of them."""
    n_folds = ranking.scores.shape[1]
    way = "lower" if ranking.lower_is_better else "higher"
    yield ""
    yield f"{metric_title(ranking.metric)} of {n_folds} folds, {way} is better"
    if ranking.n_undefined:
        n = ranking.n_undefined
        more = "1 more fold is" if n == 1 else f"{n} more folds are"
        yield f"{more} left out, as it is undefined there for one of them"
    yield _ranked(ranking, named)
    if ranking.n_unranked:
        yield f"and {ranking.n_unranked} with worse means, which are left out of all below"
    yield f"Runs that share a letter are not told apart (Holm-adjusted p >= {ranking.alpha:g})"
    yield ""
    if len(pairs := ranking.shown_pairs()) < len(ranking.pairs):
        yield f"The best against the others; p is adjusted for all {ranking.n_pairs:,} pairs"
    yield _pairs(ranking, pairs)
    size = f"{ranking.rope:g}"
    yield f"P(better), P(worse): by more than {size}; P(equivalent): within {size} of each other"
    yield ""


def as_dict(ranking: Ranking, named: Mapping[str, RunScores]) -> dict[str, Any]:
    """Return everything as it goes into JSON: configurations, every pair, groups, conclusion."""
    evidence = [named[name] for name in ranking.names]
    return {
        "metric": ranking.metric,
        "lower_is_better": ranking.lower_is_better,
        "alpha": ranking.alpha,
        "rope": ranking.rope,
        "n_folds": ranking.scores.shape[1],
        "n_undefined_folds": ranking.n_undefined,
        "n_unranked": ranking.n_unranked,
        "data_digest": evidence[0].data_digest,
        "split_digest": evidence[0].split_digest,
        "configurations": [
            {
                "name": run.name,
                "run_ids": list(run.run_ids),
                "mean": float(scores.mean()),
                "std": float(scores.std()),
                "scores": scores.tolist(),
            }
            for run, scores in zip(evidence, ranking.scores, strict=True)
        ],
        "pairs": [_pair_as_dict(ranking, pair) for pair in ranking.pairs],
        "not_told_apart": [[place + 1 for place in group] for group in ranking.groups()],
        "conclusion": conclusion(ranking),
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
        "told_apart": ranking.differ(pair),
        "p_better": test.better if test else None,
        "p_equivalent": test.equivalent if test else None,
        "p_worse": test.worse if test else None,
    }


def _ranked(ranking: Ranking, named: Mapping[str, RunScores]) -> Table:
    letters = dict.fromkeys(range(len(ranking.names)), "")
    for i, group in enumerate(ranking.groups()):
        for place in group:
            letters[place] += ascii_letters[i] if i < len(ascii_letters) else f"({i})"
    table = _comparison_table(">", "configuration", "mean >", "std >", "letters", "run")
    for place, name in enumerate(ranking.names[:N_LISTED]):
        scores, (run_id, *more) = ranking.scores[place], named[name].run_ids
        run = f"{run_id[:8]} and {len(more)} more" if more else run_id[:8]
        numbers = (f"{scores.mean():.4f}", f"{scores.std():.4f}")
        table.add_row(f"{place + 1}", shorten(name, NAME_WIDTH), *numbers, letters[place], run)
    return _and_more(table, len(ranking.names) - N_LISTED)


def _pairs(ranking: Ranking, pairs: Sequence[Pair]) -> Table:
    interval = f"{1 - ranking.alpha:.0%} interval"
    columns = ("advantage >", f"{interval} >", "p >", "Holm p >")
    table = _comparison_table("", *columns, "P(better) >", "P(equivalent) >", "P(worse) >")
    for pair in pairs[:N_LISTED]:
        row = [f"{pair.first + 1} over {pair.second + 1}", f"{pair.advantage:.4f}"]
        if test := pair.test:
            row += [f"{test.ci[0]:.4f} to {test.ci[1]:.4f}"]
            numbers = (test.p, pair.p_holm, test.better, test.equivalent, test.worse)
            row += [of_probability(number) for number in numbers]
        else:
            row += ["the same in all"]
        table.add_row(*row, style="bold" if ranking.differ(pair) else None)
    return _and_more(table, len(pairs) - N_LISTED)


def _comparison_table(*columns: str) -> Table:
    """Return an empty table; the numbers of a column that ends in > are flush right."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in columns:
        right = name.endswith(">")
        table.add_column(name.rstrip(" >"), justify="right" if right else "left", no_wrap=right)
    return table


def _and_more(table: Table, n: int) -> Table:
    if n > 0:
        table.add_row("...", f"and {n} more")
    return table
