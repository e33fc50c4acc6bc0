"""The search: run trials in batches, store their results and print a report."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from pipeline.comparison import without_received_value
from pipeline.console import show, show_error, show_file
from pipeline.outcome import Outcome
from pipeline.scoring import format_number
from pipeline.sweeps.callback import set_expected_jobs
from pipeline.sweeps.search_plan import SearchPlan
from pipeline.sweeps.study import Study, Trial, open_study

MAX_SHOWN = 10  # trials with the same failure
ID_LENGTH = 8  # characters of a run id, as in the leaderboard


class SearchReport:
    """Prints the progress of a search; jobs print their results, and the sweep its leaderboard."""

    def __init__(self, plan: SearchPlan, study: Study) -> None:
        """Store the plan and the study."""
        self._plan, self._study = plan, study
        self._names = [objective.name for objective in plan.objectives]

    def show_start(self) -> None:
        """Print the plan of the search."""
        config, n_evaluated = self._plan.config, self._study.n_evaluated
        objectives = " and ".join(f"{o.direction} {o.name}" for o in self._plan.objectives)
        already = f", {n_evaluated} of them evaluated" if n_evaluated else ""
        show(
            f"Search: {config.n_trials} configurations to {objectives}{already}; "
            f"sampler {config.sampler}, seed {config.seed}"
        )
        if self._plan.note:
            show(self._plan.note)

    def show_trial(self, trial: Trial) -> None:
        """Print an ended trial if it is a duplicate, the best so far, or has several objectives."""
        if trial.duplicate_of is not None:
            show(f"Trial {trial.number} repeats trial {trial.duplicate_of}; it is not run again.")
        elif len(self._names) > 1 and trial.values:
            run = str(trial.run_id)[:ID_LENGTH]
            show(f"Trial {trial.number}: {self._format_values(trial)}, run {run}")
        elif any(best.number == trial.number for best in self._study.best()):
            show(f"Best so far: {self._format_values(trial)}, trial {trial.number}")

    def show_end(self, trials: Sequence[Trial]) -> None:
        """Print the Pareto front, the fits that racing skipped, and failures by reason."""
        evaluated = [trial for trial in trials if trial.values is not None]
        show("")
        if len(self._names) > 1 and evaluated:
            self._show_pareto_front()
        self._show_racing(evaluated)
        self._show_failures([trial for trial in trials if trial.values is None])
        if n_left := self._plan.config.n_trials - len(evaluated):
            show(
                f"{n_left} of {self._plan.config.n_trials} configurations are left: use resume=true"
            )
        show_file("Study", self._plan.file)

    def _show_pareto_front(self) -> None:
        runs = ", ".join(str(trial.run_id)[:ID_LENGTH] for trial in self._study.best())
        show(f"Pareto front of {' and '.join(self._names)}: runs {runs}")
        show(f"The leaderboard ranks by the first, {self._names[0]}.")

    def _show_racing(self, evaluated: Sequence[Trial]) -> None:
        if not self._plan.has_racing:
            return
        evaluated = [trial for trial in evaluated if trial.duplicate_of is None]
        n_stopped = sum(trial.stopped for trial in evaluated)
        n_fits = sum(trial.n_fits for trial in evaluated)
        n_fits_skipped = sum(trial.n_fits_skipped for trial in evaluated)
        show(
            f"Racing stopped {n_stopped} of {len(evaluated)} trials after their first repeat: "
            f"{n_fits_skipped} of {n_fits} fits saved"
        )

    def _show_failures(self, failed: Sequence[Trial]) -> None:
        by_reason: dict[str, list[Trial]] = defaultdict(list)
        for trial in failed:
            by_reason[without_received_value(trial.failure or "")].append(trial)
        for trials in by_reason.values():
            numbers = ", ".join(str(trial.number) for trial in trials[:MAX_SHOWN])
            more = ", ..." if len(trials) > MAX_SHOWN else ""
            reason = trials[0].failure or "unknown reason"
            show_error(f"{len(trials)} failed (trials {numbers}{more}): {reason}")

    def _format_values(self, trial: Trial) -> str:
        values = zip(self._names, trial.values or (), strict=True)
        return ", ".join(f"{name} {format_number(value)}" for name, value in values)


class Search:
    """One search: asks the study for trials, launches them as jobs and stores their results.

    Attributes:
        n_failed: Number of failed trials, known at the end.
    """

    def __init__(self, plan: SearchPlan, config: DictConfig, launcher: Launcher) -> None:
        """Open the study, which exists if the sweep is resumed.

        Raises:
            UserError: If another process uses the study.
        """
        self._plan, self._config, self._launcher = plan, config, launcher
        self._lock, optuna_study = open_study(plan.file, plan.objectives)
        self._study = Study(optuna_study, plan.space, plan.config, plan.has_racing)
        self._report = SearchReport(plan, self._study)
        self._report.show_start()
        self._set_expected_jobs()
        self.n_failed = 0
        self._n_ended = self._study.n_evaluated

    def run(self) -> list[JobReturn]:
        """Run the remaining trials and print the report, after an interruption as well."""
        folder = Path(self._config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self._config, folder / "multirun.yaml")
        returns: list[JobReturn] = []
        try:
            while batch := self._next_batch():
                returns += self._launch(batch)
        finally:
            self._study.abandon_running()
            trials = self._study.trials()
            self.n_failed = sum(trial.failure is not None for trial in trials)
            self._report.show_end(trials)
            self._lock.close()
        return returns

    def _next_batch(self) -> list[Trial]:
        """Return the next trials to launch; duplicates of evaluated ones get their result here."""
        batch: list[Trial] = []
        while len(batch) < self._plan.config.n_jobs and (trial := self._study.ask()):
            evaluated = self._study.find_evaluated(trial.overrides)
            if evaluated is None:
                batch.append(trial)
            else:
                result = replace(evaluated, n_fits=0, n_fits_skipped=0)
                self._tell(replace(result, number=trial.number, duplicate_of=evaluated.number))
        return batch

    def _launch(self, batch: Sequence[Trial]) -> Sequence[JobReturn]:
        fixed = (*self._plan.space.fixed, *self._incumbent_overrides())
        overrides = [[*fixed, *trial.overrides] for trial in batch]
        returns = self._launcher.launch(overrides, initial_job_idx=self._n_ended)
        for trial, returned in zip(batch, returns, strict=True):
            self._tell(self._add_result(trial, returned))
        return returns

    def _incumbent_overrides(self) -> tuple[str, ...]:
        """Return the overrides that let jobs race against the best trial, once there is one."""
        best = self._study.best() if self._plan.sets_incumbent else []
        if not best:
            return ()
        (objective,) = self._plan.objectives
        trials = self._study.trials()
        n_candidates = sum(
            trial.values is not None and trial.duplicate_of is None for trial in trials
        )
        return (
            f"racing.incumbent={best[0].run_id}",
            f"racing.n_candidates={n_candidates}",
            f"racing.metric={objective.metric}",
            f"racing.direction={objective.direction}",
        )

    def _add_result(self, trial: Trial, returned: JobReturn) -> Trial:
        """Return the trial with the result of its job."""
        try:
            outcome: Outcome | None = returned.return_value
        except Exception as error:
            return replace(trial, failure=_one_line(f"{type(error).__name__}: {error}"))
        result = outcome.result if outcome else None
        if outcome is None or result is None:
            failure = outcome.failure if outcome else None
            return replace(trial, failure=_one_line(failure or "no result"))
        trial = replace(
            trial,
            run_id=result.run_id,
            stopped=result.n_fits_skipped > 0,
            n_fits=result.n_fits,
            n_fits_skipped=result.n_fits_skipped,
        )
        values = {o.name: o.value(result.summary) for o in self._plan.objectives}
        undefined = [name for name, value in values.items() if value is None]
        if undefined:
            return replace(trial, failure=f"{', '.join(undefined)} is undefined")
        return replace(trial, values=tuple(value for value in values.values() if value is not None))

    def _set_expected_jobs(self) -> None:
        """Pass the number of jobs to the sweep, and the criterion of its leaderboard.

        Duplicates need no job. The first of several objectives ranks.
        """
        n_duplicates = sum(trial.duplicate_of is not None for trial in self._study.trials())
        n_jobs = self._plan.config.n_trials - n_duplicates
        set_expected_jobs(n_jobs, self._plan.objectives[0].criterion)

    def _tell(self, ended: Trial) -> None:
        self._n_ended += 1
        self._study.tell(ended)
        if ended.duplicate_of is not None:
            self._set_expected_jobs()
        self._report.show_trial(ended)


def _one_line(message: str) -> str:
    return " ".join(message.split())
