"""The Optuna study: samplers, trials and its file."""

import fcntl
import json
import os
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)
from optuna.samplers import BaseSampler, RandomSampler, TPESampler
from optuna.storages.journal import BaseJournalBackend, JournalStorage
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pipeline.errors import UserError
from pipeline.sweeps.search_plan import SearchConfig, grid_values
from pipeline.sweeps.search_space import Choice, Objective, Parameter, Space


def make_sampler(config: SearchConfig, space: Space, place: int) -> BaseSampler:
    """Return what draws the configuration in that place of a study, and no other.

    Its randomness is the place's own, so that a study that was cut off goes on as it would have.
    """
    if config.sampler == "grid":
        return Given(grid_values(space, place))
    seed = int(np.random.SeedSequence([config.seed, place]).generate_state(1)[0])
    return TPESampler(seed=seed) if config.sampler == "tpe" else RandomSampler(seed=seed)


class Given(BaseSampler):
    """Draws what it is given."""

    def __init__(self, values: Mapping[str, float | str]) -> None:
        """Take a value for each parameter."""
        self._values = values

    def infer_relative_search_space(
        self, study: optuna.Study, trial: FrozenTrial
    ) -> dict[str, BaseDistribution]:
        """Return nothing: no parameter depends on another."""
        return {}

    def sample_relative(
        self, study: optuna.Study, trial: FrozenTrial, search_space: dict[str, BaseDistribution]
    ) -> dict[str, float | str]:
        """Return nothing: no parameter depends on another."""
        return {}

    def sample_independent(
        self,
        study: optuna.Study,
        trial: FrozenTrial,
        param_name: str,
        param_distribution: BaseDistribution,
    ) -> float | str:
        """Return the value of one parameter."""
        return self._values[param_name]


def make_distribution(parameter: Parameter) -> BaseDistribution:
    """Return a parameter in Optuna's words."""
    if isinstance(parameter, Choice):
        return CategoricalDistribution(parameter.options)
    low, high, log = parameter.low, parameter.high, parameter.log
    if parameter.integer:
        return IntDistribution(int(low), int(high), log=log, step=int(parameter.step or 1))
    return FloatDistribution(low, high, log=log, step=parameter.step)


