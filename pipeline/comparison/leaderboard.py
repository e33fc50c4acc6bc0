"""Leaderboard of a sweep: its jobs, ranked by a metric."""

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, cast, get_args

from pipeline.scoring import lower_is_better, own_directions, summary_key
from pipeline.tracking import SUPERSEDED, VARIED, RunRecord, Sweep, children
from pipeline.tracking.store import STOPPED_BECAUSE

Status = Literal["FINISHED", "FAILED", "KILLED", "RUNNING"]
Statistic = Literal["mean", "std", "ci_low", "ci_high"]


@dataclass(frozen=True)
class Entry:
    """One job of a sweep.

    Attributes:
        run_id: Id of its run.
        job_number: Number of the job, from 0; None if unknown.
        settings: The settings that vary in the sweep, by key.
        status: Status of its run.
        headline: First metric of `scoring.metrics`; empty if the job ended before it was known.
        metrics: Logged metrics by name: `accuracy_mean`, `accuracy_ci_low`, ...
        seconds: Duration; None if unknown.
        reason: Reason why it did not finish, or why racing stopped it; empty without one.
        digests: Digests of data and folds; only jobs with equal digests are comparable.
        greater_is_better: The setting `scoring.greater_is_better`.
    """

    run_id: str
    job_number: int | None
    settings: Mapping[str, str]
    status: Status
    headline: str = ""
    metrics: Mapping[str, float] = field(default_factory=dict)
    seconds: float | None = None
    reason: str = ""
    digests: tuple[str, str] = ("", "")
    greater_is_better: Mapping[str, bool] = field(default_factory=dict)

    @property
    def name(self) -> str:
        """The settings that vary, in one line."""
        settings = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        return settings or f"job {self.job_number}"


@dataclass(frozen=True)
class Criterion:
    """Criterion by which jobs are ranked.

    Attributes:
        metric: Name of the metric; empty if no job has one.
        statistic: Statistic of the metric.
        minimize: Whether lower is better.
    """

    metric: str
    statistic: Statistic
    minimize: bool


def to_entry(run: RunRecord) -> Entry:
    """Convert the run of a job into an entry of a leaderboard."""
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
        job_number=int(number) if number else None,
        settings={key: run.tags[f"{VARIED}{key}"] for key in keys},
        status=status,
        headline=run.tags.get("headline", ""),
        metrics=run.metrics,
        seconds=run.metrics.get("seconds", seconds),
        reason=run.tags.get("failure") or run.tags.get(STOPPED_BECAUSE, ""),
        digests=(run.tags.get("data_digest", ""), run.tags.get("split_digest", "")),
        greater_is_better=own_directions(run.params),
    )


