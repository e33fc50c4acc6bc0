"""The study: which configuration comes next, and what came of those before."""

from dataclasses import dataclass

import optuna
from optuna.samplers import BaseSampler
from optuna.study import StudyDirection
from optuna.trial import FrozenTrial, TrialState

from pipeline.search.samplers import Given, make_distribution, make_sampler
from pipeline.search.settings import SearchConfig
from pipeline.search.space import Space

DONE = (TrialState.COMPLETE, TrialState.PRUNED)
TOLD = ("failure", "run_id", "n_fits", "n_saved", "same_as")  # that Optuna has no place for
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
        n_saved: Fits that racing saved.
        same_as: Number of an earlier trial of the same configuration, which was not run again.
    """

    number: int
    overrides: tuple[str, ...]
    values: tuple[float, ...] | None = None
    stopped: bool = False
    failure: str | None = None
    run_id: str | None = None
    n_fits: int = 0
    n_saved: int = 0
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
