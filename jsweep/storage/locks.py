"""Which processes are running: each holds a lock on a file of its own, which the system releases when the process ends."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from jsweep.errors import StoreError

_SUFFIX = ".owner"
_HELD_BY_ANOTHER = PermissionError if os.name == "nt" else BlockingIOError
_files: set[IO[bytes]] = set()  # the locked files of this process


@contextlib.contextmanager
def owner(folder: Path) -> Iterator[str]:
    """A new name that other processes see as running while the block runs. Neither clocks nor process ids are used.

    Raises StoreError if ``folder`` cannot be written, or is on a file system without locks.
    """
    while (held := _held(folder)) is None:
        pass
    name, file = held
    _files.add(file)
    try:
        with file:
            yield name
    finally:
        _files.discard(file)
        with contextlib.suppress(OSError):
            (folder / f"{name}{_SUFFIX}").unlink(missing_ok=True)
            folder.rmdir()  # fails, as it should, unless the folder is empty


def is_alive(folder: Path, name: str) -> bool:
    """Whether the process that holds this name is still running. One that cannot be looked at counts as running."""
    if not (name.isalnum() and len(name) == 32):
        return False
    path = folder / f"{name}{_SUFFIX}"
    try:
        with _open_existing(path) as file:
            if not _try_lock(file):
                return True
            if os.name != "nt":
                _remove(path)  # while it is locked, so that an owner that is just starting sees that its file is gone
    except FileNotFoundError:
        return False
    except OSError:  # no permission to open it, or no file descriptors left
        return True
    _remove(path)  # Windows removes no open file
    return False


def has_owners(folder: Path) -> bool:
    """Whether there are lock files: a process is running, or ended without removing its own."""
    return any(folder.glob(f"*{_SUFFIX}"))


def remove_dead(folder: Path) -> None:
    """Remove the lock files of processes that have ended without doing so."""
    for path in folder.glob(f"*{_SUFFIX}"):
        is_alive(folder, path.stem)


def _held(folder: Path) -> tuple[str, IO[bytes]] | None:
    """A new name and its locked file; None if another process removed or locked the file before it was locked here."""
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
            raise StoreError(f"the folder {str(folder.parent)!r} does not exist: pass another store.") from None
        return None  # the last owner has just ended and removed the empty folder
    except OSError as error:
        raise StoreError(
            f"the checkpoint folder {str(folder)!r} cannot be written ({error.strerror}): check its permissions, "
            "or pass another store."
        ) from error
    return None


def _open_existing(path: Path) -> IO[bytes]:
    try:
        return open(path, "r+b")
    except PermissionError:
        return open(path, "rb")  # of another user: reading is enough to try its lock


def _remove(path: Path) -> None:
    with contextlib.suppress(OSError):
        path.unlink(missing_ok=True)


def _try_lock(file: IO[bytes]) -> bool:
    """Lock a file; False if another process has locked it, OSError if its file system has no locks."""
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except _HELD_BY_ANOTHER:
        return False
    return True


def _close_in_forked_process() -> None:
    """A forked process shares its parent's locks, which would then outlive the parent."""
    for file in _files:
        file.close()
    _files.clear()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_close_in_forked_process)
