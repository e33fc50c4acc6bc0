"""Fingerprints: digests of configuration, data, folds and code, which determine the results."""

import ast
import json
import subprocess
import sys
import sysconfig
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import cache
from hashlib import sha256
from importlib.machinery import ModuleSpec
from importlib.metadata import packages_distributions, version
from importlib.util import find_spec, resolve_name
from pathlib import Path
from pkgutil import get_importer

from pipeline.config import Config, affects_scores, flatten
from pipeline.cv import Split, split_digest
from pipeline.dataset import Dataset

_distributions = cache(packages_distributions)
PACKAGE = Path(__file__).parents[1]
VERSIONS = ("manyfold", "keras", "mlflow", "numpy", "scikit-learn", "tensorflow")
# Libraries whose versions may change a score, and the names of their modules.
LIBRARIES = {
    "keras": "keras",
    "numpy": "numpy",
    "scikit-learn": "sklearn",
    "tensorflow": "tensorflow",
}
STANDARD_LIBRARY = Path(sysconfig.get_path("stdlib")).resolve()
LENGTH = 32


def compute_fingerprint(
    config: Config, dataset: Dataset, splits: Sequence[Split]
) -> dict[str, str]:
    """Return the digests that determine the results of a run, by the names of their MLflow tags.

    Runs with equal fingerprints are duplicates.
    """
    settings = {key: value for key, value in flatten(config).items() if affects_scores(key, value)}
    return {
        "config_digest": digest(json.dumps(settings, sort_keys=True)),
        "data_digest": dataset.digest,
        "split_digest": split_digest(splits),
        "code_version": code_version(_own_callables(config)),
    }


def code_version(callables: Sequence[str] = ()) -> str:
    """Return a digest of the code: Manyfold's, its libraries' versions and the user's own.

    It does not depend on where the code lies, in a checkout or an installation.

    Args:
        callables: Dotted paths of the user's callables; their modules are digested, and all of the
            user's modules that these import.
    """
    sha = sha256(_manyfold().encode())
    for part in sorted(set(_user_code(callables))):
        sha.update(part.encode())
    return sha.hexdigest()[:LENGTH]


@cache
def versions() -> dict[str, str]:
    """Return the versions of the packages and the commit of a checkout, as tags."""
    packages = {f"version.{package}": version(package) for package in VERSIONS}
    commit = _git_commit()
    return {**packages, "mlflow.source.git.commit": commit} if commit else packages


def digest(text: str) -> str:
    """Return a digest of a text."""
    return sha256(text.encode()).hexdigest()[:LENGTH]


@cache
def _manyfold() -> str:
    sha = sha256(" ".join(version(package) for package in LIBRARIES).encode())
    for path in sorted(PACKAGE.rglob("*.py")):
        sha.update(str(path.relative_to(PACKAGE)).encode())
        sha.update(path.read_bytes())
    return sha.hexdigest()


def _own_callables(config: Config) -> list[str]:
    metrics = [*config.scoring.metrics, config.decision.threshold_metric]
    own = [name for name in metrics if "." in name]
    return [*own, config.model.code_path] if config.model.code_path else own


def _user_code(callables: Sequence[str]) -> Iterator[str]:
    """Yield a digest of each module of the user, and the version of each installed package.

    The modules are those that define the callables and those that they import, also indirectly.
    No code runs, so modules whose names are only known at run time are not found.
    """
    if str(Path.cwd()) not in sys.path:
        sys.path.append(str(Path.cwd()))
    waiting, seen = list(callables), set[str]()
    while waiting:
        parts = waiting.pop().split(".")
        for length in range(1, len(parts) + 1):  # a module's packages run before it
            name = ".".join(parts[:length])
            if name in seen or parts[0] in LIBRARIES.values():
                continue
            seen.add(name)
            spec = _find_module(name)
            path = Path(spec.origin).resolve() if spec and spec.origin else None
            if spec is None or path is None or not path.is_file() or PACKAGE in path.parents:
                continue
            if {"site-packages", "dist-packages"} & set(path.parts):
                distributions = _distributions().get(parts[0], [])
                yield from (f"{package} {version(package)}" for package in distributions)
                if distributions:
                    continue
            elif STANDARD_LIBRARY in path.parents:
                continue
            content = path.read_bytes()
            yield f"{name} {sha256(content).hexdigest()}"
            waiting += _imported_names(spec, content)


def _find_module(name: str) -> ModuleSpec | None:
    """Find a module without importing the packages that it is in."""
    prefix, *others = name.split(".")
    try:
        spec = find_spec(prefix)
    except ValueError:  # __main__, or an empty name
        return None
    for part in others:
        prefix += f".{part}"
        locations = (spec and spec.submodule_search_locations) or ()  # none of a class
        finders = filter(None, map(get_importer, locations))
        specs = (finder.find_spec(prefix) for finder in finders)
        spec = next(filter(None, specs), None)
    return spec


def _imported_names(spec: ModuleSpec, content: bytes) -> Iterator[str]:
    """Yield the dotted names that a module imports: modules, and names that may be modules."""
    try:
        tree = ast.parse(content)
    except (SyntaxError, ValueError):  # the import of the module will explain it
        return
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (name.name for name in node.names)
        elif isinstance(node, ast.ImportFrom):
            with suppress(ImportError):  # more dots than packages
                module = resolve_name("." * node.level + (node.module or ""), spec.parent or "")
                yield from (f"{module}.{name.name}" for name in node.names)


def _git_commit() -> str | None:
    """Return the commit of the checkout that runs, marked where it has been changed since."""
    git = ["git", "-C", str(Path(__file__).parent)]
    try:
        tracked = subprocess.run(
            [*git, "ls-files", "--error-unmatch", __file__], capture_output=True
        )
        if tracked.returncode:
            return None
        commit = subprocess.check_output([*git, "rev-parse", "HEAD"], text=True).strip()
        changed = subprocess.check_output([*git, "status", "--porcelain", "-uno"], text=True)
    except (OSError, subprocess.CalledProcessError):
        return None  # no git, or no commit yet: the versions say what ran
    return f"{commit}-dirty" if changed else commit
