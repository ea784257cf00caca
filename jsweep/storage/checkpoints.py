"""Checkpoint files: named arrays as safetensors, on the disk before a row names them, read only if their SHA-256 agrees.

Nothing is pickled: only numbers and short texts are read back.
"""

import contextlib
import hashlib
import json
import os
import re
import stat
import struct
from collections.abc import Mapping, Sequence
from pathlib import Path

import ml_dtypes
import numpy as np

from jsweep.errors import StoreError
from jsweep.storage.records import Checkpoint, Position

_NAME = re.compile(r"([0-9a-f]{32})-[0-9]{1,18}\.safetensors")  # whose it is, and a number: no name is used twice
_DTYPE = "dtype of "  # metadata of arrays whose type safetensors does not know from NumPy: they are stored as bytes
_INVALID = (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError, struct.error)


def folder_of(store: str | os.PathLike[str]) -> Path:
    """The folder of a store's checkpoints, beside it: ``STORE.checkpoints``."""
    return Path(f"{os.fspath(store)}.checkpoints")


def file_name(owner: str, number: int) -> str:
    """The name of the file that a process writes as its ``number``-th."""
    return f"{owner}-{number}.safetensors"


def owner_of(name: str) -> str | None:
    """The process that has written the file of this name; None if it is no name of a checkpoint."""
    found = _NAME.fullmatch(name)
    return None if found is None else found[1]


def write_checkpoint(
    folder: Path, name: str, arrays: Mapping[str, np.ndarray], position: Position, trials: Sequence[str]
) -> str:
    """Write a checkpoint file, so that it is on the disk when this returns.

    Args:
        folder: The folder of the store's checkpoints, created if it does not exist.
        name: A name from `file_name` that was not used before.
        arrays: The arrays by name, each with the trials on its leading axis.
        position: Where its lanes stand.
        trials: The ids of the trials.

    Returns:
        The SHA-256 of its content.

    Raises:
        StoreError: If the file cannot be written.
    """
    content = to_bytes(
        arrays,
        {**{name: str(number) for name, number in position._asdict().items()}, "trials": json.dumps(list(trials))},
    )
    try:
        if not folder.exists():
            folder.mkdir(exist_ok=True)
            _sync_folder(folder.parent)
        _write_to_disk(folder / name, content)
    except OSError as error:
        raise StoreError(
            f"the checkpoint {str(folder / name)!r} could not be written ({error.strerror or error}): free some space or "
            "make its folder writable, then run the sweep again; everything recorded before is kept."
        ) from error
    return hashlib.sha256(content).hexdigest()


def read_checkpoint(folder: Path, row: Checkpoint) -> tuple[dict[str, np.ndarray], Position] | None:
    """Read a checkpoint file.

    Args:
        folder: The folder of the store's checkpoints.
        row: The row that names it; a name that `file_name` does not give is treated as missing.

    Returns:
        Its arrays by name, and where its lanes stand; None if it is missing, damaged or not a checkpoint, or is not what
        the row says.
    """
    if owner_of(row.file) is None:
        return None  # a store from elsewhere must not name other files
    try:
        content = _read_file(folder / row.file)
    except (OSError, MemoryError):
        return None
    if hashlib.sha256(content).hexdigest() != row.sha256:
        return None
    try:
        arrays, texts = from_bytes(content)
        trials, position = json.loads(texts["trials"]), Position(*(_number(texts[name]) for name in Position._fields))
        agrees = position.step == row.step and len(trials) == len(row.trials)
        if agrees and all(own in ("", trial) for own, trial in zip(row.trials, trials)):  # "": it was dropped
            return arrays, position
    except _INVALID:
        pass
    return None


def remove_checkpoint(folder: Path, name: str) -> None:
    """Remove a checkpoint file if it exists."""
    if owner_of(name) is not None:
        (folder / name).unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Write a file so that no reader, not even after a crash, sees a part of it."""
    fresh = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        with open(fresh, "wb") as file:
            file.write(content)
        os.replace(fresh, path)
    finally:
        fresh.unlink(missing_ok=True)


def to_bytes(arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]) -> bytes:
    """Arrays and texts as one safetensors file."""
    from safetensors.numpy import save

    known, kinds = {}, {}
    for name, value in arrays.items():
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        if array.dtype.kind not in "biufc" or array.dtype == np.complex128:  # bfloat16 and the like
            kinds[_DTYPE + name] = f"{array.dtype.name} {' '.join(map(str, array.shape))}"
            array = np.frombuffer(array.tobytes(), np.uint8)
        known[name] = array
    return save(known, {**texts, **kinds})


def from_bytes(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """The arrays and texts that `to_bytes` was given; ValueError for anything that it does not write."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    try:
        arrays: dict[str, np.ndarray] = dict(load(content))
        (length,) = struct.unpack("<Q", content[:8])
        texts: dict[str, str] = dict(json.loads(content[8 : 8 + length]).get("__metadata__", {}))
        for key in [key for key in texts if key.startswith(_DTYPE)]:
            kind, *dims = texts.pop(key).split()
            name = key.removeprefix(_DTYPE)
            arrays[name] = arrays[name].view(_dtype(kind)).reshape([int(dim) for dim in dims])
    except (*_INVALID, SafetensorError) as error:
        raise ValueError(f"not a checkpoint: {error}") from error
    return arrays, texts


def _number(text: str) -> int:
    if len(text) > 18:
        raise ValueError(f"a number of {len(text)} digits")
    return int(text)


def _dtype(name: str) -> np.dtype:
    dtype = np.dtype(np.complex128 if name == "complex128" else getattr(ml_dtypes, name))
    if dtype.hasobject:
        raise ValueError(f"{name} is not a type of numbers")
    return dtype


def _write_to_disk(path: Path, content: bytes) -> None:
    """Write a new file; where that fails none is left. A process that is killed may leave a part, which nobody names."""
    try:
        with open(path, "xb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        _sync_folder(path.parent)
    except OSError:
        path.unlink(missing_ok=True)
        raise


def _sync_folder(folder: Path) -> None:
    """Have the names in a folder on the disk; Windows and some network file systems do that of themselves, or not at all."""
    if os.name == "nt":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        with contextlib.suppress(OSError):
            os.fsync(opened)
    finally:
        os.close(opened)


def _read_file(path: Path) -> bytes:
    """The content of a regular file: a record from elsewhere may have put a pipe or a link to a device in its place."""
    opened = os.open(
        path, os.O_RDONLY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    )
    with open(opened, "rb") as file:
        if not stat.S_ISREG(os.fstat(opened).st_mode):
            raise OSError(f"{path} is not a regular file")
        return file.read()
