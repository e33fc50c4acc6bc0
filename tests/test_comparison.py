"""Paired tests, rankings and what is said of them, against other implementations and simulation."""

import math
from dataclasses import replace
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from scipy import stats
from scipy.integrate import quad
from sklearn.datasets import make_moons
from sklearn.model_selection import RepeatedStratifiedKFold, cross_val_score
from sklearn.svm import SVC

from benchmarks.comparison import LEVEL, simulate
from pipeline.comparison.ranking import Pair, Ranking, conclusion, of_probability, rank
from pipeline.comparison.run_scores import (
    MAX_RANKED,
    RunScores,
    averaged,
    best,
    brief_names,
    check_paired,
    choose_metric,
    drop_duplicates,
)
from pipeline.errors import UserError
from pipeline.report.paired_differences import BETTER, ranking_figure
from pipeline.scoring.statistics import PairedTest, holm, paired_test

FINE = st.floats(-1, 1).map(lambda value: round(value, 6))
SPREAD = arrays(float, st.integers(2, 30), elements=FINE).filter(lambda d: np.ptp(d) > 1e-3)


def ranked(scores, *, metric="accuracy", lower=False, share=1 / 9, rope=0.01, n_unranked=0):
    return rank(
        scores,
        metric=metric,
        test_fraction=share,
        lower_is_better=lower,
        alpha=0.05,
        rope=rope,
        n_unranked=n_unranked,
    )


# The tests of one pair


def test_the_numbers_that_scikit_learn_publishes():
    # Its example "Statistical comparison of models using grid search": t, one-sided p, and the
    # probabilities of worse, better and equivalent within 0.01.
    X, y = make_moons(noise=0.352, random_state=1, n_samples=100)
    cv = RepeatedStratifiedKFold(n_splits=10, n_repeats=10, random_state=0)
    models = {"rbf": SVC(), "linear": SVC(kernel="linear"), "cubic": SVC(kernel="poly")}
    scores = {
        name: cross_val_score(model, X, y, scoring="roc_auc", cv=cv)
        for name, model in models.items()
    }
    published = {
        ("rbf", "linear"): (0.750, 0.227, 0.068, 0.500, 0.432),
        ("rbf", "cubic"): (1.657, 0.050, 0.018, 0.882, 0.100),
        ("linear", "cubic"): (1.111, 0.135, 0.063, 0.750, 0.187),
    }
    for (first, second), (t, p, worse, better, equivalent) in published.items():
        found = paired_test(scores[first] - scores[second], 10 / 90, alpha=0.05, rope=0.01)
        assert found.p / 2 == pytest.approx(p, abs=6e-4)
        assert stats.t.isf(found.p / 2, 99) == pytest.approx(t, abs=6e-4)
        odds = (found.worse, found.better, found.equivalent)
        assert odds == pytest.approx((worse, better, equivalent), abs=6e-4)


def test_the_probabilities_are_those_of_baycomp():
    # baycomp 1.0.3, two_on_single(second, first, rope, runs=2): P(worse), P(equivalent), P(better).
    first = [73, 75, 70, 77, 76, 70, 78, 72, 72, 77, 74, 73, 73, 75, 74, 74, 73, 77, 71, 74]
    second = [71, 74, 68, 77, 73, 70, 75, 72, 69, 76, 72, 73, 70, 74, 75, 71, 73, 74, 70, 73]
    for rope, expected in {
        0.0: (0.007822197442311607, 0, 0.9921778025576884),
        0.01: (0.00010925063314448554, 0.22862926317765242, 0.7712614861892031),
        0.02: (1.7607453104361834e-06, 0.8653036354131273, 0.1346946038415623),
    }.items():
        differences = (np.array(first) - second) / 100
        found = paired_test(differences, 1 / 9, alpha=0.05, rope=rope)
        odds = (found.worse, found.equivalent, found.better)
        assert odds == pytest.approx(expected, rel=1e-9, abs=1e-15)