class StudyFile(BaseJournalBackend):
    """One study's journal, in the hands of one process.

    What is written is on disk when `append_logs` returns, whole or, on a full disk, not at all.
    """

    def __init__(self, path: Path) -> None:
        """Open the file and keep other processes out until `close`.

        Raises:
            UserError: If another process has it.
        """
        self.path = path
        path.parent.mkdir(parents=True, exist_ok=True)
        self._file = open(path, "a+b", buffering=0)  # noqa: SIM115 - see close
        try:
            fcntl.flock(self._file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as error:
            self._file.close()
            raise UserError(
                f"resume: expected a search that has ended. Received: {path.stem}, which another "
                "process is running."
            ) from error
        self._file.seek(0)
        written, _, torn = self._file.read().rpartition(b"\n")
        self._size = self._file.tell() - len(torn)
        self._file.truncate(self._size)
        self._logs = [json.loads(line) for line in written.splitlines()]

    def close(self) -> None:
        """Let other processes have the file."""
        self._file.close()

    def read_logs(self, log_number_from: int) -> Iterable[dict[str, Any]]:
        """Return the events from that number on."""
        return iter(self._logs[log_number_from:])

    def append_logs(self, logs: list[dict[str, Any]]) -> None:
        """Write events."""
        lines = "".join(json.dumps(log, separators=(",", ":")) + "\n" for log in logs).encode()
        try:
            if self._file.write(lines) != len(lines):
                raise OSError(f"{self.path}: the disk is full")
            os.fsync(self._file.fileno())
        except OSError:
            self._file.truncate(self._size)
            raise
        self._size += len(lines)
        self._logs += [json.loads(line) for line in lines.splitlines()]


def open_study(path: Path, objectives: Sequence[Objective]) -> tuple[StudyFile, optuna.Study]:
    """Return the study that a file keeps, and the file; both are new where it is not there.

    Args:
        path: The file.
        objectives: What is made better.

    Raises:
        UserError: If another process uses it.
    """
    file = StudyFile(path)
    study = optuna.create_study(
        storage=JournalStorage(file),
        study_name=path.stem,
        directions=[objective.direction for objective in objectives],
        load_if_exists=True,
    )
    return file, study


DONE = (TrialState.COMPLETE, TrialState.PRUNED)
TOLD = ("failure", "run_id", "n_fits", "n_fits_skipped", "same_as")  # that Optuna has no place for
Values = dict[str, float | str]
optuna.logging.set_verbosity(optuna.logging.WARNING)


@dataclass(frozen=True)
class Trial:
    """One configuration of a study.

    Attributes:
        number: Of the trial; a configuration that is tried again has a new one.
        overrides: What it sets.
        values: Its objectives; None until they are known.
        stopped: Whether racing stopped it: the values are of its first repeat alone.
        failure: Why it failed, or None.
        run_id: Of its MLflow run, where it has one.
        n_fits: Fits that it would take.
        n_fits_skipped: Fits that racing saved.
        same_as: Number of an earlier trial of the same configuration, which was not run again.
    """

    number: int
    overrides: tuple[str, ...]
    values: tuple[float, ...] | None = None
    stopped: bool = False
    failure: str | None = None
    run_id: str | None = None
    n_fits: int = 0
    n_fits_skipped: int = 0
    same_as: int | None = None


class Study:
    """Draws configurations and remembers what came of them.

    A configuration has a place in the study, from 0. What is drawn for it depends on the seed, the
    place and the results of earlier ones, so that a study that was interrupted and continued draws
    what an undisturbed one would have drawn.
    """

    def __init__(
        self, study: optuna.Study, space: Space, config: SearchConfig, n_places: int
    ) -> None:
        """Take a study that no other process uses; what it left undone comes first."""
        self._study, self._space, self._config = study, space, config
        self._distributions = {
            key: make_distribution(parameter) for key, parameter in space.parameters.items()
        }
        self._n_places = n_places
        self._drawn: dict[int, optuna.Trial] = {}
        self._again = self._take_up()

    def trials(self) -> list[Trial]:
        """Return what was evaluated or failed: the last trial of each configuration, in order.

        What was cut off is neither.
        """
        trials = [self._record(trial) for trial in self._latest().values()]
        return [trial for trial in trials if trial.values is not None or trial.failure]

    @property
    def n_done(self) -> int:
        """How many configurations are evaluated."""
        return sum(trial.values is not None for trial in self.trials())

    def draw(self) -> Trial | None:
        """Return the next configuration to try, or None if there is none."""
        if self._again:
            place = next(iter(self._again))
            sampler: BaseSampler = Given(self._again.pop(place))
        else:
            place = 1 + max(self._latest(), default=-1)
            if place >= self._n_places:
                return None
            sampler = make_sampler(self._config, self._space, place)
        self._study.sampler = sampler
        trial = self._study.ask(self._distributions)
        trial.set_user_attr("place", place)
        self._drawn[trial.number] = trial
        return Trial(trial.number, self._space.overrides(trial.params))

    def known(self, trial: Trial) -> Trial | None:
        """Return an earlier trial of exactly that configuration, if one has ended well."""
        for other in self.trials():
            if other.overrides == trial.overrides and other.values is not None:
                return other
        return None

    def tell(self, ended: Trial) -> None:
        """Remember how a drawn configuration ended."""
        trial = self._drawn.pop(ended.number)
        for key in TOLD:
            if (value := getattr(ended, key)) is not None:
                trial.set_user_attr(key, value)
        if ended.values is None:
            self._study.tell(trial, state=TrialState.FAIL)
        elif ended.stopped:
            trial.report(ended.values[0], step=1)
            self._study.tell(trial, state=TrialState.PRUNED)
        else:
            self._study.tell(trial, list(ended.values))

    def abandon(self) -> None:
        """Let go what is under way; a continued study tries it again."""
        for number in list(self._drawn):
            self.tell(Trial(number, ()))

    def best(self) -> list[Trial]:
        """Return the best configuration; of several objectives, those that none other beats."""
        complete = self._study.get_trials(deepcopy=False, states=[TrialState.COMPLETE])
        if not complete:
            return []
        if len(self._study.directions) == 1:
            sign = -1 if self._study.direction == StudyDirection.MAXIMIZE else 1
            return [self._record(min(complete, key=lambda trial: sign * trial.values[0]))]
        best = [self._record(trial) for trial in self._study.best_trials]
        return list({trial.overrides: trial for trial in reversed(best)}.values())[::-1]

    def _latest(self) -> dict[int, FrozenTrial]:
        places: dict[int, FrozenTrial] = {}
        for trial in self._study.get_trials(deepcopy=False):
            if "place" in trial.user_attrs:
                places[trial.user_attrs["place"]] = trial
        return dict(sorted(places.items()))

    def _take_up(self) -> dict[int, Values]:
        """Return what has failed or was cut off, by place, and close what seems to be running."""
        for trial in self._study.get_trials(deepcopy=False, states=[TrialState.RUNNING]):
            self._study.tell(trial.number, state=TrialState.FAIL)
        return {
            place: trial.params
            for place, trial in self._latest().items()
            if trial.state == TrialState.FAIL
        }

    def _record(self, trial: FrozenTrial) -> Trial:
        attrs = trial.user_attrs
        return Trial(
            number=trial.number,
            overrides=self._space.overrides(trial.params),
            values=tuple(trial.values) if trial.state in DONE and trial.values else None,
            stopped=trial.state == TrialState.PRUNED,
            **{key: attrs[key] for key in TOLD if key in attrs},
        )
