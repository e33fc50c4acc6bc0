"""Serve a final model on this machine."""

import argparse
import json
from collections.abc import Sequence
from dataclasses import replace

from pipeline.command_line import (
    add_model_argument,
    add_threshold_arguments,
    make_command_parser,
    parse,
    run,
)
from pipeline.config import TrackingConfig
from pipeline.runtime import heavy_imports


def main(argv: Sequence[str]) -> int:
    """Serve the model that the arguments name and return the exit code."""
    return run(lambda: _serve(*parse(make_parser(), argv)))


def _serve(arguments: argparse.Namespace, tracking: TrackingConfig) -> None:
    with heavy_imports():
        import numpy as np

        from pipeline import console
        from pipeline.named_model import open_named_model
        from pipeline.tracking.model_server import HOST, PATH, bind_port, serve

    with bind_port(arguments.port) as server, open_named_model(arguments, tracking) as named:
        model = named.folder.model
        model.rule = replace(model.rule, threshold=named.thresholds)
        example = model.schema.decode(np.zeros((1, len(model.schema.columns)), np.float32))
        model.predict(example)  # compiles a network
        address = f"http://{HOST}:{server.getsockname()[1]}{PATH}"
        records = json.loads(example.to_json(orient="records", date_format="iso"))
        body = json.dumps({"dataframe_records": records})
        console.show(
            f"Serving {arguments.model} at {address}. Ctrl-C stops the server. An example:",
            f"  curl {address} -H 'Content-Type: application/json' -d '{body}'",
        )
        try:
            serve(model, server)
        except KeyboardInterrupt:
            console.show("Stopped.")


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the command."""
    parser = make_command_parser(
        "serve",
        "Serve a final model on 127.0.0.1 with MLflow's server: rows as JSON in, probabilities or "
        "decisions out.",
    )
    add_model_argument(parser)
    add_threshold_arguments(parser)
    parser.add_argument("--port", type=int, help="port of the server (default: 5001 if free)")
    return parser
