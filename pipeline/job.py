"""Run one job: evaluate a configuration, log it to MLflow and print the result."""

import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager, nullcontext
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pandas as pd

from pipeline import console
from pipeline.checks import Finding, check_run
from pipeline.config import EstimatorConfig, flatten
from pipeline.console.importance_tables import importance_tables
from pipeline.evaluation import Race, describe_decision
from pipeline.evaluation.checkpoint import Checkpoint
from pipeline.evaluation.evaluator import Evaluator
from pipeline.evaluation.fold_results import Evaluation, FoldResult
from pipeline.evaluation.importance import importance_settings
from pipeline.final_model import log_final_model
from pipeline.model.saved_model import MODEL_CARD
from pipeline.outcome import JobResult
from pipeline.prepared_job import (
    PreparedJob,
    find_race,
    is_finished,
    prepare_job,
    reuse_finished_run,
    show_run,
)
from pipeline.report.artifacts import (
    CHECKS,
    TABLES,
    write_inputs,
    write_label_figure,
    write_result,
)
from pipeline.report.run_info import RunInfo
from pipeline.report.tables import feature_importance
from pipeline.runtime import is_interrupted, raise_interrupt
from pipeline.scoring.held_out import OUTER_FOLDS
from pipeline.tracking import (
    FINAL_FIT,
    DatasetInfo,
    SweepJob,
    TrackedRun,
    claim_run,
    disable_autologging,
    open_store,
    record_failures,
    supersede,
    track,
)
from pipeline.tracking.logged_model import begin_model
from pipeline.tracking.store import CODES, DEVICE, STOPPED, STOPPED_BECAUSE
from pipeline.training import Stopped

if TYPE_CHECKING:
    from omegaconf import DictConfig

MAX_FEATURES = 10  # on screen, of an importance
MIN_CELLS = 2**22  # of a table that trains for longer than the figure of its labels takes


def run_job(composed: "DictConfig", sweep_job: SweepJob | None = None) -> JobResult:
    """Evaluate one configuration, of a single run or of the job of a sweep, and log it."""
    return evaluate_job(composed, sweep_job)[0]


def evaluate_job(
    composed: "DictConfig", sweep_job: SweepJob | None = None
) -> tuple[JobResult, Evaluation | None]:
    """Run a job like `run_job`; return its evaluation too, None if a finished run was reused."""
    with disable_autologging():  # which a user's module may switch on: it logs runs of its own
        return _evaluate_job(composed, sweep_job)


def _evaluate_job(
    composed: "DictConfig", sweep_job: SweepJob | None
) -> tuple[JobResult, Evaluation | None]:
    with record_failures(sweep_job):
        job = prepare_job(composed, sweep_job)
        race = find_race(job)
        if is_finished(job, race):
            return reuse_finished_run(job), None
        evaluator = _make_evaluator(job)
    settings = importance_settings(job.config)
    with (
        _open_run(job, evaluator) as (run, executor, compiled),
        Checkpoint(job.store.checkpoints / run.run_id, settings) as checkpoint,
    ):
        finished = _load_finished_folds(job, run, checkpoint)
        with console.waiting("compiling the training"):
            label_figure = executor.submit(_log_label_figure, job, run)
            _log_inputs(job, run)
            compiled.result()
            is_estimator = isinstance(job.config.model, EstimatorConfig)
            if is_estimator or job.inputs.dataset.X.size < MIN_CELLS:
                label_figure.result()  # scikit-learn's fits catch warnings, not safe in threads
        evaluation = _train(job, evaluator, run, checkpoint, finished, race)
        label_figure.result()
        if not evaluation.final:
            checkpoint.flush()  # so that the run can be continued without racing
        evaluator.close()
        with console.waiting("checking data, folds and predictions"):
            findings = check_run(evaluation, job.inputs.summary)
        _log_result(job, run, evaluation, findings)
    if evaluation.final:
        checkpoint.remove()
    show_run(job, run.run_id)
    n_fits, n_skipped = evaluation.n_fits, evaluation.n_fits_skipped
    exit_code = int(job.config.checks.strict and bool(findings))
    return JobResult(run.run_id, evaluation.summary, n_fits, n_skipped, exit_code), evaluation


