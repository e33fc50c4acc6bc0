"""Search for a previous run to reuse or continue, in stores with runs of every status."""

import shutil
import threading
import time
from dataclasses import replace

import mlflow
import pytest

from pipeline.comparison.leaderboard import read_leaderboard
from pipeline.errors import UserError
from pipeline.tracking import heartbeat
from pipeline.tracking.heartbeat import RunActiveError, this_process
from pipeline.tracking.resume import claim_run, find_previous_run
from pipeline.tracking.store import open_store, store_at
from pipeline.tracking.sweep import (
    SweepPlan,
    begin_sweep,
    end_dead_runs,
    end_sweep,
    record_failures,
)

FINGERPRINT = dict.fromkeys(
    ("config_digest", "data_digest", "split_digest", "code_version"), "same"
)
PLAN = SweepPlan("command", "digest", ("cv.n_splits",), 3, in_order=True)
DEAD_PROCESS = " ".join([this_process().split()[0], "999999999", "0"])


@pytest.fixture(scope="session")
def empty_store(tmp_path_factory):
    folder = tmp_path_factory.mktemp("empty")
    open_store(store_at(f"sqlite:///{folder}/mlflow.db"), "manyfold")
    return folder


@pytest.fixture
def store(empty_store, tmp_path):
    shutil.copytree(empty_store, tmp_path / "store")
    return store_at(f"sqlite:///{tmp_path}/store/mlflow.db")


@pytest.fixture
def experiment_id(store):
    return open_store(store, "manyfold")


@pytest.fixture
def begin(store, experiment_id):
    """Return a function that begins a sweep or resumes one."""
    return lambda plan=PLAN, resume=False, code="code": begin_sweep(
        store, experiment_id, plan, "sweep", code, {}, resume
    )


def make_run(
    experiment_id,
    status,
    fingerprint=FINGERPRINT,
    job=None,
    process=DEAD_PROCESS,
    complete=True,
    **tags,
):
    client = mlflow.MlflowClient()
    run_tags = {**fingerprint, "process": process, "headline": "accuracy", **tags}
    if job:
        run_tags |= {**job.tags, "mlflow.parentRunId": job.sweep.run_id}
    run_id = client.create_run(experiment_id, tags=run_tags).info.run_id
    if status == "FINISHED" and complete:
        client.log_metric(run_id, "accuracy_mean", 0.75)
        client.log_metric(run_id, "seconds", 2.0)
    if status != "RUNNING":
        client.set_terminated(run_id, status)
    time.sleep(0.002)  # so that start times differ
    return run_id


def test_a_finished_run_is_reused(experiment_id):
    run_id = make_run(experiment_id, "FINISHED")
    previous = find_previous_run(experiment_id, FINGERPRINT, None)
    assert (previous.run_id, previous.is_finished) == (run_id, True)
    assert previous.metrics["accuracy_mean"] == 0.75


@pytest.mark.parametrize("digest", FINGERPRINT)
def test_a_run_with_another_digest_is_not_reused(experiment_id, digest):
    make_run(experiment_id, "FINISHED")
    make_run(experiment_id, "KILLED")
    assert find_previous_run(experiment_id, FINGERPRINT | {digest: "other"}, None).run_id is None


@pytest.mark.parametrize("status", ["KILLED", "RUNNING"])
def test_an_interrupted_run_is_continued(experiment_id, status):
    run_id = make_run(experiment_id, status)
    previous = find_previous_run(experiment_id, FINGERPRINT, None)
    assert (previous.run_id, previous.is_finished) == (run_id, False)


def test_a_run_that_mlflow_marked_finished_at_a_sudden_exit_is_continued(experiment_id):
    run_id = make_run(experiment_id, "FINISHED", complete=False)
    previous = find_previous_run(experiment_id, FINGERPRINT, None)
    assert (previous.run_id, previous.is_finished) == (run_id, False)


def test_a_failed_run_is_repeated_from_its_finished_folds(experiment_id):
    run_id = make_run(experiment_id, "FAILED")
    previous = find_previous_run(experiment_id, FINGERPRINT, None)
    assert (previous.run_id, previous.failed) == (None, run_id)


def test_the_latest_run_is_continued(experiment_id):
    make_run(experiment_id, "FINISHED")
    run_id = make_run(experiment_id, "KILLED")
    assert find_previous_run(experiment_id, FINGERPRINT, None).run_id == run_id


def test_a_run_of_a_running_process_is_not_continued(experiment_id):
    make_run(experiment_id, "RUNNING", process=this_process())
    with pytest.raises(RunActiveError, match="is being written by process"):
        find_previous_run(experiment_id, FINGERPRINT, None)


