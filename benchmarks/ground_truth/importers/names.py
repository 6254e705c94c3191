"""The few names that official pickles refer to, each with a harmless function of ours; every other name is refused."""

from __future__ import annotations

import pickle
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np


class Ignored:
    """Takes the place of a tensor (trained weights), which no table needs."""

    def __init__(self, *_arguments: object) -> None: ...


class DType:
    """Takes the place of ``numpy.dtype``: keeps type code and byte order."""

    def __init__(self, code: str, *_flags: object) -> None:
        self.code, self.order = code, "<"

    def restore(self, state: tuple[Any, ...]) -> None:
        """Set the byte order from the state that numpy pickles."""
        self.order = ">" if state[1] == ">" else "<"


@dataclass(frozen=True)
class Name:
    """What is called in place of a name in a pickle."""

    make: Callable[..., Any]


def find(module: object, name: object) -> Name:
    """Our stand-in for a name. Raises ``UnpicklingError`` for a name that official files do not use."""
    try:
        return _NAMES[module, name]
    except (KeyError, TypeError):
        raise pickle.UnpicklingError(
            f"it asks to run {f'{module}.{name}':.80}, which no benchmark file needs: it was not run, do not trust it"
        ) from None


def _scalar(dtype: DType, data: bytes) -> float | int | bool:
    kind = np.dtype(dtype.order + dtype.code)
    if kind.kind not in "fiub":
        raise pickle.UnpicklingError(f"it holds a numpy value of type {dtype.code:.20}, which no benchmark file needs")
    value: float | int | bool = np.frombuffer(data, kind, count=1)[0].item()
    return value


def _bytes(text: str, encoding: str) -> bytes:
    # How Python 3 writes bytes in the old protocols: text in which each character is a byte.
    if encoding != "latin1":
        raise pickle.UnpicklingError(f"it holds bytes encoded as {encoding:.20}, not latin1")
    return text.encode("latin1")


_DICT, _SET, _SCALAR, _TENSOR = Name(dict), Name(set), Name(_scalar), Name(Ignored)
_NAMES: dict[tuple[object, object], Name] = {
    ("collections", "OrderedDict"): _DICT,
    ("builtins", "set"): _SET,
    ("__builtin__", "set"): _SET,
    ("_codecs", "encode"): Name(_bytes),
    ("numpy", "dtype"): Name(DType),
    ("numpy.core.multiarray", "scalar"): _SCALAR,
    ("numpy._core.multiarray", "scalar"): _SCALAR,
    ("torch._utils", "_rebuild_tensor_v2"): _TENSOR,
    ("torch.storage", "_load_from_bytes"): _TENSOR,
    ("torch", "FloatStorage"): _TENSOR,
    ("torch", "LongStorage"): _TENSOR,
}
