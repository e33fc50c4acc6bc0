"""An Optuna study: its file and its trials."""

import resource
import signal
import subprocess
import sys
from pathlib import Path

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend, JournalStorage

from pipeline.errors import UserError
from pipeline.sweeps.search_plan import SearchConfig
from pipeline.sweeps.search_space import Interval, SearchSpace, make_objectives
from pipeline.sweeps.study import Study, open_study

ACCURACY = make_objectives(None, None, "mean", ["accuracy"], {})


def read_values(path: Path) -> list[float | None]:
    storage = JournalStorage(JournalFileBackend(str(path)))
    return [trial.value for trial in optuna.load_study(study_name=None, storage=storage).trials]


def test_a_study_is_locked_and_survives_a_half_written_line(tmp_path):
    path = tmp_path / "studies" / "abc.journal"
    lock, study = open_study(path, ACCURACY)
    study.tell(study.ask(), 0.5)
    with pytest.raises(UserError, match="another process is running"):
        open_study(path, ACCURACY)
    lock.close()
    with open(path, "a") as journal:
        journal.write('{"op_code": 5, "wor')
    lock, study = open_study(path, ACCURACY)
    assert [trial.value for trial in study.trials] == [0.5]
    study.tell(study.ask(), 0.7)
    lock.close()
    assert read_values(path) == [0.5, 0.7]


def test_a_study_survives_a_full_disk(tmp_path):
    path = tmp_path / "abc.journal"
    lock, study = open_study(path, ACCURACY)
    study.tell(study.ask(), 0.5)
    size = path.stat().st_size
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size + 10, hard))
        with pytest.raises(OSError, match="File too large"):
            study.ask()
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert path.stat().st_size == size + 10  # half a line
    study.tell(study.ask(), 0.7)
    lock.close()
    assert read_values(path) == [0.5, 0.7]


def test_a_killed_process_leaves_no_lock(tmp_path):
    path = tmp_path / "abc.journal"
    code = (
        "import os, signal, sys; from pathlib import Path\n"
        "from pipeline.sweeps.study import open_study\n"
        "from pipeline.sweeps.search_space import make_objectives\n"
        "objectives = make_objectives(None, None, 'mean', ['accuracy'], {})\n"
        "lock, study = open_study(Path(sys.argv[1]), objectives)\n"
        "study.tell(study.ask(), 0.5)\n"
        "os.kill(os.getpid(), signal.SIGKILL)\n"
    )
    killed = subprocess.run([sys.executable, "-c", code, path], check=False)
    assert killed.returncode == -signal.SIGKILL
    lock, study = open_study(path, ACCURACY)
    study.tell(study.ask(), 0.7)
    lock.close()
    assert read_values(path) == [0.5, 0.7]


def test_an_interrupted_configuration_is_tried_again_with_the_same_values(tmp_path):
    space = SearchSpace({"x": Interval(0.0, 1.0)}, ())
    config = SearchConfig(
        sampler="random", n_trials=2, n_jobs=1, seed=1,
        objective="mean", metrics=None, directions=None, params=None,
    )  # fmt: skip
    lock, optuna_study = open_study(tmp_path / "abc.journal", ACCURACY)
    first = Study(optuna_study, space, config).ask()
    for is_queued in (False, True):
        if is_queued:  # as if the process had ended between queueing and asking
            optuna_study.enqueue_trial({"x": 0.5})
        again = Study(optuna_study, space, config).ask()
        assert again.overrides == first.overrides
        assert again.number > first.number
    lock.close()
