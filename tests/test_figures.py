"""Numbers of the figures against scikit-learn and plain loops, and figures of unusual data."""

import io
import warnings
from dataclasses import replace
from itertools import product

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from pipeline.dataset.label_rates import LabelRates
from pipeline.report.calibration import N_BINS, calibration_bins, wilson_interval
from pipeline.report.figures import draw_figures
from pipeline.report.label_sets import count_labels, label_co_occurrence
from pipeline.report.loss_curves import pad_with_last
from pipeline.report.out_of_fold import OutOfFold, collect_out_of_fold
from pipeline.report.per_label import MAX_BARS, N_PER_GROUP, group_labels
from pipeline.report.rates_over_time import draw_label_rates
from pipeline.report.roc_pr_curves import GRID, label_curves, label_styles
from pipeline.report.style import COLOURS, Sheet, report_style
from pipeline.report.tables import labels_table
from pipeline.scoring.classification_metrics import expected_calibration_error
from tests.random_evaluation import (
    METRICS,
    UNUSUAL_NAMES,
    make_dataset,
    make_evaluation,
    with_summary,
)

ALL = [
    *("fold_scores", "training_curves", "label_scores", "precision_recall"),
    *("roc", "calibration", "label_counts", "co_occurrence"),
]


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def out_of_fold(y_true, y_score, y_pred=None):
    y_pred = (y_score > 0.5).astype(np.int8) if y_pred is None else y_pred
    names = tuple(f"y{i}" for i in range(y_true.shape[1]))
    y_score = y_score.astype(np.float32)
    rows = np.arange(len(y_true))
    return OutOfFold("random", names, y_true.astype(np.int8), y_score, y_pred, rows)


@pytest.fixture
def predictions(rng):
    """Predictions of 200 rows and 4 labels with many ties; the last label is never present."""
    y_true = rng.random((200, 4)) < (0.5, 0.2, 0.05, 0)
    return out_of_fold(y_true, (0.4 * y_true + 0.6 * rng.random((200, 4))).round(2))


def test_out_of_fold_predictions_are_those_of_all_folds(make_config, rng):
    dataset = make_dataset(rng.random((40, 3)) < 0.4)
    evaluation = make_evaluation(make_config(METRICS), dataset, n_repeats=2)
    result = collect_out_of_fold(evaluation)
    assert (len(result.y_true), result.n_rows) == (80, 40)
    assert result.description == "80 predictions of 40 held-out rows"
    i = 0
    for fold in evaluation.folds:
        for row, scores in zip(fold.split.test, fold.y_score, strict=True):
            np.testing.assert_array_equal(result.y_true[i], dataset.y[row])
            np.testing.assert_array_equal(result.y_score[i], scores)
            i += 1


def test_calibration_bins_equal_scikit_learn(predictions):
    bins = calibration_bins(predictions)
    fraction, mean_score = calibration_curve(
        predictions.y_true.ravel(), predictions.y_score.ravel().astype(float), n_bins=N_BINS
    )
    np.testing.assert_allclose(bins.fraction_positive, fraction)
    np.testing.assert_allclose(bins.mean_score, mean_score)
    assert bins.count.sum() == predictions.y_true.size
    tables = (predictions.y_true, predictions.y_score, predictions.y_pred)
    assert bins.error == pytest.approx(expected_calibration_error(*tables))


