"""Prepare a job: check its settings, load its data, and find a previous run, or reuse it."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from pipeline import console
from pipeline.checks import CHECKS, select
from pipeline.config import Config, parse_config
from pipeline.errors import UserError
from pipeline.evaluation import (
    EvaluationInputs,
    Race,
    compute_fingerprint,
    load_inputs,
    make_race,
    raced_metric,
    versions,
)
from pipeline.evaluation.checkpoint import Checkpoint
from pipeline.evaluation.importance import importance_settings
from pipeline.mlflow_variables import describe_variables
from pipeline.outcome import JobResult, SweepPosition
from pipeline.runtime import is_parallel_job
from pipeline.scoring import MetricSummary, short_name
from pipeline.tracking import (
    CODES,
    PreviousRun,
    RunReader,
    Store,
    SweepJob,
    TrackedRun,
    check_store,
    find_page,
    find_previous_run,
    find_sweep,
    list_again,
    locate,
    open_store,
    store_at,
    supersede,
)

if TYPE_CHECKING:
    from omegaconf import DictConfig

_shown: set[str] = set()  # digests of the data sets that this process has printed


@dataclass(frozen=True)
class PreparedJob:
    """A job with valid settings and data.

    Attributes:
        config: Its configuration.
        inputs: Its data and folds.
        store: Store of its run.
        fingerprint: Digests that equal jobs share.
        previous: The previous run of an equal job, if there is one.
        sweep_job: The same job as its sweep knows it; None for a single run.
    """

    config: Config
    inputs: EvaluationInputs
    store: Store
    fingerprint: dict[str, str]
    previous: PreviousRun
    sweep_job: SweepJob | None

    @property
    def run_name(self) -> str:
        """Name of a new run."""
        own = self.sweep_job.name if self.sweep_job else self.config.tracking.run_name
        return own or f"{self.inputs.dataset.name} {self.config.model.title}"

    @property
    def tags(self) -> dict[str, str]:
        """Tags of its run."""
        headline = {"headline": short_name(self.config.scoring.metrics[0])}
        of_sweep = self.sweep_job.tags if self.sweep_job else {}
        return versions() | self.fingerprint | headline | of_sweep

    @property
    def has_report(self) -> bool:
        """False for the job of a sweep whose figures and page are drawn later, or never."""
        return self.sweep_job is None or self.config.report.in_sweep == "all"

    @property
    def position(self) -> str:
        """Its position in the sweep, such as `[2/4]`; empty for a single run."""
        return self.sweep_job.position if self.sweep_job else ""


def find_sweep_job(composed: "DictConfig", position: SweepPosition) -> SweepJob | None:
    """Return a job of the sweep and announce it; None if the sweep has no parent run.

    The other settings may be invalid: their error is that of the job.
    """
    tracking = composed.tracking
    if tracking.parent_run_id is None:
        return None
    open_store(store_at(tracking.uri), tracking.experiment_name)
    sweep_job = find_sweep(tracking.parent_run_id).job(*position)
    console.show_job(sweep_job.title)
    return sweep_job


def prepare_job(composed: "DictConfig", sweep_job: SweepJob | None) -> PreparedJob:
    """Check the settings, load the data and find the previous run."""
    config = parse_config(composed)
    select((), config.checks.ignore)  # refuses unknown codes
    if sweep_job is None:
        console.show(*describe_variables(config.tracking))
    inputs = _load_inputs(config, sweep_job)
    store = locate(config.tracking)
    check_store(store)
    fingerprint = compute_fingerprint(config, inputs.dataset, inputs.splits, inputs.nested_splits)
    previous = _find_previous(config, store, fingerprint, sweep_job)
    return PreparedJob(config, inputs, store, fingerprint, previous, sweep_job)


def _load_inputs(config: Config, sweep_job: SweepJob | None) -> EvaluationInputs:
    """Load the data set and print it, unless an earlier job of the sweep has."""
    with console.waiting("reading the data"):
        inputs = load_inputs(config)
    dataset = inputs.dataset
    is_first = sweep_job is None or sweep_job.number == 0
    if is_first or not (is_parallel_job() or dataset.digest in _shown):
        _shown.add(dataset.digest)
        console.show_dataset(dataset, inputs.summary)
        console.show_split_warnings(inputs.split_warnings)
    return inputs


def _find_previous(
    config: Config, store: Store, fingerprint: dict[str, str], sweep_job: SweepJob | None
) -> PreviousRun:
    if not config.resume:
        return PreviousRun()
    with console.waiting("looking for a previous run"):
        experiment_id = open_store(store, config.tracking.experiment_name)
        settings = importance_settings(config)
        return find_previous_run(experiment_id, fingerprint, sweep_job, settings)


def find_race(job: PreparedJob) -> Race | None:
    """Return the race against the incumbent; None without one, or if folds or data differ."""
    splits = job.inputs.splits
    racing, metric = job.config.racing, raced_metric(job.config, splits)
    if racing is None or racing.incumbent is None or metric is None:
        return None
    reader = RunReader(job.store)
    try:
        incumbent = reader.one(racing.incumbent)
    except UserError as error:
        raise UserError(f"racing.incumbent: {error}") from error
    same = ("data_digest", "split_digest")
    if any(incumbent.tags.get(key) != job.fingerprint[key] for key in same):
        console.show("Racing: the incumbent has other data or folds; all folds are trained.")
        return None
    scores = reader.fold_scores(incumbent.run_id, metric, len(splits))
    return make_race(job.config, metric, splits, scores.tolist())


def is_finished(job: PreparedJob, race: Race | None) -> bool:
    """Return whether the previous run has all results, or the race would stop it again."""
    previous = job.previous
    if not previous.is_finished or not previous.n_fits_skipped:
        return previous.is_finished
    if race is None or previous.run_id is None:
        return False
    scores = RunReader(job.store).fold_scores(previous.run_id, race.metric, len(race.scores))
    return bool((decision := race.decide(scores.tolist())) and decision.stop)


def reuse_finished_run(job: PreparedJob) -> JobResult:
    """Print the summary of a finished run instead of training again."""
    previous, store = job.previous, job.store
    assert previous.run_id
    list_again(previous.run_id)
    supersede(previous.replaced, previous.run_id)
    if not previous.n_fits_skipped:
        Checkpoint(store.checkpoints / previous.run_id).remove()  # left if killed at its end
    summary = _restore_summary(job, previous.run_id)
    is_stopped = bool(previous.n_fits_skipped)
    if job.sweep_job:
        part = ", the first repeat only" if is_stopped else ""
        console.show_job_result(
            job.position, summary, f"reused finished run {previous.run_id}{part}"
        )
    else:
        console.show_reused(previous.run_id)
        console.show_result(summary, " of the first repeat" if is_stopped else "")
        if is_stopped:
            console.show(
                "Racing stopped this run. Repeat the command without racing to complete it."
            )
    codes: list[str] = []
    if job.sweep_job is None:  # a sweep counts those of all jobs
        tags, ignored = TrackedRun(previous.run_id).record().tags, job.config.checks.ignore
        codes = [code for code in tags.get(CODES, "").split() if code not in ignored]
        for code in codes:
            console.show(f"{code} {CHECKS[code]}; details are in the report and checks.json.")
    show_run(job, previous.run_id)
    return JobResult(
        previous.run_id,
        summary,
        n_fits=0,
        n_fits_skipped=previous.n_fits_skipped,
        exit_code=int(job.config.checks.strict and bool(codes)),
    )


def _restore_summary(job: PreparedJob, run_id: str) -> dict[str, MetricSummary]:
    """Return the summary of each metric that a finished run logged."""
    metrics = job.previous.metrics
    prefix = "first_repeat/" if job.previous.n_fits_skipped else ""
    names = [short_name(metric) for metric in job.config.scoring.metrics]
    summary = {name: MetricSummary.from_metrics(f"{prefix}{name}", metrics) for name in names}
    n_folds = len(job.inputs.splits)
    if job.config.cv.kind != "time_series" or n_folds < 2:
        return summary
    reader = RunReader(job.store)
    scores = {name: reader.fold_scores(run_id, name, n_folds).tolist() for name in names}
    n_undefined = {name: sum(score != score for score in scores[name]) for name in names}
    return {
        name: replace(
            it,
            windows=tuple(scores[name]),
            n_folds=n_folds - n_undefined[name],
            n_undefined=n_undefined[name],
        )
        for name, it in summary.items()
    }


def show_run(job: PreparedJob, run_id: str) -> None:
    """Print how to open the page of a single run; a sweep names its own page at its end."""
    if job.sweep_job:
        return
    experiment = job.config.tracking.experiment_name
    page = find_page(job.store, open_store(job.store, experiment), run_id)
    console.show_run(run_id, experiment, page or console.run_command("ui", run_id[:8], job.store))
