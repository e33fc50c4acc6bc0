"""The numbers behind the figures against other ways to them, and figures of odd data."""

import io
import warnings
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image
from scipy import stats
from sklearn import metrics as sk
from sklearn.calibration import calibration_curve

from pipeline.report.artifacts import draw_figures, labels_table
from pipeline.report.calibration import N_BINS, calibration_bins, wilson
from pipeline.report.label_sets import count_labels, label_co_occurrence
from pipeline.report.loss_curves import extend
from pipeline.report.out_of_fold import OutOfFold, collect_out_of_fold
from pipeline.report.per_label import MAX_LABELS, N_ENDS, choose
from pipeline.report.roc_pr_curves import GRID, label_curves
from pipeline.report.style import FONTS, WIDTH, fit, styled, width_of, wrap
from pipeline.scoring.classification_metrics import expected_calibration_error
from tests.made_up import METRICS, make_dataset, make_evaluation, summarised

ALL = [
    *("fold_scores", "training_curves", "label_scores", "precision_recall"),
    *("roc", "calibration", "label_counts", "co_occurrence"),
]
ODD_NAMES = (
    "$\\alpha$ costs 5$",
    '<b>bold</b> & "quoted" {braces} % _under_ ^hat^ \\backslash',
    "a name of many words that goes on and on, up to sixty letters",
    "日本語のラベル 😀 العربية हिन्दी Ελληνικά",
)


@pytest.fixture
def rng():
    return np.random.default_rng(1)


def out_of_fold(y_true, y_score, y_pred=None):
    y_pred = (y_score > 0.5).astype(np.int8) if y_pred is None else y_pred
    names = tuple(f"y{i}" for i in range(y_true.shape[1]))
    y_score = y_score.astype(np.float32)
    return OutOfFold("made up", names, y_true.astype(np.int8), y_score, y_pred, len(y_true))


@pytest.fixture
def some(rng):
    """Predictions of 200 rows and 4 labels, many of equal probability; the last is never true."""
    y_true = rng.random((200, 4)) < (0.5, 0.2, 0.05, 0)
    return out_of_fold(y_true, (0.4 * y_true + 0.6 * rng.random((200, 4))).round(2))


def test_the_rows_of_all_folds_are_pooled(make_config, rng):
    dataset = make_dataset(rng.random((40, 3)) < 0.4)
    evaluation = make_evaluation(make_config(METRICS), dataset, n_repeats=2)
    found = collect_out_of_fold(evaluation)
    assert (len(found.y_true), found.n_rows) == (80, 40)
    assert found.described == "80 predictions of 40 held-out rows"
    place = 0
    for fold in evaluation.folds:
        for row, scores in zip(fold.split.test, fold.y_score, strict=True):
            np.testing.assert_array_equal(found.y_true[place], dataset.y[row])
            np.testing.assert_array_equal(found.y_score[place], scores)
            place += 1


def test_calibration_bins_are_scikit_learns(some):
    bins = calibration_bins(some)
    share, mean_score = calibration_curve(
        some.y_true.ravel(), some.y_score.ravel().astype(float), n_bins=N_BINS
    )
    np.testing.assert_allclose(bins.share, share)
    np.testing.assert_allclose(bins.mean_score, mean_score)
    assert bins.count.sum() == some.y_true.size
    error = expected_calibration_error(some.y_true, some.y_score, some.y_pred)
    assert bins.error == pytest.approx(error)


@pytest.mark.parametrize(("found", "n"), [(0, 3), (3, 3), (1, 40), (20, 400)])
def test_intervals_of_shares_are_scipys(found, n):
    low, high = wilson(np.array([found / n]), np.array([float(n)]))
    expected = stats.binomtest(found, n).proportion_ci(method="wilson")
    assert (low[0], high[0]) == pytest.approx((expected.low, expected.high), abs=1e-4)


def test_precision_and_recall_are_scikit_learns(some):
    curves = label_curves(some)
    for label in range(3):
        true, score = some.y_true[:, label], some.y_score[:, label]
        precision, recall, _ = sk.precision_recall_curve(true, score)  # recall falls
        for at, found in zip(GRID, curves.precision[label], strict=True):
            place = max(i for i in range(len(recall) - 1) if recall[i] >= at)
            assert found == pytest.approx(precision[place])
        expected = sk.average_precision_score(true, score)
        assert curves.average_precision[label] == pytest.approx(expected)
        decided = some.y_pred[:, label]
        assert curves.decided[0, label] == pytest.approx(sk.precision_score(true, decided))
        assert curves.decided[1, label] == pytest.approx(sk.recall_score(true, decided))
    assert np.isnan(curves.precision[3]).all()
    assert np.isnan(curves.average_precision[3])


