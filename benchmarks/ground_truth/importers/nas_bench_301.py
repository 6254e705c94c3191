"""Recognises the models of NAS-Bench-301 (Siems et al., 2020), which only the benchmark's own package can load."""

from __future__ import annotations

import importlib
import json
from pathlib import Path

from benchmarks.errors import UserError

_FILES = ("surrogate_model.model", "model_config.json", "data_config.json")
_DEPTHS = ("", "*/", "*/*/")  # a member of an ensemble, an ensemble, a folder of ensembles


def members(path: Path) -> list[Path]:
    """Folders of the surrogate models in a folder: each has the model, its configuration and that of its data."""
    found = {model.parent for depth in _DEPTHS for model in path.glob(depth + _FILES[0])}
    return sorted(folder for folder in found if all((folder / name).is_file() for name in _FILES))


def explain(path: Path) -> str:
    """What can be done with a folder of models, where the benchmark's package works.

    Raises:
        UserError: it does not; the line says what is missing.
    """
    folders = members(path)
    kinds = ", ".join(sorted({_kind(folder) for folder in folders}))
    what = f"{path} holds {len(folders)} surrogate model{'s' * (len(folders) > 1)} of NAS-Bench-301 ({kinds})"
    try:
        importlib.import_module("nasbench301")
    except Exception as error:  # the package breaks in many ways on current Python
        reason = " ".join(f"{type(error).__name__}: {error}".split())
        raise UserError(
            f"{what}, which only the package nasbench301 can load, and it cannot be imported here ({reason:.120}): "
            "install it with the requirements in its repository under a Python that they support; nothing was written"
        ) from None
    return f"{what}: a model has no table to write, so query it in place with nasbench301.load_ensemble"


def _kind(folder: Path) -> str:
    try:
        config = json.loads((folder / "model_config.json").read_text(encoding="utf-8"))
        return str(config["model"])
    except (ValueError, OSError, KeyError, TypeError):
        return "unknown kind"
