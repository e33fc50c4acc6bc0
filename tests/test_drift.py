"""Drift: the bins of the profile, the promised rate of false findings, and the command."""

import json
import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from scipy.stats import chi2_contingency, false_discovery_control, fisher_exact

from pipeline.commands import drift
from pipeline.dataset.builder import dataset_from_frame
from pipeline.model.training_profile import _make_edges, count_values, describe_training
from pipeline.prediction.drift import (
    measure_drift,
    pool_bins,
    pool_categories,
    stability_index,
)
from pipeline.prediction.row_counts import RowCounts
from tests.command_runner import CommandRunner, artifact

CITIES = [f"city {i}" for i in range(60)]
FREQUENCIES = 1 / np.arange(1, 61)


def make_frame(n, rng, shift=0.0):
    """Return columns of many kinds of distributions; the shift changes the first of them."""
    return pd.DataFrame(
        {
            "normal": rng.normal(shift, 1, n),
            "skewed": rng.lognormal(0, 2, n),
            "flag": (rng.random(n) < 0.1).astype(float),
            "count": rng.poisson(1.0, n).astype(float),
            "constant": 3.0,
            "gaps": np.where(rng.random(n) < 0.05, np.nan, rng.normal(size=n)),
            "city": rng.choice(CITIES, n, p=FREQUENCIES / FREQUENCIES.sum()),
            "name": [f"name {i}" for i in rng.integers(0, 2000, n)],
        }
    )


class Constant:
    """A model without weights that predicts the values of a column."""

    def __init__(self, schema):
        self.schema, self.label_names = schema, ("l",)

    def encode(self, table):
        return self.schema.encode(table)

    def is_predictable(self, X):
        return np.ones(len(X), bool)

    def predict_proba(self, X):
        return X[:, [self.schema.names.index("flag")]]


def profile(frame, make_config):
    config = make_config()
    y = (np.arange(len(frame)) % 2).astype(int)
    dataset = dataset_from_frame("t", "t", frame.assign(l=y), ["l"])
    y_pred = frame[["flag"]].to_numpy().astype(np.int8)
    rows = np.arange(len(frame))
    training = describe_training(dataset, rows, y_pred, len(rows), config.dataset, config.scoring)
    return Constant(dataset.schema), json.loads(json.dumps(training))


def test_label_rates_are_those_of_the_cells_that_are_known(make_config):
    config = make_config()
    frame = pd.DataFrame({"x": np.arange(6.0), "l": [1, 1, 0, 0, 0, 1], "m": [1, 0, 0, 0, 0, 0]})
    dataset = dataset_from_frame("t", "t", frame, ["l", "m"])
    mask = np.ones((6, 2), bool)
    mask[[1, 2, 3, 4], 0] = mask[5, 1] = False  # the last row is not of the training rows
    rows, y_pred = np.arange(5), np.zeros((5, 2), np.int8)
    given = (rows, y_pred, 5, config.dataset, config.scoring)
    assert describe_training(dataset, *given)["label_rates"] == {"l": 0.4, "m": 0.2}
    masked = describe_training(replace(dataset, label_mask=mask), *given)
    assert masked["label_rates"] == {"l": 1.0, "m": 0.2}


def compare(model, training, frame, alpha=0.05, n_batches=1):
    counts = RowCounts(model, training)
    for part in np.array_split(np.arange(len(frame)), n_batches):
        table = pa.Table.from_pandas(frame.iloc[part], preserve_index=False)
        counts.add(model.encode(table), table, np.array([0.5]))
    return measure_drift(counts, training, model.label_names, alpha)


