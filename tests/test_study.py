"""The file of an Optuna study."""

import optuna
import pytest
from optuna.storages.journal import JournalFileBackend, JournalStorage

from pipeline.errors import UserError
from pipeline.sweeps.search_space import make_objectives
from pipeline.sweeps.study import open_study

ACCURACY = make_objectives(None, None, "mean", ["accuracy"])


def test_a_study_has_one_process_and_loses_nothing_but_a_torn_line(tmp_path):
    path = tmp_path / "studies" / "abc.journal"
    file, study = open_study(path, ACCURACY)
    study.tell(study.ask(), 0.5)
    with pytest.raises(UserError, match="another process is running"):
        open_study(path, ACCURACY)
    file.close()
    with open(path, "a") as torn:
        torn.write('{"op_code": 5, "wor')
    file, study = open_study(path, ACCURACY)
    study.tell(study.ask(), 0.7)
    file.close()
    storage = JournalStorage(JournalFileBackend(str(path)))
    trials = optuna.load_study(study_name=None, storage=storage).trials
    assert [trial.value for trial in trials] == [0.5, 0.7]


def test_a_full_disk_leaves_the_study_as_it_was(tmp_path, monkeypatch):
    file, study = open_study(tmp_path / "abc.journal", ACCURACY)
    study.tell(study.ask(), 0.5)
    before = file.path.read_bytes()

    def full(descriptor):
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as patch:
        patch.setattr("os.fsync", full)
        with pytest.raises(OSError, match="No space left"):
            study.ask()
    file.close()
    assert file.path.read_bytes() == before
