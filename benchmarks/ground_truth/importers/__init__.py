"""Importers of official benchmark files: each becomes the same kind of table that ships with the package.

    with Progress() as progress:
        import_path(Path("nasbench_only108.tfrecord"), output, progress)

Recognised by content, not by name. Nothing in a file is ever run: pickles are interpreted by a reader of our own.
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterable
from pathlib import Path

from rich.progress import Progress

from benchmarks.errors import UserError
from benchmarks.ground_truth import FILES, TABLES
from benchmarks.ground_truth.importers import containers, nas_bench_101, nas_bench_201, nas_bench_301, report
from benchmarks.ground_truth.importers.official import COMMAND, Official
from benchmarks.ground_truth.importers.trainings import Trainings
from benchmarks.ground_truth.storage import Provenance, StoredTable, read, write

RECOGNISED = (
    "NAS-Bench-201 (NAS-Bench-201-v1_0-e61699.pth, NAS-Bench-201-v1_1-096897.pth), "
    "NATS-Bench topology (NATS-tss-v1_0-3ffb9.pickle.pbz2, or the folder NATS-tss-v1_0-3ffb9-simple), "
    "NAS-Bench-101 (nasbench_only108.tfrecord, nasbench_full.tfrecord), NAS-Bench-301 (a folder of surrogate models)"
)


def import_path(path: Path, output: Path, progress: Progress, *, partial: bool = False) -> StoredTable | None:
    """Read an official file or folder, check it, write its table and print what was found.

    Args:
        path: file or folder, under any name.
        output: folder for the table; what is there is replaced only once the new table is whole.
        progress: shows how far the reading is; the summary goes to its console.
        partial: whether a file that lacks architectures becomes a table that lacks them too. An official file lacks
            none, so without this a part is taken for a broken download.

    Returns:
        The table; None for models that work where they are.

    Raises:
        UserError: unknown, damaged, truncated, hostile or incomplete file; a folder that cannot be written. Nothing was
            written then.
    """
    if not path.exists():
        raise UserError(f"there is no {path}: name an official file or folder, one of {RECOGNISED}")
    _check_writable(output)
    try:
        if path.is_dir():
            return _import_folder(path, output, progress, partial)
        return _import_file(path, output, progress, partial)
    except OSError as error:
        raise UserError(f"cannot read {path}: {error.strerror or error}") from None


def _import_folder(path: Path, output: Path, progress: Progress, partial: bool) -> StoredTable | None:
    if nas_bench_201.is_folder(path):
        task = progress.add_task(f"reading {path.name}", total=nas_bench_201.folder_size(path))
        trainings, official = nas_bench_201.read_folder(path, lambda size: progress.advance(task, size))
        return _write_201(trainings, official, path, output, progress, partial)
    if nas_bench_301.members(path):
        _say(progress, [nas_bench_301.explain(path)])
        return None
    raise UserError(f"{path} is no folder that can be imported; recognised are {RECOGNISED}")


def _import_file(path: Path, output: Path, progress: Progress, partial: bool) -> StoredTable:
    kind = containers.kind_of(path)
    if kind is None and not nas_bench_101.is_nas_bench_101(path):
        unpack = "is an archive: unpack it and name what was in it" if tarfile.is_tarfile(path) else "is unknown"
        raise UserError(f"{path} {unpack}; recognised are {RECOGNISED}")
    # Each file is read twice: for its checksum, and for what it holds.
    task = progress.add_task(f"reading {path.name}", total=2 * path.stat().st_size)
    if kind is not None:
        trainings, official = nas_bench_201.read_file(path, kind, lambda size: progress.advance(task, size))
        return _write_201(trainings, official, path, output, progress, partial)
    place = _table_in_place("nas-bench-1shot1-s1")
    measured, official = nas_bench_101.read_file(path, place, lambda size: progress.advance(task, size))
    if not partial:
        nas_bench_101.check_complete(measured, path)
    columns, described, groups = nas_bench_101.merge(place, measured, official)
    lengths = ", ".join(str(epochs) for epochs in sorted(measured.records))
    provenance = Provenance(
        "nas-bench-1shot1",
        f"NAS-Bench-101 v1 ({lengths} epochs), spaces of NAS-Bench-1Shot1",
        f"{COMMAND} {official.name}",
        groups,
        described,
    )
    table = write(output / FILES["nas-bench-1shot1-s1"], columns, provenance)
    _say(progress, [f"{official.text}: {official.verdict}", *nas_bench_101.describe(measured), _written(table)])
    _say(progress, [*report.compare(table, place), *report.facts_1shot1(table)])
    return table


def _write_201(
    trainings: Trainings, official: Official, path: Path, output: Path, progress: Progress, partial: bool
) -> StoredTable:
    if not partial:
        nas_bench_201.check_complete(trainings, path)
    release = nas_bench_201.release(trainings)
    columns, described, groups = trainings.table(f"{release}, {official.text}")
    place = _table_in_place("nas-bench-201")
    provenance = Provenance("nas-bench-201", release, f"{COMMAND} {official.name}", groups, described)
    table = write(output / FILES["nas-bench-201"], columns, provenance)
    _say(progress, [f"{official.text}: {official.verdict}", *nas_bench_201.describe(trainings), _written(table)])
    _say(progress, [*report.compare(table, place), *report.facts_201(table)])
    return table


def _table_in_place(space: str) -> StoredTable:
    return read(TABLES / FILES[space])


def _check_writable(output: Path) -> None:
    """Find out before the long reading whether the table can be written after it."""
    existing = next(folder for folder in (output, *output.absolute().parents) if folder.exists())
    if not existing.is_dir() or not os.access(existing, os.W_OK):
        raise UserError(f"cannot write tables to {output}: choose a folder that can be written")


def _written(table: StoredTable) -> str:
    return (
        f"wrote {table.path}: {table.provenance.release}, {table.data.num_rows:,} rows, {table.data.num_columns} "
        f"columns, sha256 {table.digest}"
    )


def _say(progress: Progress, lines: Iterable[str]) -> None:
    for line in lines:
        progress.console.print(line, soft_wrap=True, markup=False, highlight=False)


__all__ = ["RECOGNISED", "import_path"]
