"""Initial weights that do not depend on what else is in the network.

PyTorch draws weights in the order of construction, so one operation more shifts all later draws. Here every layer has
a stream of its own, named by seed, position in the network and shape: two architectures share the initial weights of
every operation that they share (common random numbers). Their scores are then compared at the same draw, and one pass
can score many. Each weight alone is distributed as by PyTorch's default.
"""

from __future__ import annotations

import hashlib

import torch
from torch import nn


def initialise(network: nn.Module, seed: int) -> nn.Module:
    """Draw all weights of ``network`` anew, in place, by PyTorch's default law of each layer.

    Args:
        network: every layer with parameters must have ``reset_parameters``.
        seed: the initialisation seed, >= 0.

    Returns:
        The network. Torch's global generator is left as it was.
    """
    with torch.random.fork_rng(devices=[]):
        for name, module in network.named_modules():
            parameters = list(module.parameters(recurse=False))
            if parameters:
                shape = ",".join(map(str, parameters[0].shape))
                digest = hashlib.sha256(f"{seed}\0{name}\0{shape}".encode()).digest()
                torch.manual_seed(int.from_bytes(digest[:8], "big") >> 1)
                module.reset_parameters()
    return network
