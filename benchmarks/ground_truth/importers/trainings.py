"""Gathers the trainings of NAS-Bench-201 into columns, whatever file they come from."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from benchmarks.ground_truth.nas_bench_201 import operation_codes
from benchmarks.ground_truth.storage import Column, Group
from benchmarks.nas_bench_201_order import ARCHITECTURES, official_order

TRAININGS: Mapping[str, Mapping[str, tuple[str, int]]] = {
    "cifar10-valid": {"x-valid": ("cifar10_valid", 25_000)},
    "cifar10": {"train": ("cifar10_train", 50_000), "ori-test": ("cifar10_test", 10_000)},
    "cifar100": {
        "train": ("cifar100_train", 50_000),
        "x-valid": ("cifar100_valid", 5_000),
        "x-test": ("cifar100_test", 5_000),
        "ori-test": ("cifar100_valtest", 10_000),
    },
    "ImageNet16-120": {
        "train": ("imagenet16-120_train", 151_700),
        "x-valid": ("imagenet16-120_valid", 3_000),
        "x-test": ("imagenet16-120_test", 3_000),
        "ori-test": ("imagenet16-120_valtest", 6_000),
    },
}
"""For each training of an architecture, what the official files call an evaluation: our data set and split, and its
number of images. CIFAR-10 is trained twice: on half of the images for validation, on all of them for test."""
_LICENCE = "MIT (D-X-Y/NAS-Bench-201, D-X-Y/NATS-Bench)"
_FRACTION = 0.05
"""How far from a whole number of images an accuracy may be; the files average percentages in single precision."""


class _Key(NamedTuple):
    """One single training's evaluation."""

    group: str
    images: int
    training: str
    epochs: int
    seed: int


def excerpt(trial: dict[Any, Any]) -> dict[Any, Any] | None:
    """What a table needs of one training's record, or None for any other dict (a ``Fold``).

    The record (``ResultsCount`` of the official code) holds a curve over the epochs for each quantity.
    """
    if "train_acc1es" not in trial or "eval_acc1es" not in trial:
        return None
    last = trial["epochs"] - 1
    evaluations = {name: trial["eval_acc1es"].get(f"{name}@{last}") for name in ("x-valid", "x-test", "ori-test")}
    seconds, latencies = trial.get("train_times"), [s for s in trial.get("latency") or [] if s > 0]
    return {
        "epochs": last + 1,
        "train": trial["train_acc1es"].get(last),
        **evaluations,
        "seconds": math.fsum(seconds.values()) if seconds else None,
        "latency": math.fsum(latencies) / len(latencies) if latencies else None,
        "params": trial["params"],
        "flops": trial["flop"],
    }


