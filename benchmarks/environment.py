"""What a result depends on besides its spec: versions, processor, revision. Recorded with every run."""

from __future__ import annotations

import platform
import subprocess
from collections.abc import Mapping
from functools import cache
from importlib import metadata
from pathlib import Path
from typing import Any

import torch

PACKAGES = ("balenas-bench", "torch", "numpy", "scipy", "pandas", "pyarrow", "numba", "scikit-learn")
_AND = "; "


@cache
def _static() -> tuple[tuple[str, str | None], ...]:
    versions = {f"version_{name}": _version(name) for name in PACKAGES}
    return tuple(
        {
            "python": platform.python_version(),
            "platform": platform.platform(),
            "processor": processor(),
            "cpu_capability": torch.backends.cpu.get_cpu_capability(),  # chooses kernels; equal names may differ in it
            "revision": revision(),
            **versions,
        }.items()
    )


def facts() -> dict[str, str | None]:
    """A fresh mapping of the facts; None where something cannot be told."""
    return dict(_static())


def joined(old: Mapping[str, Any], new: Mapping[str, str | None]) -> dict[str, Any]:
    """Facts of what came about in several processes: where they differ, those of each, oldest first."""
    both = {key: [*(old.get(key) or "").split(_AND), value or ""] for key, value in new.items()}
    return {**old, **{key: _AND.join(filter(None, dict.fromkeys(texts))) or None for key, texts in both.items()}}


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None


def processor() -> str:
    """The processor's model name."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.exists():
        for line in cpuinfo.read_text().splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


def revision() -> str | None:
    """Git revision of the running checkout, with ``-dirty`` where tracked files differ; None outside a checkout."""
    root = Path(__file__).resolve().parent.parent

    def git(*arguments: str) -> str:
        command = ["git", "-C", str(root), *arguments]
        return subprocess.run(command, capture_output=True, text=True, check=True, timeout=10).stdout.strip()

    try:
        return git("rev-parse", "HEAD") + ("-dirty" if git("status", "--porcelain", "--untracked-files=no") else "")
    except (OSError, subprocess.SubprocessError):
        return None
