"""What the page says, as texts: results, labels, data, settings, and what to beware of."""

import math
import re
from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from statistics import mean
from typing import TYPE_CHECKING, NamedTuple

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from pipeline.config import flatten
from pipeline.cv import check_splits
from pipeline.dataset import DataSummary
from pipeline.evaluation.evaluator import Evaluation
from pipeline.scoring import (
    MetricSummary,
    explain_metric,
    lower_is_better,
    metric_title,
    short_name,
)
from pipeline.tracking import RunRecord

if TYPE_CHECKING:
    from pipeline.report.style import ReportFigure

MAX_WARNINGS = 10  # of the data, shown
N_LABEL_SETS = 5
PASSWORD = re.compile(r"(?<=://)[^/@\s]+(?=@)")  # and user, in an address
COLUMNS = {
    "f1": "F1",
    "precision": "Precision",
    "recall": "Recall",
    "roc_auc": "ROC AUC",
    "average_precision": "Average precision",
}
UNKNOWN = "\N{EN DASH}"


class Result(NamedTuple):
    """A metric's line.

    Attributes:
        name: In words.
        explanation: What it is.
        lower_is_better: Whether it is known to be so.
        mean: Over folds.
        std: Over folds.
        interval: Of the mean; empty if there is none.
        note: Where it is undefined.
        drawn: Low end, mean and high end in percent of the way from 0 to 1, if they lie there.
    """

    name: str
    explanation: str
    lower_is_better: bool
    mean: str
    std: str
    interval: str
    note: str
    drawn: tuple[float, float, float] | None


class Score(NamedTuple):
    """A label's score: mean, deviation, and a note where it is undefined in folds."""

    mean: str
    std: str
    note: str


def format_results(evaluation: Evaluation) -> list[Result]:
    """Return a line for each metric, the headline first."""
    full = {short_name(name): name for name in evaluation.config.scoring.metrics}
    return [
        Result(
            metric_title(name),
            explain_metric(full[name]) if name in full else "",
            lower_is_better(name),
            _number(metric.mean),
            _number(metric.std),
            f"{metric.ci[0]:.3f} to {metric.ci[1]:.3f}" if metric.ci else "",
            metric.describe_undefined(),
            _drawn(metric),
        )
        for name, metric in evaluation.summary.items()
    ]


def format_labels(
    evaluation: Evaluation, table: pd.DataFrame
) -> list[tuple[str, str, list[Score]]]:
    """Return name, number of rows and scores of each label.

    Args:
        evaluation: All folds.
        table: What `labels_table` makes of it.
    """
    counts = evaluation.dataset.y.sum(axis=0, dtype=int)
    n_folds = len(evaluation.folds)
    scores = [_scores(table, name, n_folds) for name in COLUMNS]
    return [
        (name, f"{count:,}", list(row))
        for name, count, *row in zip(table["label"], counts, *scores, strict=True)
    ]


def format_folds(evaluation: Evaluation) -> str:
    """Return how many folds of which kind there are."""
    n_folds = len(evaluation.folds)
    n_repeats = len({fold.split.repeat for fold in evaluation.folds})
    kind = evaluation.config.cv.kind.replace("_", " ")
    repeated = f" in {n_repeats} repeats" if n_repeats > 1 else ""
    return f"{n_folds} fold{'s' if n_folds > 1 else ''}{repeated} ({kind})"


def format_warnings(evaluation: Evaluation, summary: DataSummary) -> list[str]:
    """Return what may make the result worth less than it seems, as the screen says it."""
    found = evaluation.dataset.warnings
    texts = [f"{warning[:1].upper()}{warning[1:]}." for warning in found[:MAX_WARNINGS]]
    if len(found) > MAX_WARNINGS:
        texts.append(f"{len(found) - MAX_WARNINGS} more warnings of the data.")
    if summary.n_duplicates:
        texts.append(summary.describe_duplicates())
    splits = [fold.split for fold in evaluation.folds]
    split_warnings = check_splits(evaluation.config.cv, evaluation.dataset, splits)
    return texts + [str(trouble) for trouble in split_warnings]


def format_shape(summary: DataSummary) -> str:
    """Return how large the table is."""
    labels = "labels" if summary.n_labels > 1 else "label"
    return (
        f"{summary.n_samples:,} rows, {summary.n_features:,} features, {summary.n_labels} {labels}"
    )


