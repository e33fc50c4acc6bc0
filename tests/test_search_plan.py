"""Plans of searches: invalid ones are rejected before any job."""

from pathlib import Path

import pytest
from hydra.errors import HydraException
from omegaconf import OmegaConf
from search_runner import SPACE, SearchRunner, quadratic

from pipeline.errors import UserError
from pipeline.sweeps import search_plan


@pytest.fixture
def search(tmp_path, monkeypatch) -> SearchRunner:
    return SearchRunner(tmp_path, monkeypatch)


INVALID_SEARCHES = {
    "seed=1": "nothing to search",
    "model.dropuot=interval(0,1)": "Could not override 'model.dropuot'",
    "model=mlp,mpl": "model/mpl",
    "hydra.sweeper.n_trials=0": "n_trials: expected a value greater than 0. Received: 0",
    "hydra.sweeper.n_trials=null": "n_trials: expected a valid integer. Received: None",
    "hydra.sweeper.sampler=gird": "hydra.sweeper.sampler: expected 'tpe', 'random' or 'grid'.",
    "hydra.sweeper.metrics=[f1_macros]": "Did you mean 'f1_macro'?",
    "model.l2=interval(-1,0.1)": "model.l2: expected a value greater than or equal to 0",
    "hydra.sweeper.sampler=grid": "model.dropout: expected options or range(start,stop,step)",
}


@pytest.mark.parametrize("argument", INVALID_SEARCHES)
def test_an_invalid_search_is_rejected_before_any_job(search, argument):
    space = () if argument == "seed=1" else SPACE[:1]
    with pytest.raises((UserError, HydraException)) as error:
        search.run(quadratic, argument, *space)
    assert INVALID_SEARCHES[argument] in str(error.value)
    assert not search.jobs


def test_racing_needs_one_objective_and_repeats(search, capsys):
    several = "hydra.sweeper.metrics=[accuracy,hamming_loss]"
    with pytest.raises(UserError, match="racing: works with one objective only"):
        search.run(quadratic, *SPACE, "racing=first_repeat", several)
    search.run(
        quadratic, *SPACE, "racing=first_repeat", "cv.n_repeats=1", "hydra.sweeper.n_trials=2"
    )
    assert "Racing is off" in capsys.readouterr().out
    assert "racing.incumbent" not in search.jobs[1]
    named = "racing.incumbent=abc"
    search.run(quadratic, *SPACE, "racing=first_repeat", named, "hydra.sweeper.n_trials=2")
    assert [job["racing.incumbent"] for job in search.jobs] == ["abc", "abc"]


def test_outer_folds_need_samples_that_do_not_depend_on_scores(search):
    outer = ("cv.outer_splits=3", "hydra.sweeper.n_trials=1")
    with pytest.raises(UserError, match=r"cv\.outer_splits: expected hydra.sweeper.sampler=random"):
        search.run(quadratic, *SPACE, *outer)
    with pytest.raises(UserError, match=r"racing: expected null with cv\.outer_splits"):
        search.run(quadratic, *SPACE, *outer, "racing=first_repeat")
    assert not search.jobs
    search.run(quadratic, *SPACE, *outer, "hydra.sweeper.sampler=random")
    assert len(search.jobs) == 1
    search.run(quadratic, "seed=1,2", *outer, "hydra.sweeper.sampler=grid")
    assert [job["seed"] for job in search.jobs] == ["1", "2"]


@pytest.mark.parametrize(
    ("uri", "folder"),
    [
        ("sqlite:////data/mlflow.db", "/data"),
        ("sqlite+pysqlite:////data/c%2520d/mlflow.db", "/data/c%20d"),
    ],
)
def test_the_study_of_a_store_in_a_file_lies_beside_it(uri, folder):
    base = OmegaConf.create({"tracking": {"uri": uri, "parent_run_id": "abc"}})
    assert search_plan._study_file(base, "1") == Path(folder) / "studies" / "abc_1.journal"
