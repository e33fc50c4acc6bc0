"""The Optuna study of a search: its file, samplers and trials."""

import fcntl
import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages.journal import JournalFileBackend, JournalFileOpenLock, JournalStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pipeline.errors import UserError
from pipeline.sweeps.search_plan import SearchConfig
from pipeline.sweeps.search_space import Choice, Objective, Parameter, SearchSpace


class StudyLock(JournalFileOpenLock):
    """Locks the file of a study for this process until `close`, or until the process ends.

    Optuna's own locks are files, which a killed process leaves behind. Their base class is not
    public, so this class inherits from one of them.
    """

    def __init__(self, path: Path) -> None:
        """Create the file if it does not exist, and lock it.

        Raises:
            UserError: If another process has locked it.
        """
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 - see close
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise UserError(
                f"resume: another process is running the search {path.stem}. Wait until it ends."
            ) from error

    def acquire(self) -> bool:
        """Remove an incomplete last line, left by a kill or a full disk, before each write."""
        size = self._file.seek(0, os.SEEK_END)
        if size and os.pread(self._file.fileno(), 1, size - 1) != b"\n":
            self._file.seek(0)
            self._file.truncate(self._file.read().rfind(b"\n") + 1)
        return True

    def release(self) -> None:
        """Do nothing: the lock lasts for the whole search."""

    def close(self) -> None:
        """Unlock the file."""
        self._file.close()


def open_study(path: Path, objectives: Sequence[Objective]) -> tuple[StudyLock, optuna.Study]:
    """Open the study in a file, or create both; close the lock at the end.

    Raises:
        UserError: If another process uses the study.
    """
    lock = StudyLock(path)
    study = optuna.create_study(
        storage=JournalStorage(JournalFileBackend(str(path), lock_obj=lock)),
        study_name=path.stem,
        directions=[objective.direction for objective in objectives],
        load_if_exists=True,
    )
    return lock, study


def make_sampler(config: SearchConfig, config_index: int) -> BaseSampler:
    """Make the sampler of one configuration.

    Each configuration has a seed of its own, so that a resumed study samples what an
    uninterrupted one would have sampled.
    """
    seed = int(np.random.SeedSequence([config.seed, config_index]).generate_state(1)[0])
    return TPESampler(seed=seed) if config.sampler == "tpe" else RandomSampler(seed=seed)


def make_distribution(parameter: Parameter) -> BaseDistribution:
    """Return the Optuna distribution of a parameter."""
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.options)
    low, high, log = parameter.low, parameter.high, parameter.log
    if parameter.integer:
        return IntDistribution(int(low), int(high), log=log, step=int(parameter.step or 1))
    return FloatDistribution(low, high, log=log, step=parameter.step)


EVALUATED = (TrialState.COMPLETE, TrialState.PRUNED)
CONFIG_INDEX = "config_index"  # user attribute of every trial
USER_ATTRIBUTES = ("failure", "run_id", "n_fits", "n_fits_skipped", "duplicate_of")  # of `Trial`
ParameterValues = dict[str, float | str]
optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Trial:
    """A trial: one attempt to evaluate a configuration.

    Attributes:
        number: Number of the trial in the study, from 0; a repeated attempt has a new one.
        overrides: Overrides of the configuration.
        values: Values of the objectives; None until they are known, or after a failure.
        stopped: Whether racing stopped it; the values are then those of the first repeat alone.
        failure: Reason of the failure, or None.
        run_id: Id of its MLflow run, or None.
        n_fits: Number of fits of a whole evaluation.
        n_fits_skipped: Number of fits that racing skipped.
        duplicate_of: Number of the evaluated trial that has the same configuration, if any.
    """

    number: int
    overrides: tuple[str, ...]
    values: tuple[float, ...] | None = None
    stopped: bool = False
    failure: str | None = None
    run_id: str | None = None
    n_fits: int = 0
    n_fits_skipped: int = 0
    duplicate_of: int | None = None