@pytest.mark.parametrize("n", [40, 600])
def test_false_findings_stay_within_what_is_promised(make_config, n):
    """Without any drift, the chance of a significant check is at most alpha."""
    rng, alpha, n_trials = np.random.default_rng(n), 0.2, 60
    significant, flagged = [], []
    for trial in range(n_trials):
        if trial % 10 == 0:
            model, training = profile(make_frame(300, rng), make_config)
        result = compare(model, training, make_frame(n, rng), alpha)
        significant.append(any(check.p <= alpha for check in result.checks))
        flagged.append(result.has_drift)
    assert np.mean(significant) <= alpha + 3 * np.sqrt(alpha * (1 - alpha) / n_trials)
    assert sum(flagged) <= sum(significant)


def change(frame, kind):
    """Return rows with one shift."""
    changed = frame.copy()
    if kind == "mean":
        changed["normal"] += 0.6
    elif kind == "spread":
        changed["normal"] *= 1.8
    elif kind == "flag":
        changed["flag"] = (np.arange(len(frame)) % 4 == 0).astype(float)
    elif kind == "zeros":
        changed["count"] = changed["count"].where(np.arange(len(frame)) % 2 == 0, 0)
    elif kind == "constant":
        changed["constant"] = 3.5
    elif kind == "missing":
        changed["gaps"] = changed["gaps"].where(np.arange(len(frame)) % 5 > 0)
    elif kind == "cities":
        changed["city"] = changed["city"].where(np.arange(len(frame)) % 4 > 0, "city 30")
    elif kind == "unseen":
        changed["city"] = changed["city"].where(np.arange(len(frame)) % 8 > 0, "Atlantis")
    elif kind == "outliers":
        changed["normal"] = changed["normal"].where(np.arange(len(frame)) % 20 > 0, -99)
    return changed


@pytest.mark.parametrize(
    ("kind", "expected"),
    [
        ("mean", {("normal", "distribution")}),
        ("spread", {("normal", "distribution"), ("normal", "range")}),
        ("flag", {("flag", "distribution"), ("l", "predicted rate")}),
        ("zeros", {("count", "distribution")}),
        ("constant", {("constant", "range")}),
        ("missing", {("gaps", "missing")}),
        ("cities", {("city", "distribution")}),
        ("unseen", {("city", "distribution")}),
        ("outliers", {("normal", "range")}),
    ],
)
def test_a_shift_is_reported_and_nothing_else(make_config, kind, expected):
    rng = np.random.default_rng(1)
    model, training = profile(make_frame(1000, rng), make_config)
    frame = change(make_frame(800, rng), kind)
    result = compare(model, training, frame, n_batches=3)
    assert {(check.name, check.kind) for check in result.drifted} == expected
    assert not compare(model, training, make_frame(800, rng)).has_drift
    by_name = {it.column.name: it for it in result.counts.columns}
    assert by_name["city"].unseen["Atlantis"] == (100 if kind == "unseen" else 0)
    assert (
        by_name["normal"].n_below == (frame["normal"] < training["columns"]["normal"]["min"]).sum()
    )
    assert (
        by_name["normal"].n_above == (frame["normal"] > training["columns"]["normal"]["max"]).sum()
    )
    assert by_name["gaps"].n_missing == frame["gaps"].isna().sum()


def test_the_worst_comes_first_and_small_effects_are_none(make_config):
    rng = np.random.default_rng(2)
    model, training = profile(make_frame(20_000, rng), make_config)
    frame = make_frame(20_000, rng, shift=0.15)
    result = compare(model, training, frame)
    (check,) = [it for it in result.checks if (it.name, it.kind) == ("normal", "distribution")]
    assert check.p < 1e-20
    assert check.effect == pytest.approx(0.15**2, rel=0.3)  # of two normal distributions
    assert not result.has_drift
    frame = change(change(frame, "flag"), "constant")
    result = compare(model, training, frame)
    severities = [check.severity for check in result.drifted]
    assert severities == sorted(severities, reverse=True)
    assert result.drifted[0].name == "constant"
    assert [check.level for check in result.drifted] == ["large", "moderate", "moderate"]


