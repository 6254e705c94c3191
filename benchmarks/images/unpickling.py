"""Reads the pickles of CIFAR-10 batches without running what a pickle may ask for.

A batch is a dict with one uint8 array and lists of numbers and bytes. numpy's own ``__setstate__`` trusts what it is
given, so the few names that pickled arrays refer to are bound to passive stand-ins; every other name is refused.
"""

from __future__ import annotations

import io
import pickle
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray


class _DType:
    """Stands in for ``numpy.dtype``; only its code is kept, since one-byte types have no byte order."""

    def __init__(self, code: object, *_flags: object) -> None:
        self.code = code

    def __setstate__(self, _state: object) -> None:
        pass


class _Array:
    """Stands in for ``numpy.ndarray`` and for the function that reconstructs one."""

    def __init__(self, *_template: object) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        _version, self.shape, self.dtype, self.column_major, self.payload = state

    def decode(self) -> NDArray[np.uint8]:
        if self.dtype.code not in ("u1", b"u1"):
            raise ValueError(f"an array of type {self.dtype.code!r} instead of bytes")
        flat = np.frombuffer(self.payload, dtype=np.uint8)
        return flat.reshape(self.shape, order="F" if self.column_major else "C")


class _ArrayFromBuffer(_Array):
    """Stands in for the function that makes an array at protocol 5."""

    def __init__(self, payload: bytes, dtype: _DType, shape: tuple[int, ...], order: str) -> None:
        self.__setstate__((1, shape, dtype, order == "F", payload))


class _BatchUnpickler(pickle.Unpickler):
    allowed: ClassVar[dict[tuple[str, str], type]] = {
        ("numpy", "ndarray"): _Array,
        ("numpy", "dtype"): _DType,
        ("numpy.core.multiarray", "_reconstruct"): _Array,
        ("numpy._core.multiarray", "_reconstruct"): _Array,
        ("numpy.core.numeric", "_frombuffer"): _ArrayFromBuffer,
        ("numpy._core.numeric", "_frombuffer"): _ArrayFromBuffer,
        ("_codecs", "encode"): bytes,  # how Python 3 writes bytes at protocol 2: bytes(text, "latin1")
    }

    def find_class(self, module: str, name: str) -> type:
        try:
            return self.allowed[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"it asks for {module}.{name}, which no batch needs") from None

    def persistent_load(self, pid: object) -> None:
        raise pickle.UnpicklingError(f"it refers to an outside object {pid!r}")


def loads(data: bytes) -> dict[str, Any]:
    """The dict in a pickled batch, keys as text, arrays as uint8.

    Reads all pickle protocols, those of Python 2 included (their strings come back as bytes).

    Raises:
        ValueError: whatever is wrong with ``data``, in a few words.
    """
    try:
        batch = _BatchUnpickler(io.BytesIO(data), encoding="bytes").load()
        pairs = [(key.decode() if isinstance(key, bytes) else key, value) for key, value in batch.items()]
        return {key: value.decode() if isinstance(value, _Array) else value for key, value in pairs}
    except Exception as error:  # a malformed pickle can raise nearly anything
        raise ValueError(" ".join(str(error).split()) or type(error).__name__) from None
