"""Tables that are slow to parse, kept under `mlruns/cache/datasets` by their content.

A file's name is the SHA-256 of all that shapes the table: the source's bytes, the configuration and
the version of this format. So a source that changed is never served from an old copy. Files hold
arrays and JSON only, no pickle, and are written under a temporary name and renamed. One that is
damaged, as its digest shows, is ignored and written anew.
"""

import hashlib
import json
import os
import uuid
from collections.abc import Callable, Iterable
from contextlib import suppress
from pathlib import Path

import numpy as np

from pipeline.dataset.dataset import Dataset
from pipeline.runtime import mlruns

VERSION = 1  # to be raised with every change of a parser or of what is stored


def cached(
    kind: str, parts: Iterable[bytes], name: str, source: str, build: Callable[[], Dataset]
) -> Dataset:
    """Return the data set that was kept, or build and keep it.

    Args:
        kind: The source's kind.
        parts: All that shapes the table: the bytes of its files, its configuration.
        name: Name of the data set; no part of what is kept.
        source: Where it came from; no part of what is kept.
        build: Parses it.
    """
    path = mlruns() / "cache" / "datasets" / f"{_key(kind, parts)}.npz"
    kept = _read(path, name, source)
    if kept:
        return kept
    dataset = build()
    _write(path, dataset)
    return dataset


def _key(kind: str, parts: Iterable[bytes]) -> str:
    sha = hashlib.sha256(f"{VERSION} {kind}".encode())
    for part in parts:
        sha.update(hashlib.sha256(part).digest())
    return sha.hexdigest()


def _read(path: Path, name: str, source: str) -> Dataset | None:
    try:
        with path.open("rb") as opened, np.load(opened, allow_pickle=False) as file:
            texts = json.loads(file["texts"].tobytes())
            X = np.zeros(file["shape"], dtype=file["values"].dtype)
            X.reshape(-1)[file["places"]] = file["values"]
            dataset = Dataset(
                name=name,
                X=X,
                y=file["y"],
                feature_names=tuple(texts["feature_names"]),
                label_names=tuple(texts["label_names"]),
                categories=tuple(None if c is None else tuple(c) for c in texts["categories"]),
                source=source,
                warnings=tuple(texts["warnings"]),
            )
    except Exception:  # zip, NumPy and JSON raise a dozen kinds; whatever it is, it is not used
        return None
    return dataset if dataset.digest == texts["digest"] else None


def _write(path: Path, dataset: Dataset) -> None:
    """Keep a data set; where nothing can be written, it is parsed again next time."""
    X = np.ascontiguousarray(dataset.X).reshape(-1)
    places = np.flatnonzero(X.view(f"u{X.itemsize}"))  # of the bits: -0.0 is not 0.0
    texts = {
        "feature_names": dataset.feature_names,
        "label_names": dataset.label_names,
        "categories": dataset.categories,
        "warnings": dataset.warnings,
        "digest": dataset.digest,
    }
    arrays = {
        "shape": np.array(dataset.X.shape),
        "places": places.astype(np.uint32 if X.size < 2**32 else np.uint64),
        "values": X[places],
        "y": dataset.y,
        "texts": np.frombuffer(json.dumps(texts).encode(), dtype=np.uint8),
    }
    temporary = path.with_suffix(f".{uuid.uuid4().hex}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            np.savez(file, allow_pickle=False, **arrays)
        os.replace(temporary, path)
    except OSError:
        with suppress(OSError):
            temporary.unlink(missing_ok=True)