@given(differences=SPREAD)
@settings(deadline=None)
def test_without_overlap_it_is_the_paired_t_test(differences):
    found = paired_test(differences, 0.0, alpha=0.1, rope=0.0)
    expected = stats.ttest_1samp(differences, 0)
    assert found.p == pytest.approx(expected.pvalue, rel=1e-6, abs=1e-12)
    interval = expected.confidence_interval(0.9)
    assert found.ci == pytest.approx((interval.low, interval.high), rel=1e-6, abs=1e-9)


@given(differences=SPREAD, share=st.floats(0, 1), rope=st.floats(0, 0.5))
@settings(deadline=None, max_examples=25)
def test_the_probabilities_are_areas_under_the_posterior(differences, share, rope):
    n, mean = len(differences), differences.mean()
    rho = share / (1 + share)  # the test share of all rows
    scale = math.sqrt(differences.var(ddof=1) * (1 / n + rho / (1 - rho)))
    nu = n - 1
    height = math.gamma((nu + 1) / 2) / (math.gamma(nu / 2) * math.sqrt(nu * math.pi))

    def density(z):
        return height * (1 + z * z / nu) ** (-(nu + 1) / 2)

    low, high = (-rope - mean) / scale, (rope - mean) / scale
    found = paired_test(differences, share, alpha=0.05, rope=rope)
    assert found.worse == pytest.approx(quad(density, -np.inf, low)[0], abs=1e-6)
    assert found.better == pytest.approx(quad(density, high, np.inf)[0], abs=1e-6)
    assert found.worse + found.equivalent + found.better == pytest.approx(1)


@given(differences=SPREAD, share=st.floats(0, 1))
def test_turned_round_all_is_turned_round(differences, share):
    there = paired_test(differences, share, alpha=0.05, rope=0.01)
    back = paired_test(-differences, share, alpha=0.05, rope=0.01)
    assert (there.p, there.better, there.worse) == (back.p, back.worse, back.better)
    assert there.ci == (-back.ci[1], -back.ci[0])
    assert (there.p < 0.05) == (there.ci[0] > 0 or there.ci[1] < 0)


def test_of_equal_learners_at_most_8_percent_are_called_different():
    # The corrected test keeps its level where the naive one finds a difference every fourth time.
    naive, corrected = (simulate(seed=0, n_repeats=3) < LEVEL).mean(axis=0)
    assert corrected <= 0.08
    assert naive > 0.2


# Many pairs


def test_holm_by_hand():
    # 0.005 * 4, 0.01 * 3, 0.03 * 2, and 0.04 * 1 which may not be below the one before it.
    assert holm(np.array([0.01, 0.04, 0.03, 0.005])) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm(np.array([0.4, 0.6])) == pytest.approx([0.8, 0.8])


P_VALUES = arrays(float, st.integers(1, 8), elements=st.floats(0, 1))


@given(p=P_VALUES, alpha=st.floats(0.001, 0.999))
def test_holm_rejects_what_stepping_down_rejects(p, alpha):
    rejected = set()
    for step, place in enumerate(np.argsort(p, kind="stable")):
        if p[place] * (len(p) - step) >= alpha:
            break
        rejected.add(int(place))
    assert set(np.flatnonzero(holm(p) < alpha)) == rejected


@given(p=P_VALUES, data=st.data())
def test_holm_of_some_is_never_below_holm_of_all(p, data):
    some = sorted(data.draw(st.sets(st.integers(0, len(p) - 1), min_size=1)))
    assert (holm(p[some], n_tests=len(p)) >= holm(p)[some] - 1e-12).all()


