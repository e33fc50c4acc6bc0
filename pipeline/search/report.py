"""What a search prints: progress, then the best, how to run it again, and what failed."""

from collections import defaultdict
from collections.abc import Sequence

from rich.table import Table

from pipeline.console import show, show_error, show_file
from pipeline.leaderboard import kind_of
from pipeline.search.plan import Plan
from pipeline.search.study import Study, Trial
from pipeline.sweep.asked import command_of

MAX_SHOWN = 10  # configurations of a Pareto front, trials of a failure
DIGITS = 4


class Report:
    """Prints what becomes of a search; how each job did is said by the job."""

    def __init__(self, plan: Plan, study: Study) -> None:
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
        n_fits, n_saved = sum(t.n_fits for t in done), sum(t.n_saved for t in done)
        show(
            f"Racing stopped {n_stopped} of {len(done)} trials after their first repeat: "
            f"{n_saved} of {n_fits} fits saved"
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
