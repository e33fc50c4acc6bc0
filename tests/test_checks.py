"""Each check has something to say on a made-up case, and nothing on its clean twin."""

import json
import re
from collections import Counter
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from scipy.special import expit
from scipy.stats import nct, norm, t
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.preprocessing import StandardScaler

from pipeline.checks import CHECKS, baselines, check_data, check_evaluation, select
from pipeline.checks.baselines import check_baselines, predict_logistic
from pipeline.checks.fold_checks import REGULARISATION
from pipeline.checks.leaks import LEAKING_AUC, _masked_auc
from pipeline.checks.sweep_checks import FoldScores, check_sweep
from pipeline.comparison.entries import Entry
from pipeline.comparison.leaderboard import Leaderboard
from pipeline.cv.splitters import make_splits
from pipeline.dataset.dataset import Dataset
from pipeline.dataset.summary import summarise
from pipeline.decision.rule import DecisionRule
from pipeline.errors import UserError
from pipeline.evaluation.fold_results import Evaluation, FoldResult
from pipeline.preprocessing.column import Column
from pipeline.preprocessing.table_schema import TableSchema
from pipeline.scoring.scorer import score
from tests.command_runner import CommandRunner
from tests.random_evaluation import with_summary

N_ROWS, N_FEATURES, N_LABELS, N_EPOCHS = 200, 6, 3, 20
IN_DATA = {"MF004", "MF005", "MF006", "MF007", "MF008", "MF009", "MF017", "MF018"}
IN_SWEEPS = {"MF012", "MF013", "MF014", "MF019"}


