"""Reports that are drawn after a run equal those that the run draws itself."""

import shutil

import numpy as np
import pandas as pd
import pytest

from pipeline import stored_report
from pipeline.commands import report
from tests.command_runner import CommandRunner, artifact

TABLE = ("dataset=table", "dataset.labels=[tag_*]", "cv.n_splits=3", "cv.n_repeats=2")


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    """A store with runs of a network and of a logistic regression."""
    folder = tmp_path_factory.mktemp("store")
    X = np.random.default_rng(0).normal(size=(90, 3))
    y = (X[:, :2] + np.random.default_rng(1).normal(size=(90, 2)) > 0).astype(int)
    rare = (np.arange(90) == 7).astype(int)
    names = ["a", "b", "c", "tag_x", "tag_y", "tag_rare"]
    table = pd.DataFrame(np.column_stack([X, y, rare]), columns=names)
    table.to_csv(folder / "data.csv", index=False)
    store = CommandRunner(folder)
    data = f"dataset.path={folder}/data.csv"
    store.run_here(
        *(*TABLE, data, "tracking.run_name=network", "decision=tuned", "training.epochs=6"),
        *("training.early_stopping.patience=1", "model.hidden_units=[]"),
        *(
            "scoring.metrics=[f1_macro,roc_auc_macro,log_loss]",
            "decision.calibration=temperature",
            "report.importance=true",
        ),
    )
    store.run_here(*TABLE, data, "tracking.run_name=linear", "model=logistic", "cv.outer_splits=3")
    return store


@pytest.fixture
def command(store, capsys):
    """Run the command and return exit code, output and errors."""

    def call(*arguments):
        code = report.main([*arguments, f"tracking.uri={store.uri}"])
        captured = capsys.readouterr()
        return code, captured.out, " ".join(captured.err.split())

    return call


@pytest.mark.parametrize("name", ["network", "linear"])
def test_a_report_drawn_later_equals_that_of_the_run(store, command, tmp_path, name):
    (run,) = (run for run in store.runs() if run.info.run_name == name)
    files = {path: path.read_bytes() for path in artifact(run, "figures").iterdir()}
    page = artifact(run, "report.html")
    files[page] = page.read_bytes()
    assert len(files) > 7
    code, _, err = command(name, "-o", str(tmp_path / "page.html"))
    assert code == 0, err
    assert (tmp_path / "page.html").read_bytes() == files[page]
    shutil.rmtree(artifact(run, "figures"))
    page.unlink()
    code, out, _ = command(run.info.run_id[:8])
    assert code == 0
    assert f"Logged the figures and report.html of run {run.info.run_id}." in out
    assert {path: path.read_bytes() for path in files} == files
    assert len(list(artifact(run, "figures").iterdir())) == len(files) - 1


def has_report(run) -> tuple[bool, bool]:
    return artifact(run, "figures").exists(), artifact(run, "report.html").exists()


@pytest.fixture(scope="module")
def sweeps(tmp_path_factory):
    """Stores of sweeps by the jobs that get a report."""
    stores = {}
    for name in ("best", "all", "none"):
        stores[name] = CommandRunner(tmp_path_factory.mktemp(name))
        stores[name].run_here(
            *("--multirun", "model=dummy", "dataset.n_samples=90", "dataset.predict_rows=[]"),
            *("seed=1", "cv.n_repeats=1", f"report.in_sweep={name}"),
            *("decision.threshold=0.5,0.9",),
        )
    return stores


@pytest.mark.parametrize(
    ("name", "expected"),
    [("best", [True, False]), ("all", [True, True]), ("none", [False, False])],
)
def test_jobs_of_a_sweep_have_the_report_that_is_configured(sweeps, name, expected):
    jobs, parent = sweeps[name].jobs_and_parent()
    assert parent.data.tags["best_run_id"] == jobs[0].info.run_id
    assert [has_report(job) for job in jobs] == [(each, each) for each in expected]
    assert all(artifact(job, "labels.json").exists() for job in jobs)


def test_other_jobs_get_theirs_by_the_command(sweeps, capsys):
    store = sweeps["best"]
    jobs, _ = store.jobs_and_parent()
    alike, _ = sweeps["all"].jobs_and_parent()
    assert report.main([jobs[1].info.run_id, f"tracking.uri={store.uri}"]) == 0
    drawn, own = (artifact(job, "figures") for job in (jobs[1], alike[1]))
    assert {path.name: path.read_bytes() for path in drawn.iterdir()} == {
        path.name: path.read_bytes() for path in own.iterdir()
    }


def test_a_report_that_cannot_be_drawn_ends_no_sweep(sweeps, tmp_path, monkeypatch):
    def fail(*_, **__):
        raise stored_report.UserError("the file is gone.")

    monkeypatch.setattr(stored_report, "log_report", fail)
    out, _ = CommandRunner(tmp_path).run_here(
        *("--multirun", "model=dummy", "dataset.n_samples=60", "cv.n_repeats=1", "cv.n_splits=2"),
        *("dataset.predict_rows=[]", "seed=1,2"),
    )
    assert "The figures of the best job are not drawn: the file is gone." in out


def test_what_cannot_be_drawn_is_said(store, command, tmp_path):
    (run,) = (run for run in store.runs() if run.info.run_name == "linear")
    path = store.folder / "data.csv"
    content = path.read_text()
    path.write_text(content.replace("\n", "\n0,0,0,1,1,0\n", 1))
    code, _, err = command("linear")
    assert code == 2
    assert f"Expected the data of run {run.info.run_id}. Received: others" in err
    path.write_text(content)
    (artifact(run, "training.parquet")).unlink()
    code, _, err = command("linear")
    assert code == 2
    assert "Expected a run with the file training.parquet." in err
    failed = store.client.create_run(run.info.experiment_id)
    store.client.set_terminated(failed.info.run_id, "FAILED")
    code, _, err = command(failed.info.run_id)
    assert code == 2
    assert f"Expected a finished run. Received: {failed.info.run_id}, FAILED." in err
