"""Score a space chunk by chunk: resumable, on one process or several.

Architectures are always taken in one random order of the space, so a prefix of any length is a uniform sample and a
longer run extends a shorter one. A finished chunk is a file of its own; chunks become tables at the end.
"""

from __future__ import annotations

import dataclasses
import hashlib
import io
import json
import shlex
import sys
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import joblib
import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import cross_entropy

from benchmarks import environment, ground_truth, images, spaces
from benchmarks.errors import UserError
from benchmarks.files import write_atomically
from benchmarks.proxies.table import NotFinite, ScoreTable, Settings, file_name, read, write
from benchmarks.seeds import Seeds
from methods.proxies import PROXIES, Probe, initialise, proxy, score_together
from methods.proxies.batched import synflow_of_many

ORDER_SEED = 20_211_113
"""Seed of the order in which every space is scored."""
CHUNK = 125
"""Architectures between two saves."""
BATCHED = {"nas-bench-201": ("synflow", "log-synflow")}
"""Proxies that have an engine for many architectures at once."""


@dataclass(frozen=True)
class Request:
    """What to score.

    Attributes:
        space: name of the space.
        proxies: names of the proxies.
        seeds: initialisation seeds; each also draws a batch of its own.
        sample: architectures to score, or None for the whole space.
        channels: of the networks' first stage.
        cells_per_stage: of the networks.
        data: name of the image set.
        data_dir: where it is.
        image_size: height and width in pixels, or None for the set's own.
        batch_size: images in the batch.
        output: folder of the tables, and of the chunks until these are complete.
    """

    space: str
    proxies: tuple[str, ...]
    seeds: tuple[int, ...]
    sample: int | None
    channels: int
    cells_per_stage: int
    data: str
    data_dir: Path | None
    image_size: int | None
    batch_size: int
    output: Path

    @property
    def count(self) -> int:
        """Architectures to score."""
        return population(self.space) if self.sample is None else self.sample


@dataclass(frozen=True)
class Chunk:
    """One unit of work: the proxies of a seed that are still missing on a stretch of the order."""

    seed: int
    start: int
    stop: int
    proxies: tuple[str, ...]


def check(request: Request) -> None:
    """Raise ``UserError`` for anything that would fail later, before time is spent."""
    for name in request.proxies:
        proxy(name)
    most = population(request.space)
    if not 1 <= request.count <= most:
        raise UserError(f"cannot score {request.count:,} of {request.space}: choose --sample 1 to {most:,}")
    if request.batch_size < 2:
        raise UserError(f"batch size {request.batch_size} is too small for batch norm: choose 2 or more")
    if min(request.channels, request.cells_per_stage) < 1 or not request.seeds or min(request.seeds) < 0:
        raise UserError("channels and cells per stage must be 1 or more, seeds 0 or more")
    size = request.image_size
    if size is not None and (size < 4 or size % 4):
        raise UserError(f"image size {size} does not fit the two reductions of the network: choose a multiple of 4")
    for name in request.proxies:
        _mergeable(request, name)


def plan(request: Request) -> list[Chunk]:
    """The chunks that are not on disk yet."""
    chunks = []
    for seed in request.seeds:
        for start in range(0, request.count, CHUNK):
            stop = min(start + CHUNK, request.count)
            missing = tuple(p for p in request.proxies if _load_part(request, p, seed, start, stop) is None)
            if missing:
                chunks.append(Chunk(seed, start, stop, missing))
    return chunks


def execute(request: Request, chunks: Sequence[Chunk], *, jobs: int) -> Iterator[tuple[Chunk, list[NotFinite]]]:
    """Score chunks and save each; yields a chunk as it is done, with its scores that are no finite numbers."""
    pool = joblib.Parallel(n_jobs=jobs, backend="loky", return_as="generator_unordered", batch_size=1)
    yield from pool(joblib.delayed(_score_and_save)(request, chunk) for chunk in chunks)