def draw(seed: int, n_rows: int = N_ROWS):
    """Draw features, labels and the true probabilities of the labels."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n_rows, N_FEATURES)).astype(np.float32)
    X[:, 0] = rng.integers(0, 60, n_rows)  # whole numbers that matter
    weights = rng.normal(size=(N_FEATURES, N_LABELS))
    weights[0] /= 20
    probabilities = expit(2 * (X - X.mean(axis=0)) @ weights)
    y = (rng.random(probabilities.shape) < probabilities).astype(np.int8)
    return X, y, probabilities


def to_dataset(X, y, columns=None) -> Dataset:
    columns = columns or [Column(f"x{i}") for i in range(X.shape[1])]
    names = tuple(f"y{i}" for i in range(y.shape[1]))
    return Dataset("made up", X.astype(np.float32), y, TableSchema(tuple(columns)), names)


@pytest.fixture(scope="module")
def config(make_config):
    return make_config("dataset.n_samples=40", "cv.n_splits=5", "cv.n_repeats=1")


def codes_of_data(config, dataset) -> list[str]:
    splits = make_splits(config.cv, dataset)
    return [it.code for it in check_data(config, dataset, summarise(dataset), splits)]


def to_evaluation(config, dataset, y_score, *, curve=None, threshold=0.5) -> Evaluation:
    """Return an evaluation with these probabilities, learning curves and thresholds."""
    rule = DecisionRule(threshold=np.full(N_LABELS, threshold), temperature=np.ones(N_LABELS))
    loss = np.linspace(0.7, 0.4, N_EPOCHS)
    folds = []
    for split in make_splits(config.cv, dataset):
        y_pred = (y_score[split.test] > threshold).astype(np.int8)
        y_true, y_test = dataset.y[split.test], y_score[split.test].astype(np.float32)
        scores = score(config.scoring, y_true, y_test, y_pred)
        test_loss = 1.1 * loss if curve is None else curve + split.fold / 1e3
        folds.append(
            FoldResult(
                split, y_test, y_pred, rule, scores.values, {}, loss, loss[:0], test_loss, 0.1
            )
        )
    return with_summary(Evaluation(config, dataset, tuple(folds), {}, None))


def codes(config, dataset, y_score, **options) -> list[str]:
    return [it.code for it in check_evaluation(to_evaluation(config, dataset, y_score, **options))]


def test_clean_tables_have_at_most_5_percent_of_each_finding(config):
    counts: Counter[str] = Counter()
    n_tables = 200
    for seed in range(n_tables):
        X, y, probabilities = draw(seed)
        dataset = to_dataset(X, y)
        counts.update(set(codes_of_data(config, dataset)))
        counts.update(set(codes(config, dataset, probabilities)))
    assert max(counts.values(), default=0) <= 0.05 * n_tables, counts


def test_labels_that_are_not_known_are_no_negatives(config):
    counts: Counter[str] = Counter()
    n_tables = 40
    for seed in range(n_tables):
        X, y, probabilities = draw(seed, n_rows=600)
        known = np.random.default_rng(seed).random(y.shape) < 0.3
        dataset = replace(to_dataset(X, y * known), label_mask=known)
        counts.update(set(codes_of_data(config, dataset)))
        counts.update(set(codes(config, dataset, probabilities)) - {"MF001"})  # of other scores
    assert max(counts.values(), default=0) <= 0.05 * n_tables, counts


@pytest.mark.parametrize("fraction", [0.05, 0.3, 0.9])
def test_features_that_give_away_labels_are_those_of_scikit_learn_on_rows_that_know_them(fraction):
    rng = np.random.default_rng(0)
    X, y, _ = draw(0, n_rows=1500)
    mask = rng.random(y.shape) < fraction
    X[:, 0] = np.where(mask[:, 0], 2 * y[:, 0] - 0.001 * rng.random(len(y)), rng.random(len(y)))
    X[:, 1] = np.round(X[:, 1])  # ties
    X[rng.random(len(y)) < 0.2, 2] = np.nan
    X[:, 3] = y[:, 1] * (rng.random(len(y)) < 0.996)  # near the limit
    dataset = replace(to_dataset(X, y * mask), label_mask=mask)
    auc = _masked_auc(dataset, np.arange(len(y)), np.arange(N_LABELS), mask)
    for feature, label in np.ndindex(auc.shape):
        given = mask[:, label]
        values = np.nan_to_num(X[given, feature], nan=-1e9)
        expected = roc_auc_score(y[given, label], values)
        may_be_skipped = max(expected, 1 - expected) < LEAKING_AUC
        assert auc[feature, label] in ([pytest.approx(expected), 0.5][: 1 + may_be_skipped])
    assert auc[0, 0] == 1
    assert auc[3, 1] >= LEAKING_AUC
    assert fraction < 0.3 or (auc == 0.5).mean() > 0.5  # few areas are computed


def test_rows_without_any_known_label_are_no_copies(config):
    X, y, _ = draw(3)
    of_copies(X, y)
    mask = np.ones_like(y, dtype=bool)
    mask[100, 0] = False
    dataset = to_dataset(X, y)
    assert "MF006" in codes_of_data(config, replace(dataset, label_mask=mask))
    mask[100:150] = False
    assert "MF006" not in codes_of_data(config, replace(dataset, label_mask=mask))


def test_models_as_good_as_a_logistic_regression_are_rarely_called_worse(config):
    n_tables, n_findings = 200, 0
    for seed in range(n_tables):
        X, y, _ = draw(seed, 2 * N_ROWS)
        tables = X[::2].astype(float), y[::2], X[1::2].astype(float)
        y_score = predict_logistic(*tables)  # of other rows of the same kind
        evaluation = to_evaluation(config, to_dataset(X[1::2], y[1::2]), y_score)
        n_findings += any("worse" in str(it) for it in check_baselines(evaluation))
    assert 0 < n_findings <= 0.05 * n_tables


def test_the_logistic_regression_is_that_of_scikit_learn():
    X, y, _ = draw(0)
    X = X.astype(float)
    prepared = StandardScaler().fit(X[:150]).transform(X)
    expected = [
        LogisticRegression().fit(prepared[:150], labels).predict_proba(prepared[150:])[:, 1]
        for labels in y[:150].T
    ]
    actual = predict_logistic(X[:150], y[:150], X[150:])
    np.testing.assert_allclose(actual, np.transpose(expected), atol=0.005)


def test_a_model_is_compared_with_a_logistic_regression_where_that_is_cheap(config):
    X, y, probabilities = draw(5)
    dataset = to_dataset(X, y)
    halved = 0.5 + (probabilities[:, ::-1] - 0.5) / 9 + (probabilities - 0.5) / 10
    (finding,) = check_baselines(to_evaluation(config, dataset, halved))
    assert "is significantly worse than" in finding.message
    assert "that of a logistic regression on the same folds" in finding.message
    (finding,) = check_baselines(to_evaluation(config, dataset, probabilities[::-1]))
    assert "is not significantly better than" in finding.message
    assert "; a logistic regression has 0." in finding.message
    assert not [*check_baselines(to_evaluation(config, dataset, probabilities))]
    wide = TableSchema((*dataset.schema.columns[:-1], Column("c", "category", ("a",) * 10**6)))
    expensive = to_evaluation(config, replace(dataset, schema=wide), probabilities[::-1])
    assert ["logistic regression has" in str(it) for it in check_baselines(expensive)] == [False]


def test_jobs_with_equal_data_folds_and_preprocessing_fit_the_logistic_regression_once(
    config, monkeypatch
):
    fits = []

    def count(*arguments):
        fits.append(1)
        return predict_logistic(*arguments)

    def n_fits(config, dataset, y_score):
        fits.clear()
        found = [str(it) for it in check_baselines(to_evaluation(config, dataset, y_score))]
        return len(fits), found

    monkeypatch.setattr(baselines, "predict_logistic", count)
    monkeypatch.setattr(baselines, "_logistic_scores", {})
    X, y, probabilities = draw(5)
    dataset, poor = to_dataset(X, y), probabilities[::-1]
    n_folds = len(make_splits(config.cv, dataset))
    first = n_fits(config, dataset, poor)
    assert first[0] == n_folds
    assert n_fits(config, dataset, probabilities) == (0, [])
    assert n_fits(config, to_dataset(X.copy(), y.copy()), poor) == (0, first[1])
    scaled = replace(config, preprocessing=replace(config.preprocessing, scaling="minmax"))
    other_metric = replace(config, scoring=replace(config.scoring, metrics=("f1_macro",)))
    other_folds = replace(config, cv=replace(config.cv, random_state=7))
    others = (scaled, other_metric, other_folds)
    assert [n_fits(it, dataset, poor)[0] for it in others] == [n_folds] * 3
    assert n_fits(config, to_dataset(2 * X, y), poor)[0] == n_folds


def of_leak(X, y):
    X[:, 2] = 3 * y[:, 1] + np.random.default_rng(0).random(len(y))


def of_category(X, y):
    X[:, 2] = y[:, 1] + 2 * np.random.default_rng(0).integers(0, 5, len(y))


def of_row_numbers(X, y):
    X[:, 5] = np.random.default_rng(0).permutation(len(X))


def of_texts_of_rows(X, y):
    X[:, 2] = np.random.default_rng(0).permutation(len(X))


def of_copies(X, y):
    X[100:150], y[100:150] = X[:50], y[:50]


def of_near_copies(X, y):
    X[100:150], y[100:150] = X[:50] + 1e-6, y[:50]


def of_groups(X, y):
    X[:, 3] = np.random.default_rng(0).permutation(np.arange(len(X)) // 4)
    y[:] = np.random.default_rng(1).integers(0, 2, (50, N_LABELS))[X[:, 3].astype(int)]


def of_rare_label(X, y):
    y[:, 0] = 0
    y[:3, 0] = 1


def of_constant(X, y):
    X[:, 4] = 7


def of_scales(X, y):
    X[:, 1] *= 1e5


@pytest.mark.parametrize(
    ("code", "change", "columns", "settings"),
    [
        ("MF004", of_leak, None, []),
        ("MF004", of_category, {2: Column("c", "category", tuple("abcdefghij"))}, []),
        ("MF005", of_row_numbers, None, []),
        (
            "MF005",
            of_texts_of_rows,
            {2: Column("protein", "category", tuple(f"P{i}" for i in range(N_ROWS)))},
            [],
        ),
        ("MF006", of_copies, None, []),
        ("MF006", of_near_copies, None, []),
        ("MF007", of_groups, None, []),
        ("MF008", None, {1: Column("seen", "datetime")}, []),
        ("MF009", of_rare_label, None, []),
        ("MF017", of_constant, None, []),
        (
            "MF018",
            lambda X, y: np.multiply(X[:, 1], 1e5, out=X[:, 1]),
            None,
            ["preprocessing=none"],
        ),
    ],
)
def test_a_check_of_the_data(make_config, code, change, columns, settings):
    config = make_config("dataset.n_samples=40", "cv.n_splits=5", "cv.n_repeats=1", *settings)
    X, y, _ = draw(3)
    assert code not in codes_of_data(config, to_dataset(X, y))
    if change:
        change(X, y)
    of_table = [(columns or {}).get(i, Column(f"x{i}")) for i in range(N_FEATURES)]
    dataset = to_dataset(X, y, of_table)
    assert codes_of_data(config, dataset).count(code) == 1
    known = np.random.default_rng(7).random(y.shape) < 0.8
    assert codes_of_data(config, replace(dataset, label_mask=known)).count(code) == 1


def test_folds_that_keep_copies_together_have_none_on_both_sides(config):
    X, y, _ = draw(3)
    of_copies(X, y)
    dataset = to_dataset(X, y)
    halves = [np.arange(100, 200), np.r_[0:100]]  # copies of the first rows are in the second half
    (first, *_) = make_splits(config.cv, dataset)
    apart = replace(first, train=halves[0], test=halves[1])
    together = replace(first, train=np.r_[50:100, 150:200], test=np.r_[0:50, 100:150])
    for split, expected in ((apart, 1), (together, 0)):
        findings = check_data(config, dataset, summarise(dataset), [split])
        assert [it.code for it in findings].count("MF006") == expected


def calm(n_epochs=N_EPOCHS):
    return np.linspace(0.7, 0.5, n_epochs)


def rising():
    return np.r_[np.linspace(0.7, 0.5, 10), np.linspace(0.51, 0.7, 10)]


@pytest.mark.parametrize(
    ("code", "settings", "change", "options"),
    [
        ("MF001", [], lambda p, y: np.random.default_rng(0).random(p.shape), {}),
        ("MF002", [], None, {"curve": np.linspace(1.2, 1.0, N_EPOCHS)}),
        ("MF003", [], None, {"curve": rising()}),
        ("MF010", ["decision.threshold=per_label"], None, {"threshold": 0.01}),
        ("MF011", [], lambda p, y: p**6, {}),
        ("MF015", [], lambda p, y: np.minimum(p, [0.4, 1, 1]), {}),
        ("MF016", [], lambda p, y: np.maximum(p, [0.6, 0, 0]), {}),
    ],
)
def test_a_check_of_the_evaluation(make_config, code, settings, change, options):
    config = make_config("dataset.n_samples=40", "cv.n_splits=5", "cv.n_repeats=1", *settings)
    X, y, probabilities = draw(5)
    dataset = to_dataset(X, y)
    assert code not in codes(config, dataset, probabilities, curve=calm())
    changed = probabilities if change is None else change(probabilities, y)
    assert code in codes(config, dataset, changed, **options)


@pytest.mark.parametrize(("threshold", "is_advised"), [("0.5", True), ("per_label", False)])
def test_tuned_thresholds_are_not_advised_again(make_config, threshold, is_advised):
    settings = ("dataset.n_samples=40", "cv.n_splits=5", "cv.n_repeats=1")
    config = make_config(*settings, f"decision.threshold={threshold}")
    X, y, probabilities = draw(5)
    for code, changed in (
        ("MF015", np.minimum(probabilities, [0.4, 1, 1])),
        ("MF016", np.maximum(probabilities, [0.6, 0, 0])),
    ):
        findings = check_evaluation(to_evaluation(config, to_dataset(X, y), changed))
        (remedy,) = (it.remedy for it in findings if it.code == code)
        assert ("decision=tuned" in remedy) is is_advised


@pytest.mark.parametrize("kind", ["group_kfold", "stratified_group_kfold"])
def test_a_label_most_of_whose_rows_are_in_one_fold(make_config, kind):
    config = make_config("dataset.n_samples=40", f"cv={kind}", "cv.n_splits=5", "scoring=default")
    X, y, probabilities = draw(5)
    groups = np.arange(N_ROWS) // 40  # five groups of 40 rows are the folds
    y[:, 0] = 0
    y[np.r_[0:12, 40, 80, 120, 160], 0] = 1
    for dataset, expected in (
        (replace(to_dataset(X, y), groups=groups), True),
        (replace(to_dataset(X, y), groups=np.arange(N_ROWS) % 50), False),
    ):
        findings = check_evaluation(to_evaluation(config, dataset, probabilities))
        messages = [it.message for it in findings if it.code == "MF020"]
        assert bool(messages) == expected
        assert not messages or messages[0].endswith("hangs: y0 (12 of 16 rows)")


@pytest.mark.parametrize("kind", ["mlp", "mlp_plr", "tabm", "resnet"])
def test_settings_against_learning_by_heart_are_those_of_the_network(make_config, kind):
    hint = REGULARISATION[kind]
    with_values = re.findall(r"model\.\w+=\S+", hint)
    config = make_config(f"model={kind}", *with_values)
    keys = re.findall(r"model\.(\w+)", hint)
    assert keys
    assert all(hasattr(config.model, key) for key in keys)


def test_a_model_of_scikit_learn_is_advised_to_be_another_one(make_config):
    config = make_config("dataset.n_samples=40", "cv.n_splits=5", "model=logistic")
    X, y, probabilities = draw(5)
    y_score = np.random.default_rng(0).random(probabilities.shape)
    finding, *_ = check_evaluation(to_evaluation(config, to_dataset(X, y), y_score))
    assert finding.remedy.endswith("describe, or try another model, such as model=mlp")


def entry(number, mean, **settings):
    metrics = {"accuracy_mean": mean, "accuracy_std": 0.02}
    metrics |= {"accuracy_ci_low": mean - 0.03, "accuracy_ci_high": mean + 0.03}
    return Entry(f"{number:032x}", number, settings, "FINISHED", "accuracy", metrics)


def board(scores, seeds=(0.0,)):
    """Return a leaderboard of these scores by the number of epochs, one for each seed."""
    jobs = [
        {"training.epochs": str(epochs), "seed": str(seed), "mean": mean + seeds[seed]}
        for epochs, mean in scores.items()
        for seed in range(len(seeds))
    ]
    return Leaderboard([entry(n, job.pop("mean"), **job) for n, job in enumerate(jobs)])


@pytest.mark.parametrize(
    ("code", "case", "twin"),
    [
        ("MF012", board({10: 0.6, 20: 0.7, 40: 0.8}), board({10: 0.6, 20: 0.8, 40: 0.7})),
        (
            "MF012",
            board({n: n / 10 for n in range(12)}),
            board({n: -abs(n - 9) for n in range(12)}),
        ),
        (
            "MF013",
            board({n: 0.8 + n / 1e5 for n in range(12)}),
            board({n: 0.8 + n / 1e2 for n in range(12)}),
        ),
        (
            "MF019",
            board({1: 0.80, 2: 0.81}, seeds=(0, 0.1, -0.1)),
            board({1: 0.80, 2: 0.90}, seeds=(0, 0.01, -0.01)),
        ),
    ],
)
def test_a_check_of_a_sweep(code, case, twin):
    assert code in [it.code for it in check_sweep(case)]
    assert code not in [it.code for it in check_sweep(twin)]


def power(difference, n_folds=10, deviation=0.02, ratio=1 / 9):
    """Return the findings about folds of two configurations that differ by this in the mean."""
    noise = np.random.default_rng(0).normal(size=n_folds)
    noise = deviation * (noise - noise.mean()) / noise.std(ddof=1)
    scores = [0.8 + noise, np.full(n_folds, 0.8 - difference)]
    jobs = [entry(n, one.mean(), width=str(n)) for n, one in enumerate(scores)]
    by_id = {job.run_id: FoldScores(one, ratio) for job, one in zip(jobs, scores, strict=True)}
    findings = check_sweep(Leaderboard(jobs), by_id.__getitem__)
    return [it for it in findings if it.code == "MF014"]


def test_folds_that_are_too_few_for_the_differences_of_a_sweep():
    """Twin of the formula of a test's power: at the difference found, it rejects four of five."""
    (finding,) = power(0.01)
    error = 0.02 * np.sqrt(1 / 10 + 1 / 9)
    detectable = float(finding.message.rpartition("about ")[2].split()[0])
    rejects = nct(9, detectable / error).sf(t(9).ppf(0.975))
    assert rejects == pytest.approx(0.8, abs=0.01)
    assert not power(0.03)
    assert not power(0.0, deviation=0.0)
    assert "No number of folds would" in finding.remedy  # n_test / n_train alone is too large
    (finding,) = power(0.01, ratio=0.01)
    n_folds = int(finding.remedy.split()[1])
    error = 0.02 * np.sqrt(1 / n_folds + 0.01)
    assert norm.sf(1.96 - 0.01 / error) == pytest.approx(0.8, abs=0.02)


