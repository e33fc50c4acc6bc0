"""Importance of features on screen."""

from collections.abc import Iterator

from rich.console import RenderableType

from pipeline.console.table_layout import make_table
from pipeline.errors import shorten
from pipeline.scoring import common_decimals, format_number, metric_title
from pipeline.scoring.feature_importance import FeatureImportance

MAX_FEATURE, MAX_LABEL = 32, 20  # characters of a name
N_DEPENDENT = 2  # labels named beside a feature


def importance_tables(importance: FeatureImportance, n: int) -> Iterator[RenderableType]:
    """Yield the most important features, and the labels that depend on each of them most.

    Args:
        importance: The importance of all features.
        n: Largest number of features.
    """
    overall, by_label = (metric_title(importance.metrics[target]) for target in (0, 1))
    mean, std = importance.mean, importance.std
    yield "Decrease of scores when a feature is permuted among held-out rows"
    has_std = len(importance.folds) > 1
    names = importance.features[:n]
    table = make_table(
        "feature", f"{overall} >", *(["std >"] if has_std else []), f"{by_label} of labels"
    )
    decimals = common_decimals((mean[i, 0], std[i, 0]) for i in range(len(names)))
    for index, name in enumerate(names):
        labels = [
            f"{shorten(importance.targets[target], MAX_LABEL)} "
            f"{format_number(mean[index, target], decimals)}"
            for target in importance.most_dependent(index, N_DEPENDENT)
        ]
        numbers = (mean[index, 0], std[index, 0])[: 1 + has_std]
        table.add_row(
            shorten(name, MAX_FEATURE),
            *(format_number(number, decimals) for number in numbers),
            ", ".join(labels),
        )
    yield table
    if (n_more := len(importance.features) - len(names)) > 0:
        yield f"... and {n_more:,} more features"
    yield ""
