"""The search: its space, what it draws, what it remembers, without training anything."""

import itertools
import math
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from contextlib import nullcontext
from pathlib import Path
from typing import ClassVar

import optuna
import pytest
from hydra import initialize_config_dir
from hydra._internal.core_plugins.basic_sweeper import BasicSweeper
from hydra.core.global_hydra import GlobalHydra
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.core.plugins import Plugins
from hydra.core.utils import JobReturn, JobStatus
from hydra.errors import HydraException
from hydra.plugins.launcher import Launcher
from hypothesis import given
from hypothesis import strategies as st
from mlflow.tracking import MlflowClient
from optuna.storages.journal import JournalFileBackend, JournalStorage

from pipeline import sweeps
from pipeline.config.compose import load
from pipeline.errors import UserError
from pipeline.job import Outcome, Result
from pipeline.runtime import CONF_DIR
from pipeline.scoring.statistics import MetricSummary, summarise
from pipeline.sweeps.search_plan import grid_size, grid_values
from pipeline.sweeps.search_space import (
    Choice,
    Interval,
    Space,
    divide,
    make_objectives,
    read_parameter,
)
from pipeline.sweeps.study import open_study

PARSER = OverridesParser.create()


def read(text: str, present: object = None) -> Interval | Choice:
    (override,) = PARSER.parse_overrides([f"key={text}"])
    return read_parameter(override, present)


SPANS = [
    ("interval(0,0.5)", 0.0, Interval(0.0, 0.5)),
    ("interval(0,1)", 0.0, Interval(0.0, 1.0)),
    ("tag(log,interval(1e-4,1e-1))", 0.001, Interval(1e-4, 0.1, log=True)),
    ("interval(16,128)", 32, Interval(16, 128, integer=True)),
    ("int(interval(16,128))", None, Interval(16, 128, integer=True)),
    ("tag(log,int(interval(1,100)))", None, Interval(1, 100, integer=True, log=True)),
    ("interval(16,128)", None, Interval(16.0, 128.0)),
    ("range(16,129,16)", 32, Interval(16, 128, integer=True, step=16)),
    ("range(3)", 1, Interval(0, 2, integer=True, step=1)),
    ("range(10,0,-4)", 1, Interval(2, 10, integer=True, step=4)),
    ("range(0,0.3,0.1)", 0.0, Interval(0.0, 0.2, step=0.1)),
    ("range(0,0.9,0.3)", 0.0, Interval(0.0, 0.6, step=0.3)),
    ("shuffle(range(3))", 1, Interval(0, 2, integer=True, step=1)),
    ("choice([20],[64,32])", [20], Choice(("[20]", "[64,32]"))),
    ("[20],[64,32]", [20], Choice(("[20]", "[64,32]"))),
    ("relu,gelu", "relu", Choice(("relu", "gelu"))),
    ("choice(true,1.5,{a:1})", None, Choice(("True", "1.5", "{a:1}"))),
]


@pytest.mark.parametrize(("text", "present", "expected"), SPANS, ids=[s[0] for s in SPANS])
def test_hydras_sweep_syntax_spans_a_space(text, present, expected):
    assert read(text, present) == expected


REFUSED = {
    "interval(1,1)": "expected interval(low,high)",
    "interval(2,1)": "expected interval(low,high)",
    "tag(log,interval(0,1))": "expected positive ends",
    "tag(lin,interval(1,2))": "expected the tag 'log' or none",
    "tag(log,choice(1,2))": "expected a tag on interval() alone",
    "range(3,3)": "with a value or more",
    "range(3,0)": "with a value or more",
    "choice(a,a)": "expected each option once",
}


@pytest.mark.parametrize("text", REFUSED)
def test_what_spans_nothing_is_refused(text):
    with pytest.raises(UserError, match=r"^key: ") as refusal:
        read(text)
    assert REFUSED[text] in str(refusal.value)


def test_an_interval_of_parts_is_refused_where_the_setting_is_whole():
    with pytest.raises(UserError, match="key: expected whole ends"):
        read("interval(16.5,128)", present=32)


