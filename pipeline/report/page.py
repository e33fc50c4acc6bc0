"""HTML page of a run: results, figures, labels, data, configuration and warnings."""

from base64 import b64encode
from collections.abc import Sequence
from functools import cache
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from pipeline.checks import Finding
from pipeline.config import flatten
from pipeline.cv import check_splits
from pipeline.dataset import DataSummary
from pipeline.evaluation.fold_results import Evaluation
from pipeline.report.data_facts import (
    UNDEFINED,
    format_facts,
    format_label_rates,
    format_label_sets,
    format_missing_labels,
    format_shape,
)
from pipeline.report.run_info import RunInfo
from pipeline.report.tables import format_importance, review_tables
from pipeline.scoring import (
    NO_INTERVAL,
    MetricSummary,
    choose_decimals,
    explain_metric,
    format_number,
    format_summary,
    interval_title,
    lower_is_better,
    metric_title,
    short_name,
)
from pipeline.scoring.feature_importance import FeatureImportance

if TYPE_CHECKING:
    from pipeline.report.style import ReportFigure

MAX_WARNINGS = 10  # about the data set
MAX_OPEN = 30  # labels, up to which their table is not collapsed
LABEL_METRICS = {
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "roc_auc": "ROC AUC",
    "average_precision": "Average precision",
}


class Result(NamedTuple):
    """Texts of a row of the results.

    Attributes:
        name: Title of the metric.
        explanation: Definition of the metric.
        lower_is_better: Whether lower is better.
        mean: Mean over folds.
        std: Standard deviation over folds; empty for a single fold.
        interval: 95% interval of the mean, or the scores of the windows of a time series; empty
            for a single fold.
        note: Where the metric is undefined; empty if nowhere.
        bar: Low end, mean and high end as percentages of 1; None if the mean is not in [0, 1].
    """

    name: str
    explanation: str
    lower_is_better: bool
    mean: str
    std: str
    interval: str
    note: str
    bar: tuple[float, float, float] | None


class LabelScore(NamedTuple):
    """Texts of a label's score: mean, deviation, base rate, and a note on undefined folds."""

    mean: str
    std: str
    base: str
    note: str


def format_results(evaluation: Evaluation) -> list[Result]:
    """Format a row for each metric, the headline first."""
    full_names = {short_name(name): name for name in evaluation.config.scoring.metrics}
    results = []
    for name, summary in evaluation.summary.items():
        formatted = format_summary(summary)
        results.append(
            Result(
                metric_title(name),
                explain_metric(full_names[name]) if name in full_names else "",
                lower_is_better(name, evaluation.config.scoring.greater_is_better),
                formatted.mean if summary.n_folds else UNDEFINED,
                formatted.std,
                formatted.interval,
                summary.describe_undefined(),
                _bar(summary),
            )
        )
    return results


def describe_intervals(evaluation: Evaluation) -> dict[str, str]:
    """Return the title of the intervals, and the reason why there are none."""
    headline = next(iter(evaluation.summary.values()))
    return {
        "interval_title": interval_title(headline),
        "no_interval": NO_INTERVAL if headline.windows else "",
    }


def format_labels(
    evaluation: Evaluation, table: pd.DataFrame
) -> list[tuple[str, str, list[LabelScore]]]:
    """Format name, number of rows and scores of each label.

    Args:
        evaluation: The evaluation.
        table: Table of scores by label, from `labels_table`.
    """
    counts = [f"{n:,}" for n in evaluation.dataset.y.sum(axis=0, dtype=int)]
    if (mask := evaluation.dataset.label_mask) is not None:
        n_labelled = mask.sum(axis=0)
        counts = [f"{count} of {n:,}" for count, n in zip(counts, n_labelled, strict=True)]
    scores = [_format_scores(table, name, len(evaluation.folds)) for name in LABEL_METRICS]
    return [
        (name, count, list(row))
        for name, count, *row in zip(table["label"], counts, *scores, strict=True)
    ]


def format_folds(evaluation: Evaluation) -> str:
    """Format the number and the kind of the folds."""
    n_folds = len(evaluation.folds)
    n_repeats = len({fold.split.repeat for fold in evaluation.folds})
    kind = evaluation.config.cv.kind.replace("_", " ")
    repeated = f" in {n_repeats} repeats" if n_repeats > 1 else ""
    return f"{n_folds} fold{'s' if n_folds > 1 else ''}{repeated} ({kind})"


