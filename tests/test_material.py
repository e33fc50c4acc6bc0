"""What a process reads once, and what it does not keep."""

import numpy as np
import pytest

from pipeline.errors import UserError
from pipeline.evaluation import inputs
from pipeline.evaluation.inputs import Recent, read


@pytest.fixture(autouse=True)
def nothing_kept(monkeypatch):
    for name in ("_datasets", "_splits"):
        monkeypatch.setattr(inputs, name, Recent(getattr(inputs, name)._size))


@pytest.fixture
def loads(monkeypatch):
    """Which data sets were loaded."""
    seen = []
    load = inputs.load

    def counting(config):
        seen.append(config)
        return load(config)

    monkeypatch.setattr(inputs, "load", counting)
    return seen


def test_jobs_of_a_process_share_data_and_folds(make_config, loads):
    first = read(make_config("model.hidden_units=[8]"))
    second = read(make_config("model.hidden_units=[4]", "dataset.predict_rows=[]", "seed=3"))
    assert second.dataset is first.dataset
    assert second.summary is first.summary
    assert second.splits is first.splits
    assert len(loads) == 1


def test_other_folds_of_the_same_data_are_made_and_other_data_read(make_config, loads):
    first = read(make_config())
    second = read(make_config("cv.n_splits=4"))
    third = read(make_config("dataset.random_state=2"))
    assert second.dataset is first.dataset
    assert (len(first.splits), len(second.splits)) == (30, 12)
    assert third.dataset.digest != first.dataset.digest
    assert third.splits is not first.splits
    assert len(loads) == 2


def test_what_is_refused_is_refused_every_time(make_config, tmp_path, monkeypatch):
    X = np.array([[1.0], [np.nan], [2.0], [3.0]])
    np.savez(tmp_path / "x.npz", X=X, y=np.array([[0], [1], [0], [1]]))
    table = (f"dataset.path={tmp_path}/x.npz", "dataset=npz", "cv.n_splits=2")
    for _ in range(2):
        with pytest.raises(UserError, match="no missing value"):
            read(make_config(*table, "preprocessing=none", "preprocessing.imputation=none"))
    assert read(make_config(*table, "preprocessing=standard")).dataset.n_samples == 4


def test_a_large_table_does_not_stay_while_another_is_read():
    recent = Recent[int](lambda size: size)
    kept = []

    def make(size):
        kept.append(sum(recent._cache.values()))
        return size

    half = inputs.LARGEST // 2
    for key, size in enumerate([half, half, half, 3 * half, 1]):
        recent.get(key, lambda size=size: make(size))
    assert kept == [0, half, 2 * half, 2 * half, 0]
    assert recent.get(4, lambda: 1 / 0) == 1  # the last is always there