@given(st.integers(-50, 50), st.integers(-50, 50), st.integers(-9, 9))
def test_a_range_of_whole_numbers_is_pythons(start, stop, step):
    text = f"range({start},{stop},{step})"
    values = sorted(range(start, stop, step)) if step else []
    if values:
        span = read(text)
        assert [span.value(place) for place in range(span.size)] == values
    else:
        with pytest.raises((UserError, HydraException)):
            read(text)


finite = st.floats(-1e6, 1e6)


@given(finite, finite, st.floats(0, 1))
def test_what_is_drawn_stays_within_its_ends(one, other, part):
    low, high = sorted((one, other))
    if low < high:
        drawn = low + part * (high - low)
        text = Interval(low, high).text(min(drawn, high))
        (override,) = PARSER.parse_overrides([f"key={text}"])
        assert low <= override.value() <= high
        assert override.value() == pytest.approx(drawn, rel=1e-5)


@given(st.integers(-1000, 1000), st.integers(1, 400), st.integers(1, 30), st.integers(1, 3))
def test_steps_are_written_without_the_rounding_of_floats(start, step, n, digits):
    unit = 10**-digits
    low, high = round(start * unit, digits), round((start + step * n) * unit, digits)
    span = Interval(low, high, step=round(step * unit, digits))
    assert span.size == n + 1
    texts = [span.text(span.value(place)) for place in range(span.size)]
    assert [float(text) for text in texts] == [
        round((start + step * place) * unit, digits) for place in range(n + 1)
    ]


def test_the_last_of_a_key_counts():
    arguments = ["a=1,2", "b=interval(0,1)", "seed=3", "a=5", "~experiment"]
    searched, fixed = divide(PARSER.parse_overrides(arguments))
    assert list(searched) == ["b"]
    assert fixed == ("seed=3", "a=5", "~experiment")


def test_a_grid_is_hydras_own():
    arguments = ["a=1,2", "b=range(0,3)", "c=choice([20],[64,32])"]
    overrides = PARSER.parse_overrides(arguments)
    (expected,) = BasicSweeper.split_arguments(overrides, None)
    space = Space({o.key_or_group: read_parameter(o, None) for o in overrides}, ())
    points = [grid_values(space, place) for place in range(grid_size(space))]
    assert [list(space.overrides(point)) for point in points] == expected


def test_a_grid_cannot_count_an_interval():
    with pytest.raises(UserError, match="a: expected values that a grid can count"):
        grid_size(Space({"a": Interval(0.0, 1.0)}, ()))


def test_objectives_are_read_off_the_summary():
    summary = {name: summarise([0.1, 0.2, 0.4], 0.5) for name in ("accuracy", "hamming_loss")}
    scored = ("accuracy", "hamming_loss", "my.own")

    def values(*arguments):
        made = make_objectives(*arguments, scored)
        return {o.name: (o.direction, o.value(summary)) for o in made}

    low, high = summary["accuracy"].ci
    mean = pytest.approx(0.7 / 3)
    assert values(None, None, "mean") == {"accuracy_mean": ("maximize", mean)}
    assert values(["accuracy", "hamming_loss"], None, "ci_low") == {
        "accuracy_ci_low": ("maximize", low),
        "hamming_loss_ci_high": ("minimize", high),
    }
    (own,) = make_objectives(["own"], ["minimize"], "mean", scored)
    assert (own.metric, own.direction) == ("own", "minimize")
    (alone,) = make_objectives(None, None, "ci_low", scored)
    assert alone.value({"accuracy": MetricSummary(0.5, 0.0, None, 1)}) is None
    assert alone.value({"accuracy": MetricSummary(math.nan, math.nan, None, 0)}) is None


