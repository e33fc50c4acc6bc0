"""Results of jobs: plain values that travel between processes."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from pipeline.scoring import MetricSummary


class SweepPosition(NamedTuple):
    """The number of a job in its sweep, from 0, and all overrides that are set for it."""

    number: int
    overrides: Sequence[str]


@dataclass(frozen=True)
class JobResult:
    """The result of a finished job.

    Attributes:
        run_id: Id of its MLflow run.
        summary: Summary of each metric over the trained folds, the headline metric first.
        n_fits: Number of fits of a whole evaluation; 0 if a finished run was reused.
        n_fits_skipped: Number of fits that racing skipped; above 0, only the first repeat is
            summarized.
        exit_code: 0, or 1 if `checks.strict` is set and a check has a finding.
    """

    run_id: str
    summary: "dict[str, MetricSummary]"
    n_fits: int
    n_fits_skipped: int = 0
    exit_code: int = 0


@dataclass(frozen=True)
class Outcome:
    """The exit code of a job, and its result or its failure.

    Attributes:
        exit_code: 0, 1 after a failure, 2 if the configuration or the data were refused.
        result: The result, or None.
        failure: Why there is no result, or None.
    """

    exit_code: int
    result: JobResult | None = None
    failure: str | None = None

    @property
    def objective(self) -> float | None:
        """Mean of the headline metric over all folds, or None."""
        if self.result is None or self.result.n_fits_skipped:
            return None
        headline = next(iter(self.result.summary.values()))
        return headline.mean if headline.n_folds else None