def assemble(request: Request) -> list[Path]:
    """Make the tables of complete chunks and remove the chunks. Returns the tables' files."""
    space = spaces.get(request.space)
    order = scoring_order(request.space, request.count)
    sorting = np.argsort(order)
    paths = []
    for name in request.proxies:
        by_seed: dict[int, np.ndarray] = {}
        cases: list[NotFinite] = []
        old = _mergeable(request, name)
        if old is not None:
            by_seed.update(old.by_seed)
            cases += [case for case in old.not_finite if case.seed not in request.seeds]
        for seed in request.seeds:
            parts = []
            for start in range(0, request.count, CHUNK):
                part = _load_part(request, name, seed, start, min(start + CHUNK, request.count))
                assert part is not None, "plan() and execute() come first"
                parts.append(part)
            scores = np.concatenate(parts)
            cases += [
                NotFinite(seed, space.encode(space.at(int(order[row]))), str(scores[row]))
                for row in np.flatnonzero(~np.isfinite(scores))
            ]
            by_seed[seed] = np.where(np.isfinite(scores), scores, -np.inf)[sorting]
        path = request.output / file_name(request.space, name, request.channels)
        table = ScoreTable(
            settings=settings(request, name),
            positions=order[sorting].astype(np.int32),
            by_seed=dict(sorted(by_seed.items())),
            size=len(space),
            population=population(request.space),
            not_finite=tuple(sorted(cases, key=lambda case: (case.seed, case.architecture))),
            facts=environment.facts() | {"command": _command()},
        )
        write(table, path)
        paths.append(path)
        for seed in request.seeds:
            _remove_parts(_part_folder(request, name, seed))
    parts_folder = request.output / "parts"
    if parts_folder.is_dir() and not any(parts_folder.iterdir()):
        parts_folder.rmdir()
    return paths


def population(space: str) -> int:
    """Architectures of a space that are told apart: cells on NAS-Bench-201, distinct graphs on NAS-Bench-1Shot1."""
    return len(spaces.get(space)) if space == "nas-bench-201" else len(_graphs(space))


@cache
def scoring_order(space: str, count: int) -> np.ndarray:
    """Positions of the first ``count`` architectures in the order in which a space is scored.

    Without replacement and uniform over ``population``. A graph of NAS-Bench-1Shot1 stands at a random one of its
    encodings: random encodings are kept if their graph is new, with probability 1 / (encodings of the graph).
    """
    rng = np.random.default_rng(ORDER_SEED)
    size = len(spaces.get(space))
    if space == "nas-bench-201":
        return rng.permutation(size)[:count]
    graphs = _graphs(space)
    found: dict[int, int] = {}
    while len(found) < count:
        position, uniform = int(rng.integers(size)), rng.random()
        row = graphs.row(spaces.get(space).at(position))
        if uniform * graphs.weights[row] < 1 and row not in found:
            found[row] = position
    return np.array(list(found.values()))


@cache
def _graphs(space: str) -> ground_truth.GroundTruth:
    """Which graph an encoding is, and how many encodings each graph has; accuracies are not looked at."""
    return ground_truth.load(space, tables=None)


def settings(request: Request, name: str) -> Settings:
    """What the scores of one proxy depend on."""
    shared = {
        "space": request.space,
        "proxy": name,
        "channels": request.channels,
        "cells_per_stage": request.cells_per_stage,
        "classes": 10,
        "image_size": _image_size(request),
    }
    if not PROXIES[name].uses_images:
        return Settings(**shared)  # type: ignore[arg-type]
    image_set = _image_set(request.data, request.data_dir)
    return Settings(
        **shared,  # type: ignore[arg-type]
        images=image_set.name,
        images_sha256=image_set.sha256,
        images_provenance=image_set.provenance,
        batch_size=request.batch_size,
    )


def batch(request: Request, seed: int) -> tuple[Tensor, Tensor]:
    """The batch of a seed: training images drawn balanced by class, normalised by half of the training images."""
    image_set = _image_set(request.data, request.data_dir)
    half = len(image_set.labels) // 2
    generator = Seeds(seed, request.space, request.data, "proxies").generator("proxy batch")
    split = images.search_split(image_set, train=half, valid=half, size=_image_size(request), generator=generator)
    return images.probe(split.train_images, split.train_labels, request.batch_size, mean=split.mean, std=split.std)