@pytest.mark.parametrize(
    ("metrics", "directions", "message"),
    [
        (["f1_micro"], None, "'f1_micro' is not among scoring.metrics"),
        (["accuracy", "accuracy"], None, "expected names, each once"),
        (["accuracy"], ["maximize", "minimize"], "expected one for each of accuracy"),
    ],
)
def test_objectives_that_no_job_computes_are_refused(metrics, directions, message):
    with pytest.raises(UserError) as refusal:
        make_objectives(metrics, directions, "mean", ("accuracy", "hamming_loss"))
    assert message in str(refusal.value)


class StandIn(Launcher):
    """Runs jobs without composing them; `lab` says what they are."""

    lab: ClassVar["Lab"]

    def setup(self, *, hydra_context, task_function, config):
        self.config, self.task = config, task_function

    def launch(self, job_overrides, initial_job_idx):
        assert initial_job_idx >= self.lab.n_before + len(self.lab.jobs)
        self.lab.batches.append([])
        return [self._run(dict(word.split("=", 1) for word in words)) for words in job_overrides]

    def _run(self, values: dict[str, str]) -> JobReturn:
        self.lab.batches[-1].append(values)
        returned = JobReturn(status=JobStatus.COMPLETED)
        try:
            returned.return_value = self.task(values)
        except Exception as error:
            returned.return_value, returned.status = error, JobStatus.FAILED
        return returned


