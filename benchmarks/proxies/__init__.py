"""Scores of whole spaces by training-free proxies: the shipped tables, and ``python -m benchmarks.proxies``.

    table = load("nas-bench-201", "synflow")
    table.scores(np.array([space.position(architecture)]), seed=0)

Importing this package needs neither torch nor the proxies.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.errors import UserError
from benchmarks.proxies.table import NotFinite, ScoreTable, Settings, file_name, read, write

TABLES = Path(__file__).parent / "tables"
"""The shipped tables."""


def available(folder: Path | None = None) -> list[tuple[str, str]]:
    """The (space, proxy) pairs that a folder has a table of; None for the shipped ones."""
    names = sorted(path.name for path in (TABLES if folder is None else folder).glob("*.parquet"))
    return [(space, proxy) for space, proxy, _ in (name.split(".") for name in names)]


def load(space: str, proxy: str, folder: Path | None = None) -> ScoreTable:
    """The scores of a space by a proxy.

    Args:
        space: name of the space.
        proxy: name of the proxy.
        folder: where the tables are; None for the shipped ones.

    Raises:
        UserError: no such table; the message lists what there is.
    """
    path = (TABLES if folder is None else folder) / file_name(space, proxy)
    if not path.is_file():
        held = ", ".join(f"{s} by {p}" for s, p in available(folder)) or "none"
        raise UserError(
            f"no {proxy} scores of {space} in {path.parent} (held: {held}): compute them with "
            f"python -m benchmarks.proxies --space {space} --proxy {proxy}"
        )
    return read(path)


__all__ = ["TABLES", "NotFinite", "ScoreTable", "Settings", "available", "file_name", "load", "read", "write"]
