"""The parent run of a sweep: begun before the jobs, ended after them with the leaderboard."""

import os
import sys
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from math import prod
from pathlib import Path
from tempfile import TemporaryDirectory

from hydra.core.override_parser.types import Override
from omegaconf import DictConfig, read_write

from pipeline import console
from pipeline.checks import Finding, select
from pipeline.checks.sweep_checks import FoldScores, check_sweep, count_job_findings, is_faulty
from pipeline.comparison import (
    BestJobEstimate,
    Criterion,
    Leaderboard,
    NestedScores,
    estimate_best_job,
    read_leaderboard,
    score_nested,
)
from pipeline.config import affects_scores, parse_tracking, quote
from pipeline.console import run_command
from pipeline.console.leaderboard_tables import (
    describe_estimate,
    describe_nested,
    leaderboard_tables,
)
from pipeline.errors import hide
from pipeline.evaluation.fingerprint import code_version, digest, versions
from pipeline.mlflow_variables import describe_variables
from pipeline.report.artifacts import CHECKS, LEADERBOARD, NESTED, write_leaderboard
from pipeline.runtime import is_interrupted, uninterrupted
from pipeline.scoring import summary_key
from pipeline.stored_report import log_best_report
from pipeline.sweeps.overrides import RESUMABLE, command_line, is_basic, is_grid, sweep_name
from pipeline.tracking import (
    BEST,
    CODES,
    CRITERION,
    RunReader,
    Store,
    Sweep,
    SweepPlan,
    TrackedRun,
    begin_sweep,
    check_store,
    delete_sweep,
    end_dead_runs,
    end_sweep,
    find_page,
    locate,
    open_store,
    send_heartbeats,
)

INTERRUPTED = (130, 143)  # exit codes after Ctrl-C and SIGTERM
EXPECTED = ("mean", "ci_low", "ci_high")  # statistics of the scores to expect of the best job
OF_BEST = ("best/", "expected/", "nested/")  # prefixes of metrics
TO_STORE = ("tracking.uri", "+tracking.uri", "++tracking.uri")