class Lab:
    """Searches whose jobs are a function, in a folder of their own and no sweep of MLflow's."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.uri = f"sqlite:///{folder / 'mlflow.db'}"
        self.batches: list[list[dict[str, str]]] = []
        self.n_searches = self.n_before = 0
        self.resume = False  # whether a search takes up the last one
        self._monkeypatch = monkeypatch
        StandIn.lab = self
        sweeps.register()
        Plugins.instance().class_name_to_class["hydra_plugins.tests.StandIn"] = StandIn

    @property
    def jobs(self) -> list[dict[str, str]]:
        return list(itertools.chain.from_iterable(self.batches))

    def run(self, job: Callable[[dict[str, str]], object], *overrides: str) -> None:
        """Search with a launcher that composes nothing; `job` takes overrides by key."""
        self.batches = []
        self.n_before = sum(trial.values is not None for trial in self.trials()) * self.resume
        self.run_hydra(job, "hydra.launcher._target_=hydra_plugins.tests.StandIn", *overrides)

    def run_hydra(self, task: Callable[..., object], *overrides: str) -> None:
        """Search as the command line does; `task` takes what Hydra composed."""
        self.n_searches += not self.resume
        places = [f"tracking.uri={self.uri}", f"hydra.sweep.dir={self.folder}/sweep"]
        parent = f"++tracking.parent_run_id=sweep{self.n_searches:03}"
        # Setting logging up anew closes the handlers that are there, TensorFlow's on pytest's
        # standard error among them.
        quiet = ["hydra.hydra_logging.root=null", "hydra.job_logging.root=null"]
        alone = ["hydra/sweeper=optuna", "~hydra.callbacks.sweep", parent, *quiet]
        arguments = [*alone, *places, *overrides]
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


@pytest.fixture
def lab(tmp_path, monkeypatch) -> Lab:
    return Lab(tmp_path, monkeypatch)


def found(n_fits: int = 31, n_fits_skipped: int = 0, **means: float) -> Outcome:
    summary = {name: summarise([mean - 0.01, mean + 0.01], 1.0) for name, mean in means.items()}
    run_id = f"run{next(RUN_IDS)}"
    return Outcome(0, Result(run_id, summary, n_fits, n_fits_skipped))


RUN_IDS = itertools.count()
BOWL = ("model.dropout=interval(0,0.5)", "training.learning_rate=tag(log,interval(1e-4,1e-1))")


def bowl(values: dict[str, str]) -> Outcome:
    dropout, rate = float(values["model.dropout"]), float(values["training.learning_rate"])
    assert 0 <= dropout <= 0.5
    assert 1e-4 <= rate <= 0.1
    return found(accuracy=0.9 - (dropout - 0.2) ** 2 - 0.1 * (math.log10(rate) + 2) ** 2)


def drawn(lab: Lab) -> list[tuple[str, str]]:
    return [(job["model.dropout"], job["training.learning_rate"]) for job in lab.jobs]


def test_tpe_learns_and_random_does_not(lab):
    late = {}
    for sampler in ("tpe", "random"):
        lab.run(bowl, *BOWL, f"hydra.sweeper.sampler={sampler}", "hydra.sweeper.n_trials=40")
        scores = [trial.value for trial in lab.trials()]
        assert len(scores) == 40
        late[sampler] = sum(scores[20:]) / 20
    assert late["tpe"] > late["random"] + 0.02


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_a_seed_repeats_a_search_and_another_does_not(lab, sampler):
    searches = []
    for seed in (1, 1, 2):
        options = (f"hydra.sweeper.sampler={sampler}", f"hydra.sweeper.seed={seed}")
        lab.run(bowl, *BOWL, *options, "hydra.sweeper.n_trials=14")
        searches.append(drawn(lab))
    assert searches[0] == searches[1]
    assert len(set(searches[0])) == 14
    assert not set(searches[0]) & set(searches[2])


def test_a_grid_tries_every_combination_once(lab):
    space = ("model.dropout=choice(0.0,0.2)", "training.batch_size=range(16,65,16)")
    options = (
        "hydra.sweeper.sampler=grid",
        "hydra.sweeper.n_trials=null",
        "hydra.sweeper.n_jobs=3",
    )
    lab.run(lambda values: found(accuracy=0.5), *space, *options)
    assert [len(batch) for batch in lab.batches] == [3, 3, 2]
    tried = [(job["model.dropout"], job["training.batch_size"]) for job in lab.jobs]
    assert tried == list(itertools.product(["0.0", "0.2"], ["16", "32", "48", "64"]))


def test_a_configuration_that_is_known_is_not_run_again(lab, capsys):
    options = ("hydra.sweeper.n_trials=20", "training.batch_size=16,32")
    lab.run(lambda values: found(accuracy=int(values["training.batch_size"]) / 100), *options)
    assert len(lab.jobs) == 2
    assert len(lab.trials()) == 20
    assert capsys.readouterr().out.count("it is not run again") == 18


def test_failed_trials_are_told_as_failed_and_the_search_goes_on(lab, capsys):
    def job(values):
        number = len(lab.jobs) - 1
        if number == 1:
            return Outcome(1, failure="ValueError: broken")
        if number == 3:
            raise RuntimeError("lost")
        if number == 5:
            return found(accuracy=math.nan)
        return Outcome(1, failure="ValueError: broken") if number == 6 else bowl(values)

    lab.run(job, *BOWL, "hydra.sweeper.n_trials=8")
    states = [trial.state.name for trial in lab.trials()]
    assert states == ["COMPLETE", "FAIL"] * 3 + ["FAIL", "COMPLETE"]
    assert sweeps.OptunaSweeper.n_failed == 4
    told = capsys.readouterr().err
    assert "2 failed (trials 1, 6): ValueError: broken" in told
    assert "1 failed (trials 3): RuntimeError: lost" in told
    assert "1 failed (trials 5): accuracy_mean is undefined" in told


@pytest.mark.parametrize("n_jobs", [1, 3])
def test_an_interrupted_search_goes_on_as_if_undisturbed(lab, n_jobs, capsys):
    options = (*BOWL, "hydra.sweeper.n_trials=16", f"hydra.sweeper.n_jobs={n_jobs}")
    lab.run(bowl, *options)
    undisturbed, scores = drawn(lab), [trial.value for trial in lab.trials()]

    def until(last):
        def job(values):
            if len(lab.jobs) > last:
                raise KeyboardInterrupt
            return bowl(values)

        return job

    tried = []
    lab.n_searches += 1
    lab.resume = True
    for last in (5, 6, 99):
        with pytest.raises(KeyboardInterrupt) if last < 99 else nullcontext():
            lab.run(until(last), *options)
        tried += drawn(lab)
    n_done = 5 // n_jobs * n_jobs
    assert f"maximize accuracy_mean, {n_done} of them done" in capsys.readouterr().out
    by_place = {trial.user_attrs["place"]: trial.value for trial in lab.trials()}
    assert [by_place[place] for place in range(16)] == scores
    assert list(dict.fromkeys(tried)) == undisturbed
    lab.run(bowl, *options)
    assert lab.jobs == []
    lab.run(bowl, *options, "hydra.sweeper.n_trials=18")
    assert len(lab.jobs) == 2


def test_a_front_is_what_no_other_beats(lab, capsys):
    def job(values):
        x = float(values["model.dropout"])
        return found(accuracy=round(x, 1), hamming_loss=round(x * x, 1), f1_micro=0.5)

    metrics = "hydra.sweeper.metrics=[accuracy,hamming_loss]"
    lab.run(job, BOWL[0], metrics, "hydra.sweeper.n_trials=12", "hydra.sweeper.sampler=random")
    values = {trial.number: trial.values for trial in lab.trials()}

    def beaten(one):
        return any(
            other[0] >= one[0] and other[1] <= one[1] and other != one for other in values.values()
        )

    front = {number for number, one in values.items() if not beaten(one)}
    assert 1 < len(front) < 12
    printed = capsys.readouterr().out
    assert f"{len(front)} of 12 configurations are beaten in all by no other" in printed
    commands = re.findall(r"^Trial (\d+) again  ", printed, re.MULTILINE)
    assert set(map(int, commands)) == front


def test_jobs_are_composed_by_hydra_and_the_command_repeats_the_best(lab, make_config, capsys):
    tried = {}

    def task(composed):
        config = load(composed)
        score = config.model.dropout + len(config.model.hidden_units) / 10
        tried[score] = config
        return found(accuracy=score)

    space = ("model.hidden_units=choice([20],[64,32])", "model.dropout=interval(0.1,0.5)")
    more = ("experiment=emotions", "dataset.path=a file.arff", "hydra.sweeper.n_trials=5")
    lab.run_hydra(task, *space, *more, "+hydra.sweeper.params={training.epochs:7}")
    lines = capsys.readouterr().out.splitlines()
    (command,) = [line for line in lines if line.startswith("Again  ")]
    words = shlex.split(command)
    assert words[2:4] == ["-m", "pipeline"]
    best = make_config(*words[4:])
    assert best == tried[max(tried)]
    assert (best.training.epochs, best.dataset.path) == (7, "a file.arff")


REFUSED_SEARCHES = {
    "seed=1": "expected something to search",
    "model.dropuot=interval(0,1)": "Could not override 'model.dropuot'",
    "model=mlp,mpl": "model/mpl",
    "hydra.sweeper.n_trials=0": "hydra.sweeper.n_trials: expected greater than 0. Received: 0",
    "hydra.sweeper.n_trials=null": "only hydra.sweeper.sampler=grid knows",
    "hydra.sweeper.sampler=gird": "hydra.sweeper.sampler: expected 'tpe', 'random' or 'grid'.",
    "hydra.sweeper.metrics=[f1_macros]": "Did you mean 'f1_macro'?",
    "model.l2=interval(-1,0.1)": "model.l2: expected a value greater than or equal to 0",
    "hydra.sweeper.sampler=grid": "model.dropout: expected values that a grid can count",
}


@pytest.mark.parametrize("argument", REFUSED_SEARCHES)
def test_a_search_that_cannot_be_is_refused_before_any_job(lab, argument):
    space = () if argument == "seed=1" else BOWL[:1]
    with pytest.raises((UserError, HydraException)) as refusal:
        lab.run(bowl, argument, *space)
    assert REFUSED_SEARCHES[argument] in str(refusal.value)
    assert not lab.jobs


def test_without_optuna_the_refusal_says_how_to_get_it(lab, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(UserError, match=r"pip install 'manyfold\[optuna\]'"):
        lab.run(bowl, *BOWL)


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


def test_jobs_race_against_the_best_so_far(lab, capsys):
    def job(values):
        score = [0.5, 0.4, 0.7, 0.9, 0.8][len(lab.jobs) - 1]
        lost = len(lab.jobs) == 4  # a first repeat of 0.9 is no evaluation
        return found(accuracy=score, hamming_loss=0.1, n_fits_skipped=21 if lost else 0)

    first = next(RUN_IDS) + 1
    lab.run(job, *BOWL, "racing=first_repeat", "hydra.sweeper.n_trials=5")
    rivals = [job.get("racing.incumbent") for job in lab.jobs]
    best = [None, 0, 0, 2, 2]
    assert rivals == [None if place is None else f"run{first + place}" for place in best]
    assert {job["racing.metric"] for job in lab.jobs[1:]} == {"accuracy"}
    assert [trial.state.name for trial in lab.trials()] == ["COMPLETE"] * 3 + ["PRUNED", "COMPLETE"]
    printed = capsys.readouterr().out
    assert f"Best of 5 configurations: accuracy_mean 0.8000, run run{first + 4}" in printed
    assert "Racing stopped 1 of 5 trials after their first repeat: 21 of 155 fits" in printed


def test_racing_needs_one_objective_and_repeats(lab, capsys):
    several = "hydra.sweeper.metrics=[accuracy,hamming_loss]"
    with pytest.raises(UserError, match="racing: expected one objective"):
        lab.run(bowl, *BOWL, "racing=first_repeat", several)
    lab.run(bowl, *BOWL, "racing=first_repeat", "cv.n_repeats=1", "hydra.sweeper.n_trials=2")
    assert "the folds are not repeated" in capsys.readouterr().out
    assert "racing.incumbent" not in lab.jobs[1]
    named = "racing.incumbent=abc"
    lab.run(bowl, *BOWL, "racing=first_repeat", named, "hydra.sweeper.n_trials=2")
    assert [job["racing.incumbent"] for job in lab.jobs] == ["abc", "abc"]


def test_a_search_end_to_end(tmp_path):
    store = f"sqlite:///{tmp_path / 'mlflow.db'}"
    command = [sys.executable, "-m", "pipeline", "--multirun", "hydra/sweeper=optuna"]
    command += ["hydra.sweeper.sampler=grid", "racing=first_repeat", f"tracking.uri={store}"]
    command += ["dataset.n_samples=200", "cv.n_splits=4", "cv.n_repeats=2", "training.epochs=20"]
    command += ["training.learning_rate=0.05,1e-6,0", f"hydra.sweep.dir={tmp_path}/sweep"]
    command += ["hydra.sweeper.metrics=[hamming_loss]"]
    process = subprocess.run(command, capture_output=True, text=True, check=False)
    assert process.returncode == 1
    assert "1 failed (trials 2): Configuration refused: training.learning_rate" in process.stderr
    assert "Racing stopped 1 of 2 trials after their first repeat: 5 of 18 fits" in process.stdout
    assert "Search: 3 configurations to minimize hamming_loss_mean" in process.stdout
    assert "rank  Hamming loss" in process.stdout  # what is searched for decides, not the headline
    assert "3 jobs: 2 finished, 1 failed" in process.stdout
    client = MlflowClient(store)
    runs = client.search_runs([client.get_experiment_by_name("manyfold").experiment_id])
    by_name = {run.data.tags["mlflow.runName"]: run for run in runs}
    whole, lost = (by_name[f"training.learning_rate={rate}"] for rate in ("0.05", "1e-06"))
    assert {run.info.status for run in (whole, lost)} == {"FINISHED"}
    assert lost.data.tags["stopped_after_repeat"] == "1"
    assert f"behind run {whole.info.run_id}" in lost.data.tags["stopped_because"]
    assert "accuracy_mean" not in lost.data.metrics
    assert "first_repeat/accuracy_mean" in lost.data.metrics
    assert lost.data.metrics["fits_saved"] == 5
    steps = [m.step for m in client.get_metric_history(lost.info.run_id, "fold/accuracy")]
    assert sorted(steps) == [0, 1, 2, 3]
    assert "stopped_after_repeat" not in whole.data.tags