def score_chunk(request: Request, chunk: Chunk) -> dict[str, np.ndarray]:
    """The scores of a chunk, float64 ``[stop - start]`` by proxy, as the proxies returned them."""
    space = spaces.get(request.space)
    architectures = [space.at(int(p)) for p in scoring_order(request.space, request.count)[chunk.start : chunk.stop]]
    shape = {"channels": request.channels, "cells_per_stage": request.cells_per_stage, "classes": 10}
    many = [name for name in chunk.proxies if name in BATCHED.get(request.space, ())]
    found: dict[str, np.ndarray] = {}
    if many:
        scores = synflow_of_many(
            architectures, seed=chunk.seed, image_size=_image_size(request), log="log-synflow" in many, **shape
        )
        found |= {name: scores[name] for name in many}
    single = [name for name in chunk.proxies if name not in many]
    if single:
        if any(PROXIES[name].uses_images for name in single):
            x, labels = _batch(request, chunk.seed)
        else:
            x = torch.zeros(request.batch_size, 3, _image_size(request), _image_size(request))
            labels = torch.zeros(request.batch_size, dtype=torch.int64)
        rows = []
        for architecture in architectures:
            network = space.network(architecture, **shape)
            if any(PROXIES[name].uses_weights for name in single):
                initialise(network, chunk.seed)
            seeds = Seeds(chunk.seed, request.space, request.data, "proxies")
            probe = Probe(network, x, labels, cross_entropy, seeds.generator("proxy draws"))
            scores_of_one = score_together(single, probe)
            rows.append([scores_of_one[name] for name in single])
        found |= dict(zip(single, np.array(rows, np.float64).T, strict=True))
    return found


def _score_and_save(request: Request, chunk: Chunk) -> tuple[Chunk, list[NotFinite]]:
    torch.set_num_threads(1)
    space = spaces.get(request.space)
    order = scoring_order(request.space, request.count)[chunk.start : chunk.stop]
    cases = []
    for name, scores in score_chunk(request, chunk).items():
        cases += [
            NotFinite(chunk.seed, f"{name} on {space.encode(space.at(int(order[row])))}", str(scores[row]))
            for row in np.flatnonzero(~np.isfinite(scores))
        ]
        buffer = io.BytesIO()
        np.save(buffer, scores)
        path = _part(request, name, chunk.seed, chunk.start)
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, buffer.getvalue())
    return chunk, cases


@cache
def _image_set(data: str, data_dir: Path | None) -> images.ImageSet:
    return images.load(data, data_dir)


@cache
def _batch(request: Request, seed: int) -> tuple[Tensor, Tensor]:
    return batch(request, seed)


def _image_size(request: Request) -> int:
    if request.image_size is not None:
        return request.image_size
    return 32 if request.data == "cifar10" else int(_image_set(request.data, request.data_dir).images.shape[-1])


def _part_folder(request: Request, name: str, seed: int) -> Path:
    text = json.dumps(dataclasses.asdict(settings(request, name)), sort_keys=True)
    return request.output / "parts" / f"{request.space}.{name}.{seed}.{hashlib.sha256(text.encode()).hexdigest()[:12]}"


def _part(request: Request, name: str, seed: int, start: int) -> Path:
    return _part_folder(request, name, seed) / f"{start:07}.npy"


def _load_part(request: Request, name: str, seed: int, start: int, stop: int) -> np.ndarray | None:
    """A finished chunk, or None; one of a shorter run that ended inside it counts as missing."""
    try:
        scores = np.load(_part(request, name, seed, start), allow_pickle=False)
    except (OSError, ValueError):
        return None
    return np.asarray(scores[: stop - start]) if len(scores) >= stop - start else None


def _remove_parts(folder: Path) -> None:
    for file in folder.glob("*.npy"):
        file.unlink()
    folder.rmdir()


def _mergeable(request: Request, name: str) -> ScoreTable | None:
    """The existing table whose other seeds stay; None if there is none or the request replaces all of it."""
    path = request.output / file_name(request.space, name, request.channels)
    if not path.exists():
        return None
    old = read(path)
    same = old.settings == settings(request, name) and len(old.positions) == request.count
    if same:
        return old
    if old.settings != settings(request, name) or not set(old.by_seed) <= set(request.seeds):
        raise UserError(
            f"{path} holds scores of other settings, architectures or seeds ({len(old.positions):,} architectures, "
            f"seeds {', '.join(map(str, old.by_seed))}): choose another --output, or repeat the old settings and seeds"
        )
    return None


def _command() -> str:
    return shlex.join(["python", "-m", "benchmarks.proxies", *sys.argv[1:]])
