"""Seeds by component: what one part of a run draws never shifts because another part draws more.

Every random stream of a run is named by a component and derived by hashing, as in benchopt. Streams that must be shared
by methods compared at the same seed (initial weights, minibatch order, augmentation, the data split) leave the method
out of the hash, so such runs are paired.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch


@dataclass(frozen=True)
class Seeds:
    """The streams of one run.

    Attributes:
        base: the seed that the user gave, >= 0.
        space: name of the search space.
        data: name of the image set.
        method: name of the method, used by ``own`` streams only.
    """

    base: int
    space: str
    data: str
    method: str

    def seed(self, component: str, *index: int, own: bool = False) -> int:
        """A 63-bit seed for a component, and for an epoch or a draw of it if ``index`` is given."""
        parts = [str(self.base), self.space, self.data, component, *map(str, index)]
        if own:
            parts.append(self.method)
        digest = hashlib.sha256("\0".join(parts).encode()).digest()
        return int.from_bytes(digest[:8], "big") >> 1

    def generator(self, component: str, *index: int, own: bool = False) -> torch.Generator:
        """A fresh CPU generator of the component's stream."""
        return torch.Generator().manual_seed(self.seed(component, *index, own=own))

    def numpy(self, component: str, *index: int, own: bool = False) -> np.random.Generator:
        """A fresh numpy generator of the component's stream."""
        return np.random.default_rng(self.seed(component, *index, own=own))

    @contextmanager
    def scope(self, component: str, *index: int, own: bool = False) -> Iterator[None]:
        """Seed torch's global generator inside the block, for code that draws from nowhere else; then restore it."""
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(self.seed(component, *index, own=own))
            yield