@pytest.mark.parametrize(("n_positive", "n"), [(0, 3), (3, 3), (1, 40), (20, 400)])
def test_wilson_intervals_equal_scipy(n_positive, n):
    low, high = wilson_interval(np.array([n_positive / n]), np.array([float(n)]))
    expected = stats.binomtest(n_positive, n).proportion_ci(method="wilson")
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_the_variance_of_a_bin_is_that_of_the_bootstrap_of_rows(rng):
    """A row is drawn with all its predictions."""
    y_true = np.repeat(rng.random((400, 3)) < 0.3, 3, axis=1)
    y_score = np.full(y_true.shape, 0.3)
    y_score[:, ::2] += 0.2 * rng.random((400, 5))
    rows = np.tile(np.arange(200), 2)  # two repeats
    result = replace(out_of_fold(y_true, y_score), rows=rows)
    bins = calibration_bins(result)
    fractions = []
    for _ in range(500):
        drawn = rng.integers(0, 200, 200)
        drawn = np.concatenate([drawn, drawn + 200])
        again = calibration_bins(
            replace(result, y_true=result.y_true[drawn], y_score=result.y_score[drawn])
        )
        fractions.append(again.fraction_positive)
    p = bins.fraction_positive
    np.testing.assert_allclose(
        np.std(fractions, axis=0) ** 2, p * (1 - p) / bins.n_independent, rtol=0.2
    )


@pytest.mark.parametrize(
    ("p", "dependence", "n_repeats"),
    [(0.1, 0.0, 3), (0.1, 0.9, 1), (0.1, 1.0, 3), (0.5, 0.0, 1), (0.5, 0.9, 3), (0.5, 1.0, 1)],
)
def test_whiskers_cover_the_probability_if_labels_depend_on_each_other(
    rng, p, dependence, n_repeats
):
    n_rows, n_labels, covered = 150, 8, []
    rows = np.tile(np.arange(n_rows), n_repeats)
    y_score = np.full((len(rows), n_labels), p)
    for _ in range(400):
        z = np.sqrt(dependence) * rng.normal(size=(n_rows, 1))
        z = z + np.sqrt(1 - dependence) * rng.normal(size=(n_rows, n_labels))
        y_true = (z < stats.norm.ppf(p))[rows]
        bins = calibration_bins(replace(out_of_fold(y_true, y_score), rows=rows))
        low, high = wilson_interval(bins.fraction_positive, bins.n_independent)
        covered.append(low[0] <= p <= high[0])
    assert np.mean(covered) == pytest.approx(0.95, abs=0.03)


@pytest.mark.parametrize("value", [0, 1])
def test_a_bin_of_equal_labels_has_as_many_independent_predictions_as_rows(value):
    bins = calibration_bins(out_of_fold(np.full((7, 5), value), np.full((7, 5), 0.5)))
    assert bins.n_independent.tolist() == [7]
    one = calibration_bins(out_of_fold(np.array([[0, 1]]), np.full((1, 2), 0.5)))
    assert one.n_independent.tolist() == [1]


def test_precision_recall_curves_equal_scikit_learn(predictions):
    curves = label_curves(predictions)
    for label in range(3):
        true, score = predictions.y_true[:, label], predictions.y_score[:, label]
        precision, recall, _ = sk.precision_recall_curve(true, score)  # recall falls
        for at, value in zip(GRID, curves.precision[label], strict=True):
            threshold = max(i for i in range(len(recall) - 1) if recall[i] >= at)
            assert value == pytest.approx(precision[threshold])
        expected = sk.average_precision_score(true, score)
        assert curves.average_precision[label] == pytest.approx(expected)
        predicted, point = predictions.y_pred[:, label], curves.operating_points[:, label]
        assert point[0] == pytest.approx(sk.precision_score(true, predicted))
        assert point[1] == pytest.approx(sk.recall_score(true, predicted))
    assert np.isnan(curves.precision[3]).all()
    assert np.isnan(curves.average_precision[3])


def test_roc_curves_equal_scikit_learn(predictions):
    curves = label_curves(predictions)
    for label in range(3):
        true, score = predictions.y_true[:, label], predictions.y_score[:, label]
        false_rate, true_rate, _ = sk.roc_curve(true, score, drop_intermediate=False)
        expected = [
            max(np.interp(at, false_rate, true_rate), true_rate[false_rate <= at].max())
            for at in GRID
        ]
        np.testing.assert_allclose(curves.true_positive_rate[label], expected)
        assert curves.roc_auc[label] == pytest.approx(sk.roc_auc_score(true, score))
        false_positive_rate = predictions.y_pred[true == 0, label].mean()
        assert curves.operating_points[2, label] == pytest.approx(false_positive_rate)
    assert np.isnan(curves.roc_auc[3])