class ParentRun:
    """The parent run of a sweep that this process began and has to end.

    Attributes:
        n_jobs: Number of jobs, or None if only the sweeper knows.
    """

    def __init__(self, config: DictConfig, overrides: Sequence[Override]) -> None:
        """Make the parent run, or reopen one, and pass it to the jobs.

        Raises:
            UserError: If the store cannot be used, or another process is running the sweep.
        """
        tracking = parse_tracking(config)
        self._store = locate(tracking)
        check_store(self._store)
        console.show(*describe_variables(tracking))
        with console.waiting("opening the MLflow store"):
            experiment_id = open_store(self._store, tracking.experiment_name)
        plan = plan_sweep(config, overrides)
        name = tracking.run_name or sweep_name(overrides)
        code = code_version()
        self._heartbeats = ExitStack()
        self._pid = os.getpid()
        self._criterion: Criterion | None = None
        self._ignored_checks, self._is_strict = tuple(config.checks.ignore), config.checks.strict
        self.n_jobs = plan.n_jobs
        try:
            with console.waiting("opening the sweep"), uninterrupted():
                self._sweep, is_resumed = begin_sweep(
                    self._store, experiment_id, plan, name, code, versions(), config.resume
                )
            self._heartbeats.enter_context(send_heartbeats(self._sweep.run_id))
            if is_resumed:
                with console.waiting("listening for jobs that are still running"):
                    end_dead_runs(self._sweep, is_resumed=True)
            _pass_to_jobs(config, self._sweep, self._store, tracking.experiment_name)
            console.show_sweep(self._sweep.run_id, plan.n_jobs, is_resumed, config.resume)
        except BaseException:
            self._heartbeats.close()
            if hasattr(self, "_sweep"):
                end_sweep(self._sweep, is_complete=False, is_interrupted=is_interrupted())
            raise

    def set_expected_jobs(self, n_jobs: int, criterion: Criterion) -> None:
        """Set the number of jobs known so far, and the criterion of the leaderboard."""
        plan = replace(self._sweep.plan, n_jobs=n_jobs)
        self._sweep, self._criterion = replace(self._sweep, plan=plan), criterion
        TrackedRun(self._sweep.run_id).set_tags({CRITERION: criterion.to_tag()})

    def end(self, code: int) -> int:
        """End dead runs, print and log the leaderboard, and return the exit code of the sweep.

        Args:
            code: Exit code so far: 0, or that of the error that stopped the sweep.
        """
        self._heartbeats.close()
        board: Leaderboard | None = None
        is_complete = is_refused = has_findings = False
        try:
            end_dead_runs(self._sweep)
            board = read_leaderboard(self._sweep, self._criterion)
            is_refused = code == 2 and not board.entries
            if not is_refused:
                console.show("", *leaderboard_tables(board))
                with console.waiting("estimating what the best job may score on new rows"):
                    estimate = estimate_best_job(board)
                    nested = score_nested(board)
                console.show(*describe_estimate(estimate), *describe_nested(nested))
                read_folds = _fold_reader(self._store, board.metric)
                findings = select(check_sweep(board, read_folds), self._ignored_checks)
                console.show_findings(findings)
                console.show(*count_job_findings(board))
                has_findings = is_faulty(board, findings)
                log_leaderboard(self._sweep, board, estimate, findings, nested)
                if board.best:
                    with console.waiting("drawing the figures of the best job"):
                        console.show(*log_best_report(self._store, board.best.run_id))
            is_complete = board.is_complete
        except Exception as error:
            _show_error("show and log its leaderboard", error)
        except (KeyboardInterrupt, SystemExit) as error:
            print("Interrupted.", file=sys.stderr)
            code = INTERRUPTED[isinstance(error, SystemExit)]
        code = code or int(not is_complete or (self._is_strict and has_findings))
        try:
            if is_refused:
                delete_sweep(self._sweep)
            else:
                end_sweep(self._sweep, is_complete, code in INTERRUPTED)
        except Exception as error:
            _show_error("set the status of its run", error)
            code = code or 1
        if board and not is_refused:
            console.show("")
            console.show_commands(_next_commands(self._store, self._sweep, board))
        return code

    def end_at_exit(self) -> None:
        """End the run, without a leaderboard, if `end` was not called; not in forked processes."""
        if self._pid != os.getpid():
            return
        is_complete = False
        try:
            end_dead_runs(self._sweep)
            is_complete = read_leaderboard(self._sweep).is_complete
        finally:
            end_sweep(self._sweep, is_complete, is_interrupted())


def plan_sweep(config: DictConfig, overrides: Sequence[Override]) -> SweepPlan:
    """Plan a sweep from its configuration and the overrides of the command line."""
    sizes = {
        override.get_key_element(): len(list(override.sweep_string_iterator()))
        if override.is_discrete_sweep()
        else 1
        for override in overrides
    }
    fixed = [override for override in overrides if not override.is_sweep_override()]
    fixed_lines = sorted(
        override.input_line or ""
        for override in fixed
        if affects_scores(override.key_or_group, override.value())
    )
    # Not sorted: another order of the varied settings gives the jobs other numbers.
    varied_lines = [
        override.input_line or "" for override in overrides if override.is_sweep_override()
    ]
    sweeper = {
        key: setting for key, setting in config.hydra.sweeper.items() if key not in RESUMABLE
    }
    keys = [override.get_key_element().lstrip("+~") for override in fixed]
    return SweepPlan(
        command=command_line(),
        digest=digest("\n".join([repr(sweeper), *fixed_lines, *varied_lines])),
        fixed=(*keys, "tracking.uri", "tracking.parent_run_id", "tracking.experiment_name"),
        n_jobs=prod(sizes.values()) if is_grid(config) else config.hydra.sweeper.get("n_trials"),
        in_order=is_basic(config),
    )