def format_warnings(evaluation: Evaluation, findings: Sequence[Finding]) -> list[str]:
    """Format the warnings about data set, training and folds, and the findings, as on screen."""
    warnings = evaluation.dataset.warnings
    texts = [f"{warning[:1].upper()}{warning[1:]}." for warning in warnings[:MAX_WARNINGS]]
    if len(warnings) > MAX_WARNINGS:
        texts.append(f"{len(warnings) - MAX_WARNINGS} more warnings about the data set.")
    splits = [fold.split for fold in evaluation.folds]
    config, dataset = evaluation.config, evaluation.dataset
    can_drop = hasattr(config.dataset, "drop")
    split_warnings = check_splits(config.cv, dataset, splits, can_drop=can_drop)
    texts += [f"{warning}." for warning in evaluation.warnings[:MAX_WARNINGS]]
    return [*texts, *map(str, split_warnings), *(f"{finding}." for finding in findings)]


def format_settings(evaluation: Evaluation) -> dict[str, list[tuple[str, str]]]:
    """Return all keys of the configuration by group."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for key, value in flatten(evaluation.config).items():
        group, _, _ = key.rpartition(".")
        groups.setdefault(group.partition(".")[0], []).append((key, value))
    return groups


def _format_scores(table: pd.DataFrame, name: str, n_folds: int) -> list[LabelScore]:
    n_defined = table.get(f"{name}_folds", [n_folds] * len(table))
    columns = (table[f"{name}_mean"], table[f"{name}_std"], n_defined, table[f"{name}_base"])
    scores = []
    for score, std, n, base in zip(*columns, strict=True):
        decimals = choose_decimals(score, std if n > 1 else None)
        scores.append(
            LabelScore(
                format_number(score, decimals) if n else UNDEFINED,
                f"± {format_number(std, decimals)}" if n > 1 else "",
                f"base {format_number(base)}" if name in ("f1", "average_precision") else "",
                f"{n} of {n_folds} folds" if 0 < n < n_folds else "",
            )
        )
    return scores


def _bar(summary: MetricSummary) -> tuple[float, float, float] | None:
    if not summary.n_folds or not 0 <= summary.mean <= 1:
        return None
    low, high = summary.ci or (summary.mean, summary.mean)
    return 100 * max(low, 0.0), 100 * summary.mean, 100 * min(high, 1.0)


def write_page(
    evaluation: Evaluation,
    summary: DataSummary,
    run_info: RunInfo,
    labels: pd.DataFrame,
    figures: Sequence["ReportFigure"],
    findings: Sequence[Finding] = (),
    label_numbers: str = "",
    importance: FeatureImportance | None = None,
) -> str:
    """Return the page as HTML text.

    Args:
        evaluation: The evaluation.
        summary: Summary of the data set.
        run_info: The run.
        labels: Table of scores by label, from `labels_table`.
        figures: Figures to embed.
        findings: Findings of the checks.
        label_numbers: Labels that the figures show by numbers, for want of a font.
        importance: Importance of the features, if it was configured.
    """
    return _template().render(
        name=evaluation.dataset.name,
        model=evaluation.config.model.title,
        shape=format_shape(summary),
        folds=format_folds(evaluation),
        outer_folds=evaluation.describe_outer_folds(),
        n_train=round(mean(len(fold.split.train) for fold in evaluation.folds)),
        results=format_results(evaluation),
        **describe_intervals(evaluation),
        final_fit=run_info.final_fit,
        warnings=format_warnings(evaluation, findings),
        label_numbers=label_numbers,
        figures=[(figure, b64encode(figure.png).decode()) for figure in figures],
        label_metrics=LABEL_METRICS,
        labels=format_labels(evaluation, labels),
        max_open=MAX_OPEN,
        zip=zip,
        review_tables=review_tables(evaluation),
        importance=format_importance(importance) if importance else None,
        facts=format_facts(summary),
        label_sets=format_label_sets(summary),
        missing_labels=format_missing_labels(summary),
        label_rates=format_label_rates(summary),
        settings=format_settings(evaluation),
        run_info=run_info,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names in the data set can contain anything
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template("page.html.jinja")
