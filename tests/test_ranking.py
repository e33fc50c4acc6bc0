"""Rankings, their conclusions, tables and figures."""

from dataclasses import replace
from io import StringIO
from itertools import combinations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from rich.console import Console

from pipeline.comparison.conclusion import describe_conclusion, format_probability
from pipeline.comparison.ranking import Pair, Ranking, rank_runs
from pipeline.comparison.run_scores import RunScores
from pipeline.console.ranking_tables import compare_tables
from pipeline.report.paired_differences import BETTER, draw_ranking
from pipeline.scoring.statistics import PairedTest, holm, paired_test

SCORES = st.floats(-1, 1).map(lambda value: round(value, 6))


def ranked(scores, *, metric="accuracy", lower=False, test_fraction=1 / 9, rope=0.01, n_unranked=0):
    return rank_runs(
        scores,
        metric=metric,
        test_fraction=test_fraction,
        lower_is_better=lower,
        alpha=0.05,
        rope=rope,
        n_unranked=n_unranked,
    )


@given(
    scores=arrays(float, st.tuples(st.integers(2, 5), st.integers(3, 12)), elements=SCORES),
    test_fraction=st.floats(0.01, 1),
)
@settings(max_examples=50)
def test_a_ranking_tests_every_pair_alone(scores, test_fraction):
    names = [f"m{i}" for i in range(len(scores))]
    ranking = ranked(dict(zip(names, scores, strict=True)), test_fraction=test_fraction)
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
        assert pair.test == paired_test(first - second, test_fraction, alpha=0.05, rope=0.01)
    alone = [pair.test.p if pair.test else 1.0 for pair in ranking.pairs]
    assert [pair.p_holm for pair in ranking.pairs] == pytest.approx(holm(np.array(alone)))


def test_a_lower_loss_is_better():
    rng = np.random.default_rng(0)
    scores = rng.random((3, 10))
    gains = ranked({str(i): row for i, row in enumerate(scores)})
    losses = ranked({str(i): -row for i, row in enumerate(scores)}, metric="log_loss", lower=True)
    assert gains.names == losses.names
    assert gains.pairs == losses.pairs


def test_a_fold_without_a_score_is_skipped_for_all():
    nan = np.nan
    complete = ranked({"a": [0.5, 0.7, 0.9], "b": [0.4, 0.7, 0.7]})
    with_gaps = ranked({"a": [0.5, 1, 0.7, 0.9, nan], "b": [0.4, nan, 0.7, 0.7, 0]})
    assert (with_gaps.n_undefined, complete.n_undefined) == (2, 0)
    assert with_gaps.pairs == complete.pairs
    with pytest.raises(
        ValueError, match=r"in which accuracy is defined for all runs\. Received: 1 of 2"
    ):
        ranked({"a": [0.5, nan], "b": [0.4, 0.3]})


def test_without_variance_there_is_no_test_and_no_conclusion():
    scores = np.array([0.1, 0.7, 0.3])
    same = ranked({"a": scores, "b": scores})
    ahead = ranked({"a": scores + 0.1, "b": scores})  # rounding makes differences of 1e-17
    for ranking, advantage in ((same, 0), (ahead, 0.1)):
        (pair,) = ranking.pairs
        assert pair.advantage == pytest.approx(advantage)
        assert (pair.test, pair.p_holm) == (None, 1.0)
        assert ranking.groups() == [range(2)]
    assert (
        describe_conclusion(same) == 'No conclusion: "a" and "b" have the same score in every fold.'
    )
    assert describe_conclusion(ahead) == (
        'No conclusion: "a" is better than "b" by 0.1000 in every fold alike, and without variance '
        "there is no test."
    )


