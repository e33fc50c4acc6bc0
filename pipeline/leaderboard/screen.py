"""A leaderboard as it is shown on screen."""

from collections.abc import Iterator, Sequence

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from pipeline.dataset import short
from pipeline.leaderboard.record import Entry, Leaderboard, Status
from pipeline.scoring import in_words

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
        yield f"{in_words(board.metric)} is unknown or undefined for {_named(undefined)}"


def _heading(board: Leaderboard) -> str:
    n = max(board.n_jobs or 0, len(board.entries))
    counts = [(board.count(status), end) for status, end in ENDS.items()]
    counts.append((board.n_missing, "not run"))
    told = ", ".join(f"{count} {end}" for count, end in counts if count)
    return f"{n} {'job' if n == 1 else 'jobs'}: {told or 'none has run'}"


def _table(board: Leaderboard) -> Table:
    keys = board.keys if len(board.keys) <= MAX_KEYS else ()
    table = Table(box=None, pad_edge=False, header_style="bold")
    for name in ("rank", in_words(board.metric), "std", "95% interval"):
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
        return short(text, WIDTH)


def _number(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"
