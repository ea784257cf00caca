"""Where a store is: one rule for every place that takes ``store=`` or ``--store``."""

import os
import re
from dataclasses import dataclass
from pathlib import Path

from jsweep.errors import ConfigError, StoreError

MEMORY = ":memory:"
_SQLITE = "sqlite://"
_URL = re.compile(r"(file:|[A-Za-z][A-Za-z0-9+.-]*://)")


@dataclass(frozen=True)
class StorePath(os.PathLike):
    """A store's absolute path, and the path as the user wrote it, which messages show."""

    file: Path
    written: str

    def __fspath__(self) -> str:
        return str(self.file)

    def __str__(self) -> str:
        return self.written


def resolve(store: str | os.PathLike[str] | None) -> Path | None:
    """The absolute path of a store's file, symbolic links followed; None for a store in memory.

    ``None``, ``":memory:"`` and ``"sqlite://"`` mean memory. ``"~"`` is the home folder. ``"sqlite:///relative.db"`` and
    ``"sqlite:////absolute.db"`` are read as SQLAlchemy reads them. Raises ConfigError for anything else that is not the
    path of a file, and StoreError for a folder.
    """
    if store is None:
        return None
    if not isinstance(store, str | os.PathLike) or not isinstance(os.fspath(store), str):
        raise ConfigError(f"store={store!r} is not a path: pass the path of a file, such as 'sweeps.db', or None.")
    text = _without_scheme(os.fspath(store), str(store))
    if text == MEMORY:
        return None
    if not text.strip():
        raise ConfigError(f"store={str(store)!r} is empty: pass the path of a file, such as 'sweeps.db'.")
    try:
        os.fsencode(text)
        path = Path(text).expanduser().resolve()
        is_folder = path.is_dir()
    except (ValueError, RuntimeError, OSError) as error:  # NUL, a lone surrogate, no home folder, too long a name
        reason = getattr(error, "strerror", None) or error
        raise ConfigError(f"store={str(store)[:200]!r} is not a valid path ({reason}): pass another path.") from error
    if is_folder:
        raise StoreError(f"store={str(store)!r} is a folder: pass a file, such as {str(path / 'sweeps.db')!r}.")
    return path


def pin(store: str | os.PathLike[str] | None) -> StorePath | None:
    """The store with its path made absolute now, so that a later change of the working folder does not move it."""
    path = resolve(store)
    return None if path is None else StorePath(path, shown(store))


def shown(store: str | os.PathLike[str] | None) -> str:
    """A store as messages show it: as the user wrote it."""
    return MEMORY if store is None else str(store)


def _without_scheme(text: str, written: str) -> str:
    """A path from a path or a SQLite URL; ConfigError for a URL of another kind."""
    if text == _SQLITE:
        return MEMORY
    if text.startswith(_SQLITE + "/") and "?" not in text:
        return text.removeprefix(_SQLITE + "/")
    if _URL.match(text):
        raise ConfigError(
            f"store={written!r} is not a file that jsweep can open: pass a path, or a URL such as 'sqlite:///sweeps.db'."
        )
    return text
