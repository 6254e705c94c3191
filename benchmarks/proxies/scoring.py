"""Score chunks, on one process or several."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import cache

import joblib
import numpy as np
import torch
from torch.nn.functional import cross_entropy

from benchmarks import spaces
from benchmarks.proxies.chunks import Chunk, not_finite, save
from benchmarks.proxies.request import Request, batch
from benchmarks.seeds import Seeds
from benchmarks.spaces import Architecture
from methods.proxies import PROXIES, Probe, initialise, score_together
from methods.proxies.batched import BATCHED, synflow_of_many


def execute(request: Request, chunks: Sequence[Chunk], *, jobs: int) -> Iterator[tuple[Chunk, list[str]]]:
    """Score chunks and save each; yields a chunk as it is done, with a line for each score that is no finite number."""
    pool = joblib.Parallel(n_jobs=jobs, backend="loky", return_as="generator_unordered", batch_size=1)
    yield from pool(joblib.delayed(_score_and_save)(request, chunk) for chunk in chunks)


def _score_and_save(request: Request, chunk: Chunk) -> tuple[Chunk, list[str]]:
    torch.set_num_threads(1)
    lines = []
    for name, scores in score_chunk(request, chunk).items():
        save(request, name, chunk, scores)
        cases = not_finite(request, chunk.seed, chunk.start, scores)
        lines += [f"{name} of {case.architecture} at seed {case.seed} is {case.value}" for case in cases]
    return chunk, lines


def score_chunk(request: Request, chunk: Chunk) -> dict[str, np.ndarray]:
    """The scores of a chunk, float64 ``[stop - start]`` by proxy, as the proxies returned them."""
    space = spaces.get(request.space)
    architectures = [space.at(int(p)) for p in request.positions[chunk.start : chunk.stop]]
    many = [name for name in chunk.proxies if name in BATCHED and request.space == "nas-bench-201"]
    found: dict[str, np.ndarray] = {}
    if many:
        scores = synflow_of_many(
            architectures,
            seed=chunk.seed,
            image_size=request.pixels,
            log="log-synflow" in many,
            **request.shape,
        )
        found |= {name: scores[name] for name in many}
    single = tuple(name for name in chunk.proxies if name not in many)
    if single:
        rows = []
        for architecture in architectures:
            if request.space == "nas-bench-201" and set(single) <= {"params", "flops"}:
                # In these cells counts depend on how often an operation occurs, not on where.
                rows.append(_remembered_score(request, chunk.seed, single, tuple(sorted(architecture))))
            else:
                rows.append(_score(request, chunk.seed, single, architecture))
        found |= dict(zip(single, np.array(rows, np.float64).T, strict=True))
    return found


def _score(request: Request, seed: int, names: tuple[str, ...], architecture: Architecture) -> list[float]:
    if any(PROXIES[name].uses_images for name in names):
        x, labels = batch(request, seed)
    else:
        x = torch.zeros(request.batch_size, 3, request.pixels, request.pixels)
        labels = torch.zeros(request.batch_size, dtype=torch.int64)
    network = spaces.get(request.space).network(architecture, **request.shape)
    draws = Seeds(seed, request.space, request.data, "proxies").generator("proxy draws")
    scores = score_together(names, Probe(initialise(network, seed), x, labels, cross_entropy, draws))
    return [scores[name] for name in names]


_remembered_score = cache(_score)
