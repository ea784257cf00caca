"""Who is alive: each running process holds a lock on a file of its own, which the system lifts when it ends, however."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from jsweep.errors import StoreError

_SUFFIX = ".owner"
_HELD_BY_ANOTHER = PermissionError if os.name == "nt" else BlockingIOError


@contextlib.contextmanager
def owner(folder: Path) -> Iterator[str]:
    """A fresh name, alive to other processes while the block runs. Clocks and process numbers play no part."""
    while (held := _held(folder)) is None:
        pass
    name, file = held
    try:
        with file:
            yield name
    finally:
        with contextlib.suppress(OSError):
            (folder / f"{name}{_SUFFIX}").unlink(missing_ok=True)
            folder.rmdir()  # when nothing is left in it


def is_alive(folder: Path, name: str) -> bool:
    """Whether the owner of that name is still running."""
    if not (name.isalnum() and len(name) == 32):
        return False
    path = folder / f"{name}{_SUFFIX}"
    try:
        with open(path, "r+b") as file:
            if not _try_lock(file):
                return True
            if os.name != "nt":
                path.unlink()  # it ended without a word; while locked, so that one that only starts sees its file go
        path.unlink(missing_ok=True)  # Windows lets nobody remove an open file
    except OSError:
        pass
    return False


def others_alive(folder: Path, me: str) -> bool:
    """Whether any process but ``me`` works on the record."""
    return any(is_alive(folder, path.stem) for path in folder.glob(f"*{_SUFFIX}") if path.stem != me)


def _held(folder: Path) -> tuple[str, IO[bytes]] | None:
    """A fresh name and its locked file; None where another process looked, or tidied, before the lock was there."""
    name = uuid.uuid4().hex
    path = folder / f"{name}{_SUFFIX}"
    try:
        with contextlib.ExitStack() as opened:
            with contextlib.suppress(FileExistsError):
                folder.mkdir()
            file = opened.enter_context(open(path, "wb"))
            if _try_lock(file) and path.exists():
                opened.pop_all()
                return name, file
        path.unlink(missing_ok=True)
    except FileNotFoundError:
        if not folder.parent.is_dir():
            raise StoreError(f"the folder {str(folder.parent)!r} is not there: give another store.") from None
        return None  # the last owner ended just now, and removed the empty folder
    except OSError as error:
        raise StoreError(
            f"the folder {str(folder)!r}, for checkpoints, cannot be written ({error.strerror}): check its permissions, "
            "or give another store."
        ) from error
    return None


def _try_lock(file: IO[bytes]) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except _HELD_BY_ANOTHER:  # anything else is a file system without locks
        return False
    return True
