"""What is to be scored: which architectures, which networks, which batch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

import numpy as np
from torch import Tensor

from benchmarks import ground_truth, images, spaces
from benchmarks.errors import UserError
from benchmarks.proxies.table import Settings, file_name
from benchmarks.seeds import Seeds
from methods.proxies import PROXIES, proxy

ORDER_SEED = 20_211_113
"""Seed of the order in which every space is scored."""
CLASSES = 10
"""Of digits and CIFAR-10 alike."""


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
        command: what the user typed, for the record.
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
    command: str

    def check(self) -> None:
        """Raise ``UserError`` for anything that would fail later, before time is spent."""
        for name in self.proxies:
            proxy(name)
        most = population(self.space)
        if not 1 <= self.count <= most:
            raise UserError(f"cannot score {self.count:,} of {self.space}: choose --sample 1 to {most:,}")
        if self.batch_size < 2:
            raise UserError(f"batch size {self.batch_size} is too small for batch norm: choose 2 or more")
        if min(self.channels, self.cells_per_stage) < 1 or not self.seeds or min(self.seeds) < 0:
            raise UserError("channels and cells per stage must be 1 or more, seeds 0 or more")
        if self.image_size is not None and (self.image_size < 4 or self.image_size % 4):
            raise UserError(
                f"image size {self.image_size} does not fit the two reductions of the network: choose a multiple of 4"
            )
        if any(PROXIES[name].uses_images for name in self.proxies):
            batch(self, self.seeds[0])

    @property
    def count(self) -> int:
        """Architectures to score."""
        return population(self.space) if self.sample is None else self.sample

    @property
    def positions(self) -> np.ndarray:
        """Which architectures, in the order in which they are scored."""
        return scoring_order(self.space, self.count)

    @property
    def shape(self) -> dict[str, int]:
        """Keyword arguments of ``SearchSpace.network``."""
        return {"channels": self.channels, "cells_per_stage": self.cells_per_stage, "classes": CLASSES}

    @property
    def pixels(self) -> int:
        """Height and width of the images."""
        if self.image_size is not None:
            return self.image_size
        return 32 if self.data == "cifar10" else int(self.image_set.images.shape[-1])

    @property
    def image_set(self) -> images.ImageSet:
        """The images. Raises ``UserError`` if they are not there."""
        return _image_set(self.data, self.data_dir)

    def settings(self, name: str) -> Settings:
        """What the scores of one of the proxies depend on."""
        bare = Settings(
            space=self.space,
            proxy=name,
            channels=self.channels,
            cells_per_stage=self.cells_per_stage,
            classes=CLASSES,
            image_size=self.pixels,
        )
        if not PROXIES[name].uses_images:
            return bare
        return replace(
            bare,
            images=self.image_set.name,
            images_sha256=self.image_set.sha256,
            images_provenance=self.image_set.provenance,
            batch_size=self.batch_size,
        )

    def path(self, name: str) -> Path:
        """File of a proxy's table."""
        return self.output / file_name(self.space, name, self.channels)


@cache
def batch(request: Request, seed: int) -> tuple[Tensor, Tensor]:
    """The batch of a seed: training images drawn balanced by class, normalised by half of the training images."""
    half = len(request.image_set.labels) // 2
    generator = Seeds(seed, request.space, request.data, "proxies").generator("proxy batch")
    split = images.search_split(request.image_set, train=half, valid=half, size=request.pixels, generator=generator)
    return images.probe(split.train_images, split.train_labels, request.batch_size, mean=split.mean, std=split.std)


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


@cache
def _image_set(data: str, data_dir: Path | None) -> images.ImageSet:
    return images.load(data, data_dir)