class Trainings:
    """The accuracies and costs of all architectures while they are read."""

    def __init__(self) -> None:
        self.seen = np.zeros(ARCHITECTURES, bool)
        self._counts: dict[_Key, np.ndarray] = {}
        self._runs: dict[tuple[str, int], np.ndarray] = {}
        self._seconds: dict[tuple[str, int], np.ndarray] = {}
        self._costs: dict[str, np.ndarray] = {}

    def add(self, row: int, epochs: int, results: Mapping[tuple[str, int], Mapping[str, Any]]) -> None:
        """Take in the trainings of an architecture at one budget, by (training, seed).

        Raises ``ValueError`` for what no official file holds: an unknown training, an accuracy that is no count of
        images, an epoch budget that contradicts the record.
        """
        self.seen[row] = True
        for training in TRAININGS:
            trials = {int(seed): trial for (name, seed), trial in results.items() if name == training}
            if not trials:
                continue
            self._array(self._runs, (training, epochs), np.int8, 0)[row] = len(trials)
            seconds = [trial["seconds"] for trial in trials.values() if trial["seconds"] is not None]
            if seconds:
                self._array(self._seconds, (training, epochs), np.float64, np.nan)[row] = np.mean(seconds)
            if training != "cifar10-valid" and epochs == 200:
                self._add_costs(row, training.lower(), list(trials.values()))
            for seed, trial in trials.items():
                if trial["epochs"] != epochs:
                    raise ValueError(f"architecture {row} has a training of {trial['epochs']} epochs filed as {epochs}")
                for evaluation, (split, images) in TRAININGS[training].items():
                    if trial[evaluation] is not None:
                        key = _Key(f"{split}_{epochs}", images, training, epochs, seed)
                        self._array(self._counts, key, np.int32, -1)[row] = _count(trial[evaluation], key, row)
        if unknown := {name for name, _ in results} - set(TRAININGS):
            raise ValueError(
                f"architecture {row} has a training on {min(unknown)!r:.40}, not on {', '.join(TRAININGS)}"
            )

    def trained(self, training: str, epochs: int) -> Counter[int]:
        """How many architectures have how many trainings."""
        runs = self._runs.get((training, epochs))
        return Counter() if runs is None else Counter(runs[self.seen].tolist())

    def table(self, source: str) -> tuple[dict[str, pa.Array], dict[str, Column], dict[str, Group]]:
        """Columns, what they are, and the groups of accuracies, as ``storage.write`` wants them."""
        columns = {"operations": pa.array(operation_codes(official_order()))}
        meanings = {"operations": "six decimal digits, the operations of the edges"}
        groups: dict[str, Group] = {}
        for (training, epochs), runs in self._runs.items():
            columns[name := f"runs_{training.lower()}_{epochs}"] = pa.array(runs)
            meanings[name] = f"trainings of {epochs} epochs on {training}"
        for name in dict.fromkeys(key.group for key in self._counts):
            parts = {key: counts for key, counts in self._counts.items() if key.group == name}
            first = next(iter(parts))
            groups[name] = Group(first.images, f"runs_{first.training.lower()}_{first.epochs}")
            meaning = f"correct of {first.images} images"
            stacked = np.stack(list(parts.values()))
            held = stacked >= 0
            whole = held.any(axis=0) & (held.sum(axis=0) == self._runs[first.training, first.epochs])
            columns[f"{name}_mean"] = pa.array(np.where(held, stacked, 0).sum(axis=0, dtype=np.int32), mask=~whole)
            meanings[f"{name}_mean"] = f"{meaning}, summed over the trainings"
            for key, counts in sorted(parts.items()):
                columns[f"{name}_seed{key.seed}"] = pa.array(counts, mask=counts < 0)
                meanings[f"{name}_seed{key.seed}"] = meaning
        for name, values in self._costs.items():
            cost, unknown = name.partition("_")[0], np.isnan(values)
            exact = values if cost == "latency" else np.where(unknown, 0, values.round()).astype(np.int32)
            columns[name] = pa.array(exact, mask=unknown)
            meanings[name] = _COSTS[cost]
        for (training, epochs), seconds in self._seconds.items():
            columns[name := f"time_{training.lower()}_{epochs}"] = pa.array(seconds, mask=np.isnan(seconds))
            meanings[name] = "seconds of one training, the mean over the trainings"
        return columns, {name: Column(meaning, source, _LICENCE) for name, meaning in meanings.items()}, groups

    def _add_costs(self, row: int, dataset: str, trials: list[Mapping[str, Any]]) -> None:
        for cost, factor in {"params": 1e6, "flops": 1e6, "latency": 1.0}.items():
            values = [trial[cost] for trial in trials if trial[cost] is not None]
            if values:
                self._array(self._costs, f"{cost}_{dataset}", np.float64, np.nan)[row] = factor * np.mean(values)

    @staticmethod
    def _array(arrays: dict[Any, np.ndarray], key: Any, dtype: Any, empty: float) -> np.ndarray:
        if key not in arrays:
            arrays[key] = np.full(ARCHITECTURES, empty, dtype)
        return arrays[key]


_COSTS = {
    "params": "trainable parameters",
    "flops": "FLOPs of one image as the benchmark counts them",
    "latency": "seconds of a forward pass of a batch on the benchmark's hardware, the mean over the trainings",
}


def _count(percent: float, key: _Key, row: int) -> int:
    """Correct images of an accuracy in %."""
    exact = percent / 100 * key.images
    count = round(exact)
    if abs(exact - count) > _FRACTION or not 0 <= count <= key.images:
        raise ValueError(
            f"{key.group} of architecture {row}, seed {key.seed}, is {percent} %, "
            f"which no count of {key.images} images is"
        )
    return count