def test_a_run_without_a_required_param_is_not_reused(experiment_id):
    run_id, required = make_run(experiment_id, "FINISHED"), {"report.importance": "True"}
    previous = find_previous_run(experiment_id, FINGERPRINT, None, required)
    assert (previous.run_id, previous.replaced) == (None, ())
    mlflow.MlflowClient().log_param(run_id, "report.importance", "True")
    assert find_previous_run(experiment_id, FINGERPRINT, None, required).run_id == run_id


@pytest.mark.parametrize("minutes", [-10, 0, 10])
@pytest.mark.parametrize("is_running", [True, False])
def test_a_process_on_another_host_is_heard_whatever_its_clock_shows(
    experiment_id, monkeypatch, minutes, is_running
):
    """Heartbeats are sent by a thread, whose clock differs here from that of the main thread."""
    seconds = {"SECONDS_BETWEEN_HEARTBEATS": 0.1, "SECONDS_TO_LISTEN": 10.0 if is_running else 1.0}
    for name, value in {**seconds, "SECONDS_BETWEEN_LOOKS": 0.05}.items():
        monkeypatch.setattr(heartbeat, name, value, raising=False)
    clock = time.time

    def shifted_clock() -> float:
        return clock() + 60 * minutes * (threading.current_thread() is not threading.main_thread())

    monkeypatch.setattr(time, "time", shifted_clock)
    run_id = make_run(experiment_id, "RUNNING", process="elsewhere 1 0")
    with heartbeat.send_heartbeats(run_id):
        time.sleep(0.5)
        if is_running:
            with pytest.raises(RunActiveError):
                find_previous_run(experiment_id, FINGERPRINT, None)
    if not is_running:
        time.sleep(0.5)
        assert find_previous_run(experiment_id, FINGERPRINT, None).run_id == run_id


def test_a_single_run_continues_no_job_and_a_job_only_its_own_run(experiment_id, begin):
    sweep, _ = begin()
    jobs = [sweep.job(number, [f"seed={number // 2}"]) for number in range(3)]
    single = make_run(experiment_id, "KILLED")
    first = make_run(experiment_id, "KILLED", job=jobs[0])
    second = make_run(experiment_id, "KILLED", job=jobs[1])  # equal settings, twice in the sweep
    assert find_previous_run(experiment_id, FINGERPRINT, None).run_id == single
    assert find_previous_run(experiment_id, FINGERPRINT, jobs[0]).run_id == first
    assert find_previous_run(experiment_id, FINGERPRINT, jobs[1]).run_id == second
    assert find_previous_run(experiment_id, FINGERPRINT, jobs[2]).run_id is None


def test_jobs_of_a_sweeper_without_order_are_found_by_their_settings(experiment_id, begin):
    sweep, _ = begin(replace(PLAN, in_order=False))
    run_id = make_run(experiment_id, "KILLED", job=sweep.job(7, ["seed=1"]))
    assert find_previous_run(experiment_id, FINGERPRINT, sweep.job(0, ["seed=1"])).run_id == run_id


def test_runs_of_the_same_job_are_listed_once(experiment_id, begin):
    sweep, _ = begin()
    job = sweep.job(0, ["seed=1"])
    old_data = make_run(experiment_id, "FINISHED", FINGERPRINT | {"data_digest": "old"}, job)
    failed = make_run(experiment_id, "FAILED", job=job)
    previous = find_previous_run(experiment_id, FINGERPRINT, job)
    assert (previous.run_id, previous.failed) == (None, failed)
    assert set(previous.replaced) == {old_data, failed}


@pytest.mark.parametrize("in_order", [True, False])
def test_a_job_supersedes_its_run_without_a_required_param(experiment_id, begin, in_order):
    sweep, _ = begin(replace(PLAN, in_order=in_order))
    job = sweep.job(0, ["seed=1"])
    finished = make_run(experiment_id, "FINISHED", job=job)
    previous = find_previous_run(experiment_id, FINGERPRINT, job, {"report.importance": "True"})
    assert (previous.run_id, set(previous.replaced)) == (None, {finished})


def test_a_sweep_is_reopened_by_the_same_command_and_code(begin):
    first, _ = begin()
    end_sweep(first, is_complete=False, is_interrupted=True)
    again, continued_run = begin(resume=True)
    assert (again.run_id, continued_run) == (first.run_id, True)
    assert mlflow.get_run(first.run_id).info.status == "RUNNING"
    for plan, code in ((replace(PLAN, digest="other"), "code"), (PLAN, "other")):
        end_sweep(again, is_complete=False, is_interrupted=True)
        other, continued_run = begin(plan, resume=True, code=code)
        assert (other.run_id != first.run_id, continued_run) == (True, False)
    assert begin()[0].run_id != first.run_id  # without `resume`


def test_a_sweep_of_a_running_process_is_not_resumed(begin):
    begin()
    with pytest.raises(UserError, match="a sweep that has ended"):
        begin(resume=True)


