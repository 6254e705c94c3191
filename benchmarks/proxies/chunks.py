"""Finished chunks on disk, and the tables that they become.

Architectures are always taken in one random order of the space, so a prefix of any length is a uniform sample and a
longer run extends a shorter one. A chunk is a stretch of that order at one seed; each proxy saves it as one file.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import shutil
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np

from benchmarks import environment, files, spaces
from benchmarks.errors import UserError
from benchmarks.proxies.request import Request, population
from benchmarks.proxies.table import NotFinite, ScoreTable, read, write

CHUNK = 125
"""Architectures between two saves."""


@dataclass(frozen=True)
class Chunk:
    """One unit of work: the proxies of a seed that are still missing on a stretch of the order."""

    seed: int
    start: int
    stop: int
    proxies: tuple[str, ...]


def missing(request: Request) -> list[Chunk]:
    """The chunks that are not on disk. Raises ``UserError`` if a table is in the way."""
    found = []
    for seed in request.seeds:
        for start, stop in _stretches(request):
            names = tuple(name for name in request.proxies if _load(request, name, seed, start, stop) is None)
            if names:
                found.append(Chunk(seed, start, stop, names))
    return found


def save(request: Request, name: str, chunk: Chunk, scores: np.ndarray) -> None:
    """Keep the scores of a proxy on a chunk."""
    buffer = io.BytesIO()
    np.save(buffer, scores)
    files.save(_folder(request, name, chunk.seed) / f"{chunk.start:07}.npy", buffer.getvalue())


def not_finite(request: Request, seed: int, start: int, scores: np.ndarray) -> list[NotFinite]:
    """The cases among scores that start at ``start`` of the order."""
    space = spaces.get(request.space)
    return [
        NotFinite(seed, space.encode(space.at(int(request.positions[start + row]))), str(scores[row]))
        for row in np.flatnonzero(~np.isfinite(scores))
    ]


def assemble(request: Request) -> list[Path]:
    """Make the tables, all chunks being there, and remove the chunks. Returns the tables' files."""
    for name in request.proxies:
        write(_table(request, name), request.path(name))
        for seed in request.seeds:
            # With what a killed worker left half written.
            shutil.rmtree(_folder(request, name, seed), ignore_errors=True)
    parts = request.output / "parts"
    if parts.is_dir() and not any(parts.iterdir()):
        parts.rmdir()
    return [request.path(name) for name in request.proxies]


def _table(request: Request, name: str) -> ScoreTable:
    old = _existing(request, name)
    kept = [seed for seed in (old.by_seed if old else ()) if seed not in request.seeds]
    by_seed = {seed: old.by_seed[seed] for seed in kept} if old else {}
    cases = [case for case in old.not_finite if case.seed in kept] if old else []
    sorting = np.argsort(request.positions)
    for seed in request.seeds:
        scores = np.concatenate([_load(request, name, seed, *stretch) for stretch in _stretches(request)])
        cases += not_finite(request, seed, 0, scores)
        by_seed[seed] = np.where(np.isfinite(scores), scores, -np.inf)[sorting]
    return ScoreTable(
        settings=request.settings(name),
        positions=request.positions[sorting].astype(np.int32),
        by_seed=dict(sorted(by_seed.items())),
        size=len(spaces.get(request.space)),
        population=population(request.space),
        not_finite=tuple(sorted(cases, key=lambda case: (case.seed, case.architecture))),
        facts=environment.joined(old.facts if old else {}, environment.facts() | {"command": request.command}),
    )


def _stretches(request: Request) -> list[tuple[int, int]]:
    return [(start, min(start + CHUNK, request.count)) for start in range(0, request.count, CHUNK)]


def _folder(request: Request, name: str, seed: int) -> Path:
    text = json.dumps(dataclasses.asdict(request.settings(name)), sort_keys=True)
    return request.output / "parts" / f"{request.space}.{name}.{seed}.{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _load(request: Request, name: str, seed: int, start: int, stop: int) -> np.ndarray | None:
    """The scores of a chunk, from its file or from the table of an earlier run; None if missing or too short."""
    old = _existing(request, name)
    try:
        scores = np.load(_folder(request, name, seed) / f"{start:07}.npy", allow_pickle=False)
    except (OSError, ValueError):
        if old is None or seed not in old.by_seed or stop > len(old.positions):
            return None
        positions, space = request.positions[start:stop], spaces.get(request.space)
        scores = old.scores(positions, seed=seed)
        for case in old.not_finite:
            if case.seed == seed:
                scores[positions == space.position(space.decode(case.architecture))] = float(case.value)
    return np.asarray(scores[: stop - start]) if len(scores) >= stop - start else None


def _existing(request: Request, name: str) -> ScoreTable | None:
    """The table that is there, if the request can add to it: more seeds, or more architectures at all seeds."""
    path = request.path(name)
    if not path.exists():
        return None
    old = _read_once(path, path.stat().st_mtime_ns)
    longer = request.count > len(old.positions) and set(old.by_seed) <= set(request.seeds)
    if old.settings == request.settings(name) and (request.count == len(old.positions) or longer):
        return old
    raise UserError(
        f"{path} holds other settings, or more, than asked for ({len(old.positions):,} architectures, seeds "
        f"{', '.join(map(str, old.by_seed))}): choose another --output, or repeat its settings and add to it"
    )


@lru_cache(maxsize=16)
def _read_once(path: Path, modified: int) -> ScoreTable:  # noqa: ARG001 - a changed file is read again
    return read(path)
