"""Who is alive: each running process holds a lock on a file of its own, which the system lifts when it ends, however."""

import contextlib
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from jsweep.errors import UserError

_SUFFIX = ".owner"


@contextlib.contextmanager
def owner(folder: Path) -> Iterator[str]:
    """A fresh name, alive to other processes while the block runs. Clocks and process numbers play no part."""
    name = uuid.uuid4().hex
    path = folder / f"{name}{_SUFFIX}"
    try:
        folder.mkdir(exist_ok=True)
        file = open(path, "wb")  # noqa: SIM115 (held while the block runs)
    except OSError as error:
        raise UserError(
            f"the folder {str(folder)!r}, for checkpoints, cannot be written ({error.strerror}): check its permissions, "
            "or give another store."
        ) from error
    with file:
        _try_lock(file)
        try:
            yield name
        finally:
            path.unlink(missing_ok=True)
            with contextlib.suppress(OSError):
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
    except OSError:
        return False
    path.unlink(missing_ok=True)  # it ended without a word
    return False


def others_alive(folder: Path, me: str) -> bool:
    """Whether any process but ``me`` works on the record."""
    return any(is_alive(folder, path.stem) for path in folder.glob(f"*{_SUFFIX}") if path.stem != me)


def _try_lock(file: IO[bytes]) -> bool:
    try:
        if os.name == "nt":
            import msvcrt

            msvcrt.locking(file.fileno(), msvcrt.LK_NBLCK, 1)  # pyright: ignore[reportAttributeAccessIssue]
        else:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True
