"""How the jobs of a sweep did, in the order of a leaderboard."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from pipeline.scoring import lower_is_better, summary_key
from pipeline.tracking import SUPERSEDED, VARIED, RunRecord, Sweep, children

Status = Literal["FINISHED", "FAILED", "KILLED", "RUNNING"]
Number = Literal["mean", "std", "ci_low", "ci_high"]


@dataclass(frozen=True)
class Entry:
    """One job.

    Attributes:
        run_id: Its run in MLflow.
        number: Its place in the sweep, from 0; None if unknown.
        varied: What set it apart, by key.
        status: How it ended, in MLflow's words.
        headline: The metric that it puts first, or empty if it did not come so far.
        metrics: What it logged, by name: `accuracy_mean`, `accuracy_ci_low`, ...
        seconds: How long it took; None if unknown.
        reason: Why it did not finish, or why racing stopped it; or empty.
        tried_on: Digests of its data and folds; jobs that share them can be compared.
    """

    run_id: str
    number: int | None
    varied: Mapping[str, str]
    status: Status
    headline: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    reason: str = ""
    tried_on: tuple[str, str] = ("", "")

    @property
    def name(self) -> str:
        """What set it apart, in one line."""
        told = ", ".join(f"{key}={value}" for key, value in self.varied.items())
        return told or f"job {self.number}"


@dataclass(frozen=True)
class Criterion:
    """What decides ranks.

    Attributes:
        metric: Its name; empty if no job came so far as to have one.
        of: Which of its numbers.
        minimize: Whether less is better.
    """

    metric: str
    of: Number
    minimize: bool


def to_entry(run: RunRecord) -> Entry:
    """Take a leaderboard's entry from the run of a job."""
    overrides = run.tags.get("overrides", "")
    keys = [key.removeprefix(VARIED) for key in run.tags if key.startswith(VARIED)]
    keys.sort(key=lambda key: overrides.find(f"{key}="))
    number = run.tags.get("sweep_job")
    seconds = (run.ended - run.started) / 1000 if run.ended else None
    status: Status = "RUNNING"
    if run.status in get_args(Status):
        status = cast(Status, run.status)
    return Entry(
        run_id=run.run_id,
        number=int(number) if number else None,
        varied={key: run.tags[f"{VARIED}{key}"] for key in keys},
        status=status,
        headline=run.tags.get("headline", ""),
        metrics=run.metrics,
        seconds=run.metrics.get("seconds", seconds),
        reason=run.tags.get("failure") or run.tags.get("stopped_because", ""),
        tried_on=(run.tags.get("data_digest", ""), run.tags.get("split_digest", "")),
    )


