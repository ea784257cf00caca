"""Checkpoint files: named arrays in the safetensors format, written atomically, and read only if their SHA-256 agrees.

Nothing is pickled: only numbers and short texts are read back.
"""

import hashlib
import json
import os
import re
import struct
from collections.abc import Mapping
from pathlib import Path

import ml_dtypes
import numpy as np

from jsweep.errors import StoreError

_NAME = re.compile(r"[0-9a-f]{16}-[0-9]{1,18}\.safetensors")
_DTYPE = "dtype of "  # metadata of arrays whose type safetensors does not know from NumPy: they are stored as bytes
_INVALID = (ValueError, TypeError, KeyError, AttributeError, IndexError, OverflowError, RecursionError, struct.error)


def folder_of(store: str | os.PathLike[str]) -> Path:
    """The folder of a store's checkpoints, beside it: ``STORE.checkpoints``."""
    return Path(f"{os.fspath(store)}.checkpoints")


def write_checkpoint(
    folder: Path, stem: str, step: int, arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]
) -> tuple[str, str]:
    """Write a checkpoint file.

    Args:
        folder: The folder of the store's checkpoints, created if it does not exist.
        stem: 16 hexadecimal digits that begin the file's name.
        step: The number of steps trained, which ends it.
        arrays: The arrays by name.
        texts: Short texts by name.

    Returns:
        The file's name and the SHA-256 of its content.

    Raises:
        StoreError: If the file cannot be written.
    """
    name = f"{stem}-{step}.safetensors"
    content = to_bytes(arrays, texts)
    try:
        folder.mkdir(exist_ok=True)
        write_atomically(folder / name, content)
    except OSError as error:
        raise StoreError(
            f"the checkpoint {str(folder / name)!r} could not be written ({error.strerror or error}): free some space or "
            "make its folder writable, then run the sweep again; everything recorded before is kept."
        ) from error
    return name, hashlib.sha256(content).hexdigest()


def read_checkpoint(folder: Path, name: str, sha256: str) -> tuple[dict[str, np.ndarray], dict[str, str]] | None:
    """Read a checkpoint file.

    Args:
        folder: The folder of the store's checkpoints.
        name: The file's name; any name that `write_checkpoint` does not give is treated as missing.
        sha256: The SHA-256 that its content must have.

    Returns:
        Its arrays and texts by name; None if it is missing, damaged or not a checkpoint.
    """
    if not _NAME.fullmatch(name):
        return None  # a store from elsewhere must not name other files
    try:
        content = (folder / name).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() != sha256:
        return None
    try:
        return from_bytes(content)
    except ValueError:
        return None


def remove_checkpoint(folder: Path, name: str) -> None:
    """Remove a checkpoint file if it exists."""
    if _NAME.fullmatch(name):
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


def _dtype(name: str) -> np.dtype:
    dtype = np.dtype(np.complex128 if name == "complex128" else getattr(ml_dtypes, name))
    if dtype.hasobject:
        raise ValueError(f"{name} is not a type of numbers")
    return dtype
