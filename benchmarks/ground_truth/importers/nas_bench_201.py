"""Reads NAS-Bench-201 v1.0 and v1.1 (``.pth``), NATS-Bench's topology file and its folder of one file an architecture.

All hold the same records in different containers. The benchmark's own packages (``nas-bench-201``, ``nats-bench``) are
not used: they unpickle whatever the file names, and need tens of gigabytes.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Iterator, Mapping
from functools import cache
from pathlib import Path
from typing import Any

from benchmarks.errors import UserError
from benchmarks.ground_truth.importers import containers
from benchmarks.ground_truth.importers.official import Official, fingerprint, reading
from benchmarks.ground_truth.importers.trainings import TRAININGS, Trainings, excerpt
from benchmarks.nas_bench_201_order import ARCHITECTURES, official_order
from benchmarks.spaces.nas_bench_201 import NASBench201

_EPOCHS = {"less": 12, "full": 200, "12": 12, "200": 200}
"""How the files name the two budgets: NAS-Bench-201 in words, NATS-Bench in numbers."""
_RELEASES = {
    (6_219, 1_621, 7_785): "NAS-Bench-201 v1.0",
    (2_225, 5_439, 7_961): "NAS-Bench-201 v1.1",
    (0, 7_456, 8_169): "NATS-tss-v1.0",
}
"""Architectures that a release trained once, twice and three times for 200 epochs."""
_MEMBER = re.compile(r"([0-9]{1,6})\.pickle\.pbz2")


def is_folder(path: Path) -> bool:
    """Whether a folder is laid out like NATS-Bench's."""
    return any(_MEMBER.fullmatch(member.name) for member in path.iterdir())


def folder_size(path: Path) -> int:
    """Bytes in the files of the architectures."""
    return sum(member.stat().st_size for member in _members(path).values())


def read_file(path: Path, kind: str, advance: Callable[[int], object]) -> tuple[Trainings, Official]:
    """Read a single file, of a container that ``containers.kind_of`` names; ``advance`` hears of twice its bytes.

    Raises:
        UserError: damaged, truncated, hostile, or of another benchmark.
    """
    official = fingerprint(path, advance)
    trainings = Trainings()
    with reading(path):
        data = containers.load(path, kind, excerpt, advance)
        if not isinstance(data, dict) or not isinstance(data.get("arch2infos"), dict):
            raise ValueError("it is no NAS-Bench-201 or NATS-Bench file, which has a dict 'arch2infos'")
        for infos in data["arch2infos"].values():
            _add(trainings, infos)
        if len(data["arch2infos"]) != trainings.seen.sum():
            raise ValueError("it holds an architecture twice")
    return trainings, official


def read_folder(path: Path, advance: Callable[[int], object]) -> tuple[Trainings, Official]:
    """Read a folder with a file an architecture; ``advance`` hears of its bytes. Raises as ``read_file``."""
    trainings, digest, size, read = Trainings(), hashlib.sha256(), 0, 0
    for name, member in _members(path).items():
        with reading(member):
            data = member.read_bytes()
            _add(trainings, containers.loads(data, excerpt))
            if trainings.seen.sum() != (read := read + 1):
                raise ValueError("it holds the architecture of another file")
        digest.update(f"{name} {hashlib.sha256(data).hexdigest()}\n".encode())
        size += len(data)
        advance(len(data))
    return trainings, Official(path.resolve().name, size, digest.hexdigest())


def release(trainings: Trainings) -> str:
    """The release, by how often it trained the architectures."""
    times = trainings.trained("cifar10-valid", 200)
    return _RELEASES.get((times[1], times[2], times[3]), "NAS-Bench-201, release not recognised")


def describe(trainings: Trainings) -> Iterator[str]:
    """What the file holds, a line each."""
    found = int(trainings.seen.sum())
    if found < ARCHITECTURES:
        yield f"WARNING: {found:,} of {ARCHITECTURES:,} architectures; the others stay without values"
    for epochs in (12, 200):
        for training in TRAININGS:
            if times := trainings.trained(training, epochs):
                often = ", ".join(f"{number:,} {count}x" for count, number in sorted(times.items()))
                yield f"{epochs} epochs on {training}: architectures trained {often}"


def check_complete(trainings: Trainings, path: Path) -> None:
    """Raise ``UserError`` unless every architecture was found."""
    found = int(trainings.seen.sum())
    if found < ARCHITECTURES:
        raise UserError(
            f"{path} holds {found:,} of the {ARCHITECTURES:,} architectures of NAS-Bench-201, so nothing was written: "
            "get the whole file (--partial would import what is there)"
        )


def _members(path: Path) -> dict[str, Path]:
    """The files of the architectures by name, in order."""
    return {member.name: member for member in sorted(path.iterdir()) if _MEMBER.fullmatch(member.name)}


def _add(trainings: Trainings, infos: Mapping[str, Mapping[str, Any]]) -> None:
    """Take in one architecture: for each budget its ``ArchResults`` record."""
    if not infos.keys() <= _EPOCHS.keys():
        sizes = ", which is the size space of NATS-Bench, not the topology space" if infos.keys() & {"01", "90"} else ""
        raise ValueError(f"it holds the epoch budgets {sorted(infos)!r:.60}{sizes}")
    for budget in sorted(infos):
        record = infos[budget]
        trainings.add(_row(record["arch_str"]), _EPOCHS[budget], record["all_results"])


def _row(text: str) -> int:
    try:
        return _rows()[text]
    except (KeyError, TypeError):
        raise ValueError(f"{text!r:.80} is no architecture of NAS-Bench-201") from None


@cache
def _rows() -> dict[str, int]:
    encode = NASBench201().encode
    return {encode(tuple(operations)): row for row, operations in enumerate(official_order().tolist())}
