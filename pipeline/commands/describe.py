"""Describe a data set before training."""

import re
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from pipeline.command_line import attempt, hydra_command
from pipeline.errors import UserError
from pipeline.runtime import heavy_imports, mlruns, write_atomically

if TYPE_CHECKING:
    from omegaconf import DictConfig


def main(argv: Sequence[str]) -> int:
    """Describe the data set of the settings, which Hydra takes from `sys.argv` itself."""
    return hydra_command(lambda composed, _: attempt(lambda: _describe(composed)), "describe")


def _describe(composed: "DictConfig") -> int:
    with heavy_imports():
        from pipeline import console, cv
        from pipeline.checks import check_data, select
        from pipeline.config import parse_config
        from pipeline.console.dataset_tables import describe_dataset
        from pipeline.dataset import load, summarise
        from pipeline.report.per_label import label_frequencies_png
        from pipeline.report.rates_over_time import label_rates_png

    config = parse_config(composed)
    with console.waiting("reading the data"):
        dataset = load(config.dataset)
        summary = summarise(dataset)
    console.show_shape(summary)
    console.show_notes(dataset.notes)
    console.show(*describe_dataset(dataset, summary))
    console.show_duplicates(summary)
    console.show_warnings(dataset.warnings)
    splits: list[cv.Split] = []
    try:
        splits = cv.make_splits(config.cv, dataset)
    except UserError as error:
        console.show(f"These folds are not possible. {error}")
    else:
        split_warnings = cv.check_splits(
            config.cv, dataset, splits, can_drop=hasattr(config.dataset, "drop")
        )
        console.show_split_warnings(split_warnings)
        if not split_warnings:
            every = f"all {len(splits)} folds (cv={config.cv.kind})"
            console.show(f"Folds: every label has training and test rows in {every}")
    with console.waiting("checking the data"):
        findings = select(check_data(config, dataset, summary, splits), config.checks.ignore)
    console.show_findings(findings)
    with console.waiting("drawing the label frequencies"):
        name = re.sub(r"[^\w.-]+", "_", summary.name)
        path = mlruns() / "describe" / f"{name}.png"
        images = {path: label_frequencies_png(summary)}
        if rates := summary.label_rates:
            over_time = path.with_name(f"{name}_over_time.png")
            images[over_time] = label_rates_png(summary.name, rates, summary.label_names)
    try:
        for file, image in images.items():
            write_atomically(file, partial(_write_bytes, image))
            console.show_file("Figure", file)
    except UserError as error:  # everything else needs no folder to write to
        console.show(f"The figure of the label frequencies was not written. {error}")
    return int(config.checks.strict and bool(findings))


def _write_bytes(content: bytes, path: Path) -> None:
    path.write_bytes(content)