@pytest.mark.parametrize("n_labels", [3, 6, 7, 12, 40])
def test_a_label_has_one_colour_and_those_of_a_figure_differ(predictions, n_labels):
    for seed in range(20):
        rng = np.random.default_rng(seed)
        curves = replace(
            label_curves(predictions),
            average_precision=rng.random(n_labels),
            roc_auc=np.where(rng.random(n_labels) < 0.2, np.nan, rng.random(n_labels)),
        )
        styles = label_styles(curves)
        assert len({*styles.values()}) == len(styles)
        for scores in (curves.average_precision, curves.roc_auc):
            ranked = [i for i in np.argsort(-scores) if np.isfinite(scores[i])]
            shown = ranked if len(ranked) <= 6 else [*ranked[:2], *ranked[-3:]]
            assert len({styles[i][0] for i in shown}) == len(shown)


def test_a_label_has_the_colour_of_the_curves_in_the_figure_of_rates_over_time(monkeypatch):
    """Labels without a curve have one of the colours that are left."""
    drawn = []
    monkeypatch.setattr(Sheet, "line_sample", lambda *_, color, **__: drawn.append(color))
    rates = LabelRates(("1", "2"), np.array([3, 3]), np.full((2, 7), 0.5), np.arange(7)[::-1])
    names = [f"y{label}" for label in range(7)]
    with report_style(names):
        draw_label_rates("data", rates, names, {1: COLOURS[4], 6: COLOURS[2], 0: COLOURS[0]})
    assert (drawn[0], drawn[5]) == (COLOURS[2], COLOURS[4])
    assert sorted(drawn) == sorted(COLOURS)


def test_co_occurrence_equals_a_plain_loop(predictions):
    result = label_co_occurrence(predictions)
    counts = predictions.y_true.sum(axis=0)
    assert list(result.labels) == sorted(range(4), key=lambda label: -counts[label])
    differences = {}
    for row, i in enumerate(result.labels):
        for column, j in enumerate(result.labels):
            fractions = []
            for y, matrix in (
                (predictions.y_true, result.true),
                (predictions.y_pred, result.predicted),
            ):
                n_both = sum(bool(a and b) for a, b in zip(y[:, i], y[:, j], strict=True))
                fractions.append(n_both / len(y))
                n_first = sum(y[:, i])
                if i == j or not n_first:
                    assert np.isnan(matrix[row, column])
                else:
                    assert matrix[row, column] == pytest.approx(n_both / n_first)
            if i < j:
                differences[i, j] = abs(fractions[0] - fractions[1])
    largest = sorted(differences.values(), reverse=True)[: len(result.pairs)]
    assert [abs(true - predicted) for *_, true, predicted in result.pairs] == pytest.approx(largest)


@pytest.mark.parametrize("n_labels", [3, 9, 60, 400])
def test_label_counts_are_counted_in_their_classes(rng, n_labels):
    table = out_of_fold(rng.random((300, n_labels)) < 0.3, rng.random((300, n_labels)))
    counts = count_labels(table)
    assert len(counts.class_names) <= 12
    assert counts.table.sum() == 300

    def class_of(n):
        for i, name in enumerate(counts.class_names):
            low, _, high = name.rstrip("+").partition("-")
            if int(low) <= n <= (10**6 if name.endswith("+") else int(high or low)):
                return i
        raise AssertionError(n)

    expected = np.zeros_like(counts.table)
    for true, predicted in zip(table.y_true, table.y_pred, strict=True):
        expected[class_of(true.sum()), class_of(predicted.sum())] += 1
    np.testing.assert_array_equal(counts.table, expected)
    is_correct = table.y_true.sum(axis=1) == table.y_pred.sum(axis=1)
    assert counts.fraction_correct == np.mean(is_correct)


