"""One thread a process: `pytest -n 2` has two of them, which would fight for the cores with their threads."""

from __future__ import annotations

import os

import torch

torch.set_num_threads(1)
os.environ["OMP_NUM_THREADS"] = "1"  # for the processes that tests start