class Leaderboard:
    """The jobs of a sweep, ranked.

    Attributes:
        criterion: Criterion of the ranks.
        entries: All jobs: the ranked ones, best first, then the others by job number.
        ranks: Rank of each entry, or None; ties share the better rank.
        n_jobs: Number of jobs of the sweep; None if unknown.
    """

    def __init__(
        self,
        entries: Sequence[Entry],
        n_jobs: int | None = None,
        criterion: Criterion | None = None,
    ) -> None:
        """Rank the entries.

        Args:
            entries: All jobs that have a run.
            n_jobs: Number of jobs of the sweep; None if unknown.
            criterion: Criterion of the ranks; None for the mean of the most frequent headline.
        """
        headlines = Counter(entry.headline for entry in entries if entry.headline)
        headline = headlines.most_common(1)[0][0] if headlines else ""
        directions = {
            name: greater for entry in entries for name, greater in entry.greater_is_better.items()
        }
        minimize = lower_is_better(headline, directions)
        self.criterion = criterion or Criterion(headline, "mean", minimize)
        self.n_jobs = n_jobs
        by_number = sorted(
            entries, key=lambda entry: (entry.job_number is None, entry.job_number or 0)
        )
        sign = 1 if self.criterion.minimize else -1
        ranked = [entry for entry in by_number if self._is_ranked(entry)]
        ranked.sort(key=lambda entry: sign * self._score(entry))
        others = [entry for entry in by_number if not self._is_ranked(entry)]
        self.entries = (*ranked, *others)
        best_rank: dict[float, int] = {}
        ranks = [
            best_rank.setdefault(self._score(entry), rank) for rank, entry in enumerate(ranked, 1)
        ]
        self.ranks = (*ranks, *[None] * len(others))

    @property
    def metric(self) -> str:
        """Name of the metric that decides the ranks; empty if no job has one."""
        return self.criterion.metric

    def value(self, entry: Entry, statistic: Statistic) -> float | None:
        """Return a statistic of the leaderboard's metric for a job, or None if it has none."""
        return entry.metrics.get(summary_key(self.metric, statistic))

    @property
    def best(self) -> Entry | None:
        """The first job; None if no job is ranked."""
        return self.entries[0] if self.entries and self.ranks[0] else None

    def best_metrics(self) -> list[tuple[str, float, int]]:
        """Return name, value and step of the statistics of the best job, for the parent run."""
        if self.best is None:
            return []
        values = {statistic: self.value(self.best, statistic) for statistic in get_args(Statistic)}
        return [
            (f"best/{summary_key(self.metric, statistic)}", value, 0)
            for statistic, value in values.items()
            if value is not None
        ]

    @property
    def n_ranked(self) -> int:
        """Number of jobs with a rank."""
        return sum(rank is not None for rank in self.ranks)

    @property
    def n_missing(self) -> int:
        """Number of jobs without a run."""
        return max(0, (self.n_jobs or 0) - len(self.entries))

    @property
    def is_complete(self) -> bool:
        """True if every job is finished."""
        return not self.n_missing and self.count("FINISHED") == len(self.entries)

    def count(self, status: Status) -> int:
        """Return the number of jobs with this status."""
        return sum(entry.status == status for entry in self.entries)

    @property
    def keys(self) -> tuple[str, ...]:
        """Keys of the settings that vary, in the order of the jobs."""
        return tuple(dict.fromkeys(key for entry in self.entries for key in entry.settings))

    @property
    def n_distinct_digests(self) -> int:
        """Number of different pairs of data set and folds among the ranked jobs."""
        return len({entry.digests for entry in self.entries[: self.n_ranked]})

    def failures(self) -> dict[str, list[Entry]]:
        """Group the jobs that did not finish by their reason, the most frequent one first.

        Messages that differ only in the received value count as one reason.
        """
        groups: dict[str, list[Entry]] = {}
        for entry in self.entries:
            if entry.status != "FINISHED":
                groups.setdefault(without_received_value(entry.reason), []).append(entry)
        by_size = sorted(groups.values(), key=lambda group: -len(group))
        return {group[0].reason: group for group in by_size}

    def rows(self) -> list[dict[str, Any]]:
        """Return one row per job for a JSON table, None for missing values."""
        others = dict.fromkeys(
            name
            for entry in self.entries
            for name in sorted(entry.metrics)
            if name.endswith("_mean") and name != summary_key(self.metric, "mean")
        )
        statistics = get_args(Statistic) if self.metric else ()
        return [
            {
                "rank": rank,
                **{key: entry.settings.get(key) for key in self.keys},
                **{
                    summary_key(self.metric, statistic): self.value(entry, statistic)
                    for statistic in statistics
                },
                **{name: entry.metrics.get(name) for name in others},
                "seconds": entry.seconds,
                "status": entry.status,
                "reason": entry.reason,
                "run_id": entry.run_id,
            }
            for rank, entry in zip(self.ranks, self.entries, strict=True)
        ]

    def _is_ranked(self, entry: Entry) -> bool:
        return entry.status == "FINISHED" and math.isfinite(self._score(entry))

    def _score(self, entry: Entry) -> float:
        value = self.value(entry, self.criterion.statistic) if self.metric else None
        return math.nan if value is None else value


def without_received_value(reason: str) -> str:
    """Return a message up to the received value, so that similar failures compare equal."""
    return reason.partition("Received:")[0]


def to_json_table(rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Convert rows with equal keys to `{"columns": [...], "data": [[...], ...]}`."""
    return {"columns": list(rows[0]) if rows else [], "data": [list(row.values()) for row in rows]}


def read_leaderboard(sweep: Sweep, criterion: Criterion | None = None) -> Leaderboard:
    """Read the runs of a sweep's jobs and rank them.

    Args:
        sweep: The sweep.
        criterion: Criterion of the ranks; None for the mean of the headline metric.
    """
    runs = [run for run in children(sweep) if SUPERSEDED not in run.tags]
    return Leaderboard([to_entry(run) for run in runs], sweep.plan.n_jobs, criterion)