def test_counts_in_batches_equal_those_of_all_rows(make_config):
    rng = np.random.default_rng(3)
    model, training = profile(make_frame(200, rng), make_config)
    frame = change(make_frame(500, rng), "unseen")
    one, many = (compare(model, training, frame, n_batches=n) for n in (1, 7))
    assert one.as_dict() == many.as_dict()


def test_p_values_are_adjusted_together(make_config):
    """All are computed again, that of the range by its combinatorics."""
    rng = np.random.default_rng(4)
    old, new = make_frame(100, rng).assign(normal=np.arange(100.0)), make_frame(80, rng)
    new["normal"] = np.linspace(1, 101, 80) ** 0.98
    assert (new["normal"] > 99).sum() == 0
    new.loc[0, "normal"] = -1
    model, training = profile(old, make_config)
    counts = RowCounts(model, training, frozenset(old.columns) - {"normal"})
    table = pa.Table.from_pandas(new)
    counts.add(model.encode(table), table, np.array([0.5]))
    result = measure_drift(counts, training, ("l",), 0.05)
    edges = [-np.inf, *np.arange(9, 99, 10) + 0.5, np.inf]
    bins = [np.histogram(frame["normal"], edges)[0] for frame in (old, new)]
    flags = [[frame["flag"].sum(), (1 - frame["flag"]).sum()] for frame in (old, new)]
    raw = {
        "distribution": chi2_contingency(bins).pvalue,
        "range": 1 - 100 * 99 / (180 * 179),
        "predicted rate": fisher_exact(flags).pvalue,
    }
    adjusted = dict(zip(raw, false_discovery_control([*raw.values()]), strict=True))
    assert {check.kind: check.p for check in result.checks} == pytest.approx(adjusted)


def test_bins_of_a_profile_separate_frequent_values():
    """Without that, all values of a flag would be in one bin."""
    for numbers, expected in (
        (np.repeat([0.0, 1.0], [90, 10]), [90, 10]),
        (np.repeat([0.0, 1.0, 2.0], [30, 30, 40]), [30, 30, 40]),
        (np.repeat([1.0, 5.0, 9.0], [4, 90, 6]), [4, 90, 6]),
        (np.full(7, 3.0), [7]),
        (np.arange(100.0), [10] * 10),
    ):
        edges = _make_edges(np.sort(numbers))
        assert [*count_values(edges, numbers)] == expected


def test_merged_bins_keep_all_rows_and_are_large_enough():
    rng = np.random.default_rng(0)
    for _ in range(200):
        n_bins = rng.integers(1, 30)
        before, now = rng.poisson(rng.integers(1, 30), (2, n_bins)) + np.eye(2, n_bins, dtype=int)
        for pool in (pool_bins, pool_categories):
            merged = pool(before, now)
            assert [it.sum() for it in merged] == [before.sum(), now.sum()]
            expected = np.outer([before.sum(), now.sum()], sum(merged)) / (before + now).sum()
            assert expected.min() >= 5 or len(merged[0]) == 1
        swapped = pool_categories(now, before)  # no sample is favoured
        np.testing.assert_array_equal(swapped[::-1], pool_categories(before, now))


def test_further_rare_categories_join_the_others():
    before, now = pool_categories(np.array([50, 50, 1]), np.array([30, 30, 0]), n_rare=40)
    assert [[*before], [*now]] == [[50, 50, 1], [30, 30, 40]]


def test_the_stability_index_by_hand():
    before, now = np.array([500, 300, 200]), np.array([300, 300, 400])
    by_hand = -0.2 * np.log(0.3 / 0.5) + 0.2 * np.log(0.4 / 0.2)
    assert stability_index(before, now) == pytest.approx(
        by_hand - 2 * (1 / 1000 + 1 / 1000), rel=5e-3
    )
    assert stability_index(before, before) == 0
    # On average it is about 0 without drift, which the plain index is not.
    rng = np.random.default_rng(0)
    samples = rng.multinomial(100, [0.1] * 10, size=(2000, 2))
    plain = [stability_index(a, b) for a, b in samples]
    assert np.median(plain) < 0.01