@given(
    scores=arrays(float, st.tuples(st.integers(2, 5), st.integers(3, 12)), elements=FINE),
    share=st.floats(0.01, 1),
)
@settings(deadline=None, max_examples=50)
def test_a_ranking_is_every_pair_tested_alone(scores, share):
    names = [f"m{i}" for i in range(len(scores))]
    ranking = ranked(dict(zip(names, scores, strict=True)), share=share)
    means = [scores[names.index(name)].mean() for name in ranking.names]
    assert means == sorted(means, reverse=True)
    assert [(pair.first, pair.second) for pair in ranking.pairs] == list(
        combinations(range(len(names)), 2)
    )
    for pair in ranking.pairs:
        first, second = (scores[names.index(ranking.names[i])] for i in (pair.first, pair.second))
        assert pair.advantage == pytest.approx((first - second).mean(), abs=1e-12)
        assert pair.advantage >= -1e-12
        if np.ptp(first - second) < 1e-9:
            continue
        assert pair.test == paired_test(first - second, share, alpha=0.05, rope=0.01)
    alone = [pair.test.p if pair.test else 1.0 for pair in ranking.pairs]
    assert [pair.p_holm for pair in ranking.pairs] == pytest.approx(holm(np.array(alone)))


def test_of_a_loss_less_is_better():
    rng = np.random.default_rng(0)
    table = rng.random((3, 10))
    gains = ranked({str(i): row for i, row in enumerate(table)})
    losses = ranked({str(i): -row for i, row in enumerate(table)}, metric="log_loss", lower=True)
    assert gains.names == losses.names
    assert gains.pairs == losses.pairs


def test_folds_without_a_score_are_left_out_of_all():
    nan = np.nan
    whole = ranked({"a": [0.5, 0.7, 0.9], "b": [0.4, 0.7, 0.7]})
    with_gaps = ranked({"a": [0.5, 1, 0.7, 0.9, nan], "b": [0.4, nan, 0.7, 0.7, 0]})
    assert (with_gaps.n_undefined, whole.n_undefined) == (2, 0)
    assert with_gaps.pairs == whole.pairs
    with pytest.raises(
        ValueError, match=r"in which accuracy is defined for all\. Received: 1 of 2"
    ):
        ranked({"a": [0.5, nan], "b": [0.4, 0.3]})


def test_without_deviation_there_is_no_test_and_no_claim():
    scores = np.array([0.1, 0.7, 0.3])
    same = ranked({"a": scores, "b": scores})
    ahead = ranked({"a": scores + 0.1, "b": scores})  # rounding makes differences of 1e-17
    for ranking, advantage in ((same, 0), (ahead, 0.1)):
        (pair,) = ranking.pairs
        assert pair.advantage == pytest.approx(advantage)
        assert (pair.test, pair.p_holm) == (None, 1.0)
        assert ranking.groups() == [range(2)]
        assert conclusion(ranking).startswith("Nothing may be concluded: ")
    assert "scored the same in every fold" in conclusion(same)
    assert '"a" is ahead of "b" by 0.1000 in every fold alike' in conclusion(ahead)


def verdicts(n, told_apart=(), equivalent=(), n_unranked=0, advantage=0.02):
    """Return a ranking of a, b, c ... in which only these pairs of places have that verdict."""

    def pair(i, j):
        p = 0.001 if (i, j) in told_apart else 0.5
        odds = (0.01, 0.98, 0.01) if (i, j) in equivalent else (0.6, 0.3, 0.1)
        return Pair(i, j, advantage, PairedTest((0.0031, 0.0412), p, *odds), p)

    return Ranking(
        metric="f1_macro",
        lower_is_better=False,
        alpha=0.05,
        rope=0.01,
        names=tuple("abcdefghijklmnopqrstuvwxyz"[:n]),
        scores=np.tile(np.linspace(0.9, 0.8, n)[:, None], 30),
        pairs=tuple(pair(i, j) for i, j in combinations(range(n), 2)),
        n_unranked=n_unranked,
    )


@given(n=st.integers(1, 6), data=st.data())
def test_groups_are_the_longest_stretches_without_a_difference(n, data):
    pairs = list(combinations(range(n), 2))
    apart = data.draw(st.sets(st.sampled_from(pairs))) if pairs else set()
    stretches = [
        range(start, stop)
        for start, stop in combinations(range(n + 1), 2)
        if not any(pair in apart for pair in combinations(range(start, stop), 2))
    ]
    longest = [s for s in stretches if not any(set(s) < set(other) for other in stretches)]
    assert verdicts(n, apart).groups() == longest