def test_a_fold_that_stops_early_keeps_its_last_loss():
    curves = [np.array([3.0, 2.0, 1.0]), np.array([5.0]), np.empty(0)]
    expected = [[3, 2, 1], [5, 5, 5], [np.nan] * 3]
    np.testing.assert_array_equal(pad_with_last(curves), expected)
    assert pad_with_last([np.empty(0)]).size == 0


def test_with_many_labels_only_the_most_frequent_and_the_rarest_have_bars(rng):
    few = group_labels(np.array([0.2, 0.9, 0.5]), np.array([1, 2, 3]))
    assert [list(labels) for labels in few.values()] == [[1, 2, 0]]
    f1, counts = rng.random(100), rng.permutation(100)
    assert len(f1) > MAX_BARS
    frequent, rare = group_labels(f1, counts).values()
    assert set(counts[frequent]) == set(range(100 - N_PER_GROUP, 100))
    assert set(counts[rare]) == set(range(N_PER_GROUP))
    assert (np.diff(f1[rare]) <= 0).all()


def alt_texts(evaluation) -> dict[str, str]:
    """Check the figures of an evaluation and return their alternative texts by name."""
    figures = draw_figures(evaluation, labels_table(evaluation))
    for figure in figures:
        image = Image.open(io.BytesIO(figure.png))
        assert image.size == (figure.width, figure.height)
        assert image.width == 1000
        darkest, lightest = image.convert("L").getextrema()
        assert (darkest < 64, lightest) == (True, 255)
        assert "nan" not in figure.alt
    return {figure.name: figure.alt for figure in figures}


