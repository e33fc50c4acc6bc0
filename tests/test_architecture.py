"""The laws of the house, read from the imports."""

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

PIPELINE = Path(__file__).parents[1] / "pipeline"
ORDER = [
    "project", "errors", "imports", "process", "cores", "config", "callables", "dataset", "cv",
    "material", "preparation", "model", "estimator", "training", "scoring", "comparison", "racing",
    "work", "runner", "checkpoint", "report", "leaderboard", "tracking", "console", "earlier",
    "job", "launcher", "sweep", "search", "__main__", "describe", "compare", "promote",
]  # fmt: skip
MODULES = sorted(PIPELINE.rglob("*.py"))
OWNERS = {
    "mlflow": {"tracking"},
    "hydra": {"config", "launcher", "sweep", "search", "__main__"},
    "omegaconf": {"config", "launcher", "sweep", "search", "__main__"},
    "optuna": {"search"},
    "ray": {"launcher"},
    "submitit": {"launcher"},
}
HEAVY = {
    "tensorflow", "keras", "mlflow", "sklearn", "skops", "joblib", "pandas", "scipy", "matplotlib",
    "optuna", "pyarrow", "ray", "submitit",
}  # fmt: skip


def room(path: Path) -> str:
    return path.relative_to(PIPELINE).with_suffix("").parts[0]


def imports(path: Path, everywhere: bool = True) -> Iterator[str]:
    """Yield the modules that a file imports; at run time only, and at its top level if asked."""
    tree = ast.parse(path.read_text())
    skipped = {
        node
        for block in ast.walk(tree)
        if isinstance(block, ast.If) and ast.unparse(block.test) == "TYPE_CHECKING"
        for node in ast.walk(block)
    }
    for node in ast.walk(tree) if everywhere else tree.body:
        if node in skipped:
            continue
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_every_room_has_a_place_in_the_order():
    assert {room(path) for path in MODULES} - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PIPELINE)))
def test_data_flows_one_way(path: Path):
    if room(path) == "__init__":
        return
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "pipeline" and len(parts) > 1 and parts[1] != room(path):
            assert ORDER.index(parts[1]) < ORDER.index(room(path)), module


@pytest.mark.parametrize("library", OWNERS)
def test_libraries_have_owners(library: str):
    importers = {room(path) for path in MODULES if library in _libraries(path)}
    assert importers == OWNERS[library]


def test_no_junk_rooms():
    names = {part for path in MODULES for part in path.relative_to(PIPELINE).with_suffix("").parts}
    assert not names & {"utils", "helpers", "common", "manager", "misc"}


def test_the_command_line_imports_nothing_heavy():
    for module, importer in reached_from("__main__.py"):
        assert module.split(".")[0] not in HEAVY, f"{importer} imports {module}"


def test_a_run_imports_what_draws_only_to_draw():
    for module, importer in reached_from("tracking/run.py"):
        assert module.split(".")[0] not in {"matplotlib", "PIL"}, f"{importer} imports {module}"


def reached_from(start: str) -> Iterator[tuple[str, str]]:
    """Yield what is imported at once, by this file or what it imports, and by which file."""
    reached, waiting = set(), [PIPELINE / start]
    while waiting:
        path = waiting.pop()
        for module in imports(path, everywhere=False):
            yield module, path.name
            own = PIPELINE.parent / Path(*module.split("."))
            files = {own.with_suffix(".py"), own / "__init__.py"} - reached
            waiting += [file for file in files if file.exists() and module.startswith("pipeline.")]
            reached |= files


def _libraries(path: Path) -> set[str]:
    return {module.split(".")[0] for module in imports(path)}
