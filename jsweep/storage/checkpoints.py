"""Checkpoint files: named arrays in the safetensors format, written whole or not at all, read only when their sum agrees.

Nothing is pickled, and nothing but numbers and short texts is read back.
"""

import hashlib
import os
import re
import struct
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np

from jsweep.errors import StoreError

_NAME = re.compile(r"[0-9a-f]{16}-[0-9]{1,18}\.safetensors")
_DTYPE = "dtype of "  # metadata of arrays whose type the format's NumPy side lacks: they travel as bytes


def folder_of(store: str) -> Path:
    """The folder of a record's checkpoints: beside it, ``STORE.checkpoints``."""
    return Path(f"{store}.checkpoints")


def write_checkpoint(
    folder: Path, tile: str, step: int, arrays: Mapping[str, np.ndarray], texts: Mapping[str, str]
) -> tuple[str, str]:
    """Write named arrays and texts to a new file of ``folder``; its name and SHA-256. StoreError where that fails."""
    name = f"{tile}-{step}.safetensors"
    content = to_bytes(arrays, texts)
    try:
        folder.mkdir(exist_ok=True)
        write_whole(folder / name, content)
    except OSError as error:
        raise StoreError(
            f"the checkpoint {str(folder / name)!r} could not be written ({error.strerror or error}): free some space or "
            "mend its folder, then run the same sweep again; what was recorded before is kept."
        ) from error
    return name, hashlib.sha256(content).hexdigest()


def read_checkpoint(folder: Path, name: str, sha256: str) -> tuple[dict[str, np.ndarray], dict[str, str]] | None:
    """The arrays and texts of a file, or None where it is missing or not what was written."""
    if not _NAME.fullmatch(name):
        return None  # a record from elsewhere must not name other files
    try:
        content = (folder / name).read_bytes()
    except OSError:
        return None
    if hashlib.sha256(content).hexdigest() != sha256:
        return None
    return from_bytes(content)


def remove_checkpoint(folder: Path, name: str) -> None:
    """Remove a file if it is a checkpoint and is there."""
    if _NAME.fullmatch(name):
        (folder / name).unlink(missing_ok=True)


def write_whole(path: Path, content: bytes) -> None:
    """Write a file so that a reader, or a crash, finds it whole or not at all."""
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

    plain, kinds = {}, {}
    for name, value in arrays.items():
        array = np.ascontiguousarray(value).reshape(np.shape(value))
        if array.dtype.kind not in "biufc" or array.dtype.name == "complex128":  # bfloat16 and its kin
            kinds[_DTYPE + name] = f"{array.dtype.name} {' '.join(map(str, array.shape))}"
            array = np.frombuffer(array.tobytes(), np.uint8)
        plain[name] = array
    return save(plain, {**texts, **kinds})


def from_bytes(content: bytes) -> tuple[dict[str, np.ndarray], dict[str, str]]:
    """What `to_bytes` was given."""
    import json

    from safetensors.numpy import load

    arrays: dict[str, Any] = dict(load(content))
    (length,) = struct.unpack("<Q", content[:8])
    texts = dict(json.loads(content[8 : 8 + length]).get("__metadata__", {}))
    for key in [key for key in texts if key.startswith(_DTYPE)]:
        kind, *dims = texts.pop(key).split()
        name = key.removeprefix(_DTYPE)
        arrays[name] = arrays[name].view(jnp.dtype(kind)).reshape([int(d) for d in dims])
    return arrays, texts
