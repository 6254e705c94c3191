"""Reads NAS-Bench-101, ``nasbench_only108.tfrecord`` and ``nasbench_full.tfrecord``, into the table of 1Shot1.

A record is one training as JSON: module hash, epochs, adjacency matrix, operations, and a protocol buffer with the
measurements (``model_metrics.proto`` of google-research/nasbench) in base 64.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa

from benchmarks.errors import UserError
from benchmarks.ground_truth.importers.official import Official, fingerprint, reading
from benchmarks.ground_truth.importers.tfrecord import fields, is_tfrecord, records
from benchmarks.ground_truth.measures import Measure
from benchmarks.ground_truth.nas_bench_1shot1 import IMAGES
from benchmarks.ground_truth.storage import Column, Group, StoredTable
from benchmarks.spaces.nas_bench_101 import module_hash, prune

RUNS = 3
"""Trainings of each graph at each number of epochs."""
GRAPHS = 423_624
_BUDGETS = (4, 12, 36, 108)
_SOURCE_LICENCE = "Apache-2.0 (google-research/nasbench)"
_EVALUATIONS = 3  # before, halfway and after the training
_SAMPLE = 1_000
"""One in so many graphs is hashed again by our own code."""
# Field numbers of the protocol buffers.
_EVALUATION, _PARAMETERS = 1, 2
_SECONDS, _VALID, _TEST = 2, 4, 5


class Training(NamedTuple):
    """What one record says of the end of a training: accuracies as shares, seconds, trainable parameters."""

    valid: float
    test: float
    seconds: float
    parameters: int


@dataclass
class Measurements:
    """The trainings of the graphs of a table, row by row.

    Attributes:
        counts: for split and epochs, correct images of each run, int32 ``[rows, runs]``, -1 where missing.
        seconds: for the epochs, seconds of each run, float64 ``[rows, runs]``, NaN where missing.
        records: for the epochs, how many trainings the whole file has.
        rehashed: rows of the graphs that our own code gave the same hash.
        other_parameters: how many trainings disagree with the table on the number of parameters.
    """

    rows: int
    counts: dict[tuple[str, int], np.ndarray] = field(default_factory=dict)
    seconds: dict[int, np.ndarray] = field(default_factory=dict)
    records: Counter[int] = field(default_factory=Counter)
    rehashed: set[int] = field(default_factory=set)
    other_parameters: int = 0

    def add(self, row: int, epochs: int, training: Training) -> None:
        """Take in the next run of a graph. Raises ``ValueError`` for a fourth, or an accuracy that no count gives."""
        if epochs not in self.seconds:
            self.seconds[epochs] = np.full((self.rows, RUNS), np.nan)
            for split in ("valid", "test"):
                self.counts[split, epochs] = np.full((self.rows, RUNS), -1, np.int32)
        run = int(np.isfinite(self.seconds[epochs][row]).sum())
        if run == RUNS:
            raise ValueError(f"it holds a fourth training of {epochs} epochs of one graph")
        self.seconds[epochs][row, run] = training.seconds
        self.counts["valid", epochs][row, run] = _count(training.valid)
        self.counts["test", epochs][row, run] = _count(training.test)


def is_nas_bench_101(path: Path) -> bool:
    """Whether a file begins with a record of NAS-Bench-101."""
    if not is_tfrecord(path):
        return False
    try:
        _parse(next(records(path, lambda _: None)))
    except (ValueError, StopIteration):
        return False
    return True


def read_file(path: Path, table: StoredTable, advance: Callable[[int], object]) -> tuple[Measurements, Official]:
    """Read the trainings of the graphs in a table; ``advance`` hears of twice the bytes of the file.

    Raises:
        UserError: damaged, truncated or foreign.
    """
    official = fingerprint(path, advance)
    hashes = [value.hex() for value in table.data.column("hash").to_pylist()]
    row_of = {value: row for row, value in enumerate(hashes)}
    parameters = table.column("params_cifar10")
    measured = Measurements(len(hashes))
    with reading(path):
        for record in records(path, advance):
            name, epochs, adjacency, operations, metrics = _parse(record)
            measured.records[epochs] += 1
            row = row_of.get(name)
            if row is None:
                continue
            training = _training(metrics)
            measured.add(row, epochs, training)
            measured.other_parameters += training.parameters != parameters[row]
            if row % _SAMPLE == 0:
                if _hash(adjacency, operations) != name:
                    raise ValueError(f"the graph filed under the module hash {name} has another one")
                measured.rehashed.add(row)
    return measured, official


def check_complete(measured: Measurements, path: Path) -> None:
    """Raise ``UserError`` unless every training of the release is there."""
    whole = dict.fromkeys(_BUDGETS if len(measured.records) > 1 else (108,), GRAPHS * RUNS)
    held_all = all((counts >= 0).all() for counts in measured.counts.values())
    if dict(measured.records) != whole or not held_all:
        found = ", ".join(f"{n:,} of {epochs} epochs" for epochs, n in sorted(measured.records.items()))
        raise UserError(
            f"{path} holds {found or 'no'} trainings instead of {GRAPHS * RUNS:,} of each length, so nothing was "
            "written: get the whole file (--partial would import what is there)"
        )


def describe(measured: Measurements) -> Iterator[str]:
    """What the file holds, a line each."""
    for epochs, total in sorted(measured.records.items()):
        known = int(np.isfinite(measured.seconds[epochs]).all(axis=1).sum()) if epochs in measured.seconds else 0
        missing = "" if known == measured.rows else f"; WARNING: {measured.rows - known:,} graphs stay without values"
        yield f"{total:,} trainings of {epochs} epochs; all {RUNS} of {known:,} of {measured.rows:,} graphs{missing}"
    yield f"{len(measured.rehashed):,} graphs hashed again by our code: the module hashes are the same"
    if measured.other_parameters:
        yield f"WARNING: {measured.other_parameters:,} trainings disagree with the table in place on the parameters"


def merge(
    table: StoredTable, measured: Measurements, official: Official
) -> tuple[dict[str, pa.ChunkedArray | pa.Array], dict[str, Column], dict[str, Group]]:
    """The columns of the table with every measurement replaced by the file's, as ``storage.write`` wants them."""
    kept = [name for name in table.data.column_names if Measure.parse(name) is None and not name.startswith("time_")]
    columns = {name: table.data.column(name).combine_chunks() for name in kept}
    described = {name: table.provenance.columns[name] for name in kept}
    groups = {}

    def add(name: str, values: np.ndarray, known: Any, meaning: str) -> None:
        columns[name] = pa.array(values, mask=~known)
        described[name] = Column(meaning, f"NAS-Bench-101 (Ying et al., ICML 2019), {official.text}", _SOURCE_LICENCE)

    meaning = f"correct of {IMAGES} images"
    for (split, epochs), counts in sorted(measured.counts.items(), key=lambda item: (-item[0][1], item[0][0])):
        group = f"cifar10_{split}_{epochs}"
        groups[group] = Group(IMAGES, RUNS)
        held, whole = counts >= 0, np.all(counts >= 0, axis=1)
        add(f"{group}_mean", counts.sum(axis=1, dtype=np.int32), whole, f"{meaning}, summed over {RUNS} runs")
        if f"{group}_max" in table.data.column_names:
            add(f"{group}_max", counts.max(axis=1), whole, f"{meaning}, best of {RUNS} runs")
        for run in range(RUNS):
            add(f"{group}_run{run}", counts[:, run], held[:, run], f"{meaning}, run {run} in the order of the file")
    for epochs, seconds in sorted(measured.seconds.items(), reverse=True):
        known = np.isfinite(seconds).all(axis=1)
        add(f"time_cifar10_{epochs}", seconds.mean(axis=1), known, f"seconds of one training, the mean of {RUNS} runs")
    return columns, described, groups


