"""A results store made of invented runs, for tests of analysis only. Architectures and their accuracies are real."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from analysis import regression
from benchmarks import spaces, tiers
from benchmarks.spec import RunRecord, RunSpec, Status, Value
from benchmarks.store import Store

METHODS = ("random", "darts-1st", "balenas-1st", "zero-cost", "balenas-tf-1st")
EPOCHS = 4


def record(
    method: str, space_name: str, seed: int, tier: str = "quick", status: Status = Status.DONE, **config: object
) -> RunRecord:
    """A plausible run: the architecture drifts over ``EPOCHS`` epochs, everything else is noise."""
    space, table = spaces.get(space_name), regression.load(space_name)
    entropy = [seed, len(method), len(space_name), ord(space_name[-1])]
    cells, rng = (np.random.default_rng([*entropy, stream]) for stream in (0, 1))
    budget = tiers.budget(tier, space_name)
    differentiable = method.startswith(("darts", "balenas")) and "tf" not in method
    noisy = method.startswith("balenas")
    rows: list[dict[str, Value]] = []
    for epoch in range(EPOCHS + 1 if differentiable else 1):
        architecture = space.sample(cells)
        row: dict[str, Value] = {
            "epoch": epoch,
            "architecture": space.encode(architecture),
            "seconds": 1.5 * epoch + 1,
        }
        row |= {f"count_{name}": n for name, n in space.operation_counts(architecture).items()}
        row |= table.accuracies(architecture)
        row |= {f"regret_{name}": value for name, value in table.regrets(architecture).items()}
        if differentiable:
            row |= {
                "train_loss": 2.0 / (epoch + 1), "valid_loss": 2.2 / (epoch + 1), "entropy_mean": 0.9,
                "sigma_mean": 1.0 / (epoch + 1) if noisy else 0.0, "sigma_min": 0.5 / (epoch + 1) if noisy else 0.0,
                "sigma_max": 1.5 / (epoch + 1) if noisy else 0.0,
                "alpha": rng.normal(size=space.parameters).tolist(),
                "sigma": rng.uniform(0.2, 0.8, space.parameters).tolist() if noisy else [0.0] * space.parameters,
                "hessian_smallest": -float(rng.uniform(0.01, 0.1)),
                "gap_first_order": 0.3, "gap_second_order": 0.2,
                "hessian_dominant": float(rng.uniform(0.1, 0.5)), "hessian_spectral_norm": float(rng.uniform(0.1, 0.5)),
                "seconds_architecture": 0.7 * epoch, "seconds_weights": 0.6 * epoch,
            }  # fmt: skip
            if noisy:
                row |= {
                    "distinct_draws": int(rng.integers(5, 100)), "probability_of_mean": 0.05,
                    "noise_measured": 0.01 * epoch, "noise_standard_error": 0.001, "noise_predicted": 0.012 * epoch,
                }  # fmt: skip
        rows.append(row)
    spec = RunSpec(method, space_name, seed, budget, dict(config), "0" * 64)
    facts = {
        "processor": "test",
        "seconds_total": 2.0,
        "images_provenance": "ships with scikit-learn",
        "resumed": False,
    }
    failed = status is not Status.DONE
    return RunRecord(spec, status, "invented" if failed else "", tuple(rows[:2] if failed else rows), facts)


@pytest.fixture
def make_store(tmp_path: Path) -> Callable[..., Path]:
    """A function that writes a store: every method on every space at every seed."""

    def make(
        methods: tuple[str, ...] = METHODS,
        space_names: tuple[str, ...] = ("nas-bench-201", "nas-bench-1shot1-s1"),
        seeds: int = 2,
        tier: str = "quick",
        name: str = "runs",
    ) -> Path:
        store = Store(tmp_path / name).open()
        for method in methods:
            for space in space_names:
                for seed in range(seeds):
                    store.append(record(method, space, seed, tier))
        return store.folder

    return make