class Study:
    """Samples configurations and stores their results.

    Configurations are numbered from 0. The values of one depend on the seed, its number and the
    results of the previous ones, so that a resumed study samples what an uninterrupted one would
    have sampled. A configuration whose trial failed or was interrupted is tried again on resume; so
    is one that racing stopped if the search goes on without racing.
    """

    def __init__(
        self, study: optuna.Study, space: SearchSpace, config: SearchConfig, has_racing: bool = True
    ) -> None:
        """Continue an Optuna study that no other process uses."""
        self._study, self._space, self._config = study, space, config
        self._evaluated = EVALUATED if has_racing else (TrialState.COMPLETE,)
        self._distributions = {
            key: make_distribution(parameter) for key, parameter in space.parameters.items()
        }
        self._running: dict[int, optuna.Trial] = {}
        self._retries = self._find_unfinished()

    def trials(self) -> list[Trial]:
        """Return the last trial of each configuration; interrupted trials are left out."""
        trials = [self._to_trial(trial) for trial in self._last_trials().values()]
        return [trial for trial in trials if trial.values is not None or trial.failure]

    @property
    def n_evaluated(self) -> int:
        """Number of evaluated configurations."""
        return sum(trial.values is not None for trial in self.trials())

    def ask(self) -> Trial | None:
        """Return the next trial to run, or None at the end of the search."""
        if self._retries:
            config_index = next(iter(self._retries))
            self._study.enqueue_trial(self._retries.pop(config_index))
        else:
            config_index = 1 + max(self._last_trials(), default=-1)
            if config_index >= self._config.n_trials:
                return None
            if self._config.sampler == "grid":
                self._study.enqueue_trial(self._space.grid()[config_index])
        self._study.sampler = make_sampler(self._config, config_index)
        trial = self._study.ask(self._distributions)
        trial.set_user_attr(CONFIG_INDEX, config_index)
        self._running[trial.number] = trial
        return Trial(trial.number, self._space.overrides(trial.params))

    def find_evaluated(self, overrides: tuple[str, ...]) -> Trial | None:
        """Return an evaluated trial with the same overrides, or None."""
        for trial in self.trials():
            if trial.overrides == overrides and trial.values is not None:
                return trial
        return None

    def tell(self, ended: Trial) -> None:
        """Store the result of a trial."""
        trial = self._running.pop(ended.number)
        for name in USER_ATTRIBUTES:
            if (value := getattr(ended, name)) is not None:
                trial.set_user_attr(name, value)
        if ended.values is None:
            self._study.tell(trial, state=TrialState.FAIL)
        elif ended.stopped:
            trial.report(ended.values[0], step=1)
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, list(ended.values))

    def abandon_running(self) -> None:
        """Fail the running trials; a resumed study tries their configurations again."""
        for number in list(self._running):
            self.tell(Trial(number, ()))

    def best(self) -> list[Trial]:
        """Return the best trial, or the Pareto front of several objectives."""
        complete = self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        if not complete:
            return []
        if len(self._study.directions) == 1:
            sign = -1 if self._study.direction == StudyDirection.MAXIMIZE else 1
            return [self._to_trial(min(complete, key=lambda trial: sign * trial.values[0]))]
        best = [self._to_trial(trial) for trial in self._study.best_trials]
        return list({trial.overrides: trial for trial in reversed(best)}.values())[::-1]

    def _last_trials(self) -> dict[int, FrozenTrial]:
        """Return the last trial of each configuration by its number."""
        trials: dict[int, FrozenTrial] = {}
        for trial in self._study.get_trials(deepcopy=False):
            if CONFIG_INDEX in trial.user_attrs:
                trials[trial.user_attrs[CONFIG_INDEX]] = trial
        return dict(sorted(trials.items()))

    def _find_unfinished(self) -> dict[int, ParameterValues]:
        """Return the values of configurations that are not evaluated, by their number."""
        while self._study.get_trials(deepcopy=False, states=[TrialState.WAITING]):
            self._study.ask()  # the process ended between `enqueue_trial` and `ask`
        for trial in self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            self._study.tell(trial.number, state=TrialState.FAIL)
        return {
            config_index: trial.params
            for config_index, trial in self._last_trials().items()
            if trial.state not in self._evaluated
        }

    def _to_trial(self, trial: FrozenTrial) -> Trial:
        attributes = trial.user_attrs
        return Trial(
            number=trial.number,
            overrides=self._space.overrides(trial.params),
            values=tuple(trial.values) if trial.state in self._evaluated and trial.values else None,
            stopped=trial.state == TrialState.PRUNED,
            **{name: attributes[name] for name in USER_ATTRIBUTES if name in attributes},
        )
