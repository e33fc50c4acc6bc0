"""Output of a job: scores of folds, and means with what is undefined in them."""

from pipeline import console
from pipeline.scoring.statistics import summarise
from tests.random_evaluation import ALL_LABELS_IN_ALL_FOLDS, make_rare_labels, random_evaluation


def show(evaluation, capsys) -> list[str]:
    console.show_fold(evaluation.folds[0].scores[next(iter(evaluation.summary))])
    console.show_result(evaluation.summary)
    return [line.rstrip() for line in capsys.readouterr().out.splitlines()]


def test_undefined_labels_are_listed_below_the_metrics(make_config, capsys):
    lines = show(random_evaluation(make_config, make_rare_labels()), capsys)
    assert lines[0].startswith(">0.")
    assert lines[1].startswith("Accuracy: 0.")
    assert lines[2].split() == ["metric", "mean", "std", "95%", "interval", "of", "the", "mean"]
    assert [line.split("  ")[0] for line in lines[3:7]] == [
        *("Accuracy", "F1 macro", "ROC AUC macro", "Average precision macro"),
    ]
    assert lines[7:] == [
        "ROC AUC macro: undefined for 7 labels within folds; skipped in the means",
        "Average precision macro: undefined for 7 labels within folds; skipped in the means",
    ]


def test_folds_without_a_metric_are_counted(make_config, capsys):
    y = make_rare_labels()
    y[:20] = 0
    lines = show(random_evaluation(make_config, y, "scoring.metrics=[roc_auc_macro]"), capsys)
    undefined = "undefined in 2 of 4 folds and for 4 labels within folds; skipped in the means"
    assert lines[-1] == f"ROC AUC macro: {undefined}"


def test_a_metric_that_is_never_defined_has_no_number(make_config, capsys):
    metrics = "scoring.metrics=[roc_auc_macro,accuracy]"
    evaluation = random_evaluation(make_config, 0 * make_rare_labels(), metrics)
    fold, headline, _, row, _, note = show(evaluation, capsys)
    assert fold == ">undefined"
    assert headline == "ROC AUC macro: undefined"
    assert row.split() == ["ROC", "AUC", "macro", "undefined"]
    assert note == "ROC AUC macro: undefined in 4 of 4 folds; skipped in the means"


def test_without_undefined_labels_there_are_no_notes(make_config, capsys):
    assert len(show(random_evaluation(make_config, ALL_LABELS_IN_ALL_FOLDS), capsys)) == 7


def test_one_fold_has_no_deviation(make_config, capsys):
    evaluation = random_evaluation(make_config, ALL_LABELS_IN_ALL_FOLDS, n_folds=1)
    console.show_job_result("[1/2]", evaluation.summary, "1.0 s")
    mean = f"{evaluation.summary['accuracy'].mean:.3f}"
    assert capsys.readouterr().out == f"[1/2] Accuracy: {mean}; 1.0 s\n"
    lines = show(evaluation, capsys)
    assert lines[:2] == [f">{mean}", f"Accuracy: {mean}"]
    assert [line.split()[:-1] for line in lines[3:5]] == [["Accuracy"], ["F1", "macro"]]


def test_a_small_deviation_does_not_vanish(capsys):
    summary = {"hamming_loss": summarise([0.0011, 0.0013], 0.1)}
    console.show_job_result("[2/2]", summary, "1.0 s")
    assert capsys.readouterr().out.startswith("[2/2] Hamming loss: 0.00120 (0.00010), 95% interval")


def test_warnings_beyond_five_are_counted(capsys):
    console.show_warnings([f"warning {number}" for number in range(5)])
    assert "more" not in capsys.readouterr().out
    console.show_warnings([f"warning {number}" for number in range(12)])
    lines = capsys.readouterr().out.splitlines()
    assert lines[4:] == ["Warning: warning 4.", "... and 7 more"]


def test_a_new_sweep_says_that_none_matches(capsys):
    console.show_sweep("1a2b", 1, is_resumed=False, resume=True)
    console.show_sweep("1a2b", None, is_resumed=True, resume=True)
    assert capsys.readouterr().out.splitlines() == [
        "resume=true: no earlier sweep matches; starting a new one.",
        "Sweep of 1 job, run 1a2b",
        "Resuming the sweep, run 1a2b",
    ]
