"""One thread a process: `pytest -n 2` has two of them, which would fight for the cores with their threads.

Set before anything loads numpy or torch; the processes that tests start inherit it.
"""

from __future__ import annotations

import os

os.environ["OMP_NUM_THREADS"] = "1"
