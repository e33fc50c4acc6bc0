"""The user's folder of files that later runs need not make again."""

import os
import stat
import sys
from contextlib import suppress
from pathlib import Path

VARIABLE = "MANYFOLD_CACHE_DIR"


def find_cache(name: str) -> Path | None:
    """Return the folder of the cached files of a kind; None if the user wants none."""
    given = os.environ.get(VARIABLE)
    if given == "off":
        return None
    caches = "Library/Caches" if sys.platform == "darwin" else ".cache"
    default = os.environ.get("XDG_CACHE_HOME") or Path.home() / caches
    return (Path(given) if given else Path(default) / "manyfold").absolute() / name


def make_private(folder: Path) -> None:
    """Make a folder, and check that only this user can write to it.

    Raises:
        PermissionError: If it is a link, belongs to somebody else, or others have access.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    folder.mkdir(mode=0o700, exist_ok=True)
    state = folder.lstat()
    if not stat.S_ISDIR(state.st_mode) or state.st_uid != os.getuid() or state.st_mode & 0o077:
        raise PermissionError(f"expected {folder} to be a folder of yours alone (chmod 700)")


def newest_first(folder: Path) -> list[tuple[Path, os.stat_result]]:
    """Return the paths in a folder with their states, but those that others remove meanwhile."""
    states = []
    for path in folder.iterdir():
        with suppress(FileNotFoundError):
            states.append((path, path.lstat()))
    return sorted(states, key=lambda it: it[1].st_mtime, reverse=True)