def _make_evaluator(job: PreparedJob) -> Evaluator:
    with console.waiting("loading the trainer and learning the preprocessing of each fold"):
        inputs = job.inputs
        splits, nested = list(inputs.splits), inputs.nested_splits
        evaluator = Evaluator(job.config, inputs.dataset, splits, nested)
    if job.sweep_job is None or job.sweep_job.number == 0:
        console.show(f"Device: {evaluator.device.description}")
    return evaluator


@contextmanager
def _open_run(
    job: PreparedJob, evaluator: Evaluator
) -> Iterator[tuple[TrackedRun, ThreadPoolExecutor, "Future[None]"]]:
    """Open the run of a job while the training compiles in a thread of two.

    A failure before the run is open is recorded in a run of its own, a later one in the run.
    """
    with ExitStack() as stack:
        with record_failures(job.sweep_job):
            if job.previous.run_id:
                claim_run(job.store, job.previous.run_id, job.previous.process)
            executor = stack.enter_context(ThreadPoolExecutor(2))
            compiled = executor.submit(evaluator.compile)
            if job.sweep_job:  # whose store is open
                sweep = job.sweep_job.sweep
                experiment_id, parent = sweep.experiment_id, sweep.run_id
            else:
                with console.waiting("compiling the training and opening the MLflow store"):
                    experiment_id = open_store(job.store, job.config.tracking.experiment_name)
                parent = None
            tags = job.tags | {DEVICE: str(evaluator.device)}
            run = stack.enter_context(
                track(experiment_id, job.run_name, tags, parent, job.previous.run_id)
            )
        yield run, executor, compiled


def _load_finished_folds(
    job: PreparedJob, run: TrackedRun, checkpoint: Checkpoint
) -> list[FoldResult]:
    """Return the folds that the previous run finished, and print their number."""
    previous, splits = job.previous, [*job.inputs.splits, *job.inputs.nested_splits]
    supersede(previous.replaced, run.run_id)
    if previous.failed:
        checkpoint.take_over(previous.failed)
    elif previous.run_id:
        run.skip_logged()
    else:
        return []
    finished = checkpoint.load(splits)
    run.seconds_before = checkpoint.elapsed
    if previous.run_id or finished:
        run_id = previous.run_id or previous.failed or ""
        console.show_continued(job.position, run_id, len(finished), len(splits))
    return finished


def _log_inputs(job: PreparedJob, run: TrackedRun) -> None:
    """Log what is known before training: the settings and the data set."""
    tracking = replace(job.config.tracking, parent_run_id=None)
    config = replace(job.config, tracking=tracking, resume=False)  # what a user would run again
    run.log_settings(flatten(config))
    dataset, path = job.inputs.dataset, getattr(config.dataset, "path", None)
    names = dataset.feature_names, dataset.label_names
    profile = job.inputs.summary.profile()
    run.log_dataset(DatasetInfo(dataset.name, dataset.digest, *names, profile, path))
    with tempfile.TemporaryDirectory() as name:
        write_inputs(Path(name), config, job.inputs.summary)
        run.log_files(Path(name))


def _log_label_figure(job: PreparedJob, run: TrackedRun) -> None:
    """Log the figure of the labels; can run in a thread while the training compiles and begins."""
    if job.has_report and job.config.report.figures:
        with tempfile.TemporaryDirectory() as name:
            write_label_figure(Path(name), job.inputs.summary)
            run.log_files(Path(name))