def test_every_figure_is_drawn_and_described(make_config, rng):
    dataset = make_dataset(rng.random((60, 4)) < 0.4, UNUSUAL_NAMES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alts = alt_texts(make_evaluation(make_config(METRICS), dataset, n_repeats=3))
    assert list(alts) == ALL
    assert alts["fold_scores"].startswith("Accuracy of 12 folds, from ")
    assert "; held-out rows from 0.7" in alts["training_curves"]
    assert any(name in alts["roc"] for name in UNUSUAL_NAMES)


def replace_fields(evaluation, **fields):
    """Replace fields of all folds by what a function of the fold returns."""
    folds = [
        replace(fold, **{name: function(fold) for name, function in fields.items()})
        for fold in evaluation.folds
    ]
    return with_summary(replace(evaluation, folds=tuple(folds)))


def test_figures_of_constant_few_and_many_labels(make_config, rng):
    config = make_config(METRICS)
    y = rng.random((40, 4)) < 0.4
    y[:, 0], y[:, 1], y[1:, 2] = False, True, False
    assert list(alt_texts(make_evaluation(config, make_dataset(y)))) == ALL
    single = alt_texts(make_evaluation(config, make_dataset(y[:, 3:])))
    assert list(single) == ALL[:-1]
    many = make_evaluation(config, make_dataset(rng.random((40, 160)) < rng.random(160) / 4))
    assert list(alt_texts(many)) == ALL
    absent = alt_texts(make_evaluation(config, make_dataset(np.zeros((40, 2)))))
    assert list(absent) == [name for name in ALL if name not in ("precision_recall", "roc")]


def test_figures_of_single_many_and_undefined_folds(make_config, rng):
    config, dataset = make_config(METRICS), make_dataset(rng.random((60, 3)) < 0.4)
    single = alt_texts(make_evaluation(config, dataset, n_folds=1, epochs=1))
    assert list(single) == ALL
    assert single["fold_scores"].startswith("Accuracy of 1 fold: 0.")
    assert ";" not in single["fold_scores"]
    assert list(alt_texts(make_evaluation(config, dataset, n_folds=2, n_repeats=15))) == ALL
    evaluation = make_evaluation(config, dataset)
    undefined = replace_fields(evaluation, scores=lambda fold: {"a": np.nan, "b": np.nan})
    assert alt_texts(undefined)["fold_scores"] == "A is undefined in every fold."
    partly_defined = replace_fields(
        evaluation, scores=lambda fold: {"a": fold.split.fold or np.nan, "b": 1e6, "c": 0.0}
    )
    assert alt_texts(partly_defined)["fold_scores"].startswith("A of 3 folds, from 1.000 to 3.000")


def test_figures_of_early_stopping_and_divergence(make_config, rng):
    config, dataset = make_config(METRICS), make_dataset(rng.random((60, 3)) < 0.4)
    evaluation = make_evaluation(config, dataset, epochs=9)
    stopped = replace_fields(
        evaluation,
        loss=lambda fold: fold.loss[: 4 + fold.split.fold],
        val_loss=lambda fold: fold.test_loss[: 4 + fold.split.fold],
        test_loss=lambda fold: fold.test_loss[: 4 + fold.split.fold],
    )
    alts = alt_texts(stopped)
    assert list(alts) == ALL
    assert alts["training_curves"].startswith("Mean loss over 7 epochs: ")
    assert "validation rows" in alts["training_curves"]
    no_losses = {name: lambda fold: np.empty(0) for name in ("loss", "val_loss", "test_loss")}
    assert "training_curves" not in alt_texts(replace_fields(evaluation, **no_losses))
    diverged = replace_fields(
        evaluation,
        loss=lambda fold: fold.loss * (np.nan if fold.split.fold else 1),
        test_loss=lambda fold: fold.loss * 0,
        y_score=lambda fold: fold.y_score * (np.nan if fold.split.fold == 1 else 1),
    )
    assert list(alt_texts(diverged)) == ALL
    unpredicted = replace_fields(evaluation, y_score=lambda fold: fold.y_score * np.nan)
    assert list(alt_texts(unpredicted)) == ["fold_scores", "training_curves", "label_scores"]


def test_labels_that_are_not_known_have_no_part_in_curves_and_counts(predictions, rng):
    mask = rng.random(predictions.y_true.shape) < 0.6
    masked = replace(predictions, y_true=predictions.y_true * mask, mask=mask)
    curves, bins = label_curves(masked), calibration_bins(masked)
    for label in range(3):
        rows = mask[:, label]
        y_true, y_score = predictions.y_true[rows, label], predictions.y_score[rows, label]
        assert curves.average_precision[label] == pytest.approx(
            sk.average_precision_score(y_true, y_score)
        )
        assert curves.roc_auc[label] == pytest.approx(sk.roc_auc_score(y_true, y_score))
        assert curves.prevalence[label] == y_true.mean()
        assert curves.operating_points[1, label] == sk.recall_score(
            y_true, predictions.y_pred[rows, label]
        )
    fraction, mean_score = calibration_curve(
        predictions.y_true[mask], predictions.y_score[mask].astype(float), n_bins=N_BINS
    )
    np.testing.assert_allclose(bins.fraction_positive, fraction)
    np.testing.assert_allclose(bins.mean_score, mean_score)
    complete = masked.complete_rows()
    keep = mask.all(axis=1)
    np.testing.assert_array_equal(complete.y_true, predictions.y_true[keep])
    assert count_labels(complete).table.sum() == keep.sum()
    table = label_co_occurrence(masked)
    for i, j in product(range(3), repeat=2):
        first, second = table.labels[i], table.labels[j]
        true, predicted = (
            y[mask[:, first] & mask[:, second] & (y[:, first] == 1), second]
            for y in (predictions.y_true, predictions.y_pred)
        )
        if i != j:
            assert table.true[i, j] == true.mean()
            assert table.predicted[i, j] == predicted.mean()


def test_a_complete_mask_changes_no_figure(predictions):
    masked = replace(predictions, mask=np.ones_like(predictions.y_true, dtype=bool))
    for compute in (label_curves, calibration_bins, label_co_occurrence):
        for one, other in zip(
            vars(compute(predictions)).values(), vars(compute(masked)).values(), strict=True
        ):
            np.testing.assert_array_equal(one, other)