@pytest.mark.parametrize("key", ["seed", "dataset.n_samples", "cv.n_splits", "model.random_state"])
def test_the_edges_of_seeds_and_of_data_are_no_finding(key):
    jobs = [entry(n, 0.6 + n / 10, **{key: str(n)}) for n in range(3)]
    assert "MF012" not in [it.code for it in check_sweep(Leaderboard(jobs))]


def test_every_check_has_a_case_here():
    of_evaluations = {"MF001", "MF002", "MF003", "MF010", "MF011", "MF015", "MF016", "MF020"}
    assert CHECKS.keys() == IN_DATA | IN_SWEEPS | of_evaluations


def test_unknown_codes_are_refused():
    with pytest.raises(UserError, match=r"expected codes of checks\. Received: 'MF999'"):
        select((), ["MF999"])


QUICK = (
    *("model=dummy", "dataset.n_samples=60", "dataset.predict_rows=[]", "report=none"),
    *("cv.n_splits=2", "cv.n_repeats=1"),
)


def test_findings_are_shown_and_logged_and_silenced_and_strict(tmp_path):
    store = CommandRunner(tmp_path)
    out, _ = store.run_here(*QUICK)
    assert "MF001 Accuracy" in out
    (run,) = store.runs()
    assert "MF001" in run.data.tags["checks"].split()
    table = mlflow_table(store, run, "checks.json")
    assert ["MF001", "warning"] in [row[:2] for row in table["data"]]
    out, _ = store.run_here(*QUICK, "checks.strict=true", code=1)
    assert "MF001" in out
    assert store.runs()[0].info.status == "FINISHED"
    out, _ = store.run_here(*QUICK, "checks.strict=true", "resume=true", code=1)
    assert "MF001 no better than the label frequencies, or worse" in " ".join(out.split())
    ignored = f"checks.ignore=[{run.data.tags['checks'].replace(' ', ',')}]"
    out, _ = store.run_here(*QUICK, "checks.strict=true", ignored)
    assert "MF0" not in out