def _train(
    job: PreparedJob,
    evaluator: Evaluator,
    run: TrackedRun,
    checkpoint: Checkpoint,
    finished: Sequence[FoldResult],
    race: Race | None,
) -> Evaluation:
    """Train all folds and the final model; log, print and keep each fold once it is scored."""
    is_quiet = job.sweep_job is not None
    shown = [*evaluator.warnings]
    console.show_warnings(shown)
    with console.progress_bar(evaluator.total, evaluator.unit, is_quiet) as advance:

        def progress(n: int) -> None:
            advance(n)
            if is_interrupted():
                evaluator.stop()

        try:
            with closing(evaluator.folds(progress, finished, race)) as folds:
                for step, fold in enumerate(folds):
                    if not fold.split.prefix:
                        if not is_quiet:
                            console.show_fold(next(iter(fold.scores.values())))
                        run.log_scores(step, fold.scores)
                    if error := checkpoint.save(fold, run.seconds):
                        console.show_checkpoint_error(error)
        except Stopped:
            raise_interrupt()
            raise
    console.show_warnings(evaluator.warnings[len(shown) :])
    return evaluator.evaluation()


def _log_result(
    job: PreparedJob, run: TrackedRun, evaluation: Evaluation, findings: Sequence[Finding]
) -> None:
    """Print the result, log the rest, and predict new rows with the model as it was logged."""
    if job.sweep_job is None:
        console.show_result(evaluation.summary, "" if evaluation.final else " of the first repeat")
        if evaluation.outer:
            console.show(evaluation.describe_outer_folds())
        console.show_findings(findings)
        if importance := feature_importance(evaluation):
            console.show(*importance_tables(importance, MAX_FEATURES))
    with (
        console.waiting("logging figures and the final model"),
        begin_model(run) if evaluation.final else nullcontext() as model,
    ):
        metrics, summaries = evaluation.metrics(), evaluation.summary.values()
        if "fits_saved" in job.previous.metrics and not evaluation.n_fits_skipped:  # of a race
            metrics.append(("fits_saved", evaluation.n_fits_skipped, 0))
        tags = {CODES: " ".join(finding.code for finding in findings)}
        if evaluation.n_fits_skipped and evaluation.race and evaluation.decision:
            reason = describe_decision(evaluation.race, evaluation.decision)
            tags |= {STOPPED: "1", STOPPED_BECAUSE: reason}
            console.show(
                f"Stopped after the first repeat: {reason}. "
                f"{evaluation.n_fits_skipped} fits skipped."
            )
        if evaluation.final:
            tags[FINAL_FIT] = evaluation.final.describe_fit()
        tables = [*TABLES, *[OUTER_FOLDS] * bool(evaluation.outer), CHECKS]
        n_undefined = sum(it.n_undefined_labels for it in summaries)
        linked = {model.model_id: evaluation.summary_names} if model else {}
        run.log_result(metrics, n_undefined, tags, tables, linked)
        with tempfile.TemporaryDirectory() as name:
            summary = job.inputs.summary
            run_info = RunInfo.of(run.opened(tags), job.config.tracking.experiment_name)
            write_result(
                Path(name), evaluation, summary, run_info, findings, has_report=job.has_report
            )
            run.log_files(Path(name))
            card = (Path(name) / MODEL_CARD).read_text("utf-8") if evaluation.final else ""
        served = None
        if evaluation.final and model:
            served = log_final_model(model, job.inputs.splits, evaluation, evaluation.final, card)
    is_first = job.sweep_job is None or job.sweep_job.number == 0
    is_unusual = job.config.cv.kind == "predefined" or job.config.training.final_fit
    if evaluation.final and is_first and is_unusual:
        console.show(evaluation.final.describe_fit())
    if job.sweep_job:
        part = "" if evaluation.final else ", the first repeat only"
        how = f"{run.seconds:.1f} s{part}"
        console.show_job_result(job.position, evaluation.summary, how)
        return
    rows = job.config.dataset.predict_rows
    if rows and served:
        frame = pd.DataFrame(rows, columns=list(evaluation.dataset.feature_names))
        for y_score in served.predict(None, frame).to_numpy():
            console.show_prediction(y_score)
