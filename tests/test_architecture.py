"""The rules of the package's structure, read from its imports and names."""

import ast
import graphlib
import re
from collections import Counter
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

PIPELINE = Path(__file__).parents[1] / "pipeline"
ORDER = [
    "errors", "mlflow_variables", "runtime", "cache_folder", "matrix_blocks", "keras_backend",
    "user_code", "config",
    "preprocessing", "dataset", "cv",
    "scoring", "decision", "model", "prediction", "export", "tracking", "training", "evaluation",
    "comparison", "checks", "report", "console", "final_model", "named_model", "outcome",
    "prepared_job", "job", "stored_report", "sweeps", "command_line", "api", "commands", "__main__",
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
    "keras": {"preprocessing", "model", "training", "export", "keras_backend"},
    "tensorflow": {"preprocessing", "model", "training", "export", "keras_backend"},
}
HEAVY = {
    "tensorflow", "keras", "mlflow", "sklearn", "skops", "joblib", "pandas", "scipy", "matplotlib",
    "optuna", "pyarrow", "ray", "submitit",
}  # fmt: skip
SEAMS = {
    "__init__.py:__getattr__",
    "api/evaluating.py:_track",
    "api/result.py:_repr_html_",
    "api/result.py:report",
    "command_line.py:_print_error",
    "command_line.py:_train",
    "commands/compare.py:_compare",
    "commands/compare.py:_compare_across",
    "commands/compare.py:_write",
    "commands/describe.py:_describe",
    "commands/export.py:_export",
    "commands/drift.py:_drift",
    "commands/importance.py:_importance",
    "commands/importance.py:_measure",
    "commands/leaderboard.py:_show",
    "commands/predict.py:_predict",
    "commands/promote.py:_promote",
    "commands/report.py:_report",
    "commands/reproduce.py:_reproduce",
    "commands/review.py:_load_dataset",
    "commands/review.py:_review",
    "commands/serve.py:_serve",
    "commands/ui.py:_open",
    "evaluation/inputs.py:make_trainer",
    "model/loaded_model.py:_compile",
    "model/loaded_model.py:_load_keras",
    "model/loaded_model.py:_load_sklearn",
    "model/saved_model.py:_skops",
    "model/saved_model.py:_sklearn_models",
    "named_model.py:_open_stored",
    "preprocessing/text_columns.py:make_vectorizer",
    "preprocessing/text_fitting.py:fit_text",
    "report/artifacts.py:_figures",
    "export/exported_model.py:_keras_formats",
    "keras_backend.py:import_keras",
    "sweeps/callback.py:_begin",
    "sweeps/overrides.py:count_parallel_jobs",
    "sweeps/plugins.py:launch",
    "sweeps/plugins.py:prepare_launcher",
    "sweeps/plugins.py:run",
    "sweeps/plugins.py:sweep",
    "sweeps/remote_job.py:end_run",
}
"""Functions that may import: each defers what is heavy until it is needed."""
RIDDLES = {
    "alive", "archive", "asked", "choices", "counsel", "drawn", "evidence", "found", "in_words",
    "kinds", "known", "lost", "material", "odd", "parcel", "picture", "pictures", "place", "places",
    "pooled", "refuse", "refusal", "said", "share", "shares", "tempered", "told", "trouble",
    "troubles", "uncollected", "unstarted", "whole", "words",
}  # fmt: skip
FORMER_NAMES = {
    "earlier", "identify", "identity", "in_words", "indicator", "lay_out", "left_out", "logged",
    "members", "mixes_rows", "n_saved", "order_", "origin", "pack", "short", "take_up", "work",
    "Averaged", "Columns", "Earlier", "Evidence", "Fit", "Fitted", "LabelModel", "Origin", "Part",
    "Place", "Plan", "Runner", "Summary", "Trouble", "UnderWay", "Watch", "Work", "NO_MATTER",
    "explain", "make_plan", "driver", "expect", "deal_singly", "kept_program", "come_together",
}  # fmt: skip
OF_LIBRARIES = {"choices", "origin"}  # names of libraries: keywords of argparse and Matplotlib
PROSE_RIDDLES = (
    "material", "parcel", "come together", "signs of life", "take up", "taken up", "heed", "heeds",
    "counsel", "told apart",
)  # fmt: skip
MODULES = sorted(PIPELINE.rglob("*.py"))
CONFIG, CONF = PIPELINE / "config", PIPELINE.parent / "conf"
DOCS = [
    *sorted((PIPELINE.parent / "docs").glob("*.md")),
    PIPELINE.parent / "README.md",
    *sorted(CONF.rglob("*.yaml")),
]


