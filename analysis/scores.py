"""Proxy scores beside accuracies: from shipped score tables, and from posteriors that runs have stored.

With a score for every architecture nothing is sampled. A uniform draw gives zero-cost NAS; a draw of a stored Gaussian
posterior gives BaLeNAS-TF, because on NAS-Bench-201 the argmaxes of the six edges are independent and their
probabilities are one-dimensional integrals.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import log_ndtr

from analysis import regression
from benchmarks import proxies, spaces

MEASURES = ("cifar10_test", "cifar100_test", "imagenet16-120_test")
"""The columns of Table 2."""
LABELS = ("CIFAR-10 test", "CIFAR-100 test", "ImageNet16-120 test")
DRAWS = (10, 50, 100, 500)
"""Sample sizes n: those of Table 2, and one beyond."""

PROXIES = (
    "synflow", "log-synflow", "snip", "grasp", "grad-norm", "fisher", "jacob-cov", "naswot", "ntk", "linear-regions",
    "zen", "params", "flops",
)  # fmt: skip
"""Every proxy of the suite (``methods.proxies``, which analysis does not import), in the order of tables."""

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Scored:
    """The architectures of a space that a proxy has scored.

    Attributes:
        space: search space.
        proxy: name of the proxy.
        positions: of the architectures, ``[n]``.
        by_seed: scores, ``[seeds, n]``, bigger is better.
        seeds: the initialisation seeds.
        accuracies: in %, ``[n, measures]``: the three test accuracies on NAS-Bench-201, CIFAR-10's on 1Shot1.
        weights: how many encodings each has, which is how often a uniform draw of the space finds it, ``[n]``.
        complete: whether these are all architectures of the space; else a uniform sample.
        settings: what the scores depend on, in words.
    """

    space: str
    proxy: str
    positions: NDArray[np.int64]
    by_seed: Floats
    seeds: tuple[int, ...]
    accuracies: Floats
    weights: Floats
    complete: bool
    settings: str

    @property
    def label(self) -> str:
        """How many architectures, in words."""
        size = f"{len(self.positions):,}"
        return f"all {size}" if self.complete else f"a uniform sample of {size}"


def held(space: str) -> list[str]:
    """Proxies whose scores of the space are shipped at the usual width, SynFlow's kin first."""
    return [proxy for proxy, width in held_widths(space) if width is None]


def held_widths(space: str) -> list[tuple[str, int | None]]:
    """Every shipped score table of a space: proxy, and channels of the first stage where not the usual ones."""
    order = {proxy: place for place, proxy in enumerate(PROXIES)}
    found = []
    for stem in proxies.available():
        name, _, rest = stem.partition(".")
        proxy, _, width = rest.partition(".c")
        if name == space:
            found.append((proxy, int(width) if width else None))
    return sorted(found, key=lambda pair: (order.get(pair[0], len(order)), pair[0], pair[1] or 0))


def not_done(space: str) -> str:
    """A sentence that names the proxies of which no scores of the space are shipped."""
    missing = [proxy for proxy in PROXIES if proxy not in held(space)]
    return f"Not done on {space}: {', '.join(missing) or 'none, every proxy is'}."


@cache
def load(space: str, proxy: str, channels: int | None = None) -> Scored:
    """Shipped scores with accuracies, at the usual width or another. Raises ``UserError`` where there are none."""
    table = proxies.load(space, proxy) if channels is None else proxies.load(space, proxy, channels=channels)
    positions = np.asarray(table.positions, np.int64)
    s = table.settings
    images = f"one batch of {s.batch_size} from {s.images}" if s.images else "no images"
    return Scored(
        space,
        proxy,
        positions,
        np.stack([np.asarray(scores, np.float64) for scores in table.by_seed.values()]),
        tuple(table.by_seed),
        accuracies(space, positions),
        np.asarray(regression.load(space).weights, np.float64)[_rows(space, positions)],
        table.complete,
        f"C={s.channels}, {s.cells_per_stage} cells a stage, {s.image_size}x{s.image_size}, {images}",
    )


def accuracies(space: str, positions: NDArray[np.int64], names: Sequence[str] = ()) -> Floats:
    """Accuracies in % of the architectures at positions of the enumeration, ``[n, measures]``.

    Args:
        space: search space.
        positions: ``[n]``.
        names: columns of the store, e.g. ``cifar100_valid``; by default the test accuracies that the space has.
    """
    names = names or (MEASURES if space == "nas-bench-201" else MEASURES[:1])
    rows, ground = _rows(space, positions), regression.load(space)
    return np.stack([ground.column(**regression.keywords(space, name))[rows] for name in names], axis=1)


def _rows(space: str, positions: NDArray[np.int64]) -> NDArray[np.int64]:
    architectures = np.stack(np.unravel_index(positions, spaces.get(space).choices), axis=1)
    return np.asarray(regression.load(space).rows(architectures), np.int64)


def complete(space: str, proxy: str) -> Scored | None:
    """Shipped scores of all architectures of the space, or None."""
    if proxy not in held(space):
        return None
    table = load(space, proxy)
    return table if table.complete else None


def argmax_probabilities(mean: ArrayLike, sigma: ArrayLike) -> Floats:
    """Probability that each of independent Gaussians is the largest, ``[k]``; a zero sigma is a point.

    Trapezoidal rule on a grid that resolves the narrowest of them.
    """
    mu, sd = np.asarray(mean, np.float64), np.asarray(sigma, np.float64)
    if (sd <= 0).any():
        if (sd > 0).any():
            sd = np.maximum(sd, 1e-6 * sd.max())
        else:
            return np.asarray(np.eye(len(mu))[int(mu.argmax())])
    grid = np.unique(np.concatenate([m + s * np.linspace(-8.5, 8.5, 2001) for m, s in zip(mu, sd, strict=True)]))
    z = (grid - mu[:, None]) / sd[:, None]
    below = log_ndtr(z)
    density = -0.5 * z**2 - np.log(sd)[:, None] - 0.5 * np.log(2 * np.pi)
    found = np.trapezoid(np.exp(density + below.sum(axis=0) - below), grid, axis=1)
    return np.asarray(found / found.sum())


def posterior_probabilities(space: str, alpha: Sequence[float], sigma: Sequence[float]) -> Floats:
    """Probability of every architecture under a stored posterior, by position, ``[architectures]``.

    For spaces whose every group keeps one alternative (NAS-Bench-201). Raises ``ValueError`` for others.
    """
    chosen = spaces.get(space)
    if any(group.picks != 1 for group in chosen.groups):
        raise ValueError(f"the draws of {space} are no product of single choices")
    cuts = np.cumsum(chosen.sizes)[:-1]
    parts = zip(np.split(np.asarray(alpha, float), cuts), np.split(np.asarray(sigma, float), cuts), strict=True)
    probability = np.ones(1)
    for mean, spread in parts:
        probability = np.multiply.outer(probability, argmax_probabilities(mean, spread)).ravel()
    return probability