ALL = tuple(combinations(range(5), 2))
OF_BEST = tuple((0, i) for i in range(1, 5))


@pytest.mark.parametrize(
    ("ranking", "sentence"),
    [
        (
            verdicts(2),
            'Nothing may be concluded: "a" is ahead of "b" by 0.0200, which may be chance '
            "(95% interval 0.0031 to 0.0412, p = 0.500).",
        ),
        (
            verdicts(2, ALL),
            '"a" is better than "b": its F1 macro is higher by 0.0200 '
            "(95% interval 0.0031 to 0.0412, p = 0.001).",
        ),
        (
            verdicts(2, (), ALL),
            '"a" and "b" are practically equivalent: within 0.01 of each other with probability '
            "0.980; neither is shown to be better.",
        ),
        (
            verdicts(2, ALL, ALL, advantage=0.002),
            '"a" is better than "b", but hardly: its F1 macro is higher by 0.0020 (95% interval '
            "0.0031 to 0.0412, p = 0.001), and they are practically equivalent: within 0.01 of "
            "each other with probability 0.980.",
        ),
        (
            verdicts(3, OF_BEST),
            '"a" is better than "b" and "c": its F1 macro is higher by 0.0200 or more '
            "(Holm-adjusted p < 0.05 over 3 pairs).",
        ),
        (
            verdicts(5, OF_BEST),
            '"a" is better than each of the other 4: its F1 macro is higher by 0.0200 or more '
            "(Holm-adjusted p < 0.05 over 10 pairs).",
        ),
        (
            verdicts(5, [(0, 4), (1, 4)]),
            '"a" is better than "e" (Holm-adjusted p < 0.05 over 10 pairs), but may not be called '
            'better than "b", "c" and "d".',
        ),
        (
            verdicts(3, [(0, 2)], [(0, 1)]),
            '"a" is better than "c" (Holm-adjusted p < 0.05 over 3 pairs), and practically '
            'equivalent to "b".',
        ),
        (
            verdicts(5),
            'Nothing may be concluded about which is best: "a" leads, but may not be called better '
            "than any of the other 4; of all 10 pairs, none differs at Holm-adjusted p < 0.05.",
        ),
        (
            verdicts(4, [(1, 3)]),
            'Nothing may be concluded about which is best: "a" leads, but may not be called better '
            'than "b", "c" and "d"; of all 6 pairs, 1 differs at Holm-adjusted p < 0.05.',
        ),
        (
            verdicts(5, (), ALL),
            '"a" leads, but is practically equivalent to all of the other 4; of all 10 pairs, none '
            "differs at Holm-adjusted p < 0.05.",
        ),
        (
            verdicts(5, n_unranked=95),
            'Nothing may be concluded about which is best: "a" leads, but may not be called better '
            "than any of the next 4; of all 4,950 pairs, none differs at Holm-adjusted p < 0.05.",
        ),
    ],
)
def test_what_may_be_concluded(ranking, sentence):
    assert conclusion(ranking) == sentence


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "<0.001"), (0.0004, "<0.001"), (0.0306, "0.031"), (0.9996, ">0.999"), (1, ">0.999")],
)
def test_no_number_claims_to_be_certain(value, text):
    assert of_probability(value) == text


# Evidence


def evidence(name="a", data="D", split="S", metrics=("accuracy", "log_loss"), **settings):
    means = {metric.rpartition(".")[2]: 0.5 for metric in metrics}
    return RunScores(name, (name * 32,), data, split, metrics, means, settings)


def test_runs_that_pair_up_are_taken():
    check_paired([evidence("a"), evidence("b")])