def format_facts(summary: DataSummary) -> list[tuple[str, str]]:
    """Return what the data are like."""
    n_categorical = len(summary.categories)
    kinds = f" ({n_categorical:,} categorical)" if n_categorical else ""
    found = [
        ("Rows", f"{summary.n_samples:,}"),
        ("Features", f"{summary.n_features:,}{kinds}"),
        ("Labels", f"{summary.n_labels:,}"),
        ("Labels per row", f"{summary.cardinality:.2f}"),
        ("Rows without a label", f"{summary.n_unlabelled:,}"),
        ("Different label sets", f"{summary.n_label_sets:,}"),
        ("Rows with missing values", f"{summary.n_missing_rows:,}"),
        ("Rows that repeat others", f"{summary.n_duplicates:,}"),
        ("Constant features", f"{len(summary.constant):,}"),
    ]
    if summary.n_groups is not None:
        found.append(("Groups", f"{summary.n_groups:,}, the largest of {summary.largest_group:,}"))
    return found


def format_label_sets(summary: DataSummary) -> list[tuple[tuple[str, ...], str]]:
    """Return the most frequent combinations of labels, and the rows that have them."""
    return [(names, f"{rows:,}") for names, rows in summary.label_sets[:N_LABEL_SETS]]


def format_settings(evaluation: Evaluation) -> dict[str, list[tuple[str, str]]]:
    """Return every key of the configuration by its group; passwords in addresses are left out."""
    groups: dict[str, list[tuple[str, str]]] = {}
    for key, value in flatten(evaluation.config).items():
        group, _, _ = key.rpartition(".")
        groups.setdefault(group.partition(".")[0], []).append((key, PASSWORD.sub("…", value)))
    return groups


def _scores(table: pd.DataFrame, name: str, n_folds: int) -> list[Score]:
    defined = table.get(f"{name}_folds", [n_folds] * len(table))
    return [
        Score(
            _number(mean, 2),
            f"± {std:.2f}" if n_folds > 1 and math.isfinite(std) else "",
            f"{n} of {n_folds} folds" if 0 < n < n_folds else "",
        )
        for mean, std, n in zip(table[f"{name}_mean"], table[f"{name}_std"], defined, strict=True)
    ]


def _drawn(metric: MetricSummary) -> tuple[float, float, float] | None:
    if not metric.n_folds or not 0 <= metric.mean <= 1:
        return None
    low, high = metric.ci or (metric.mean, metric.mean)
    return 100 * max(low, 0.0), 100 * metric.mean, 100 * min(high, 1.0)


def _number(value: float, digits: int = 3) -> str:
    return f"{value:.{digits}f}" if math.isfinite(value) else UNKNOWN


DIGESTS = ("config_digest", "data_digest", "split_digest")
COMMIT = "mlflow.source.git.commit"
TEMPLATE = "page.html.jinja"
MAX_OPEN = 30  # labels, up to which their table is unfolded


@dataclass(frozen=True)
class RunInfo:
    """Where a result comes from.

    Attributes:
        run_id: MLflow's.
        run_name: Shown in its UI.
        experiment: Name of the experiment.
        started: When.
        details: What else tells one run from another, by name: digests, the commit, versions.
    """

    run_id: str
    run_name: str
    experiment: str
    started: datetime
    details: dict[str, str]

    @classmethod
    def of(cls, run: RunRecord, experiment: str) -> "RunInfo":
        """Return the facts of a run that the page shows.

        Args:
            run: The run.
            experiment: Name of its experiment.
        """
        details = {tag: value for tag, value in run.tags.items() if tag.startswith("version.")}
        details |= {digest: run.tags[digest] for digest in DIGESTS}
        if COMMIT in run.tags:
            details["commit"] = run.tags[COMMIT]
        started = datetime.fromtimestamp(run.started / 1000).astimezone()
        return cls(run.run_id, run.name, experiment, started, details)


def write_page(
    evaluation: Evaluation,
    summary: DataSummary,
    run_info: RunInfo,
    labels: pd.DataFrame,
    figures: Sequence["ReportFigure"],
) -> str:
    """Return the page.

    Args:
        evaluation: All folds.
        summary: The data in numbers.
        run_info: The run.
        labels: What `labels_table` makes of the evaluation.
        figures: Figures to put in.
    """
    return _template().render(
        name=evaluation.dataset.name,
        model=evaluation.config.model.title,
        shape=format_shape(summary),
        folds=format_folds(evaluation),
        n_train=round(mean(len(fold.split.train) for fold in evaluation.folds)),
        results=format_results(evaluation),
        warnings=format_warnings(evaluation, summary),
        figures=[(picture, b64encode(picture.png).decode()) for picture in figures],
        columns=COLUMNS,
        labels=format_labels(evaluation, labels),
        max_open=MAX_OPEN,
        zip=zip,
        facts=format_facts(summary),
        label_sets=format_label_sets(summary),
        settings=format_settings(evaluation),
        run_info=run_info,
    )


@cache
def _template() -> Template:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent),
        autoescape=True,  # names come from the data and may hold anything
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(TEMPLATE)
