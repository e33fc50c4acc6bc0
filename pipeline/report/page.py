"""One run as one HTML file that needs nothing else: no network, no script, no font."""

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cache
from pathlib import Path
from statistics import mean

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined, Template

from pipeline.dataset import DataSummary
from pipeline.report import contents
from pipeline.report.picture import Picture
from pipeline.runner import Evaluation

TEMPLATE = "page.html.jinja"
MAX_OPEN = 30  # labels, up to which their table is unfolded


@dataclass(frozen=True)
class Origin:
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


def write_page(
    evaluation: Evaluation,
    summary: DataSummary,
    origin: Origin,
    labels: pd.DataFrame,
    pictures: Sequence[Picture],
) -> str:
    """Return the page.

    Args:
        evaluation: All folds.
        summary: The data in numbers.
        origin: The run.
        labels: What `labels_table` makes of the evaluation.
        pictures: Figures to put in.
    """
    return _template().render(
        name=evaluation.dataset.name,
        model=evaluation.config.model.title,
        shape=contents.shape(summary),
        folds=contents.folds(evaluation),
        n_train=round(mean(len(fold.split.train) for fold in evaluation.folds)),
        results=contents.results(evaluation),
        warnings=contents.warnings(evaluation, summary),
        pictures=[(picture, b64encode(picture.png).decode()) for picture in pictures],
        columns=contents.COLUMNS,
        labels=contents.labels(evaluation, labels),
        max_open=MAX_OPEN,
        zip=zip,
        facts=contents.facts(summary),
        label_sets=contents.label_sets(summary),
        settings=contents.settings(evaluation),
        origin=origin,
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
