"""What a search prints: each trial, then the best, how to run it again and how to go on."""

import os
import shlex
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from rich.table import Table

from pipeline.console import show, show_error, show_file
from pipeline.search.plan import Plan
from pipeline.search.study import Study, Trial

MAX_SHOWN = 10  # configurations of a Pareto front, trials of a failure
DIGITS = 4


class Report:
    """Prints what becomes of a search."""

    def __init__(self, plan: Plan, study: Study, path: Path) -> None:
        """Take what is searched and where it is kept."""
        self._plan, self._study, self._path = plan, study, path
        self._names = [objective.name for objective in plan.objectives]

    def show_start(self, resumed: bool) -> None:
        """Print what is about to happen."""
        config = self._plan.config
        aims = " and ".join(f"{o.direction} {o.name}" for o in self._plan.objectives)
        show(
            f"Search: {self._plan.n_places} configurations to {aims}; sampler {config.sampler}, "
            f"seed {config.seed}"
        )
        if resumed:
            n_done = sum(trial.values is not None for trial in self._study.trials())
            show_file(f"Continuing the study in which {n_done} are done", self._path)
        elif config.resume:
            show("No such search was found to continue; this is a new one.")
        if self._plan.note:
            show(self._plan.note)

    def show_trial(self, trial: Trial) -> None:
        """Print how one trial ended."""
        what = " ".join(trial.overrides)
        if trial.values is None:
            show_error(f"Trial {trial.number} failed: {trial.failure}: {what}")
            return
        how = ", stopped after its first repeat" if trial.stopped else ""
        if not trial.n_fits:
            how += ", known from an earlier trial"
        show(f"Trial {trial.number}: {self._values(trial)}{how}: {what}")

    def show_end(self, trials: Sequence[Trial]) -> None:
        """Print the best, what failed, what racing saved, and the commands to go on.

        Args:
            trials: All that have ended, earlier sessions of the study included.
        """
        done = [trial for trial in trials if trial.values is not None]
        self._show_best(self._study.best(), len(done))
        self._show_racing(done)
        self._show_failures([trial for trial in trials if trial.values is None])
        n_left = self._plan.n_places - len(done)
        if n_left:
            show(f"{n_left} of {self._plan.n_places} configurations are left; go on with")
            show(f"  {self._command_to_go_on()}")
        show_file("Study", self._path)

    def _show_best(self, best: Sequence[Trial], n_tried: int) -> None:
        if not best:
            show("No configuration was evaluated whole.")
            return
        if len(self._names) == 1:
            where = f"trial {best[0].number}"
            show(f"Best of {n_tried} configurations: {self._values(best[0])} ({where})")
            for override in best[0].overrides:
                show(f"  {override}")
        else:
            show(f"{len(best)} of {n_tried} configurations are beaten in all by no other:")
            show(self._front(best[:MAX_SHOWN]))
        for trial in best[:MAX_SHOWN]:
            show("Run it again with" if len(best) == 1 else f"Run trial {trial.number} again with")
            show(f"  {self._command_of(trial)}")
        if len(best) > MAX_SHOWN:
            show(f"... and {len(best) - MAX_SHOWN} more")

    def _front(self, best: Sequence[Trial]) -> Table:
        table = Table("trial", *self._names, "settings", box=None, pad_edge=False)
        for trial in best:
            values = [f"{value:.{DIGITS}f}" for value in trial.values or ()]
            table.add_row(str(trial.number), *values, " ".join(trial.overrides))
        return table

    def _show_racing(self, trials: Sequence[Trial]) -> None:
        stopped = [trial for trial in trials if trial.stopped]
        if self._plan.racing:
            n_fits = sum(trial.n_fits for trial in trials)
            n_saved = sum(trial.n_saved for trial in trials)
            show(
                f"Racing stopped {len(stopped)} of {len(trials)} trials after their first repeat: "
                f"{n_saved} of {n_fits} fits saved"
            )

    def _show_failures(self, failed: Sequence[Trial]) -> None:
        by_reason: dict[str, list[int]] = defaultdict(list)
        for trial in failed:
            by_reason[trial.failure or "no reason known"].append(trial.number)
        for reason, numbers in by_reason.items():
            shown = ", ".join(map(str, numbers[:MAX_SHOWN]))
            more = ", ..." if len(numbers) > MAX_SHOWN else ""
            show_error(f"{len(numbers)} failed (trials {shown}{more}): {reason}")

    def _values(self, trial: Trial) -> str:
        values = zip(self._names, trial.values or (), strict=True)
        return ", ".join(f"{name} {value:.{DIGITS}f}" for name, value in values)

    def _command_of(self, trial: Trial) -> str:
        folder = self._plan.config_dir
        extra = [f"--config-dir={folder}"] if folder else []
        fixed = [word for word in self._plan.space.fixed if not word.startswith("racing")]
        return shlex.join([*_program(), *extra, *fixed, *trial.overrides])

    def _command_to_go_on(self) -> str:
        resume = "resume=true" if self._plan.has_resume else "hydra.sweeper.resume=true"
        return shlex.join([*_program(), *(a for a in sys.argv[1:] if a != resume), resume])


def _program() -> list[str]:
    """Return the words that started this program."""
    called = Path(sys.argv[0])
    if called.name == "__main__.py":
        return [_short(Path(sys.executable)), "-m", called.parent.name]
    return [_short(called)]


def _short(path: Path) -> str:
    relative = os.path.relpath(path)
    return str(path) if relative.startswith("..") else relative