def mlflow_table(store, run, name):
    path = store.client.download_artifacts(run.info.run_id, name)
    return json.loads(Path(path).read_text())


@pytest.mark.parametrize(("n_features", "n_values"), [(1, 0), (2, 0), (3, 4), (5, 3)])
def test_rows_that_are_equal_by_chance_are_no_finding(config, n_features, n_values):
    rng = np.random.default_rng(0)
    X = rng.normal(size=(2000, n_features)) @ (np.eye(n_features) + 0.5)
    if n_values:
        X = rng.integers(0, n_values, X.shape)
    dataset = to_dataset(X, rng.integers(0, 2, (2000, N_LABELS)).astype(np.int8))
    assert "MF006" not in codes_of_data(config, dataset)


def test_sweeps_count_findings_of_jobs_and_are_strict(tmp_path, capsys):
    store = CommandRunner(tmp_path)
    sweep = ("--multirun", *QUICK, "seed=1,2")
    out, _ = store.run_here(*sweep, "checks.strict=true", code=1)
    assert "than a logistic regression: 2 of 2 jobs" in " ".join(out.split())
    _, parent = store.jobs_and_parent()
    assert parent.info.status == "FINISHED"


def test_a_metric_that_fails_for_constant_predictions_fails_no_run(config, tmp_path, monkeypatch):
    (tmp_path / "fussy_metric.py").write_text(
        "def spread(y_true, y_score, y_pred):\n    return 1 / y_score[:, 0].std()\n"
    )
    monkeypatch.syspath_prepend(tmp_path)
    X, y, probabilities = draw(5)
    evaluation = to_evaluation(config, to_dataset(X, y), probabilities)
    metrics = ("fussy_metric.spread",)
    scoring = replace(config.scoring, metrics=metrics)
    folds = tuple(replace(fold, scores={"spread": 1.0}) for fold in evaluation.folds)
    own = replace(evaluation, config=replace(config, scoring=scoring), folds=folds)
    with np.errstate(divide="raise"):
        assert "MF001" not in [it.code for it in check_evaluation(own)]
