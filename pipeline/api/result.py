"""An evaluation as Python programs see it: tables, page, final model, view in a notebook."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, fields
from datetime import datetime
from functools import cached_property
from html import escape
from pathlib import Path

import pandas as pd

from pipeline.checks import Finding, check_run
from pipeline.dataset import summarise
from pipeline.errors import UserError
from pipeline.evaluation import fold_results, versions
from pipeline.model.predictor import Predictor, make_predictor
from pipeline.report.page import format_folds, format_results, format_warnings, write_page
from pipeline.report.run_info import RunInfo
from pipeline.report.tables import feature_importance, folds_table, labels_table, predictions_table
from pipeline.runtime import heavy_imports, write_atomically
from pipeline.scoring import describe_metric, interval_title


@dataclass(frozen=True, eq=False, repr=False)
class Evaluation(fold_results.Evaluation):
    """The result of `evaluate`: all folds, their summary and the final model.

    A notebook shows it as a table of the summary and a figure of the folds. `summary` has the mean,
    the standard deviation and the 95% interval of each metric, the headline first; windows of a
    time series have no interval.

    Attributes:
        run_id: Id of the run in MLflow; empty unless the evaluation was tracked.
    """

    run_id: str = ""

    @classmethod
    def of(cls, evaluation: fold_results.Evaluation, run_id: str = "") -> "Evaluation":
        """Add the run to an evaluation."""
        values = {each.name: getattr(evaluation, each.name) for each in fields(evaluation)}
        return cls(**values, run_id=run_id)

    @property
    def title(self) -> str:
        """Names of the data set and the model."""
        return f"{self.dataset.name}: {self.config.model.title}"

    @property
    def scores(self) -> pd.DataFrame:
        """Score of each fold, one row per repeat and fold, one column per metric."""
        table = folds_table(self).set_index(["repeat", "fold"])
        return table[list(self.summary)]

    @property
    def predictions(self) -> pd.DataFrame:
        """Out-of-fold predictions, one row per test row of each fold.

        The columns are repeat, fold, row, id if there are ids, and for each label the true value
        `true_*`, the probability `score_*` and the predicted label `pred_*`.
        """
        return predictions_table(self)

    @property
    def labels(self) -> pd.DataFrame:
        """Scores of each label: mean and standard deviation over folds, tuned thresholds."""
        return labels_table(self).set_index("label")

    @property
    def importance(self) -> pd.DataFrame:
        """Decrease of scores when a feature is permuted among held-out rows.

        One row per feature, the most important first, and label ("overall" for the headline
        metric): metric, mean and standard deviation over folds, number of folds with a defined
        value, and the value of each fold.

        Raises:
            UserError: If it was not measured.
        """
        importance = feature_importance(self)
        if importance is None:
            raise UserError(
                "Expected an evaluation with importance of features. Add report={'importance': "
                "True} to evaluate(...)."
            )
        return importance.to_table()

    @cached_property
    def findings(self) -> list[Finding]:
        """Findings of the checks of data, folds and predictions."""
        return check_run(self, summarise(self.dataset))

    @property
    def all_warnings(self) -> list[str]:
        """Warnings about the data, the folds and the training, and the findings of the checks."""
        return format_warnings(self, self.findings)

    @property
    def model(self) -> Predictor:
        """The final model, which takes raw rows.

        Raises:
            UserError: If racing stopped the evaluation before it was trained.
        """
        if self.final is None:
            raise UserError("Expected a complete evaluation. Received: one that racing stopped.")
        return make_predictor(self.final)

    def report(self, path: str | Path | None = None) -> str | Path:
        """Return the report page as HTML text, or write it to a file and return the path.

        Args:
            path: File to write, such as `report.html`.
        """
        with heavy_imports():
            from pipeline.report.figures import draw_figures

        now = datetime.now().astimezone()
        info = RunInfo(
            self.run_id,
            self.title,
            self.config.tracking.experiment_name,
            now,
            versions(),
            self.final.describe_fit() if self.final else "",
        )
        labels = labels_table(self)
        importance = feature_importance(self)
        figures = draw_figures(self, labels, importance)
        summary = summarise(self.dataset)
        page = write_page(
            *(self, summary, info, labels, figures, self.findings), importance=importance
        )
        if path is None:
            return page
        file = Path(path)
        write_atomically(file, lambda temporary: temporary.write_text(page, encoding="utf-8"))
        return file

    def __repr__(self) -> str:
        """Return the names of data set and model, and the headline with its interval."""
        return f"<Evaluation of {self.title}: {describe_metric(*next(iter(self.summary.items())))}>"

    def _repr_html_(self) -> str:
        with heavy_imports():
            from pipeline.report.fold_scores import draw_fold_scores
            from pipeline.report.style import report_style

        with report_style():
            figure = draw_fold_scores(self)
        image = b64encode(figure.png).decode()
        results = [(r.name, r.mean, r.std, r.interval, r.note) for r in format_results(self)]
        has_notes = any(result[-1] for result in results)
        title = interval_title(next(iter(self.summary.values())))
        header = ("metric", "mean", "std", title, "")
        n_columns = 5 if has_notes else 4
        rows = [result[:n_columns] for result in results]
        run = f"<p>Run {escape(self.run_id)} in MLflow</p>" if self.run_id else ""
        warnings = "".join(f"<li>{escape(warning)}</li>" for warning in self.all_warnings)
        return (
            f"<p><strong>{escape(self.title)}</strong>, {escape(format_folds(self))}</p>"
            f"{_html_table(header[:n_columns], rows)}{f'<ul>{warnings}</ul>' if warnings else ''}"
            f'<img width="500" alt="{escape(figure.alt)}" src="data:image/png;base64,{image}">{run}'
        )


def _html_table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in header)
    body = "".join(
        f"<tr>{''.join(f'<td>{escape(text)}</td>' for text in row)}</tr>" for row in rows
    )
    return f"<table><thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>"
