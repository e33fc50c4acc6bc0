"""Fingerprints: digests of configuration, data, folds and code, which determine the results."""

import json
import platform
import subprocess
from collections.abc import Sequence
from functools import cache
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path

from pipeline.config import Config, affects_scores, flatten
from pipeline.cv import Split, split_digest
from pipeline.dataset import Dataset
from pipeline.runtime import n_cores
from pipeline.user_code import find_user_code

PACKAGE = Path(__file__).parents[1]
VERSIONS = ("manyfold", "keras", "mlflow", "numpy", "scikit-learn", "tensorflow")
LIBRARIES = ("keras", "numpy", "scikit-learn", "tensorflow")  # whose versions may change a score
LENGTH = 32


def compute_fingerprint(
    config: Config, dataset: Dataset, splits: Sequence[Split], nested_splits: Sequence[Split] = ()
) -> dict[str, str]:
    """Return the digests that determine the results of a run, by the names of their MLflow tags.

    Runs with equal fingerprints are duplicates.
    """
    settings = {key: value for key, value in flatten(config).items() if affects_scores(key, value)}
    present = {column.kind for column in dataset.schema.columns}
    if not present & {"datetime", "time"}:  # then it has no effect
        settings.pop("preprocessing.datetime", None)
    if not dataset.schema.texts:
        settings = {
            key: value
            for key, value in settings.items()
            if not key.startswith("preprocessing.text.")
        }
    return {
        "config_digest": digest(json.dumps(settings, sort_keys=True)),
        "data_digest": dataset.digest,
        "split_digest": split_digest(splits),
        "code_version": code_version(_own_callables(config)),
        **({"nested_digest": split_digest(nested_splits)} if nested_splits else {}),
    }


def code_version(callables: Sequence[str] = ()) -> str:
    """Return a digest of the code: Manyfold's, its libraries' versions and the user's own.

    It does not depend on where the code lies, in a checkout or an installation.

    Args:
        callables: Dotted paths of the user's callables; their modules are digested, and all of the
            user's modules that these import.
    """
    sha = sha256(_manyfold().encode())
    code = find_user_code(callables)
    for name, path in sorted(code.modules.items()):
        sha.update(f"{name} {sha256(path.read_bytes()).hexdigest()}".encode())
    for package in sorted(code.packages):
        sha.update(f"{package} {version(package)}".encode())
    return sha.hexdigest()[:LENGTH]


@cache
def versions() -> dict[str, str]:
    """Return the versions of the packages, the machine and the commit of a checkout, as tags."""
    packages = {f"version.{package}": version(package) for package in VERSIONS}
    packages["version.python"] = platform.python_version()
    packages["machine"] = f"{platform.system()} {platform.machine()}, {n_cores()} cores"
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
