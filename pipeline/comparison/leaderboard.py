"""Leaderboard of a sweep: its jobs, ranked by a metric."""

import math
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from functools import cached_property
from statistics import fmean, stdev
from typing import Any, get_args

from pipeline.comparison.entries import (
    SEED,
    Configuration,
    Criterion,
    Entry,
    Statistic,
    Status,
    to_entry,
)
from pipeline.scoring import lower_is_better, summary_key
from pipeline.tracking import SUPERSEDED, Sweep, children


class Leaderboard:
    """The jobs of a sweep, ranked.

    Attributes:
        criterion: Criterion of the ranks.
        entries: All jobs: the ranked ones, best first, then the others by job number.
        ranks: Rank of each entry, or None; ties share the better rank.
        is_across: True if the ranked jobs have several data sets with folds of their own; each is
            then ranked by itself, and no job is the best.
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
        digests = [entry.digests for entry in ranked]
        self.is_across = all(len({*it}) > 1 for it in zip(*digests, strict=True)) and bool(ranked)
        self._tables = {it: n if self.is_across else 0 for n, it in enumerate(reversed(digests))}
        ranked.sort(key=lambda entry: (-self._tables[entry.digests], sign * self._score(entry)))
        others = [entry for entry in by_number if not self._is_ranked(entry)]
        self.entries = (*ranked, *others)
        self.ranks = (*self._rank(ranked), *[None] * len(others))

    @property
    def metric(self) -> str:
        """Name of the metric that decides the ranks; empty if no job has one."""
        return self.criterion.metric

    def value(self, entry: Entry, statistic: Statistic) -> float | None:
        """Return a statistic of the leaderboard's metric for a job, or None if it has none."""
        return entry.metrics.get(summary_key(self.metric, statistic))

    @property
    def best(self) -> Entry | None:
        """The best job of the best configuration; None if no job is ranked, or on several data."""
        if not self.n_ranked or self.is_across:
            return None
        ids = {entry.run_id for entry in self.configurations[0].entries}
        return next(entry for entry in self.entries if entry.run_id in ids)

    @cached_property
    def configurations(self) -> tuple[Configuration, ...]:
        """The ranked jobs, grouped by all settings but the seed, the best mean score first."""
        groups: dict[tuple[object, ...], list[Entry]] = {}
        for entry in self.entries[: self.n_ranked]:
            others = tuple(item for item in entry.settings.items() if item[0] != SEED)
            is_seeded = SEED in entry.settings
            key = (others, entry.digests) if is_seeded else (entry.run_id,)
            groups.setdefault(key, []).append(entry)
        sign = 1 if self.criterion.minimize else -1
        configurations = [self._configuration(group) for group in groups.values()]
        return tuple(
            sorted(
                configurations,
                key=lambda one: (-self._tables[one.entries[0].digests], sign * one.mean),
            )
        )

    @property
    def configuration_ranks(self) -> Iterator[int]:
        """Rank of each configuration among those of its data set if there are several, or of all.

        Configurations of equal means have different ranks.
        """
        n_before: Counter[int] = Counter()
        for one in self.configurations:
            table = self._tables[one.entries[0].digests]
            n_before[table] += 1
            yield n_before[table]

    @property
    def has_seeds(self) -> bool:
        """True if a configuration was run with several seeds."""
        return len(self.configurations) < self.n_ranked

    def _configuration(self, entries: Sequence[Entry]) -> Configuration:
        scores = [self._score(entry) for entry in entries]
        stds = [std for entry in entries if (std := self.value(entry, "std")) is not None]
        return Configuration(
            tuple(sorted(entries, key=lambda entry: entry.job_number or 0)),
            fmean(scores),
            stdev(scores) if len(scores) > 1 else None,
            fmean(stds) if stds else None,
        )

    def best_metrics(self) -> list[tuple[str, float, int]]:
        """Return name, value and step of the statistics of the best configuration.

        With several seeds they are its mean over seeds and both standard deviations.
        """
        if self.best is None:
            return []
        values: dict[str, float | None] = {
            statistic: self.value(self.best, statistic) for statistic in get_args(Statistic)
        }
        first = self.configurations[0]
        if self.has_seeds:
            values = {
                self.criterion.statistic: first.mean,
                "std": first.fold_std,
                "seed_std": first.seed_std,
                "n_seeds": len(first.entries),
            }
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

    @property
    def n_datasets(self) -> int:
        """Number of different data sets among the ranked jobs."""
        return len({entry.digests[0] for entry in self.entries[: self.n_ranked]})

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
        """Return one row per job for a JSON table, None for missing values.

        With several seeds, a row has the rank of the configuration and its mean and deviation too.
        """
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
                **(self._of_configuration(entry) if self.has_seeds else {}),
                **{name: entry.metrics.get(name) for name in others},
                "seconds": entry.seconds,
                "status": entry.status,
                "reason": entry.reason,
                "run_id": entry.run_id,
            }
            for rank, entry in zip(self.ranks, self.entries, strict=True)
        ]

    def _of_configuration(self, entry: Entry) -> dict[str, Any]:
        rank, one = self._configuration_of.get(entry.run_id, (None, None))
        return {
            "configuration": rank,
            "mean_over_seeds": one.mean if one else None,
            "std_over_seeds": one.seed_std if one else None,
        }

    @cached_property
    def _configuration_of(self) -> dict[str, tuple[int, Configuration]]:
        """Rank and configuration of each ranked job, by its run."""
        return {
            entry.run_id: (rank, one)
            for rank, one in zip(self.configuration_ranks, self.configurations, strict=True)
            for entry in one.entries
        }

    def _rank(self, ranked: Sequence[Entry]) -> Iterator[int]:
        """Yield the rank of each sorted entry among those of its table."""
        best_rank: dict[tuple[int, float], int] = {}
        n_before: Counter[int] = Counter()
        for entry in ranked:
            table = self._tables[entry.digests]
            n_before[table] += 1
            yield best_rank.setdefault((table, self._score(entry)), n_before[table])

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