def make_ranking(n, significant=(), equivalent=(), n_unranked=0, advantage=0.02, p_equivalent=0.98):
    """Return a ranking of a, b, c ... in which these pairs of indices have these results."""

    def pair(i, j):
        p = 0.001 if (i, j) in significant else 0.5
        probabilities = (0.6, 0.3, 0.1)
        if (i, j) in equivalent:
            probabilities = ((1 - p_equivalent) / 2, p_equivalent, (1 - p_equivalent) / 2)
        return Pair(i, j, advantage, PairedTest((0.0031, 0.0412), p, *probabilities), p)

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
def test_groups_are_the_longest_ranges_without_a_difference(n, data):
    pairs = list(combinations(range(n), 2))
    different = data.draw(st.sets(st.sampled_from(pairs))) if pairs else set()
    ranges = [
        range(start, stop)
        for start, stop in combinations(range(n + 1), 2)
        if not any(pair in different for pair in combinations(range(start, stop), 2))
    ]
    longest = [s for s in ranges if not any(set(s) < set(other) for other in ranges)]
    assert make_ranking(n, different).groups() == longest


ALL = tuple(combinations(range(5), 2))
BEST_PAIRS = tuple((0, i) for i in range(1, 5))


@pytest.mark.parametrize(
    ("ranking", "sentence"),
    [
        (
            make_ranking(2),
            'No conclusion: "a" is ahead of "b" by 0.0200, which is not significant '
            "(95% interval 0.0031 to 0.0412, p = 0.500).",
        ),
        (
            make_ranking(2, ALL),
            '"a" is significantly better than "b": its F1 macro is higher by 0.0200 '
            "(95% interval 0.0031 to 0.0412, p = 0.001).",
        ),
        (
            make_ranking(2, (), ALL),
            '"a" and "b" are practically equivalent: within 0.01 of each other with probability '
            "0.980; neither is significantly better.",
        ),
        (
            make_ranking(2, ALL, ALL, advantage=0.002),
            '"a" is significantly better than "b", but they are practically equivalent: its F1 '
            "macro is higher by 0.0020 (95% interval 0.0031 to 0.0412, p = 0.001), and they are "
            "within 0.01 of each other with probability 0.980.",
        ),
        (
            make_ranking(3, BEST_PAIRS),
            '"a" is significantly better than "b" and "c": its F1 macro is higher by 0.0200 or '
            "more (Holm-adjusted p < 0.05 over 3 pairs).",
        ),
        (
            make_ranking(3, BEST_PAIRS, BEST_PAIRS, advantage=0.002),
            '"a" is significantly better than "b" and "c", though by less than 0.01: its F1 macro '
            "is higher by 0.0020 or more (Holm-adjusted p < 0.05 over 3 pairs).",
        ),
        (
            make_ranking(5, BEST_PAIRS),
            '"a" is significantly better than each of the other 4: its F1 macro is higher by '
            "0.0200 or more (Holm-adjusted p < 0.05 over 10 pairs).",
        ),
        (
            make_ranking(5, [(0, 4), (1, 4)]),
            '"a" is significantly better than "e" (Holm-adjusted p < 0.05 over 10 pairs), but not '
            'than "b", "c" and "d".',
        ),
        (
            make_ranking(3, [(0, 2)], [(0, 1)]),
            '"a" is significantly better than "c" (Holm-adjusted p < 0.05 over 3 pairs), and '
            'practically equivalent to "b".',
        ),
        (
            make_ranking(5),
            'No conclusion about which is best: "a" leads, but is not significantly better than '
            "any of the other 4; of all 10 pairs, none differs significantly (Holm-adjusted "
            "p < 0.05).",
        ),
        (
            make_ranking(4, [(1, 3)]),
            'No conclusion about which is best: "a" leads, but is not significantly better than '
            '"b", "c" and "d"; of all 6 pairs, 1 differs significantly (Holm-adjusted p < 0.05).',
        ),
        (
            make_ranking(5, (), ALL, p_equivalent=0.99),
            '"a" leads, but is practically equivalent to all of the other 4; of all 10 pairs, none '
            "differs significantly (Holm-adjusted p < 0.05).",
        ),
        (
            make_ranking(5, n_unranked=95),
            'No conclusion about which is best: "a" leads, but is not significantly better than '
            "any of the next 4; of all 4,950 pairs, none differs significantly (Holm-adjusted "
            "p < 0.05).",
        ),
    ],
)
def test_conclusions(ranking, sentence):
    assert describe_conclusion(ranking) == sentence