def log_leaderboard(
    sweep: Sweep,
    board: Leaderboard,
    estimate: BestJobEstimate,
    findings: Sequence[Finding] = (),
    nested: NestedScores | None = None,
) -> None:
    """Log the leaderboard to the parent run: tables, a figure, and the scores of the best job."""
    run = TrackedRun(sweep.run_id)
    expected = estimate.scores[0] if estimate.scores else None
    with TemporaryDirectory() as folder:
        write_leaderboard(Path(folder), board, expected, findings, nested)
        names = [LEADERBOARD, CHECKS, *([NESTED] if nested and nested.selections else [])]
        run.log_files(Path(folder), tables=names)
    run.set_tags({CODES: " ".join(finding.code for finding in findings)})
    n_jobs = {"n_finished": board.count("FINISHED"), "n_failed": board.count("FAILED")}
    run.log_metrics((name, n, 0) for name, n in n_jobs.items())
    of_best = [
        (f"expected/{summary_key(score.metric, statistic)}", value, 0)
        for score in estimate.scores
        for statistic, value in zip(EXPECTED, (score.mean, *score.ci), strict=True)
    ]
    of_best += board.best_metrics()
    if nested and nested.selections:
        of_best += nested.metrics()
        counts = [f"{one.name}: {n} of {nested.n_folds}" for one, n in nested.counts]
        run.set_tags({"chosen_in_outer_folds": "; ".join(counts)})
    run.replace_metrics(OF_BEST, of_best)  # of a resumed sweep, some may no longer hold
    if board.best:
        run.set_tags({BEST: board.best.run_id, "best": board.best.name})


def _fold_reader(store: Store, metric: str) -> Callable[[str], FoldScores]:
    """Return a function that reads the scores of a run."""

    def read(run_id: str) -> FoldScores:
        reader = RunReader(store)
        sizes = reader.fold_sizes(run_id)
        scores = reader.fold_scores(run_id, metric, len(sizes))
        return FoldScores(scores, float((sizes[:, 1] / sizes[:, 0]).mean()))

    return read


def _show_error(action: str, error: Exception) -> None:
    reason = str(error).strip().partition("\n")[0]
    console.show_error(f"The sweep could not {action}: {type(error).__name__}: {reason}")


def _pass_to_jobs(config: DictConfig, sweep: Sweep, store: Store, experiment_name: str) -> None:
    """Pass the parent run and absolute paths to every job, as overrides.

    Hydra composes each job again with the overrides of `hydra.overrides.hydra`.
    """
    values = {"++tracking.parent_run_id": sweep.run_id, "++tracking.uri": hide(store.uri)}
    if config.tracking._get_node("experiment_name")._is_interpolation():  # other environments
        values["++tracking.experiment_name"] = experiment_name
    if "${mlruns:" in str(config.hydra.sweep._get_node("dir")._value()):
        values["hydra.sweep.dir"] = config.hydra.sweep.dir
    overrides = config.hydra.overrides
    with read_write(config.hydra):  # the user's own override would come later and win
        overrides.task = [
            override for override in overrides.task if override.partition("=")[0] not in TO_STORE
        ]
        overrides.hydra += [f"{key}={quote(value)}" for key, value in values.items()]


def _next_commands(store: Store, sweep: Sweep, board: Leaderboard) -> dict[str, str]:
    """Return the commands that are useful after the sweep, or its page, by their purpose."""
    commands, run_id = {}, sweep.run_id
    if board.n_ranked > 1:
        options = ["--across"] if board.n_datasets > 1 else []
        commands["Compare"] = run_command("compare", run_id, store, *options)
    if board.best:
        commands["Promote"] = run_command("promote", board.best.run_id, store)
    if not board.is_complete:
        commands["Continue"] = command_line(resume=True)
    page = find_page(store, sweep.experiment_id, run_id)
    commands["Open"] = page or run_command("ui", run_id, store)
    return commands
