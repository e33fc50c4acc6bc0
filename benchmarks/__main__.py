"""The whole benchmark: all works by all contestants, whole commands, and curves by size.

`make bench` runs it in about half an hour on two cores; `ARGS='--quick'` tries small works in a
few minutes, and `ARGS='--only tutorial sweep'` runs some pieces. Each piece is written to
`benchmarks/results.json` as soon as it is measured; the tables of docs/measurements.md and its
figure are made of that file. `--only` with no piece makes them anew and measures nothing.
"""

import argparse
import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

from benchmarks import command, curves
from benchmarks.contest import Say, run_contest
from benchmarks.process import ROOT, measure
from benchmarks.results import format_results, update_page
from benchmarks.works import WORKS, Work

RESULTS = ROOT / "benchmarks" / "results.json"
PAGE, FIGURE = ROOT / "docs" / "measurements.md", ROOT / "docs" / "measurements.png"
PACKAGES = ("tensorflow", "keras", "jax", "torch", "scikit-learn", "numpy", "mlflow")
Piece = Callable[[Say], dict[str, Any]]


def describe_machine() -> dict[str, Any]:
    """Return the hardware and the versions that the times depend on."""
    processor = platform.machine()
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        names = [it for it in cpuinfo.read_text().splitlines() if it.startswith("model name")]
        processor = names[0].partition(": ")[2] if names else processor
    versions = {"Python": platform.python_version()}
    for package in PACKAGES:
        try:
            versions[package] = version(package)
        except PackageNotFoundError:
            continue
    affinity = getattr(os, "sched_getaffinity", None)
    return {
        "processor": processor,
        "cores": len(affinity(0)) if affinity else os.cpu_count(),
        "memory_gb": round(os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30),
        "versions": versions,
    }


def list_pieces(*, quick: bool) -> dict[str, Piece]:
    """Return the pieces of the benchmark, in the order of their importance."""
    works = {name: partial(run_contest, work) for name, work in WORKS.items()}
    if not quick:
        return {
            **works,
            **command.PIECES,
            "curves": curves.run_curves,
            "stacks": curves.run_stacks,
        }

    def small(work: Work) -> Work:
        n_samples = min(work.n_samples, 1_000)
        return replace(work, n_samples=n_samples, epochs=2, is_tutorial=False)

    return {
        **{name: partial(run_contest, small(work), rounds=1) for name, work in WORKS.items()},
        "command": partial(command.run_commands, rounds=1),
        "sweep": partial(command.run_sweep, n_seeds=1),
        "curves": partial(curves.run_curves, n_points=1),
    }


def write_pages(results: dict[str, Any]) -> None:
    """Write the tables and the figure of the documentation."""
    PAGE.write_text(update_page(PAGE.read_text(), results))
    # In another process: Matplotlib would make this one large, and its children with it.
    code = "import json, sys; from pathlib import Path; from benchmarks.figure import draw_figure;"
    code += "draw_figure(json.loads(Path(sys.argv[1]).read_text()), Path(sys.argv[2]))"
    measure("-c", code, str(RESULTS), str(FIGURE))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.formatter_class = argparse.RawDescriptionHelpFormatter
    names = [*list_pieces(quick=False)]
    parser.add_argument("--quick", action="store_true", help="small works; prints, writes no page")
    parser.add_argument("--only", nargs="*", metavar="PIECE", help=f"some of {', '.join(names)}")
    parser.add_argument("--output", type=Path, help="file of results; then no page is written")
    arguments = parser.parse_args()
    pieces = list_pieces(quick=arguments.quick)
    requested = [*pieces] if arguments.only is None else arguments.only
    if unknown := [name for name in requested if name not in pieces]:
        parser.error(f"unknown piece {', '.join(unknown)}; expected some of {', '.join(pieces)}")
    output = arguments.output or (None if arguments.quick else RESULTS)
    results: dict[str, Any] = {"machine": describe_machine(), "pieces": {}}
    if arguments.only is not None and output and output.exists():
        earlier = json.loads(output.read_text())
        if requested and earlier["machine"] != results["machine"]:
            parser.error(
                f"{output} is of other hardware or versions; run all pieces, or add --output FILE"
            )
        results = earlier
    began = time.perf_counter()

    def say(text: str) -> None:
        print(f"{time.perf_counter() - began:6.0f} s  {text}", flush=True)

    for name in requested:
        stamp = {"date": f"{datetime.now(UTC):%Y-%m-%d}", "load": round(os.getloadavg()[0], 2)}
        try:
            results["pieces"][name] = {**stamp, **pieces[name](say)}
        except SystemExit as error:  # a command that failed; the other pieces go on
            say(f"{name} failed: {error}")
            continue
        if output:
            output.write_text(json.dumps(results, indent=1) + "\n")
    print(f"\n{format_results(results)}")
    if output == RESULTS:
        write_pages(results)


if __name__ == "__main__":
    main()