@pytest.mark.parametrize("n", [3, 5, 9])
@pytest.mark.parametrize("significant", [False, True])
def test_several_are_equivalent_only_if_all_are_at_once(n, significant):
    """Even if the differences depend on each other in the worst way, by Bonferroni's inequality."""
    pairs = [(0, i) for i in range(1, n)]
    for p_equivalent in (0.951, 1 - 0.0501 / (n - 1), 1 - 0.0499 / (n - 1), 0.9999):
        ranking = make_ranking(n, pairs if significant else (), pairs, p_equivalent=p_equivalent)
        is_certain = (n - 1) * (1 - p_equivalent) < ranking.alpha
        claims = ("practically equivalent", "though by less than")
        assert any(it in describe_conclusion(ranking) for it in claims) == is_certain
        assert all(ranking.is_equivalent(pair) for pair in ranking.pairs[: n - 1])


@pytest.mark.parametrize(
    ("metric", "name"),
    [
        ("accuracy", "accuracy"),
        ("hamming_loss", "Hamming loss"),
        ("roc_auc", "ROC AUC"),
    ],
)
def test_metrics_are_in_lower_case_except_proper_names(metric, name):
    ranking = replace(make_ranking(2, ALL), metric=metric)
    assert f": its {name} is higher by " in describe_conclusion(ranking)


@pytest.mark.parametrize(
    ("value", "text"),
    [(0, "<0.001"), (0.0004, "<0.001"), (0.0306, "0.031"), (0.9996, ">0.999"), (1, ">0.999")],
)
def test_no_probability_is_shown_as_0_or_1(value, text):
    assert format_probability(value) == text


@pytest.mark.parametrize("width", [80, 100])
def test_tables_show_every_number_in_full(width):
    ranking = make_ranking(4, [(0, 3)])
    named = {name: RunScores(name, (name * 32,), "D", "S", (), {}, {}) for name in ranking.names}
    console = Console(width=width, file=StringIO(), markup=False, highlight=False)
    for part in compare_tables(ranking, named):
        console.print(part)
    text = console.file.getvalue()
    numbers = ("0.9000", "0.0200", "0.0031 to 0.0412", "0.500", "0.600", "0.300", "0.100")
    headings = ("advantage", "95% interval", "Holm p", "P(better)", "P(equivalent)", "P(worse)")
    assert all(part in text for part in (*numbers, *headings))
    assert text.count("2 over 3") == (2 if width == 80 else 1)
    assert "…" not in text
    assert max(map(len, text.splitlines())) <= width


@pytest.mark.parametrize("n", [2, 6, 7, 20])
def test_the_figure_draws_each_interval_once_in_blue_if_significant(n):
    rng = np.random.default_rng(0)
    base = rng.normal(0.8, 0.03, 30)
    ranking = ranked({f"m{i}": base + i / 50 + rng.normal(0, 0.01, 30) for i in range(n)})
    figure = draw_ranking(ranking)
    figure.draw_without_rendering()
    shown = ranking.shown_pairs()
    assert len(shown) == (n * (n - 1) // 2 if n <= 6 else n - 1)
    differences = next(axes for axes in figure.axes if axes.get_xlabel().startswith("advantage"))
    intervals = [
        line for line in differences.lines if line.get_linewidth() == 2 and line.get_marker() != "o"
    ]
    assert [tuple(line.get_xdata()) for line in intervals] == [pair.test.ci for pair in shown]
    is_blue = [line.get_color() == BETTER for line in intervals]
    assert is_blue == [ranking.is_significant(pair) for pair in shown]
    assert any(is_blue)
    labels = [label.get_text() for label in differences.get_yticklabels()]
    assert labels == [f"{pair.first + 1} over {pair.second + 1}" for pair in shown]


def test_the_figure_draws_pairs_without_a_test():
    scores = np.array([0.2, 0.3, 0.7])
    figure = draw_ranking(ranked({"a $x": scores, "b" * 200: scores, "c": scores[::-1]}))
    figure.draw_without_rendering()
    texts = [text.get_text() for axes in figure.axes for text in axes.texts]
    assert texts.count("same in every fold") == 1
