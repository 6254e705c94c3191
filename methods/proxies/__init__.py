"""Training-free proxies: a score of an untrained network; bigger is better, always.

    score = PROXIES["synflow"](network, images, labels, loss, generator)

A score may be infinite or NaN; callers rank such a network last (``benchmarks.proxies`` records it).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from benchmarks.errors import one_of
from methods.proxies.fisher import fisher
from methods.proxies.flops import flops
from methods.proxies.grad_norm import grad_norm
from methods.proxies.grasp import grasp
from methods.proxies.initialisation import initialise
from methods.proxies.jacob_cov import jacob_cov
from methods.proxies.linear_regions import linear_regions
from methods.proxies.log_synflow import log_synflow
from methods.proxies.naswot import naswot
from methods.proxies.ntk import ntk
from methods.proxies.params import params
from methods.proxies.probe import Loss, Probe
from methods.proxies.snip import snip
from methods.proxies.synflow import synflow
from methods.proxies.zen import zen


@dataclass(frozen=True)
class Proxy:
    """A proxy by name.

    Attributes:
        name: as on the command line.
        measure: the score of a probe; its docstring states formula, source, initialisation, batch, precision and
            direction.
        uses_images: whether the score depends on the images' content and not only on their size.
        uses_weights: whether it depends on how the network was initialised.
    """

    name: str
    measure: Callable[[Probe], float]
    uses_images: bool = True
    uses_weights: bool = True

    def __call__(
        self, network: nn.Module, images: Tensor, labels: Tensor, loss: Loss, generator: torch.Generator
    ) -> float:
        """Score a network, which is left as it is. Arguments and errors: ``Probe``."""
        return self.measure(Probe(network, images, labels, loss, generator))


PROXIES: dict[str, Proxy] = {
    proxy.name: proxy
    for proxy in (
        Proxy("synflow", synflow, uses_images=False),
        Proxy("log-synflow", log_synflow, uses_images=False),
        Proxy("snip", snip),
        Proxy("grasp", grasp),
        Proxy("grad-norm", grad_norm),
        Proxy("fisher", fisher),
        Proxy("jacob-cov", jacob_cov),
        Proxy("naswot", naswot),
        Proxy("ntk", ntk),
        Proxy("linear-regions", linear_regions),
        Proxy("zen", zen, uses_images=False, uses_weights=False),
        Proxy("params", params, uses_images=False, uses_weights=False),
        Proxy("flops", flops, uses_images=False, uses_weights=False),
    )
}


def proxy(name: str) -> Proxy:
    """The proxy of that name. Raises ``UserError`` if there is none."""
    if name not in PROXIES:
        raise one_of("proxy", name, PROXIES)
    return PROXIES[name]


def score_together(names: Iterable[str], probe: Probe) -> dict[str, float]:
    """Scores of one probe by several proxies; passes that they share run once."""
    return {name: proxy(name).measure(probe) for name in names}


__all__ = ["PROXIES", "Loss", "Probe", "Proxy", "initialise", "proxy", "score_together"]
