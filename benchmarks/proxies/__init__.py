"""Scores of whole spaces by training-free proxies: the shipped tables, and ``python -m benchmarks.proxies``.

    table = load("nas-bench-201", "synflow")
    table.scores(np.array([space.position(architecture)]), seed=0)

Importing this package needs neither torch nor the proxies.
"""

from __future__ import annotations

from pathlib import Path

from benchmarks.errors import UserError
from benchmarks.proxies.table import CHANNELS, NotFinite, ScoreTable, Settings, file_name, read, write

TABLES = Path(__file__).parent / "tables"
"""The shipped tables."""


def available(folder: Path | None = None) -> list[str]:
    """What a folder has tables of, e.g. ``nas-bench-201.synflow``; None for the shipped tables."""
    return sorted(path.name.removesuffix(".parquet") for path in (folder or TABLES).glob("*.parquet"))


def load(space: str, proxy: str, *, channels: int = CHANNELS, folder: Path | None = None) -> ScoreTable:
    """The scores of a space by a proxy.

    Args:
        space: name of the space.
        proxy: name of the proxy.
        channels: of the networks' first stage.
        folder: where the tables are; None for the shipped ones.

    Raises:
        UserError: no such table; the message lists what there is.
    """
    path = (folder or TABLES) / file_name(space, proxy, channels)
    if not path.is_file():
        raise UserError(
            f"no {path.name} in {path.parent} (held: {', '.join(available(folder)) or 'none'}): compute it with "
            f"python -m benchmarks.proxies --space {space} --proxy {proxy} --channels {channels}"
        )
    return read(path)


__all__ = ["TABLES", "NotFinite", "ScoreTable", "Settings", "available", "file_name", "load", "read", "write"]