@pytest.mark.parametrize(
    ("runs", "message"),
    [
        ([], "Expected two finished runs at least, to compare. Received: none."),
        (
            [evidence("a")],
            "Expected two finished runs at least, to compare. Received: only 'a'.",
        ),
        (
            [evidence("a"), evidence("b", split="other"), evidence("c")],
            "Expected runs with the same folds, as scores of different rows do not pair up. "
            "Received: splits of the digest S in 'a', 'c'; splits of the digest other in 'b'. "
            "Run them again with the same settings of cv, or compare those that share splits.",
        ),
        (
            [evidence("a"), evidence("b", data="other", split="other")],
            "Expected runs on the same data, as scores on different data do not pair up. Received: "
            "data of the digest D in 'a'; data of the digest other in 'b'. Compare within one data "
            "set at a time.",
        ),
    ],
)
def test_runs_that_do_not_pair_up_are_refused(runs, message):
    with pytest.raises(UserError) as error:
        check_paired(runs)
    assert str(error.value) == message


def test_a_refusal_says_in_which_settings_the_runs_differ():
    one, other = ({"cv.n_splits": n, "seed": n, "report.html": n} for n in ("3", "5"))
    runs = [evidence("a", **one), evidence("b", split="other", **other)]
    with pytest.raises(UserError, match=r"They differ in cv\.n_splits \(3, 5\)\. Run them again"):
        check_paired(runs)


def test_an_average_over_what_does_not_differ_is_refused():
    runs = [evidence(name, seed="1", **{"model.units": name}) for name in "ab"]
    with pytest.raises(UserError, match="expected a setting in which the runs differ"):
        averaged(runs, "seed")


def test_a_run_that_was_repeated_counts_once():
    runs = [
        replace(evidence(name), fingerprint=tuple(identity))
        for name, identity in zip("abcd", ("x1", "y1", "x1", "x2"), strict=True)
    ]
    assert sorted(run.name for run in drop_duplicates(runs)) == ["b", "c", "d"]
    unknown = [evidence("a"), evidence("b")]
    assert drop_duplicates(unknown) == unknown
    elsewhere = [replace(evidence(name, data=name), fingerprint=("x", "1")) for name in "ab"]
    assert drop_duplicates(elsewhere) == elsewhere  # to be refused, not left out


def test_runs_of_several_sweeps_are_named_by_what_sets_them_apart():
    common = {"cv.n_splits": "3", "tracking.run_name": "None", "tracking.parent_run_id": "None"}
    first = evidence("seed=1", **common, seed="1", **{"model.units": "20", "report.html": "True"})
    second = evidence("units=9", **common, seed="1", **{"model.units": "9"})
    runs = [replace(first, sweep="p"), replace(second, sweep="q")]
    assert brief_names(runs) == ["units=20", "units=9"]
    assert brief_names([replace(run, sweep="p") for run in runs]) == ["seed=1", "units=9"]
    given = {**common, "tracking.run_name": "mine"}
    named = [runs[0], replace(runs[1], settings={**runs[1].settings, **given})]
    assert brief_names(named) == ["seed=1", "units=9"]


def test_the_metric_is_the_headline_or_the_one_that_is_asked_for():
    runs = [evidence("a"), evidence("b", metrics=("accuracy", "log_loss", "mine.distance"))]
    assert choose_metric(runs, None) == "accuracy"
    assert choose_metric(runs, "log_loss") == "log_loss"
    assert choose_metric(runs[1:] * 2, "mine.distance") == "distance"


@pytest.mark.parametrize(
    ("other", "asked", "message"),
    [
        ({}, "accurracy", "'accurracy', which is missing in 'a', 'b'. Did you mean 'accuracy'?"),
        ({"metrics": ("accuracy",)}, "log_loss", "'log_loss', which is missing in 'b'."),
        (
            {"metrics": ("log_loss", "accuracy")},
            None,
            "Expected runs with one headline, the first of scoring.metrics. Received: accuracy, "
            "log_loss. Name a metric by --metric. All runs have: accuracy, log_loss.",
        ),
        (
            {"metrics": ("mine.accuracy",)},
            "accuracy",
            "Expected runs that mean the same by accuracy. Received: accuracy in 'a'; "
            "mine.accuracy in 'b'.",
        ),
    ],
)
def test_a_metric_that_not_all_runs_share_is_refused(other, asked, message):
    with pytest.raises(UserError) as error:
        choose_metric([evidence("a"), evidence("b", **other)], asked)
    assert message in str(error.value)


