"""The end of a sweep whose leaderboard cannot be shown or logged."""

import pytest

from pipeline.sweeps import parent_run
from tests.command_runner import CommandRunner

QUICK = (
    *("model=dummy", "dataset.n_samples=60", "dataset.predict_rows=[]", "report=none"),
    *("cv.n_splits=2", "cv.n_repeats=1"),
)


@pytest.fixture(scope="module")
def store(tmp_path_factory) -> CommandRunner:
    return CommandRunner(tmp_path_factory.mktemp("store"))


@pytest.mark.parametrize(
    "function", ["read_leaderboard", "leaderboard_tables", "write_leaderboard", "end_dead_runs"]
)
def test_the_parent_run_ends_and_the_error_is_one_line(store, monkeypatch, function):
    arguments = ("--multirun", "seed=1,2", *QUICK, "resume=true")

    def fail(*_):
        raise OSError("No space left on device\nand more")

    with monkeypatch.context() as patch:
        if function == "end_dead_runs":  # it also begins a resumed sweep
            patch.setattr(parent_run.ParentRun, "end", ending_with(fail))
        else:
            patch.setattr(parent_run, function, fail)
        _, err = store.run_here(*arguments, code=1)
    assert err == (
        "The sweep could not show and log its leaderboard: OSError: No space left on device\n"
    )
    jobs, parent = store.jobs_and_parent()
    assert parent.info.status == "FAILED"
    assert [run.info.status for run in jobs] == ["FINISHED", "FINISHED"]
    store.run_here(*arguments)
    assert store.jobs_and_parent()[1].info.status == "FINISHED"


def ending_with(fail):
    """Return `ParentRun.end` with a function that cannot end dead runs."""
    end = parent_run.ParentRun.end

    def end_(self, code):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(parent_run, "end_dead_runs", fail)
            return end(self, code)

    return end_