def _parse(record: bytes) -> tuple[str, int, str, str, str]:
    """Module hash, epochs, adjacency, operations and metrics of a record. Raises ``ValueError`` for anything else."""
    row = json.loads(record)
    if not isinstance(row, list) or [type(value) for value in row] != [str, int, str, str, str]:
        raise ValueError("a record of it is no training of NAS-Bench-101")
    name, epochs, adjacency, operations, metrics = row
    if epochs not in _BUDGETS:
        raise ValueError(f"a record of it has {epochs} epochs: NAS-Bench-101 has {', '.join(map(str, _BUDGETS))}")
    return name, epochs, adjacency, operations, metrics


def _training(metrics: str) -> Training:
    try:
        message = base64.b64decode(metrics, validate=False)
    except binascii.Error as error:
        raise ValueError(f"a record's measurements are malformed ({error})") from None
    evaluations: list[bytes] = []
    parameters = 0
    for number, value in fields(message):
        if number == _EVALUATION and isinstance(value, bytes):
            evaluations.append(value)
        elif number == _PARAMETERS and isinstance(value, int):
            parameters = value
    if len(evaluations) != _EVALUATIONS:
        raise ValueError(f"a record holds {len(evaluations)} evaluations, not {_EVALUATIONS}")
    final = dict(_doubles(evaluations[-1]))
    try:
        return Training(final[_VALID], final[_TEST], final[_SECONDS], parameters)
    except KeyError as error:
        raise ValueError(f"a record's last evaluation lacks the field {error}") from None


def _doubles(message: bytes) -> Iterator[tuple[int, float]]:
    return ((number, value) for number, value in fields(message) if isinstance(value, float))


def _count(share: float) -> int:
    """Correct images of an accuracy in 0 to 1."""
    exact = share * IMAGES
    count = round(exact)
    if abs(exact - count) > 0.01 or not 0 <= count <= IMAGES:
        raise ValueError(f"an accuracy of {share} is no count of {IMAGES} images")
    return count


def _hash(adjacency: str, operations: str) -> str:
    size = round(len(adjacency) ** 0.5)
    matrix = np.array(list(map(int, adjacency)), np.uint8).reshape(size, size)
    return module_hash(*prune(matrix, operations.split(",")[1:-1]))