def test_what_0_by_0_counts_belongs_to_the_metric():
    def runs(metric):
        return [
            evidence(name, metrics=(metric,), **{"scoring.zero_division": value})
            for name, value in (("a", "0.0"), ("b", "1.0"))
        ]

    assert choose_metric(runs("accuracy"), None) == "accuracy"
    with pytest.raises(UserError, match=r"f1_macro with zero_division=1\.0 in 'b'"):
        choose_metric(runs("f1_macro"), None)


def test_runs_that_differ_in_the_seed_alone_count_as_one():
    runs = [
        evidence(f"model.units={units}, seed={seed}", seed=str(seed), units=str(units))
        for units in (20, 40)
        for seed in (1, 2, 3)
    ]
    first, second = averaged(runs, "seed")
    assert (first.name, second.name) == ("model.units=20", "model.units=40")
    assert first.run_ids == tuple(run.run_ids[0] for run in runs[:3])
    with pytest.raises(UserError, match="Received: 3 runs that differ in nothing but seed"):
        averaged(runs[:3], "seed")
    with pytest.raises(UserError, match=r"a setting of the runs\. Did you mean 'seed'\?"):
        averaged(runs, "sed")


def test_names_are_brief_while_they_tell_runs_apart():
    names = ("model.units=[20], training.optimizer_params={x: 0.5}", "my.own name")
    assert brief_names([evidence(name) for name in names]) == [
        "units=[20], optimizer_params={x: 0.5}",
        "my.own name",
    ]
    shared = ("model.units=[20], cv.n_splits=5", "model.units=[40], cv.n_splits=5")
    assert brief_names([evidence(name) for name in shared]) == ["units=[20]", "units=[40]"]
    within = ("x.y={a: 1, b: 2}", "x.y={a: 3, b: 2}")
    assert brief_names([evidence(n) for n in within]) == ["y={a: 1, b: 2}", "y={a: 3, b: 2}"]
    clash = [evidence("model.seed=1"), evidence("data.seed=1")]
    assert brief_names(clash) == ["model.seed=1", "data.seed=1"]


@pytest.mark.parametrize("metric", ["accuracy", "log_loss"])
def test_of_too_many_the_best_are_taken(metric):
    means = np.random.default_rng(0).permutation(250) / 250
    runs = [RunScores(str(m), ("x",), "D", "S", (metric,), {metric: float(m)}, {}) for m in means]
    expected = sorted(means, reverse=metric == "accuracy")[:MAX_RANKED]
    assert [run.means[metric] for run in best(runs, metric)] == expected


# The figure


@pytest.mark.parametrize("n", [2, 6, 7, 20])
def test_the_figure_draws_each_interval_once_and_marks_those_told_apart(n):
    rng = np.random.default_rng(0)
    base = rng.normal(0.8, 0.03, 30)
    ranking = ranked({f"m{i}": base + i / 50 + rng.normal(0, 0.01, 30) for i in range(n)})
    figure = ranking_figure(ranking)
    figure.draw_without_rendering()
    shown = ranking.shown_pairs()
    assert len(shown) == (n * (n - 1) // 2 if n <= 6 else n - 1)
    forest = next(axes for axes in figure.axes if axes.get_xlabel().startswith("advantage"))
    intervals = [
        line for line in forest.lines if line.get_linewidth() == 2 and line.get_marker() != "o"
    ]
    assert [tuple(line.get_xdata()) for line in intervals] == [pair.test.ci for pair in shown]
    blue = [line.get_color() == BETTER for line in intervals]
    assert blue == [ranking.differ(pair) for pair in shown]
    assert any(blue)
    labels = [label.get_text() for label in forest.get_yticklabels()]
    assert labels == [f"{pair.first + 1} over {pair.second + 1}" for pair in shown]


def test_the_figure_draws_what_cannot_be_tested():
    scores = np.array([0.2, 0.3, 0.7])
    figure = ranking_figure(ranked({"a $x": scores, "b" * 200: scores, "c": scores[::-1]}))
    figure.draw_without_rendering()
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts.count("the same in every fold") == 1