@pytest.fixture(scope="module")
def stored(tmp_path_factory):
    """A store with a run on a table with dates and categories, and its folder."""
    folder = tmp_path_factory.mktemp("drift")
    rng = np.random.default_rng(0)
    frame = make_frame(200, rng).drop(columns=["name", "constant"])
    frame["when"] = pd.Timestamp("2026-01-01") + pd.to_timedelta(np.arange(200), unit="D")
    frame["tag_a"] = (frame["normal"] > 0).astype(int)
    frame["tag_b"] = frame["flag"].astype(int)
    frame.to_csv(folder / "train.csv", index=False)
    store = CommandRunner(folder)
    store.run_here(
        "dataset=table", f"dataset.path={folder}/train.csv", "dataset.labels=[tag_*]",
        "dataset.numeric=[when]", "model=logistic", "cv.n_splits=2", "cv.n_repeats=2",
        "report=none", "tracking.run_name=first",
    )  # fmt: skip
    return store, frame


@pytest.fixture
def call(stored, tmp_path, monkeypatch, capfd):
    """Run the command on rows and return its exit code, output, errors and JSON."""
    monkeypatch.chdir(tmp_path)
    store, _ = stored

    def run(rows, *arguments, model="first"):
        rows.to_csv("rows.csv", index=False)
        options = ("--json", "drift.json", f"tracking.uri={store.uri}")
        code = drift.main([model, "rows.csv", *arguments, *options])
        out, err = capfd.readouterr()
        path = tmp_path / "drift.json"
        numbers = json.loads(path.read_text()) if path.exists() else {}
        return code, out, err, numbers

    return run


def test_rows_of_another_sample_have_no_drift(stored, call):
    _, frame = stored
    rows = make_frame(150, np.random.default_rng(1)).drop(columns=["name", "constant"])
    rows["when"] = frame["when"].sample(150, random_state=0).to_numpy()
    code, out, _, numbers = call(rows)
    assert code == 0, out
    assert out.startswith("150 new and 200 training rows: no drift in any of ")
    assert numbers["has_drift"] is False
    assert {check["name"] for check in numbers["checks"]} >= {"tag_a", "tag_b", "normal", "city"}


def test_drift_is_shown_in_a_table_and_in_json(stored, call):
    _, frame = stored
    rows = change(change(frame, "unseen"), "outliers")
    rows["when"] += pd.Timedelta(days=500)
    code, out, _, numbers = call(rows)
    assert code == drift.DRIFT == 3
    lines = [" ".join(line.split()) for line in out.splitlines()]
    assert "when out of range 2026-01-01 to 2026-07-19 100.0% 2.94 <1e-09 large" in lines
    assert any(line.startswith("city distribution unseen 0.0% unseen 12.5%") for line in lines)
    assert "city 25 'Atlantis' (25)" in lines
    assert any("below -2." in line and "such as -99.0" in line for line in lines)
    assert numbers["unseen_categories"]["city"] == {"rows": 25, "examples": {"Atlantis": 25}}
    assert numbers["outside_range"]["normal"]["below"] == 10
    assert numbers["outside_range"]["when"]["examples"][0] == "2027-05-16"
    code, out, *_ = call(rows, "--ignore", "when", "--ignore", "city", "--ignore", "normal")
    assert "when" not in out


def test_predicted_rates_are_those_of_the_held_out_rows(stored, call):
    store, frame = stored
    *_, numbers = call(frame)
    (run,) = store.runs()
    held_out = pd.read_parquet(artifact(run, "predictions.parquet"))
    rates = {it["name"]: it for it in numbers["checks"] if it["kind"] == "predicted rate"}
    assert set(rates) == {"tag_a", "tag_b"}
    for label, check in rates.items():
        expected = held_out[f"pred_{label}"].mean()
        assert check["before"] == pytest.approx(expected, abs=0.501 / 200)
    code, _, _, numbers = call(frame.assign(normal=3.0))
    assert code == 3
    (check,) = [
        it for it in numbers["checks"] if (it["name"], it["kind"]) == ("tag_a", "predicted rate")
    ]
    assert (check["now"], check["level"]) == (1.0, "large")


