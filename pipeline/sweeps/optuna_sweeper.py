"""The search loop."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf
from rich.table import Table

from pipeline.comparison import kind_of
from pipeline.console import show, show_error, show_file
from pipeline.sweeps.callback import set_expected_jobs
from pipeline.sweeps.overrides import command_of
from pipeline.sweeps.search_plan import SearchPlan
from pipeline.sweeps.study import Study, Trial, open_study

if TYPE_CHECKING:
    from pipeline.job import Outcome


MAX_SHOWN = 10  # configurations of a Pareto front, trials of a failure
DIGITS = 4


class Report:
    """Prints what becomes of a search; how each job did is said by the job."""

    def __init__(self, plan: SearchPlan, study: Study) -> None:
        """Take what is searched, and where it stands."""
        self._plan, self._study = plan, study
        self._names = [objective.name for objective in plan.objectives]

    def show_start(self) -> None:
        """Print what is about to happen."""
        config, n_done = self._plan.config, self._study.n_done
        aims = " and ".join(f"{o.direction} {o.name}" for o in self._plan.objectives)
        done = f", {n_done} of them done" if n_done else ""
        show(
            f"Search: {self._plan.n_places} configurations to {aims}{done}; "
            f"sampler {config.sampler}, seed {config.seed}"
        )
        if self._plan.note:
            show(self._plan.note)

    def show_trial(self, trial: Trial) -> None:
        """Print what the search makes of a trial that has ended."""
        if trial.same_as is not None:
            show(f"Trial {trial.number} is the same as trial {trial.same_as}; it is not run again.")
        elif len(self._names) > 1 and trial.values:
            show(f"Trial {trial.number}: {self._values(trial)}")
        elif any(best.number == trial.number for best in self._study.best()):
            show(f"Best so far: {self._values(trial)}, trial {trial.number}")

    def show_end(self, trials: Sequence[Trial]) -> None:
        """Print the best, what failed and what racing saved.

        Args:
            trials: All that have ended, those before the search was resumed included.
        """
        done = [trial for trial in trials if trial.values is not None]
        show("")
        n_tried = sum(trial.same_as is None for trial in done)
        self._show_best(self._study.best(), n_tried)
        self._show_racing(done)
        self._show_failures([trial for trial in trials if trial.values is None])
        if n_left := self._plan.n_places - len(done):
            show(f"{n_left} of {self._plan.n_places} configurations are left; resume=true goes on.")
        show_file("Study", self._plan.file)

    def _show_best(self, best: Sequence[Trial], n_tried: int) -> None:
        if not best:
            show("No configuration was evaluated whole.")
        elif len(self._names) == 1:
            of = "the only configuration" if n_tried == 1 else f"{n_tried} configurations"
            show(f"Best of {of}: {self._values(best[0])}, run {best[0].run_id}")
            for override in best[0].overrides:
                show(f"  {override}")
            show(f"Again  {self._command_of(best[0])}")
        else:
            show(f"{len(best)} of {n_tried} configurations are beaten in all by no other:")
            show(self._front(best[:MAX_SHOWN]))
            for trial in best[:MAX_SHOWN]:
                show(f"Trial {trial.number} again  {self._command_of(trial)}")
            if len(best) > MAX_SHOWN:
                show(f"... and {len(best) - MAX_SHOWN} more")
            show(f"The first, {self._names[0]}, decides the ranks of the leaderboard.")

    def _front(self, best: Sequence[Trial]) -> Table:
        table = Table("trial", *self._names, "run", "settings", box=None, pad_edge=False)
        for trial in best:
            values = [f"{value:.{DIGITS}f}" for value in trial.values or ()]
            settings = " ".join(trial.overrides)
            table.add_row(str(trial.number), *values, trial.run_id, settings)
        return table

    def _show_racing(self, done: Sequence[Trial]) -> None:
        if not self._plan.racing:
            return
        n_stopped = sum(trial.stopped for trial in done)
        n_fits, n_fits_skipped = sum(t.n_fits for t in done), sum(t.n_fits_skipped for t in done)
        show(
            f"Racing stopped {n_stopped} of {len(done)} trials after their first repeat: "
            f"{n_fits_skipped} of {n_fits} fits saved"
        )

    def _show_failures(self, failed: Sequence[Trial]) -> None:
        by_reason: dict[str, list[Trial]] = defaultdict(list)
        for trial in failed:
            by_reason[kind_of(trial.failure or "")].append(trial)
        for trials in by_reason.values():
            shown = ", ".join(str(trial.number) for trial in trials[:MAX_SHOWN])
            more = ", ..." if len(trials) > MAX_SHOWN else ""
            reason = trials[0].failure or "no reason known"
            show_error(f"{len(trials)} failed (trials {shown}{more}): {reason}")

    def _values(self, trial: Trial) -> str:
        values = zip(self._names, trial.values or (), strict=True)
        return ", ".join(f"{name} {value:.{DIGITS}f}" for name, value in values)

    def _command_of(self, trial: Trial) -> str:
        skipped = ("racing", "resume=", "tracking.uri=")
        fixed = [word for word in self._plan.space.fixed if not word.startswith(skipped)]
        return command_of(*self._plan.elsewhere, *fixed, *trial.overrides)


class Search:
    """One search, from its study to its report."""

    def __init__(self, plan: SearchPlan, config: DictConfig, launcher: Launcher) -> None:
        """Open the study; where the sweep is resumed, it is there.

        Args:
            plan: What to do.
            config: What Hydra composed.
            launcher: Runs jobs.

        Raises:
            UserError: If the study is in use.
        """
        self._plan, self._config, self._launcher = plan, config, launcher
        self._file, kept = open_study(plan.file, plan.objectives)
        self._study = Study(kept, plan.space, plan.config, plan.n_places)
        self._report = Report(plan, self._study)
        self._report.show_start()
        self._set_expected_jobs()
        self.n_failed = 0
        self._n_ended = self._study.n_done

    def run(self) -> list[JobReturn]:
        """Run what is left to run and show the best; also after an interruption."""
        folder = Path(self._config.hydra.sweep.dir)
        folder.mkdir(parents=True, exist_ok=True)
        OmegaConf.save(self._config, folder / "multirun.yaml")
        returns: list[JobReturn] = []
        try:
            while batch := self._batch():
                returns += self._launch(batch)
        finally:
            self._study.abandon()
            trials = self._study.trials()
            self.n_failed = sum(trial.failure is not None for trial in trials)
            self._report.show_end(trials)
            self._file.close()
        return returns

    def _batch(self) -> list[Trial]:
        """Return the next trials to launch; those of a known result are told at once."""
        batch: list[Trial] = []
        while len(batch) < self._plan.config.n_jobs and (drawn := self._study.draw()):
            known = self._study.known(drawn)
            if known is None:
                batch.append(drawn)
            else:
                same = replace(known, n_fits=0, n_fits_skipped=0, same_as=known.number)
                self._tell(replace(same, number=drawn.number))
        return batch

    def _launch(self, batch: Sequence[Trial]) -> Sequence[JobReturn]:
        fixed = (*self._plan.space.fixed, *self._racing())
        overrides = [[*fixed, *trial.overrides] for trial in batch]
        returns = self._launcher.launch(overrides, initial_job_idx=self._n_ended)
        for trial, returned in zip(batch, returns, strict=True):
            self._tell(self._ended(trial, returned))
        return returns

    def _racing(self) -> tuple[str, ...]:
        """Return what tells jobs whom they race against: the best so far, once there is one."""
        best = self._study.best() if self._plan.names_incumbent else []
        if not best:
            return ()
        (objective,) = self._plan.objectives
        return (
            f"racing.incumbent={best[0].run_id}",
            f"racing.metric={objective.metric}",
            f"racing.direction={objective.direction}",
        )

    def _ended(self, trial: Trial, returned: JobReturn) -> Trial:
        """Return the trial with what its job returned."""
        try:
            outcome: Outcome | None = returned.return_value
        except Exception as error:
            return replace(trial, failure=_line(f"{type(error).__name__}: {error}"))
        result = outcome.result if outcome else None
        if outcome is None or result is None:
            failure = outcome.failure if outcome else None
            return replace(trial, failure=_line(failure or "no result"))
        values = [objective.value(result.summary) for objective in self._plan.objectives]
        ended = replace(
            trial,
            run_id=result.run_id,
            stopped=result.n_fits_skipped > 0,
            n_fits=result.n_fits,
            n_fits_skipped=result.n_fits_skipped,
        )
        undefined = [
            objective.name
            for objective, value in zip(self._plan.objectives, values, strict=True)
            if value is None
        ]
        if undefined:
            return replace(ended, failure=f"{', '.join(undefined)} is undefined")
        return replace(ended, values=tuple(value for value in values if value is not None))

    def _set_expected_jobs(self) -> None:
        """Tell the sweep how many jobs it has: a configuration that is drawn again needs none.

        Of several objectives the first decides which is best.
        """
        n_same = sum(trial.same_as is not None for trial in self._study.trials())
        set_expected_jobs(self._plan.n_places - n_same, self._plan.objectives[0].criterion)

    def _tell(self, ended: Trial) -> None:
        self._n_ended += 1
        self._study.tell(ended)
        if ended.same_as is not None:
            self._set_expected_jobs()
        self._report.show_trial(ended)


def _line(message: str) -> str:
    return " ".join(message.split())