def test_roc_curves_are_scikit_learns(some):
    curves = label_curves(some)
    for label in range(3):
        true, score = some.y_true[:, label], some.y_score[:, label]
        false_rate, true_rate, _ = sk.roc_curve(true, score, drop_intermediate=False)
        expected = [
            max(np.interp(at, false_rate, true_rate), true_rate[false_rate <= at].max())
            for at in GRID
        ]
        np.testing.assert_allclose(curves.true_positive_rate[label], expected)
        assert curves.roc_auc[label] == pytest.approx(sk.roc_auc_score(true, score))
        alarms = some.y_pred[true == 0, label].mean()
        assert curves.decided[2, label] == pytest.approx(alarms)
    assert np.isnan(curves.roc_auc[3])


def test_what_comes_together_is_what_a_loop_counts(some):
    found = label_co_occurrence(some)
    counts = some.y_true.sum(axis=0)
    assert list(found.labels) == sorted(range(4), key=lambda label: -counts[label])
    differences = {}
    for row, i in enumerate(found.labels):
        for column, j in enumerate(found.labels):
            shares = []
            for table, drawn in ((some.y_true, found.true), (some.y_pred, found.predicted)):
                both = sum(bool(a and b) for a, b in zip(table[:, i], table[:, j], strict=True))
                shares.append(both / len(table))
                having = sum(table[:, i])
                if i == j or not having:
                    assert np.isnan(drawn[row, column])
                else:
                    assert drawn[row, column] == pytest.approx(both / having)
            if i < j:
                differences[i, j] = abs(shares[0] - shares[1])
    largest = sorted(differences.values(), reverse=True)[: len(found.pairs)]
    assert [abs(true - given) for *_, true, given in found.pairs] == pytest.approx(largest)


@pytest.mark.parametrize("n_labels", [3, 9, 60, 400])
def test_labels_are_counted_in_classes_that_hold_them(rng, n_labels):
    table = out_of_fold(rng.random((300, n_labels)) < 0.3, rng.random((300, n_labels)))
    counts = count_labels(table)
    assert len(counts.names) <= 12
    assert counts.table.sum() == 300

    def place(n):
        for i, name in enumerate(counts.names):
            low, _, high = name.rstrip("+").partition("-")
            if int(low) <= n <= (10**6 if name.endswith("+") else int(high or low)):
                return i
        raise AssertionError(n)

    expected = np.zeros_like(counts.table)
    for true, given in zip(table.y_true, table.y_pred, strict=True):
        expected[place(true.sum()), place(given.sum())] += 1
    np.testing.assert_array_equal(counts.table, expected)
    assert counts.right == np.mean(table.y_true.sum(axis=1) == table.y_pred.sum(axis=1))


def test_a_fold_that_stopped_keeps_its_last_loss():
    curves = [np.array([3.0, 2.0, 1.0]), np.array([5.0]), np.empty(0)]
    expected = [[3, 2, 1], [5, 5, 5], [np.nan] * 3]
    np.testing.assert_array_equal(extend(curves), expected)
    assert extend([np.empty(0)]).size == 0


def test_of_many_labels_the_most_frequent_and_the_rarest_have_bars(rng):
    few = choose(np.array([0.2, 0.9, 0.5]), np.array([1, 2, 3]))
    assert [list(labels) for labels in few.values()] == [[1, 2, 0]]
    f1, counts = rng.random(100), rng.permutation(100)
    assert len(f1) > MAX_LABELS
    frequent, rare = choose(f1, counts).values()
    assert set(counts[frequent]) == set(range(100 - N_ENDS, 100))
    assert set(counts[rare]) == set(range(N_ENDS))
    assert (np.diff(f1[rare]) <= 0).all()


def test_lines_fit_the_sheet():
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    text = "Precision against recall of each label: a data set with quite a long name, Wörter & $5"
    with styled():
        figure = Figure((1, 1), dpi=720)
        renderer = FigureCanvasAgg(figure).get_renderer()
        drawn = figure.text(0, 0, text, size=10).get_window_extent(renderer).width / 720
    assert width_of(text, 10) == pytest.approx(drawn, rel=0.03)
    assert all(width_of(line, 10) <= WIDTH - 0.2 for line in wrap(text, 10))
    assert " ".join(wrap(text, 10)) == text
    for name in ODD_NAMES:
        short = fit(name, 0.8, 7.5)
        assert width_of(short, 7.5) <= 0.8
        assert (short[0], short[-1]) == (name[0], name[-1])
    assert fit("y0", 0.8, 7.5) == "y0"