def test_bad_rows_are_left_out_and_counted(stored, call, tmp_path):
    _, frame = stored
    rows = frame.astype({"normal": object})
    rows.loc[7, "normal"] = "much"
    code, _, err, _ = call(rows)
    assert code == 2
    assert "in column 'normal'. Received: 'much' in row 7" in err
    code, _, err, numbers = call(rows, "--skip-bad")
    assert (code, numbers["n_rows"], numbers["n_bad_rows"]) == (0, 199, 1)
    assert "Left out 1 bad rows, see rows.bad.jsonl" in err


def test_missing_numbers_that_the_model_cannot_predict_are_drift(stored, tmp_path, make_config):
    """A model without imputation refuses them, but here they are counted."""
    store, frame = stored
    columns = ["normal", "flag", "tag_a"]
    frame[columns].to_csv(tmp_path / "train.csv", index=False)
    store.run_here(
        "dataset=table", f"dataset.path={tmp_path}/train.csv", "dataset.labels=[tag_a]",
        "preprocessing.imputation=none", "model=logistic", "cv.n_splits=2", "cv.n_repeats=1",
        "report=none", "tracking.run_name=complete",
    )  # fmt: skip
    rows = frame[columns[:2]].copy()
    rows.loc[::4, "normal"] = np.nan
    rows.to_csv(tmp_path / "rows.csv", index=False)
    path = tmp_path / "drift.json"
    arguments = ["complete", str(tmp_path / "rows.csv"), "--json", str(path)]
    assert drift.main([*arguments, f"tracking.uri={store.uri}"]) == 3
    numbers = json.loads(path.read_text())
    assert (numbers["n_rows"], numbers["n_predicted"]) == (200, 150)
    (check,) = [it for it in numbers["checks"] if it["level"] != "none"]
    assert (check["name"], check["kind"], check["now"]) == ("normal", "missing", 0.25)


def test_models_of_earlier_versions(stored, call, tmp_path):
    """They lack the number of held-out rows, or all counts."""
    store, frame = stored
    (run,) = [run for run in store.runs() if run.info.run_name == "first"]
    condition = f"source_run_id = '{run.info.run_id}'"
    (logged,) = store.client.search_logged_models([run.info.experiment_id], condition)
    shutil.copytree(
        f"{logged.artifact_location.removeprefix('file://')}/artifacts/model", tmp_path / "model"
    )
    path = tmp_path / "model" / "training.json"
    training = json.loads(path.read_text())
    del training["n_held_out"]
    path.write_text(json.dumps(training))
    code, out, _, numbers = call(frame, model="./model")
    assert code == 0
    assert "The predicted label rates cannot be compared" in out
    assert "predicted rate" not in {it["kind"] for it in numbers["checks"]}
    path.unlink()
    code, _, err, _ = call(frame, model="./model")
    assert code == 2
    assert "carries ranges and counts of its training rows" in err


@pytest.mark.parametrize(
    ("arguments", "n", "message"),
    [
        (["--ignore", "norml"], 9, "--ignore: no feature 'norml'. Did you mean 'normal'?"),
        ([], 0, "rows.csv: expected rows to compare. Received: none."),
    ],
)
def test_mistakes(stored, call, arguments, n, message):
    code, _, err, _ = call(stored[1][:n], *arguments)
    assert code == 2
    assert message in err


def test_alpha_is_a_probability(capsys):
    with pytest.raises(SystemExit, match="2"):
        drift.main(["model", "rows.csv", "--alpha", "1.5"])
    assert "expected a number between 0 and 1" in capsys.readouterr().err
