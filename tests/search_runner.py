"""Runs searches whose jobs are calls of a function."""

import itertools
import math
import sys
from collections.abc import Callable
from pathlib import Path
from typing import ClassVar

import optuna
import pytest
from hydra import initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.plugins.launcher import Launcher
from optuna.storages.journal import JournalFileBackend, JournalStorage

from pipeline import sweeps
from pipeline.outcome import JobResult, Outcome
from pipeline.runtime import CONF_DIR
from pipeline.scoring.statistics import summarise

LAUNCHER = "hydra_plugins.tests.FunctionLauncher"


class FunctionLauncher(Launcher):
    """Runs jobs as calls of a function, without composing them."""

    search: ClassVar["SearchRunner"]

    def setup(self, *, hydra_context, task_function, config):
        self.config, self.task = config, task_function

    def launch(self, job_overrides, initial_job_idx):
        assert initial_job_idx >= self.search.n_before + len(self.search.jobs)
        self.search.batches.append([])
        return [
            self._run(dict(override.split("=", 1) for override in overrides))
            for overrides in job_overrides
        ]

    def _run(self, values: dict[str, str]) -> JobReturn:
        self.search.batches[-1].append(values)
        returned = JobReturn(status=JobStatus.COMPLETED)
        try:
            returned.return_value = self.task(values)
        except Exception as error:
            returned.return_value, returned.status = error, JobStatus.FAILED
        return returned


class SearchRunner:
    """Runs searches whose jobs are calls of a function, without a parent run in MLflow."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.batches: list[list[dict[str, str]]] = []
        self.n_searches = self.n_before = 0
        self.resume = False  # whether the next search continues the last one
        self._monkeypatch = monkeypatch
        FunctionLauncher.search = self
        sweeps.register()
        Plugins.instance().class_name_to_class[LAUNCHER] = FunctionLauncher

    @property
    def jobs(self) -> list[dict[str, str]]:
        return list(itertools.chain.from_iterable(self.batches))

    def run(self, job: Callable[[dict[str, str]], object], *overrides: str) -> None:
        """Search with a launcher that composes nothing; `job` takes overrides by key."""
        self.batches = []
        self.n_before = sum(it.state.name == "COMPLETE" for it in self.trials()) * self.resume
        self.run_hydra(job, f"hydra.launcher._target_={LAUNCHER}", *overrides)

    def run_hydra(self, task: Callable[..., object], *overrides: str) -> None:
        """Search as the command line does; `task` takes the composed configuration."""
        self.n_searches += not self.resume
        locations = [f"tracking.uri={self.uri}", f"hydra.sweep.dir={self.folder}/sweep"]
        parent = f"++tracking.parent_run_id=sweep{self.n_searches:03}"
        # Another logging setup would close TensorFlow's handler, which writes to pytest's stderr.
        quiet = ["hydra.hydra_logging.root=null", "hydra.job_logging.root=null"]
        alone = ["hydra/sweeper=optuna", "~hydra.callbacks.sweep", parent, *quiet]
        arguments = [*alone, *locations, *overrides]
        self._monkeypatch.setattr(sys, "argv", ["pipeline/__main__.py", "--multirun", *arguments])
        with initialize_config_dir(str(CONF_DIR), version_base="1.3", job_name="manyfold"):
            hydra = GlobalHydra.instance().hydra
            hydra.multirun("config", task, arguments, with_log_configuration=False)

    def trials(self) -> list[optuna.trial.FrozenTrial]:
        paths = list((self.folder / "studies").glob(f"sweep{self.n_searches:03}_*"))
        if not paths:
            return []
        storage = JournalStorage(JournalFileBackend(str(*paths)))  # Optuna's own reader
        return optuna.load_study(study_name=None, storage=storage).trials


def outcome(n_fits: int = 31, n_fits_skipped: int = 0, **means: float) -> Outcome:
    summary = {name: summarise([mean - 0.01, mean + 0.01], 1.0) for name, mean in means.items()}
    run_id = f"run{next(RUN_IDS)}"
    return Outcome(0, JobResult(run_id, summary, n_fits, n_fits_skipped))


RUN_IDS = itertools.count()
SPACE = ("model.dropout=interval(0,0.5)", "training.learning_rate=tag(log,interval(1e-4,1e-1))")


def quadratic(values: dict[str, str]) -> Outcome:
    dropout, rate = float(values["model.dropout"]), float(values["training.learning_rate"])
    assert 0 <= dropout <= 0.5
    assert 1e-4 <= rate <= 0.1
    return outcome(accuracy=0.9 - (dropout - 0.2) ** 2 - 0.1 * (math.log10(rate) + 2) ** 2)
