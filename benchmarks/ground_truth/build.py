"""Compile the shipped tables from a folder of facts (``nas_bench_201.csv.gz``, ``nas_bench_1shot1.npz`` and notes).

Left out on purpose: columns that can be computed (isomorphism classes) and columns whose source states no licence in a
file (training accuracies and latencies of NAS-Bench-201); the importer brings them for users of the official files.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow as pa

from benchmarks.errors import UserError
from benchmarks.ground_truth import FILES
from benchmarks.ground_truth.measures import Measure
from benchmarks.ground_truth.nas_bench_1shot1 import IMAGES, SPACES
from benchmarks.ground_truth.nas_bench_201 import operation_codes
from benchmarks.ground_truth.storage import Column, Group, Provenance, StoredTable, write

COMMAND = "python -m benchmarks.ground_truth build FACTS"

_DATASETS = {"c10": "cifar10", "c100": "cifar100", "in16": "imagenet16-120"}
_IMAGES_201 = {
    "cifar10_valid": 25_000,
    "cifar10_test": 10_000,
    "cifar100_valid": 5_000,
    "cifar100_test": 5_000,
    "cifar100_valtest": 10_000,
    "imagenet16-120_valid": 3_000,
    "imagenet16-120_test": 3_000,
    "imagenet16-120_valtest": 6_000,
}
_SEEDS = (777, 888, 999)
_MISSING = 65_535
_NB101 = "NAS-Bench-101 (Ying et al., ICML 2019)"
_APACHE = "Apache-2.0 (google-research/nasbench)"


def build(facts: Path, tables: Path) -> list[StoredTable]:
    """Compile both tables.

    Args:
        facts: folder with ``nas_bench_201.csv.gz``, ``nas_bench_201_columns.json`` and ``nas_bench_1shot1.npz``.
        tables: folder to write to.

    Raises:
        UserError: a file of facts is missing, or its numbers are not counts of images.
    """
    for name in ("nas_bench_201.csv.gz", "nas_bench_201_columns.json", "nas_bench_1shot1.npz"):
        if not (facts / name).is_file():
            raise UserError(f"no {name} in {facts}: name the folder that holds the compiled facts")
    return [
        build_201(facts, tables / FILES["nas-bench-201"]),
        build_1shot1(facts, tables / FILES["nas-bench-1shot1-s1"]),
    ]


def build_201(facts: Path, path: Path) -> StoredTable:
    """Compile NAS-Bench-201."""
    source = pd.read_csv(facts / "nas_bench_201.csv.gz", dtype={"ops": str})
    notes = json.loads((facts / "nas_bench_201_columns.json").read_text(encoding="utf-8"))
    operations = np.array([list(map(int, code)) for code in source["ops"]])
    columns: dict[str, pa.Array] = {}
    described: dict[str, Column] = {}
    groups: dict[str, Group] = {}

    def add(name: str, values: pa.Array, origin: str, meaning: str) -> None:
        columns[name] = values
        described[name] = Column(meaning, notes[origin]["what"], notes[origin]["licence"])

    add("operations", pa.array(operation_codes(operations)), "ops", "six decimal digits, the operations of the edges")
    add("runs_200", pa.array(source["n_seeds"].astype(np.int8)), "n_seeds", "trainings of 200 epochs")
    for origin, measure in _accuracies_201().items():
        images = _IMAGES_201[f"{measure.dataset}_{measure.split}"]
        runs: int | str = "runs_200" if measure.epochs == 200 else 2 if origin == "c10_valid12" else 1
        groups[measure.group] = Group(images, runs)
        mean = measure.reduction.label == "mean"
        trainings = (source["n_seeds"] if isinstance(runs, str) else runs) if mean else 1
        meaning = f"correct of {images} images" + (", summed over the trainings" if mean else "")
        add(measure.column, _counts(source[origin] / 100 * images * trainings, origin), origin, meaning)
    for short, dataset in _DATASETS.items():
        for cost, what in (
            ("params", "trainable parameters"),
            ("flops", "FLOPs of one image as the benchmark counts them"),
        ):
            add(f"{cost}_{dataset}", _counts(source[f"{cost}_{short}"] * 1e6, cost), f"{cost}_{short}", what)
    for short, training in {"c10valid": "cifar10-valid", **_DATASETS}.items():
        add(f"time_{training}_200", pa.array(source[f"time200_{short}"]), f"time200_{short}", "seconds of one training")
    add("time_cifar10-valid_12", pa.array(source["time12_c10valid"]), "time12_c10valid", "seconds of one training")
    return write(path, columns, Provenance("nas-bench-201", "NATS-tss-v1.0", COMMAND, groups, described))


def build_1shot1(facts: Path, path: Path) -> StoredTable:
    """Compile NAS-Bench-1Shot1."""
    with np.load(facts / "nas_bench_1shot1.npz") as source:
        raw = {name: source[name] for name in source.files}
    fixed: dict[str, tuple[pa.Array, str]] = {
        "hash": (pa.array(map(bytes, raw["hash"]), pa.binary(16)), "official module hash"),
        "vertices": (pa.array(raw["n_vertices"]), "vertices of the pruned graph, input and output included"),
        "adjacency": (pa.array(raw["adj_bits"].astype(np.int32)), "bit x + y(y-1)/2 is the edge x->y, x < y"),
        "operations": (
            pa.array(_interior_codes(raw["ops"], raw["n_vertices"])),
            "a decimal digit for each interior vertex, first to last: 0 conv3x3, 1 conv1x1, 2 maxpool3x3",
        ),
        "params_cifar10": (pa.array(raw["params"]), "trainable parameters"),
        "cifar10_test_108_mean": (
            _known_counts(raw["test_correct_108_sum3"]),
            f"correct of {IMAGES} images, summed over the three trainings",
        ),
        "cifar10_valid_108_mean": (
            _known_counts(raw["val_correct_108_sum3"]),
            f"correct of {IMAGES} images, summed over the three trainings; mostly missing",
        ),
        "cifar10_valid_108_max": (
            _known_counts(raw["val_correct_108_max3"]),
            f"correct of {IMAGES} images, best of the three trainings; mostly missing",
        ),
        "time_cifar10_108": (
            pa.array(raw["train_time_108_rep_s"], from_pandas=True),
            "seconds of one of the three trainings; mostly missing",
        ),
    }
    columns = {name: values for name, (values, _) in fixed.items()}
    described = {name: Column(meaning, _NB101, _APACHE) for name, (_, meaning) in fixed.items()}
    for space in SPACES:
        name = f"encodings_s{space}"
        columns[name] = pa.array(raw[f"s{space}_encodings"])
        described[name] = Column(
            f"encodings of space {space} that are this graph", "our enumeration", "Apache-2.0 (own)"
        )
    groups = {group: Group(IMAGES, 3) for group in ("cifar10_test_108", "cifar10_valid_108")}
    release = "NAS-Bench-101 v1 (108 epochs), spaces of NAS-Bench-1Shot1"
    return write(path, columns, Provenance("nas-bench-1shot1", release, COMMAND, groups, described))


def _accuracies_201() -> Mapping[str, Measure]:
    """Our measure for each accuracy column of the facts that ships."""
    named = {}
    for short, dataset in _DATASETS.items():
        splits = ("valid", "test") if short == "c10" else ("valid", "test", "valtest")
        for split in splits:
            named[f"{short}_{split}200"] = f"{dataset}_{split}_200_mean"
            for seed in _SEEDS:
                named[f"{short}_{split}200_s{seed}"] = f"{dataset}_{split}_200_seed{seed}"
        for split in ("valid", "test"):
            # The facts have seed 111 alone at 12 epochs, but for CIFAR-10 validation the mean of seeds 111 and 777.
            reduction = "mean" if (short, split) == ("c10", "valid") else "seed111"
            named[f"{short}_{split}12"] = f"{dataset}_{split}_12_{reduction}"
    return {origin: measure for origin, name in named.items() if (measure := Measure.parse(name))}


def _counts(values: pd.Series, name: str) -> pa.Array:
    """Whole numbers as int32 with nulls where missing. Raises ``UserError`` where they are not whole."""
    whole = values.round()
    if bool(((values - whole).abs() > 1e-3).any()):
        raise UserError(f"column {name} of the facts holds values that are no count of images: check its release")
    return pa.array(whole.astype("Int32"), pa.int32())


def _known_counts(values: np.ndarray) -> pa.Array:
    return pa.array(values.astype(np.int32), mask=values == _MISSING)


def _interior_codes(operations: np.ndarray, vertices: np.ndarray) -> np.ndarray:
    """Interior operations ``[n, 5]`` (255 pads) as decimal digits, int32 ``[n]``."""
    codes = np.zeros(len(operations), np.int32)
    for place, digit in enumerate(operations.T.astype(np.int32)):
        codes = np.where(place < vertices - 2, codes * 10 + digit, codes)
    return codes
