"""The command that compares runs, on stores with runs made by hand."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from mlflow import MlflowClient
from mlflow.entities import Metric, Param
from scipy import stats

from pipeline.commands import compare
from pipeline.comparison.run_scores import make_names_unique, to_run_scores
from pipeline.tracking.run_reader import RunReader
from pipeline.tracking.store import store_at

ROOT = Path(__file__).parents[1]
N_FOLDS = 20
METRICS = ("accuracy", "log_loss")


@pytest.fixture(scope="session")
def migrated(tmp_path_factory) -> Path:
    """An empty store; its schema takes seconds to make."""
    folder = tmp_path_factory.mktemp("migrated")
    MlflowClient(f"sqlite:///{folder / 'mlflow.db'}").create_experiment("x", "file:///nowhere")
    return folder / "mlflow.db"


class Shelf:
    """A store of its own, filled by hand."""

    def __init__(self, folder: Path, migrated: Path) -> None:
        self.folder = folder
        shutil.copy(migrated, folder / "mlflow.db")
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.client = MlflowClient(self.uri)
        artifacts = (folder / "artifacts").as_uri()
        self.experiment = self.client.create_experiment("manyfold", artifacts)

    def add(
        self,
        name: str,
        seed: int = 0,
        gain: float = 0.0,
        *,
        status: str = "FINISHED",
        parent: str | None = None,
        split: str = "S",
        data: str = "D",
        left_out: tuple[int, ...] = (),
        settings: dict[str, str] | None = None,
        stopped: bool = False,
    ) -> str:
        """Make a run whose folds are alike but for its own noise and gain."""
        tags = {"split_digest": split, "data_digest": data}
        tags |= {"stopped_after_repeat": "1"} if stopped else {}
        tags |= {"mlflow.parentRunId": parent} if parent else {}
        run_id = self.client.create_run(self.experiment, tags=tags, run_name=name).info.run_id
        scores = fold_scores(seed, gain)
        kept = [step for step in range(N_FOLDS) if step not in left_out]
        metrics = [Metric("fold/accuracy", scores[step], 1, step) for step in kept]
        metrics += [Metric("fold/log_loss", 1 - scores[step], 1, step) for step in kept]
        metrics += [Metric("accuracy_mean", scores[kept].mean(), 1, 0)]
        metrics += [Metric("log_loss_mean", 1 - scores[kept].mean(), 1, 0)]
        settings = {"scoring.metrics": str([*METRICS]), "seed": "1"} | (settings or {})
        params = [Param(key, value) for key, value in settings.items()]
        self.client.log_batch(run_id, metrics[::-1], params)
        table = {"columns": ["fold", "n_train", "n_test"], "data": [[0, 90, 10]] * N_FOLDS}
        self.client.log_dict(run_id, table, "folds.json")
        self.client.set_terminated(run_id, status)
        return run_id

    def sweep(self, name: str) -> str:
        tags = {"sweep": name, "is_sweep": "true"}
        run = self.client.create_run(self.experiment, tags=tags, run_name=f"sweep {name}")
        self.client.set_terminated(run.info.run_id)
        return run.info.run_id


def fold_scores(seed: int, gain: float) -> np.ndarray:
    base = np.random.default_rng(99).normal(0.7, 0.05, N_FOLDS)
    return base + np.random.default_rng(seed).normal(gain, 0.01, N_FOLDS)


@pytest.fixture
def shelf(tmp_path, migrated) -> Shelf:
    return Shelf(tmp_path, migrated)


@pytest.fixture
def command(shelf, monkeypatch, capsys):
    """Run the command in this process; return exit code, output and errors."""

    def run(*arguments: str) -> tuple[int, str, str]:
        monkeypatch.setattr(compare, "mlruns", lambda: shelf.folder / "results")
        words = [f"tracking.uri={shelf.uri}", *arguments]
        try:
            code = compare.main(words)
        except SystemExit as ended:  # from argparse
            code = int(ended.code or 0)
        out, err = capsys.readouterr()
        return code, out, err

    return run


def test_two_runs_are_compared_as_scipy_would(shelf, command):
    shelf.add("worse", 1)
    shelf.add("better", 2, 0.03)
    path = shelf.folder / "numbers.json"
    code, out, err = command("worse", "better", "--json", str(path), "--rope", "0.02")
    assert (code, err) == (0, "")
    assert '"better" is significantly better than "worse": its accuracy is higher by ' in out
    numbers = json.loads(path.read_text())
    first, second = numbers["configurations"]
    assert (first["name"], second["name"]) == ("better", "worse")
    np.testing.assert_allclose(first["scores"], fold_scores(2, 0.03))
    difference = fold_scores(2, 0.03) - fold_scores(1, 0)
    error = np.sqrt(difference.var(ddof=1) * (1 / N_FOLDS + 10 / 90))
    student = stats.t(N_FOLDS - 1, difference.mean(), error)
    (pair,) = numbers["pairs"]
    assert pair["advantage"] == pytest.approx(difference.mean())
    assert pair["interval"] == pytest.approx(student.interval(0.95))
    assert pair["p"] == pytest.approx(2 * min(student.cdf(0), student.sf(0)))
    assert pair["p_better"] == pytest.approx(student.sf(0.02))
    assert pair["p_worse"] == pytest.approx(student.cdf(-0.02))
    assert (numbers["metric"], numbers["n_folds"], numbers["not_told_apart"]) == (
        "accuracy",
        N_FOLDS,
        [[1], [2]],
    )
    assert numbers["conclusion"] in out


def test_a_loss_is_judged_the_right_way_round(shelf, command):
    shelf.add("worse", 1)
    shelf.add("better", 2, 0.03)
    code, out, _ = command("worse", "better", "--metric", "log_loss")
    assert code == 0
    assert "Log loss of 20 folds, lower is better" in out
    assert '"better" is significantly better than "worse": its log loss is lower by ' in out


def test_a_sweep_is_its_finished_children(shelf, command):
    parent = shelf.sweep("today/noon")
    for units in (20, 40, 64):
        shelf.add(f"model.units={units}, cv.n_splits=5", units, parent=parent)
    shelf.add("model.units=1, cv.n_splits=5", status="FAILED", parent=parent)
    shelf.add("model.units=2, cv.n_splits=5", status="RUNNING", parent=parent)
    shelf.add("model.units=3, cv.n_splits=5", stopped=True, parent=parent)
    shelf.add("of another sweep")
    path = shelf.folder / "figure.svg"
    for name in ("today/noon", "sweep today/noon", parent, parent[:9]):
        code, out, err = command(name, "--figure", str(path))
        assert (code, err) == (0, "")
        (line,) = (line for line in out.splitlines() if line.startswith("Skipped unfinished runs"))
        assert "1 FAILED (model.units=1, cv.n_splits=5), 1 RUNNING (model.units=2, cv.n" in line
        assert "1 stopped early by racing (model.units=3, cv.n_splits=5)." in line
        lines = [line.split() for line in out.splitlines() if " units=" in line]
        assert sorted(words[1] for words in lines) == ["units=20", "units=40", "units=64"]
        assert "No conclusion about which is best: " in out
    assert "<svg" in path.read_text()


def test_the_figure_has_a_place_of_its_own(shelf, command):
    shelf.add("a", 1)
    shelf.add("b", 2)
    _, out, _ = command("a", "b")
    (path,) = (shelf.folder / "results" / "compare").iterdir()
    assert path.read_bytes().startswith(b"\x89PNG")
    assert path.name.startswith("accuracy-2-")
    assert str(path.name) in out.splitlines()[-1]
    for options in ((), ("--rope", "0.1"), ("--alpha", "0.1"), ("--seeds",)):
        command("a", "b", *options)
    assert len([*path.parent.iterdir()]) == 4


def test_seeds_are_averaged_fold_by_fold(shelf, command):
    parent = shelf.sweep("seeds")
    for units in (20, 40):
        for seed in (1, 2, 3):
            settings = {"seed": str(seed), "model.units": str(units)}
            name = f"model.units={units}, seed={seed}"
            shelf.add(name, units + seed, units / 1000, parent=parent, settings=settings)
    path = shelf.folder / "numbers.json"
    code, out, _ = command("seeds", "--json", str(path))
    assert code == 0
    assert "Averaged over seed: 3 runs each; --seeds compares each seed by itself." in out
    assert '"units=40" is significantly better than "units=20"' in out
    first, _ = json.loads(path.read_text())["configurations"]
    assert len(first["run_ids"]) == 3
    expected = np.mean([fold_scores(40 + seed, 0.04) for seed in (1, 2, 3)], axis=0)
    np.testing.assert_allclose(first["scores"], expected)
    shelf.add("model.units=80, seed=1", 80, parent=parent, settings={"model.units": "80"})
    _, out, _ = command("seeds", "--average", "seed")
    assert "Averaged over seed: 1 to 3 runs each.\n" in out
    _, out, _ = command("seeds", "--seeds", "--json", str(path))
    assert "Averaged" not in out
    assert len(json.loads(path.read_text())["configurations"]) == 7


def test_undefined_folds_are_left_out_and_said(shelf, command):
    shelf.add("a", 1, left_out=(3,))
    shelf.add("b", 2, left_out=(3, 7))
    code, out, _ = command("a", "b")
    assert code == 0
    assert "Accuracy of 18 folds" in out
    assert "Skipped 2 folds in which it is undefined" in out


def test_a_fold_that_was_trained_again_counts_once(shelf):
    run_id = shelf.add("a", 1)
    again = [Metric("fold/accuracy", 0.25, 2, step) for step in range(5)]
    shelf.client.log_batch(run_id, again)
    reader = RunReader(store_at(shelf.uri))
    (run,) = reader.find(["a"]).runs
    scores = reader.fold_scores(run.run_id, "accuracy", N_FOLDS)
    np.testing.assert_allclose(scores[:5], 0.25)
    np.testing.assert_allclose(scores[5:], fold_scores(1, 0)[5:])


def test_of_runs_of_one_name_the_finished_one_is_meant(shelf):
    shelf.add("twice", status="FAILED")
    finished = shelf.add("twice")
    reader = RunReader(store_at(shelf.uri))
    (run,) = reader.find(["twice"]).runs
    assert run.run_id == finished
    both = reader.find([finished, "twice"]).runs
    assert [run.run_id for run in both] == [finished]


def test_runs_of_one_name_are_told_apart_by_their_ids(shelf):
    ids = [shelf.add('it\'s "the" same') for _ in range(2)]
    found = RunReader(store_at(shelf.uri)).find(ids)
    runs = make_names_unique([to_run_scores(record) for record in found.runs])
    assert [run.name for run in runs] == [f'it\'s "the" same ({id[:8]})' for id in ids]


def refusals(shelf: Shelf) -> dict[tuple[str, ...], str]:
    finished, failed = shelf.add("fine"), shelf.add("broken", status="FAILED")
    shelf.client.set_tag(failed, "failure", "ValueError: no luck\nat all")
    shelf.add("other data", data="E", split="T")
    shelf.add("other splits", split="T")
    first, second = (shelf.add("same") for _ in range(2))
    parent = shelf.sweep("empty")
    foreign = shelf.client.create_run(shelf.experiment, run_name="foreign").info.run_id
    shelf.client.set_terminated(foreign)
    return {
        ("fine",): "Expected at least two finished runs. Received: only 'fine'.",
        ("fine", finished): "Received: only 'fine'.",
        ("empty",): "Received: none.",
        ("fine", parent): "Received: only 'fine'.",
        ("fine", "fin"): "Expected a run or a sweep of the store. Received: 'fin'. Did you mean "
        "'fine'? Available: broken, fine, foreign, other data, other splits, same, sweep empty.",
        ("fine", "'\""): "Received: '\\'\"'. Available: ",
        ("fine", "broken"): f"Received: 'broken' ({failed}), which is FAILED: ValueError: no luck.",
        ("fine", "foreign"): "which lacks the tags data_digest and split_digest",
        ("fine", "other data"): "Expected runs on the same data",
        ("fine", "other splits"): "Expected runs with the same folds",
        ("fine", "same"): "Received: 'same', which 2 runs have. Name them by their ids, the "
        f"newest first: {second} (FINISHED), {first} (FINISHED).",
        (first, second, "--metric", "f1"): "'f1', which is missing in 'same (",
    }


def test_what_cannot_be_compared_is_refused_with_the_reason(shelf, command):
    for arguments, message in refusals(shelf).items():
        code, out, err = command(*arguments)
        assert code == 2
        assert message in err
        assert "Traceback" not in err + out
    assert not (shelf.folder / "results").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--alpha", "1"), "argument --alpha: expected a number between 0 and 1. Received: 1"),
        (("--rope", "-0.1"), "argument --rope: expected a number of at least 0. Received: -0.1"),
        (("--markdown",), "--markdown and --latex: expected --across beside them."),
        (("--across", "--seeds"), "--across: expected none of --labels, --average and --seeds."),
        (("--figure", "x.doc"), "expected a name that ends in one of .pdf, .png, .svg"),
    ],
)
def test_impossible_options_are_refused(command, arguments, message):
    code, _, err = command("a", "b", *arguments)
    assert (code, message in err) == (2, True)


def test_a_store_that_is_not_there_is_not_made(tmp_path, command, shelf):
    missing = tmp_path / "elsewhere" / "mlflow.db"
    code, _, err = command("a", "b", f"tracking.uri=sqlite:///{missing}")
    assert (code, "Expected an MLflow store with runs." in err) == (2, True)
    assert not missing.parent.exists()
    broken = tmp_path / "broken.db"
    broken.write_text("no database" * 100)
    code, _, err = command("a", "b", f"tracking.uri=sqlite:///{broken}")
    assert (code, "Expected an MLflow store that can be read" in err) == (2, True)


def test_what_cannot_be_written_is_said(shelf, command):
    shelf.add("a", 1)
    shelf.add("b", 2)
    code, _, err = command("a", "b", "--json", "/proc/none/x.json")
    assert (code, "Expected a file that can be written. Received: /proc/none/x.json" in err) == (
        2,
        True,
    )


def test_it_needs_no_tensorflow(shelf):
    shelf.add("a", 1)
    shelf.add("b", 2)
    program = (
        "import sys\nfrom pipeline.commands import compare\n"
        "try: compare.main(sys.argv[1:])\n"
        "finally: print({'tensorflow', 'keras', 'sklearn'} & set(sys.modules))"
    )
    figure = str(shelf.folder / "a.png")
    process = subprocess.run(
        [sys.executable, "-c", program, "a", "b", f"tracking.uri={shelf.uri}", "--figure", figure],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")
    assert process.stdout.endswith("set()\n")


def test_runs_logged_under_former_keys_compare_with_runs_under_present_keys(shelf, command):
    former = {"preparation.numeric": "standard", "preparation.impute": "mean", "seed": "1"}
    present = {"preprocessing.scaling": "standard", "preprocessing.imputation": "median"}
    shelf.add("a", 1, 0.1, parent=shelf.sweep("p"), settings=former)
    shelf.add("b", 2, parent=shelf.sweep("q"), settings=present)
    code, out, err = command("p", "q")
    assert (code, err) == (0, "")
    assert "imputation=mean" in out
    assert "imputation=median" in out
    assert "scaling" not in out
    assert "numeric" not in out
