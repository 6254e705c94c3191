"""The official index of NAS-Bench-201 in closed form. Free of torch, so that tables open quickly."""

from __future__ import annotations

import random
from functools import cache

import numpy as np
import numpy.typing as npt

OPERATIONS = 5
EDGES = 6
ARCHITECTURES = OPERATIONS**EDGES
RADIX = OPERATIONS ** np.arange(EDGES - 1, -1, -1)
"""Place values of the edges: operations @ RADIX is the position in the enumeration."""


@cache
def official_order() -> npt.NDArray[np.int64]:
    """The operations of every architecture in the order of the official index, shape ``[15625, 6]``, read-only.

    Edges 0>1, 0>2, 1>2, 0>3, 1>3, 2>3; operations 0 none, 1 skip_connect, 2 nor_conv_1x1, 3 nor_conv_3x3,
    4 avg_pool_3x3. The benchmark enumerated the cells (last edge fastest) and shuffled the list with Python's generator
    at seed 88 (AutoDL, ``exps/NAS-Bench-201/main.py``); tests compare the outcome with every official string.
    """
    positions = list(range(ARCHITECTURES))
    random.Random(88).shuffle(positions)
    order = np.asarray(positions)[:, None] // RADIX % OPERATIONS
    order.setflags(write=False)
    return order