def part(path: Path) -> str:
    """Return the package of `pipeline` that a file belongs to, or its own stem."""
    return path.relative_to(PIPELINE).with_suffix("").parts[0]


@cache
def imports(path: Path, everywhere: bool = True) -> tuple[str, ...]:
    """Return the modules that a file imports at run time, at its top level alone if asked."""
    return tuple(_find_imports(path, everywhere))


def _find_imports(path: Path, everywhere: bool) -> Iterator[str]:
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


def test_the_package_stays_small():
    lengths = {path: len(path.read_text().splitlines()) for path in MODULES}
    assert len(MODULES) <= 284
    assert max(lengths.values()) <= 300
    assert sum(lengths.values()) < 43_000


def test_groups_dataclasses_and_modules_share_a_word():
    groups = {path.name for path in CONF.iterdir() if path.is_dir()} - {"experiment", "hydra"}
    modules = {path.stem for path in MODULES} | {path.parent.name for path in MODULES}
    assert groups <= modules
    dataclasses = set(re.findall(r"class (\w+)Config\b", (CONFIG / "schema.py").read_text()))
    words = {"".join(part.title() for part in group.split("_")) for group in groups}
    in_unions = {"Dataset", "Cv", "Model", "SearchSpace"}  # of several kinds, or of Hydra's own
    assert words - in_unions <= dataclasses


def test_what_logged_models_carry_imports_nothing_else():
    from pipeline.model.saved_model import CODE

    carried = {f"pipeline.{name.removesuffix('.py').replace('/', '.')}" for name in CODE}
    for name in (*CODE, "tracking/pyfunc_model.py"):
        of_pipeline = {it for it in imports(PIPELINE / name) if it.startswith("pipeline")}
        assert of_pipeline <= carried, name


def test_functions_import_only_at_the_seams():
    inside = {
        f"{path.relative_to(PIPELINE)}:{function.name}"
        for path in MODULES
        for function in ast.walk(ast.parse(path.read_text()))
        if isinstance(function, ast.FunctionDef)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
    }
    assert inside == SEAMS
    assert len([seam for seam in SEAMS if not seam.startswith("commands/")]) <= 25  # one a command


def test_imports_form_no_cycle():
    graph = {
        module: {other for name in imports(path, everywhere=False) for other in _resolve(name)}
        - {module}
        for path in MODULES
        if (module := _module(path)) and path.name != "__init__.py"
    }
    graphlib.TopologicalSorter(graph).prepare()  # raises CycleError


def test_identifiers_are_terms_of_the_field():
    """Names of the project's former private language stay out of the code."""
    for path in MODULES:
        for name in set(_identifiers(ast.parse(path.read_text()))):
            tokens = set(re.findall(r"[a-z]+", re.sub(r"(?<=[a-z])(?=[A-Z])", "_", name).lower()))
            if name not in OF_LIBRARIES:
                assert not tokens & RIDDLES, f"{path.name}: {name}"
                assert name not in FORMER_NAMES, f"{path.name}: {name}"


@pytest.mark.parametrize("path", [*MODULES, *DOCS], ids=lambda path: path.name)
def test_prose_is_free_of_riddles(path: Path):
    text = " ".join(path.read_text().lower().split())
    for riddle in PROSE_RIDDLES:
        assert not re.search(rf"\b{riddle}\b", text), riddle


def test_module_docstrings_name_things():
    for path in MODULES:
        docstring = ast.get_docstring(ast.parse(path.read_text()))
        assert docstring, path
        assert not re.match(r"(What|Which|Whether|How|Who|Where)\b", docstring), path


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


def _module(path: Path) -> str:
    return ".".join(path.relative_to(PIPELINE.parent).with_suffix("").parts)


def _resolve(name: str) -> set[str]:
    """Return the modules of Manyfold that an import loads: itself, or what a package exports."""
    path = PIPELINE.parent / Path(*name.split("."))
    if path.with_suffix(".py").exists():
        return {name}
    package = path / "__init__.py"
    if not name.startswith("pipeline.") or not package.exists():
        return set()
    return {module for module in imports(package) if module.startswith("pipeline.")}


def _identifiers(tree: ast.AST) -> Iterator[str]:
    """Yield the names of functions, classes, parameters, variables, attributes and keywords."""
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            yield node.name
        elif isinstance(node, ast.arg):
            yield node.arg
        elif isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            yield node.id
        elif isinstance(node, ast.Attribute) and isinstance(node.ctx, ast.Store):
            yield node.attr
        elif isinstance(node, ast.keyword) and node.arg:
            yield node.arg
        elif isinstance(node, ast.alias):
            yield (node.asname or node.name).rpartition(".")[2]