def test_title_and_tags_of_a_job_are_its_varied_settings(begin):
    sweep, _ = begin()
    overrides = ["cv.n_splits=3", "model.hidden_units=[8,4]", "+model.x=a=b", "++tracking.uri=c"]
    job = replace(sweep, plan=replace(PLAN, fixed=("cv.n_splits", "tracking.uri"))).job(
        1, overrides
    )
    assert job.title == "[2/3] model.hidden_units=[8,4], model.x=a=b"
    assert job.tags == {
        "sweep_job": "1",
        "overrides": "model.hidden_units=[8,4] model.x=a=b",
        "varied.model.hidden_units": "[8,4]",
        "varied.model.x": "a=b",
    }


def test_runs_of_dead_jobs_are_ended_and_listed(experiment_id, begin):
    sweep, _ = begin()
    jobs = [sweep.job(number, [f"seed={number}"]) for number in range(3)]
    dead = make_run(experiment_id, "RUNNING", job=jobs[0])
    own = make_run(experiment_id, "RUNNING", job=jobs[1], process=this_process())
    end_dead_runs(sweep)
    states = {entry.run_id: entry.status for entry in read_leaderboard(sweep).entries}
    assert states == {dead: "KILLED", own: "FAILED"}
    board = read_leaderboard(sweep)
    end_sweep(sweep, board.is_complete, is_interrupted=False)
    assert board.n_missing == 1
    assert mlflow.get_run(sweep.run_id).info.status == "FAILED"


def test_a_job_that_fails_before_its_run_starts_logs_a_failed_run(experiment_id, begin):
    sweep, _ = begin()
    job = sweep.job(2, ["seed=-1"])
    for _ in range(2):
        with pytest.raises(UserError), record_failures(job):
            raise UserError("seed: expected a value of at least 0.")
    (entry,) = read_leaderboard(sweep).entries  # not listed twice
    assert (entry.status, entry.job_number, dict(entry.settings)) == ("FAILED", 2, {"seed": "-1"})
    assert entry.reason == "seed: expected a value of at least 0."


def test_a_partly_created_store_is_created_again(tmp_path):
    for name in ("mlflow.db.new", "mlflow.db.new-wal"):
        (tmp_path / name).write_bytes(b"half of it")
    open_store(store_at(f"sqlite:///{tmp_path}/mlflow.db"), "manyfold")
    assert not list(tmp_path.glob("*.new*"))


def test_a_run_that_racing_stopped_is_finished_until_it_is_continued(store, experiment_id):
    stopped = {"stopped_after_repeat": "1", "stopped_because": "behind"}
    run_id = make_run(experiment_id, "FINISHED", **stopped)
    client = mlflow.MlflowClient()
    client.log_metric(run_id, "fits_saved", 21)
    previous = find_previous_run(experiment_id, FINGERPRINT, None)
    assert (previous.run_id, previous.is_finished, previous.n_fits_skipped) == (run_id, True, 21)
    claim_run(store, run_id, DEAD_PROCESS)
    assert not stopped.keys() & client.get_run(run_id).data.tags.keys()
    client.set_tag(run_id, "process", DEAD_PROCESS)
    for status in ("KILLED", "FINISHED"):  # interrupted, or called finished at a sudden exit
        client.set_terminated(run_id, status)
        previous = find_previous_run(experiment_id, FINGERPRINT, None)
        assert (previous.run_id, previous.is_finished) == (run_id, False)
        assert previous.n_fits_skipped == 0
    client.log_metric(run_id, "fits_saved", 0)
    assert find_previous_run(experiment_id, FINGERPRINT, None).is_finished


def test_only_one_of_two_processes_continues_a_run(store, experiment_id):
    run_id = make_run(experiment_id, "KILLED")
    claim_run(store, run_id, DEAD_PROCESS)
    run = mlflow.get_run(run_id)
    assert (run.info.status, run.data.tags["process"]) == ("RUNNING", this_process())
    with pytest.raises(RunActiveError, match="is being written by process"):
        claim_run(store, run_id, DEAD_PROCESS)


def test_of_two_owners_written_to_a_server_the_last_continues_the_run(
    store, experiment_id, monkeypatch
):
    """A server has no lock: another process writes its tag between our write and our look."""
    run_id = make_run(experiment_id, "KILLED")
    server = replace(store, uri=f"file:{store.uri}")
    assert server.database is None
    other = "elsewhere 1 0"
    monkeypatch.setattr(
        "time.sleep", lambda _: mlflow.MlflowClient().set_tag(run_id, "process", other)
    )
    with pytest.raises(RunActiveError, match="process 1 on elsewhere"):
        claim_run(server, run_id, DEAD_PROCESS)
