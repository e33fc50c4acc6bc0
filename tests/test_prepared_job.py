"""A job of a sweep that fails at any moment leaves one failed run."""

import pytest

from pipeline.tracking import PreviousRun, RunActiveError
from tests.command_runner import CommandRunner

DUMMY = ("model=dummy", "dataset.n_samples=100", "cv.n_splits=2", "cv.n_repeats=1", "report=none")
STEPS = {
    "the settings": "pipeline.prepared_job.parse_config",
    "the data": "pipeline.prepared_job.load_inputs",
    "the store": "pipeline.prepared_job.check_store",
    "the trainer": "pipeline.job.Evaluator",
    "a new run": "mlflow.start_run",
    "the compilation": "pipeline.job.Evaluator.compile",
    "the inputs": "pipeline.job.write_inputs",
    "the training": "pipeline.job.Evaluator.folds",
    "the result": "pipeline.job.write_result",
}


def fail(*arguments, **options):
    raise OSError("the disk is gone")


@pytest.mark.parametrize("step", STEPS)
def test_a_failed_job_leaves_one_failed_run(monkeypatch, tmp_path, step):
    store = CommandRunner(tmp_path)
    with monkeypatch.context() as patch:
        patch.setattr(STEPS[step], fail)
        _, err = store.run_here("--multirun", *DUMMY, "seed=1,2", code=1)
    assert err.count("The job failed: OSError: the disk is gone") == 2
    jobs, parent = store.jobs_and_parent()
    assert [run.data.tags["sweep_job"] for run in jobs] == ["0", "1"]
    assert {(run.info.status, run.data.tags["failure"]) for run in jobs} == {
        ("FAILED", "OSError: the disk is gone")
    }
    assert len(store.runs()) == 3  # none that another supersedes
    assert parent.info.status == "FAILED"


@pytest.mark.parametrize("model", ["dummy", "mlp"])
def test_a_run_fails_if_the_figure_of_its_labels_cannot_be_written(monkeypatch, tmp_path, model):
    store = CommandRunner(tmp_path)
    monkeypatch.setattr("pipeline.job.write_label_figure", fail)
    settings = (f"model={model}", *DUMMY[1:-1], "training.epochs=1")
    _, err = store.run_here(*settings, code=1)
    assert "The job failed: OSError: the disk is gone" in err
    assert [run.info.status for run in store.runs()] == ["FAILED"]


def test_a_job_with_invalid_settings_of_its_run_leaves_a_failed_run(tmp_path):
    store = CommandRunner(tmp_path)
    arguments = ("--multirun", *DUMMY, "tracking.run_name=first,''")
    _, err = store.run_here(*arguments, code=1)
    assert "[2/2] Configuration refused:\n  tracking.run_name: expected" in err
    jobs, _ = store.jobs_and_parent()
    assert [run.info.status for run in jobs] == ["FINISHED", "FAILED"]
    assert "tracking.run_name: expected" in jobs[1].data.tags["failure"]


def test_a_reused_run_prints_its_windows_as_at_first(tmp_path):
    store = CommandRunner(tmp_path)
    path = tmp_path / "t.csv"
    path.write_text(
        "when,a,l\n" + "".join(f"2026-01-{i:02},{i},{i % 3 % 2}\n" for i in range(1, 29))
    )
    of_file = (f"dataset.path='{path}'", "dataset.labels=[l]", "dataset.time_column=when")
    command = (
        "dataset=table",
        *of_file,
        "model=dummy",
        "report=none",
        "cv=time_series",
        "resume=true",
    )
    first, _ = store.run_here(*command, "cv.n_splits=3")
    again, _ = store.run_here(*command, "cv.n_splits=3")
    assert "Reusing finished run" in again

    def result(out):
        lines = out[out.index("Accuracy: ") :].splitlines()
        return lines[: next(i for i, line in enumerate(lines) if line.startswith("No interval"))]

    assert len(result(first)) > 5
    assert result(again) == result(first)


def test_a_run_of_another_process_is_refused_before_the_compilation(monkeypatch, tmp_path):
    def refuse(store, run_id, dead_process):
        raise RunActiveError(f"resume: run {run_id} is being written by process 1.")

    compiled = []
    previous = PreviousRun(run_id="abc")
    monkeypatch.setattr("pipeline.prepared_job.find_previous_run", lambda *_: previous)
    monkeypatch.setattr("pipeline.job.claim_run", refuse)
    monkeypatch.setattr("pipeline.job.Evaluator.compile", compiled.append)
    store = CommandRunner(tmp_path)
    _, err = store.run_here(*DUMMY, "resume=true", code=2)
    assert err == "resume: run abc is being written by process 1.\n"
    assert compiled == []
    assert store.runs() == []
