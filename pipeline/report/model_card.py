"""Model card in Markdown: data, evaluation, decisions and limits of the final model."""

import re
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import mean

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from pipeline.checks import Finding
from pipeline.config import DecisionConfig
from pipeline.dataset import DataSummary
from pipeline.evaluation.fold_results import Evaluation
from pipeline.model.saved_model import MODEL_CARD
from pipeline.report.data_facts import format_facts, format_shape
from pipeline.report.page import (
    LABEL_METRICS,
    describe_intervals,
    format_folds,
    format_labels,
    format_results,
    format_warnings,
)
from pipeline.report.run_info import RunInfo
from pipeline.scoring import metric_title

MIN_POSITIVES = 20  # rows with a label, below which its scores say little
MAX_NAMED = 10  # labels in a sentence


def format_model_card(
    evaluation: Evaluation,
    summary: DataSummary,
    run_info: RunInfo,
    labels: pd.DataFrame,
    findings: Sequence[Finding] = (),
) -> str:
    """Return the model card as Markdown.

    Args:
        evaluation: An evaluation with a final model.
        summary: Summary of the data set.
        run_info: The run.
        labels: Table of scores by label, from `labels_table`.
        findings: Findings of the checks.
    """
    assert evaluation.final
    return _template().render(
        name=evaluation.dataset.name,
        model=evaluation.config.model.title,
        shape=format_shape(summary),
        path=getattr(evaluation.config.dataset, "path", None),
        digest=evaluation.dataset.digest,
        facts=format_facts(summary),
        folds=format_folds(evaluation),
        n_train=round(mean(len(fold.split.train) for fold in evaluation.folds)),
        final_fit=evaluation.final.describe_fit(),
        results=format_results(evaluation),
        **describe_intervals(evaluation),
        label_metrics=LABEL_METRICS,
        labels=format_labels(evaluation, labels),
        decisions=describe_decisions(evaluation.config.decision),
        limits=list_limits(evaluation, summary, findings),
        run_info=run_info,
    )


def describe_decisions(config: DecisionConfig) -> str:
    """Say how probabilities become predicted labels."""
    calibrated = (
        "The probabilities are calibrated by a temperature for each label, learnt on inner folds "
        "of the training rows. "
        if config.calibration
        else "The probabilities are those of the model, without calibration. "
    )
    if not isinstance(config.threshold, str):
        return f"{calibrated}A label is predicted above a probability of {config.threshold:g}."
    metric = metric_title(config.threshold_metric)
    purpose = {
        "global": f"one threshold for all labels, tuned for {metric}",
        "per_label": f"a threshold for each label, tuned for {metric}",
        "cardinality": "one threshold, at which as many labels are predicted as are true",
    }[config.threshold]
    return f"{calibrated}A label is predicted above {purpose}, on inner folds of the training rows."


def list_limits(
    evaluation: Evaluation, summary: DataSummary, findings: Sequence[Finding]
) -> list[str]:
    """Return what the evaluation cannot tell: rare labels, troubled folds, missing intervals."""
    counts = zip(summary.label_names, summary.label_counts.tolist(), strict=True)
    rare = [f"{name} ({count})" for name, count in counts if count < MIN_POSITIVES]
    limits = []
    if rare:
        more = f" and {len(rare) - MAX_NAMED} more" if len(rare) > MAX_NAMED else ""
        limits.append(
            f"Too rare to judge, with fewer than {MIN_POSITIVES} rows: "
            f"{', '.join(rare[:MAX_NAMED])}{more}."
        )
    limits += format_warnings(evaluation, findings)
    if len(evaluation.folds) == 1:
        limits.append("A single test set says nothing about the variation of the scores.")
    limits.append(
        "The scores hold for rows from the same source as the data. Rows of another time, place or "
        "population can be predicted worse."
    )
    return limits


def _escape(text: object) -> str:
    """Return a text without effect in a table of Markdown."""
    line = " ".join(str(text).split())
    return re.sub(r"([\\`*_{}\[\]<>#|~$&!])", r"\\\1", line)


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=False,  # Markdown; texts of the data go through the filter
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["text"] = _escape
    return environment.get_template(f"{Path(MODEL_CARD).stem.lower()}.md.jinja")