def drawn(evaluation) -> dict[str, str]:
    """Return what each picture shows, by name, after looking at the files."""
    figures = draw_figures(evaluation, labels_table(evaluation))
    for picture in figures:
        image = Image.open(io.BytesIO(picture.png))
        assert image.size == (picture.width, picture.height)
        assert image.width == 1000
        white, ink = image.convert("L").getextrema()[::-1]
        assert (white, ink < 64) == (255, True)
        assert "nan" not in picture.alt
    return {picture.name: picture.alt for picture in figures}


def test_every_figure_is_drawn_and_says_what_it_shows(make_config, rng):
    dataset = make_dataset(rng.random((60, 4)) < 0.4, ODD_NAMES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        alts = drawn(make_evaluation(make_config(METRICS), dataset, n_repeats=3))
    assert list(alts) == ALL
    assert alts["fold_scores"].startswith("Accuracy of 12 folds, from ")
    assert "; held-out rows from 0.7" in alts["training_curves"]
    assert any(name in alts["roc"] for name in ODD_NAMES)


def changed(evaluation, **fields):
    """Return it with these fields in all folds; a function makes them of the fold."""
    folds = [
        replace(fold, **{name: make(fold) for name, make in fields.items()})
        for fold in evaluation.folds
    ]
    return summarised(replace(evaluation, folds=tuple(folds)))


def test_figures_of_odd_labels(make_config, rng):
    config = make_config(METRICS)
    y = rng.random((40, 4)) < 0.4
    y[:, 0], y[:, 1], y[1:, 2] = False, True, False
    assert list(drawn(make_evaluation(config, make_dataset(y)))) == ALL
    single = drawn(make_evaluation(config, make_dataset(y[:, 3:])))
    assert list(single) == ALL[:-1]
    many = make_evaluation(config, make_dataset(rng.random((40, 160)) < rng.random(160) / 4))
    assert list(drawn(many)) == ALL
    silent = drawn(make_evaluation(config, make_dataset(np.zeros((40, 2)))))
    assert list(silent) == [name for name in ALL if name not in ("precision_recall", "roc")]


def test_figures_of_odd_folds(make_config, rng):
    config, dataset = make_config(METRICS), make_dataset(rng.random((60, 3)) < 0.4)
    assert list(drawn(make_evaluation(config, dataset, n_folds=1, epochs=1))) == ALL
    assert list(drawn(make_evaluation(config, dataset, n_folds=2, n_repeats=15))) == ALL
    evaluation = make_evaluation(config, dataset)
    undefined = changed(evaluation, scores=lambda fold: {"a": np.nan, "b": np.nan})
    assert drawn(undefined)["fold_scores"] == "A is undefined in every fold."
    some = changed(
        evaluation, scores=lambda fold: {"a": fold.split.fold or np.nan, "b": 1e6, "c": 0.0}
    )
    assert drawn(some)["fold_scores"].startswith("A of 3 folds, from 1.000 to 3.000")


def test_figures_of_odd_training(make_config, rng):
    config, dataset = make_config(METRICS), make_dataset(rng.random((60, 3)) < 0.4)
    evaluation = make_evaluation(config, dataset, epochs=9)
    stopped = changed(
        evaluation,
        loss=lambda fold: fold.loss[: 4 + fold.split.fold],
        val_loss=lambda fold: fold.test_loss[: 4 + fold.split.fold],
        test_loss=lambda fold: fold.test_loss[: 4 + fold.split.fold],
    )
    alts = drawn(stopped)
    assert list(alts) == ALL
    assert alts["training_curves"].startswith("Mean loss over 7 epochs: ")
    assert "validation rows" in alts["training_curves"]
    nothing = {name: lambda fold: np.empty(0) for name in ("loss", "val_loss", "test_loss")}
    assert "training_curves" not in drawn(changed(evaluation, **nothing))
    broken = changed(
        evaluation,
        loss=lambda fold: fold.loss * (np.nan if fold.split.fold else 1),
        test_loss=lambda fold: fold.loss * 0,
        y_score=lambda fold: fold.y_score * (np.nan if fold.split.fold == 1 else 1),
    )
    assert list(drawn(broken)) == ALL
    blind = changed(evaluation, y_score=lambda fold: fold.y_score * np.nan)
    assert list(drawn(blind)) == ["fold_scores", "training_curves", "label_scores"]


def test_fonts_begin_with_the_one_that_is_always_there():
    from matplotlib.font_manager import findfont

    assert findfont(FONTS[0], fallback_to_default=False)
