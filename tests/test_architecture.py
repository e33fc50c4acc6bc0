"""The rules of the package's structure, read from its imports and names."""

import ast
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import pytest

PIPELINE = Path(__file__).parents[1] / "pipeline"
ORDER = [
    "errors", "runtime", "config", "preprocessing", "dataset", "cv", "scoring", "decision", "model",
    "tracking", "training", "evaluation", "comparison", "report", "console", "outcome", "job", "sweeps",
    "command_line", "commands", "__main__",
]  # fmt: skip
OWNERS = {
    "mlflow": {"tracking"},
    "rich": {"console"},
    "matplotlib": {"report"},
    "hydra": {"config", "sweeps", "command_line"},
    "omegaconf": {"config", "sweeps", "command_line"},
    "optuna": {"sweeps"},
    "ray": {"sweeps"},
    "submitit": {"sweeps"},
    "keras": {"model", "training", "tracking"},
    "tensorflow": {"training", "runtime"},
}
HEAVY = {
    "tensorflow", "keras", "mlflow", "sklearn", "skops", "joblib", "pandas", "scipy", "matplotlib",
    "optuna", "pyarrow", "ray", "submitit",
}  # fmt: skip
MODULES = sorted(PIPELINE.rglob("*.py"))


def part(path: Path) -> str:
    """Return the package of `pipeline` that a file belongs to, or its own stem."""
    return path.relative_to(PIPELINE).with_suffix("").parts[0]


def imports(path: Path, everywhere: bool = True) -> Iterator[str]:
    """Yield the modules that a file imports at run time, at its top level alone if asked."""
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
        elif isinstance(node, ast.ImportFrom) and node.module == "pipeline":
            yield from (f"pipeline.{name.name}" for name in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module


def test_every_part_has_its_level():
    assert {part(path) for path in MODULES} - {"__init__"} == set(ORDER)


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PIPELINE)))
def test_imports_go_one_way(path: Path):
    if part(path) == "__init__":
        return
    for module in imports(path):
        parts = module.split(".")
        if parts[0] == "pipeline" and len(parts) > 1 and parts[1] != part(path):
            assert ORDER.index(parts[1]) < ORDER.index(part(path)), module


@pytest.mark.parametrize("library", OWNERS)
def test_libraries_have_owners(library: str):
    importers = {part(path) for path in MODULES if library in _libraries(path)}
    assert importers == OWNERS[library]


def test_a_stem_names_one_module():
    stems = Counter(
        path.stem for path in MODULES if path.stem != "__init__" and path.parent.name != "commands"
    )
    assert {stem for stem, n in stems.items() if n > 1} == set()


def test_no_junk_drawers():
    names = {part for path in MODULES for part in path.relative_to(PIPELINE).with_suffix("").parts}
    assert not names & {"utils", "helpers", "common", "manager", "misc"}


def test_the_command_line_imports_nothing_heavy():
    for module, importer in reached_from("__main__.py"):
        assert module.split(".")[0] not in HEAVY, f"{importer} imports {module}"


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
