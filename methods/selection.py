"""Choosing among drawn architectures by a training-free proxy: what zero-cost NAS and BaLeNAS-TF share.

Each distinct network is scored once at a common initialisation, and the best score wins; ties go to the earliest draw.
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Sequence
from dataclasses import dataclass, field

from torch.nn import functional

from benchmarks.errors import check_counts, one_of
from benchmarks.images import probe
from benchmarks.spaces import Architecture, NASBench1Shot1, NASBench201
from benchmarks.spec import SearchProblem, Trace
from methods.proxies import PROXIES, initialise, proxy
from methods.proxies.batched import BATCHED, synflow_of_many


@dataclass(frozen=True)
class SelectionConfig:
    """How a draw is chosen.

    Attributes:
        proxy: a name of ``methods.proxies.PROXIES``, or ``none`` to take the first draw.
        draws: architectures drawn.
        batch_size: training images that the proxy sees (Abdelfattah et al. 2021: 64).
    """

    proxy: str = "synflow"
    draws: int = 100
    batch_size: int = 64

    def __post_init__(self) -> None:
        if self.proxy not in (*PROXIES, "none"):
            raise one_of("proxy", self.proxy, [*PROXIES, "none"])
        check_counts(draws=self.draws, batch_size=self.batch_size)


@dataclass
class Scorer:
    """Scores architectures at the run's initialisation; what was scored is not scored again.

    Attributes:
        problem: images and sizes; proxies see the tier's ``proxy_channels`` and ``proxy_cells_per_stage``.
        config: which proxy.
        known: scores by ``built``.
        not_finite: architectures (as strings) whose score was infinite or NaN, which ranks them last.
    """

    problem: SearchProblem
    config: SelectionConfig
    known: dict[Hashable, float] = field(default_factory=dict)
    not_finite: list[str] = field(default_factory=list)

    def best(self, draws: Sequence[Architecture]) -> Architecture:
        """The draw with the best score."""
        if self.config.proxy == "none":
            return draws[0]
        scores = self.scores(draws)
        return draws[scores.index(max(scores))]

    def scores(self, draws: Sequence[Architecture]) -> list[float]:
        """A score a draw; minus infinity where the proxy gave none."""
        space = self.problem.space
        keys = [self.built(draw) for draw in draws]
        new = {key: draw for key, draw in zip(keys, draws, strict=True) if key not in self.known}
        # Building a network draws default weights, which are drawn anew afterwards, from the global generator.
        with self.problem.seeds.scope("proxy networks"):
            measured = self._measure(list(new.values()))
        for (key, draw), score in zip(new.items(), measured, strict=True):
            if not math.isfinite(score):
                self.not_finite.append(space.encode(draw))
            self.known[key] = score if math.isfinite(score) else -math.inf
        return [self.known[key] for key in keys]

    def built(self, architecture: Architecture) -> Hashable:
        """What decides a score: the pruned module of 1Shot1, whose layers are initialised by their place, else all.

        Isomorphic networks may have different scores.
        """
        space = self.problem.space
        if not isinstance(space, NASBench1Shot1):
            return architecture
        matrix, operations = space.pruned(architecture)
        return matrix.tobytes(), operations

    def key(self, architecture: Architecture) -> Hashable:
        """What counts as one: a NAS-Bench-101 module, which is what 1Shot1's table has a row of, else the architecture.

        NAS-Bench-201's unique string joins networks of different sizes.
        """
        space = self.problem.space
        return space.canonical(architecture) if isinstance(space, NASBench1Shot1) else architecture

    def _measure(self, architectures: Sequence[Architecture]) -> list[float]:
        problem, config = self.problem, self.config
        budget, images = problem.budget, problem.images
        seed = problem.seeds.seed("proxy initialisation")
        sizes = {
            "channels": budget.proxy_channels,
            "cells_per_stage": budget.proxy_cells_per_stage,
            "classes": len(images.classes),
        }
        if isinstance(problem.space, NASBench201) and config.proxy in BATCHED:
            log = config.proxy == "log-synflow"
            found = synflow_of_many(architectures, seed=seed, image_size=budget.image_size, log=log, **sizes)
            return [float(score) for score in found[config.proxy]]
        x, y = probe(images.train_images, images.train_labels, config.batch_size, mean=images.mean, std=images.std)
        measure, scores = proxy(config.proxy), []
        for architecture in architectures:
            network = initialise(problem.space.network(architecture, **sizes), seed)
            generator = problem.seeds.generator("proxy draws")
            scores.append(measure(network, x, y, functional.cross_entropy, generator))
        return scores

    def trace(self, draws: Sequence[Architecture]) -> Trace:
        """How many draws were distinct, how many networks have been scored so far, how many with no finite score."""
        distinct = len({self.key(draw) for draw in draws})
        return {"distinct_draws": distinct, "scored": len(self.known), "scores_not_finite": len(self.not_finite)}
