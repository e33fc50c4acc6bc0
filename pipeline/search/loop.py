"""The search itself: draw, launch, tell, until all configurations have been tried."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.utils import JobReturn
from hydra.plugins.launcher import Launcher
from omegaconf import DictConfig, OmegaConf

from pipeline import sweep
from pipeline.search.plan import Plan
from pipeline.search.report import Report
from pipeline.search.study import Study, Trial
from pipeline.search.study_file import open_study

if TYPE_CHECKING:
    from pipeline.job import Outcome


class Search:
    """One search, from its study to its report."""

    def __init__(self, plan: Plan, config: DictConfig, launcher: Launcher) -> None:
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
        self._expect_jobs()
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
                same = replace(known, n_fits=0, n_saved=0, same_as=known.number)
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
            stopped=result.n_saved > 0,
            n_fits=result.n_fits,
            n_saved=result.n_saved,
        )
        undefined = [
            objective.name
            for objective, value in zip(self._plan.objectives, values, strict=True)
            if value is None
        ]
        if undefined:
            return replace(ended, failure=f"{', '.join(undefined)} is undefined")
        return replace(ended, values=tuple(value for value in values if value is not None))

    def _expect_jobs(self) -> None:
        """Tell the sweep how many jobs it has: a configuration that is drawn again needs none.

        Of several objectives the first decides which is best.
        """
        n_same = sum(trial.same_as is not None for trial in self._study.trials())
        sweep.expect(self._plan.n_places - n_same, self._plan.objectives[0].criterion)

    def _tell(self, ended: Trial) -> None:
        self._n_ended += 1
        self._study.tell(ended)
        if ended.same_as is not None:
            self._expect_jobs()
        self._report.show_trial(ended)


def _line(message: str) -> str:
    return " ".join(message.split())
