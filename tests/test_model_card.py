"""The model card: complete, safe as Markdown, and true to the evaluation."""

import re
from dataclasses import replace

import numpy as np
import pytest

from pipeline.dataset.summary import summarise
from pipeline.decision.rule import DecisionRule
from pipeline.model.saved_model import FinalModel
from pipeline.preprocessing.table_schema import TableSchema
from pipeline.report.artifacts import labels_table, write_result
from pipeline.report.model_card import describe_decisions, format_model_card
from pipeline.scoring.scorer import metric_title
from pipeline.scoring.statistics import format_summary
from tests.random_evaluation import METRICS, make_dataset, make_evaluation
from tests.test_page import RUN_INFO

NAMES = ("rain", "a | b", "<script>x</script>", "[link](http://x)", "rare\nlabel", "![i](x)")


@pytest.fixture(scope="module")
def card(make_config):
    """An evaluation and its card, as lines."""
    y = np.random.default_rng(2).random((80, len(NAMES))) < 0.5
    y[4:, 4] = False
    dataset = make_dataset(y, NAMES)
    final = FinalModel(
        None,
        DecisionRule(np.ones(6), np.full(6, 0.5)),
        TableSchema(()),
        NAMES,
        False,
        80,
        80,
        False,
    )
    evaluation = replace(make_evaluation(make_config(METRICS), dataset, n_repeats=2), final=final)
    labels = labels_table(evaluation)
    text = format_model_card(evaluation, summarise(dataset), RUN_INFO, labels)
    return evaluation, text.splitlines()


def test_the_card_has_all_scores_with_their_intervals(card):
    evaluation, lines = card
    for name, summary in evaluation.summary.items():
        mean, std, interval = format_summary(summary)
        (row,) = [line for line in lines if line.startswith(f"| {metric_title(name)}")]
        assert row.endswith(f"| {mean} | {std} | {interval} |")


def test_every_table_is_well_formed_whatever_the_names(card):
    _, lines = card
    rows = [line for line in lines if line.startswith("|")]
    columns = [line.replace("\\|", "").count("|") for line in rows]
    assert set(columns) == {5, 8}
    assert len([n for n in columns if n == 8]) == len(NAMES) + 2
    text = "\n".join(lines)
    assert "<script>" not in text
    assert not re.search(r"(?<!\\)\]\(", text)
    assert "\\[link\\](http://x)" in text


def test_rare_labels_are_limits_and_the_intended_use_is_left_open(card):
    _, lines = card
    (limit,) = [line for line in lines if line.startswith("- Too rare")]
    assert limit.startswith("- Too rare to judge, with fewer than 20 rows: rare label (")
    use = lines[lines.index("## Intended use") + 2]
    assert use.startswith("*To be filled in by a person")


def test_a_run_without_a_final_model_has_no_card(make_config, tmp_path, card):
    evaluation, _ = card
    summary = summarise(evaluation.dataset)
    settings = replace(evaluation.config, report=make_config("report=none").report)
    for final, exists in ((evaluation.final, True), (None, False)):
        folder = tmp_path / str(exists)
        folder.mkdir()
        write_result(folder, replace(evaluation, final=final, config=settings), summary, RUN_INFO)
        assert (folder / "MODEL_CARD.md").exists() == exists


@pytest.mark.parametrize(
    ("settings", "sentence"),
    [
        ((), "A label is predicted above a probability of 0.5."),
        (("decision=tuned",), "a threshold for each label, tuned for F1 macro, on inner folds"),
        (("decision.threshold=cardinality",), "as many labels are predicted as are true"),
        (("decision.calibration=temperature",), "calibrated by a temperature for each label"),
    ],
)
def test_decisions_are_described(make_config, settings, sentence):
    assert sentence in describe_decisions(make_config(*settings).decision)
