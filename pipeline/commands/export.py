"""Export a final model to ONNX, SavedModel, LiteRT or skops, for programs without Manyfold."""

import argparse
from collections.abc import Sequence
from pathlib import Path

from pipeline.command_line import (
    add_model_argument,
    add_threshold_arguments,
    make_command_parser,
    parse,
    run,
)
from pipeline.config import TrackingConfig
from pipeline.runtime import heavy_imports

FORMATS = ("onnx", "saved_model", "litert", "skops")


def main(argv: Sequence[str]) -> int:
    """Export the model that the arguments name and return the exit code."""
    return run(lambda: _export(*parse(make_parser(), argv)))


def _export(arguments: argparse.Namespace, tracking: TrackingConfig) -> int:
    with heavy_imports():
        from pipeline import console
        from pipeline.export import (
            ExportError,
            check_packages,
            export_model,
            list_limits,
            new_folder,
        )
        from pipeline.named_model import open_named_model

    check_packages(arguments.format)
    try:
        with (
            new_folder(arguments.folder) as folder,
            console.waiting("exporting the model"),
            open_named_model(arguments, tracking) as named,
        ):
            difference = export_model(
                named.folder,
                arguments.format,
                folder,
                name=arguments.model,
                thresholds=named.thresholds,
            )
            limits = list_limits(arguments.format, named.folder.model.serving)
    except ExportError as error:
        console.show_error(str(error))
        return 1
    console.show(
        f"{arguments.folder}: the exported model predicts the probabilities of "
        f"{arguments.model}{f', to {difference:.1g}' if difference else ' exactly'}.",
        *limits,
    )
    return 0


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = make_command_parser(
        "export",
        "Export a final model with its preprocessing and calibration. The exported model is loaded "
        "and must predict the probabilities of the model, to 1e-5.",
    )
    add_model_argument(parser)
    add_threshold_arguments(parser)
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="new or empty folder to write")
    parser.add_argument(
        "--format",
        choices=FORMATS,
        required=True,
        help="onnx: networks and most models of scikit-learn; saved_model, litert: networks; "
        "skops: models of scikit-learn",
    )
    return parser