class Leaderboard:
    """The jobs of a sweep, ranked.

    Attributes:
        criterion: By what.
        entries: All jobs: ranked ones from the best, then the others in the order of the sweep.
        ranks: Rank of each entry, or None; equals share the better rank.
        n_jobs: How many jobs the sweep has; None if unknown.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        n_jobs: int | None = None,
        criterion: Criterion | None = None,
    ) -> None:
        """Rank the entries.

        Args:
            entries: All jobs that have left something.
            n_jobs: How many jobs the sweep has; None if unknown.
            criterion: By what; None: the mean of the metric that most jobs put first.
        """
        headlines = Counter(entry.headline for entry in entries if entry.headline)
        headline = headlines.most_common(1)[0][0] if headlines else ""
        self.criterion = criterion or Criterion(headline, "mean", lower_is_better(headline))
        self.n_jobs = n_jobs
        in_order = sorted(entries, key=lambda entry: (entry.number is None, entry.number or 0))
        sign = 1 if self.criterion.minimize else -1
        ranked = [entry for entry in in_order if self._is_ranked(entry)]
        ranked.sort(key=lambda entry: sign * self._decisive(entry))
        others = [entry for entry in in_order if not self._is_ranked(entry)]
        self.entries = (*ranked, *others)
        first: dict[float, int] = {}
        ranks = [
            first.setdefault(self._decisive(it), place) for place, it in enumerate(ranked, start=1)
        ]
        self.ranks = (*ranks, *[None] * len(others))

    @property
    def metric(self) -> str:
        """Name of the metric that decides; empty if no job came so far as to have one."""
        return self.criterion.metric

    def value(self, entry: Entry, of: Number) -> float | None:
        """Return a number of the leaderboard's metric for a job, or None where there is none."""
        return entry.metrics.get(summary_key(self.metric, of))

    @property
    def best(self) -> Entry | None:
        """The job that comes first."""
        return self.entries[0] if self.entries and self.ranks[0] else None

    def best_metrics(self) -> list[tuple[str, float, int]]:
        """Return name, value and step of the statistics of the best job, for the parent run."""
        if self.best is None:
            return []
        values = {of: self.value(self.best, of) for of in get_args(Number)}
        return [
            (f"best/{summary_key(self.metric, of)}", value, 0)
            for of, value in values.items()
            if value is not None
        ]

    @property
    def n_ranked(self) -> int:
        """How many jobs have a rank."""
        return sum(rank is not None for rank in self.ranks)

    @property
    def n_missing(self) -> int:
        """How many jobs have left nothing at all."""
        return max(0, (self.n_jobs or 0) - len(self.entries))

    @property
    def is_complete(self) -> bool:
        """Whether every job is finished."""
        return not self.n_missing and self.count("FINISHED") == len(self.entries)

    def count(self, status: Status) -> int:
        """Return how many jobs ended so."""
        return sum(entry.status == status for entry in self.entries)

    @property
    def keys(self) -> tuple[str, ...]:
        """What varied, in the order in which the jobs name it."""
        return tuple(dict.fromkeys(key for entry in self.entries for key in entry.varied))

    @property
    def n_tried_on(self) -> int:
        """On how many different pairs of data and folds the ranked jobs were tried."""
        return len({entry.tried_on for entry in self.entries[: self.n_ranked]})

    def failures(self) -> dict[str, list[Entry]]:
        """Return the jobs that are not finished by their reason, the most frequent first.

        Refusals that differ in nothing but the value that was received are one.
        """
        groups: dict[str, list[Entry]] = {}
        for entry in self.entries:
            if entry.status != "FINISHED":
                groups.setdefault(kind_of(entry.reason), []).append(entry)
        by_size = sorted(groups.values(), key=lambda group: -len(group))
        return {group[0].reason: group for group in by_size}

    def rows(self) -> list[dict[str, Any]]:
        """Return the table: a row per job, for JSON; empty where a job has no value."""
        others = dict.fromkeys(
            name
            for entry in self.entries
            for name in sorted(entry.metrics)
            if name.endswith("_mean") and name != f"{self.metric}_mean"
        )
        numbers = get_args(Number) if self.metric else ()
        return [
            {
                "rank": rank,
                **{key: entry.varied.get(key) for key in self.keys},
                **{f"{self.metric}_{of}": self.value(entry, of) for of in numbers},
                **{name: entry.metrics.get(name) for name in others},
                "seconds": entry.seconds,
                "status": entry.status,
                "reason": entry.reason,
                "run_id": entry.run_id,
            }
            for rank, entry in zip(self.ranks, self.entries, strict=True)
        ]

    def _is_ranked(self, entry: Entry) -> bool:
        return entry.status == "FINISHED" and math.isfinite(self._decisive(entry))

    def _decisive(self, entry: Entry) -> float:
        value = self.value(entry, self.criterion.of) if self.metric else None
        return math.nan if value is None else value


def kind_of(reason: str) -> str:
    """Return what alike failures share: of a refusal, all but the value that was received."""
    return reason.partition("Received:")[0]


def by_column(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return rows that share their keys as `{"columns": [...], "data": [[...], ...]}`."""
    return {"columns": list(rows[0]) if rows else [], "data": [list(row.values()) for row in rows]}


def read_leaderboard(sweep: Sweep, criterion: Criterion | None = None) -> Leaderboard:
    """Read the runs of a sweep's jobs and rank them.

    Args:
        sweep: The sweep.
        criterion: Criterion of the ranks; None for the mean of the headline metric.
    """
    runs = [run for run in children(sweep) if SUPERSEDED not in run.tags]
    return Leaderboard([to_entry(run) for run in runs], sweep.plan.n_jobs, criterion)
