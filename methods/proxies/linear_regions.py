"""Number of linear regions."""

from __future__ import annotations

import torch
from torch import Tensor

from methods.proxies.probe import SMALLEST_IMAGE, Probe, recorded, relus

CROPS = 1000
"""Inputs that are told apart."""


def linear_regions(probe: Probe) -> float:
    """Among 1,000 small crops of the images, how many switch the network's ReLUs in a way of their own.

    Source: Chen et al., ICLR 2021 (TE-NAS, arXiv 2102.11535), after Xiong et al., ICML 2020.
    Weights: as the caller initialised them. Wide networks tell all crops apart and the score saturates at 1,000; TE-NAS
    counts on a network of one channel and one cell a stage.
    Batch: crops of 4 x 4 pixels (TE-NAS: 3 x 3, which the reductions of NAS-Bench-201 do not halve evenly) in all their
    channels at random places of random images (TE-NAS: one channel, 3,000 images); labels and loss are not used; batch
    norm on, with batch statistics.
    Precision: float32 pass, exact count.
    Direction: larger is better; at least 1.
    """
    size, (count, _, height, width) = SMALLEST_IMAGE, probe.images.shape

    def draw(choices: int) -> Tensor:
        return torch.randint(choices, (CROPS,), generator=probe.generator)

    window = torch.arange(size)
    rows = draw(height - size + 1)[:, None, None] + window[:, None]
    columns = draw(width - size + 1)[:, None, None] + window
    crops = probe.images[draw(count)[:, None, None], :, rows, columns].movedim(-1, 1)

    replica = probe.replica()
    with torch.no_grad(), recorded(relus(replica)) as activations:
        replica(crops)
    if not activations:
        return 1.0
    patterns = torch.cat([(activation > 0).flatten(1) for activation in activations], 1).numpy()
    return float(len({row.tobytes() for row in patterns}))
