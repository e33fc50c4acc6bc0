"""Entries of a leaderboard: jobs, and configurations of several seeds."""

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Literal, cast, get_args

from pipeline.scoring import own_directions
from pipeline.tracking import CODES, VARIED, RunRecord
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
        nested_digest: Digest of the outer folds; empty without any.
        greater_is_better: The setting `scoring.greater_is_better`.
        codes: Codes of the checks that have something to say.
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
    nested_digest: str = ""
    greater_is_better: Mapping[str, bool] = field(default_factory=dict)
    codes: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The settings that vary, in one line."""
        settings = ", ".join(f"{key}={value}" for key, value in self.settings.items())
        return settings or f"job {self.job_number}"


SEED = "seed"  # setting that makes no other configuration


@dataclass(frozen=True)
class Configuration:
    """The ranked jobs of a sweep that differ in nothing but their seed.

    Attributes:
        entries: The jobs, by job number.
        mean: Mean of their scores.
        seed_std: Sample standard deviation of their scores; None for one seed.
        fold_std: Mean of their standard deviations over folds; None if they have none.
    """

    entries: tuple[Entry, ...]
    mean: float
    seed_std: float | None
    fold_std: float | None

    @property
    def settings(self) -> dict[str, str]:
        """The settings that vary in the sweep, by key, without the seed."""
        return {key: value for key, value in self.entries[0].settings.items() if key != SEED}

    @property
    def name(self) -> str:
        """The settings that vary but for the seed, in one line."""
        return ", ".join(f"{key}={value}" for key, value in self.settings.items()) or "all seeds"


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

    def to_tag(self) -> str:
        """Return the criterion as text, for a tag of the parent run."""
        return json.dumps(asdict(self))

    @classmethod
    def from_tag(cls, text: str) -> "Criterion":
        """Read what `to_tag` returned."""
        return cls(**json.loads(text))


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
        nested_digest=run.tags.get("nested_digest", ""),
        greater_is_better=own_directions(run.params),
        codes=tuple(run.tags.get(CODES, "").split()),
    )
