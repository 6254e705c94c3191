"""Tables on disk: what is written comes back, and a damaged file never passes for a table."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from benchmarks import ground_truth
from benchmarks.errors import UserError
from benchmarks.ground_truth import FILES, TABLES, storage
from benchmarks.ground_truth.storage import Column, Group, Provenance, read, write

ABOUT = Column("a meaning", "a source", "MIT")
COUNTS = pa.array([3, None, 10], pa.int32())


def small(**columns: pa.Array) -> tuple[dict[str, pa.Array], Provenance]:
    named = {"cifar10_test_200_mean": COUNTS, "runs_200": pa.array([2, 3, 1], pa.int8())} | columns
    groups = {"cifar10_test_200": Group(10, "runs_200")}
    return named, Provenance("a benchmark", "a release", "a command", groups, dict.fromkeys(named, ABOUT))


def test_round_trip(tmp_path: Path) -> None:
    key = pa.array([b"\0" * 16, b"a\0" * 8, b"\xff" * 16], pa.binary(16))
    columns, provenance = small(hash=key, seconds=pa.array([0.5, None, 1.5]))
    path = tmp_path / "new" / "folder" / "table.parquet"
    written = write(path, columns, provenance)
    again = read(path)
    assert again.provenance == written.provenance == provenance
    assert again.digest == written.digest
    assert again.column("hash").tolist() == key.to_pylist()
    np.testing.assert_array_equal(again.column("cifar10_test_200_mean"), [3, np.nan, 10])
    np.testing.assert_array_equal(again.column("seconds"), [0.5, np.nan, 1.5])
    assert again.column("runs_200").dtype == np.int8
    assert list(path.parent.iterdir()) == [path], "no temporary file stays"


def test_digest_depends_on_every_fact_and_on_nothing_else(tmp_path: Path) -> None:
    columns, provenance = small()
    digest = write(tmp_path / "a.parquet", columns, provenance).digest
    assert write(tmp_path / "b.parquet", dict(reversed(columns.items())), provenance).digest == digest
    sliced = {name: pa.concat_arrays([values[:1], values]).slice(1) for name, values in columns.items()}
    assert write(tmp_path / "c.parquet", sliced, provenance).digest == digest
    others = [
        (columns | {"cifar10_test_200_mean": pa.array([3, 0, 10], pa.int32())}, provenance),
        (columns | {"cifar10_test_200_mean": pa.array([None, 3, 10], pa.int32())}, provenance),
        (columns | {"cifar10_test_200_mean": pa.array([3, None, 10], pa.int64())}, provenance),
        (columns, dataclasses.replace(provenance, release="another")),
        (columns, dataclasses.replace(provenance, groups={"cifar10_test_200": Group(11, "runs_200")})),
    ]
    digests = {write(tmp_path / "d.parquet", *other).digest for other in others}
    assert len(digests | {digest}) == len(others) + 1


@pytest.mark.parametrize(
    ("columns", "problem"),
    [
        ({"cifar10_test_200_mean": pa.array([3, None, 11], pa.int32())}, "counts outside 0 to its number of images"),
        ({"cifar10_test_200_mean": pa.array([-1, 3, 3], pa.int32())}, "counts outside"),
        ({"cifar10_test_200_seed1": pa.array([11, None, 3], pa.int32())}, "cifar10_test_200_seed1 has counts outside"),
        ({"cifar10_test_200_mean": pa.array([0.3, 0.1, 0.9])}, "must be an integer count"),
        ({"cifar100_test_200_mean": COUNTS}, "no images and runs are given for cifar100_test_200"),
    ],
)
def test_contradictions_are_not_written(tmp_path: Path, columns: dict[str, pa.Array], problem: str) -> None:
    with pytest.raises(ValueError, match=problem):
        write(tmp_path / "table.parquet", *small(**columns))
    assert not list(tmp_path.iterdir())


def test_undescribed_columns_are_not_written(tmp_path: Path) -> None:
    columns, provenance = small()
    with pytest.raises(ValueError, match="described are"):
        write(tmp_path / "table.parquet", columns | {"extra": COUNTS}, provenance)


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(UserError, match=r"cannot write .*table.parquet .*: choose a writable folder"):
        write(tmp_path / "file" / "table.parquet", *small())


def test_a_failed_write_leaves_the_old_table(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "table.parquet"
    old = write(path, *small()).digest

    def full_disk(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(storage.pq, "write_table", full_disk)
    with pytest.raises(UserError, match="No space left on device"):
        write(path, *small(seconds=pa.array([1.0, 2.0, 3.0])))
    monkeypatch.undo()
    assert read(path).digest == old
    assert list(tmp_path.iterdir()) == [path]


def test_missing_file(tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"has no nas-bench-201.parquet: import it there"):
        ground_truth.load("nas-bench-201", tables=tmp_path)
    with pytest.raises(UserError, match=r"no ground-truth table .*nas-bench-201.parquet: reinstall the package"):
        read(tmp_path / "nas-bench-201.parquet")


@pytest.mark.parametrize("file", sorted(set(FILES.values())))
@pytest.mark.parametrize("share", [0.0, 0.001, 0.5, 0.99, 0.99999])
def test_truncated(tmp_path: Path, file: str, share: float) -> None:
    whole = (TABLES / file).read_bytes()
    path = tmp_path / file
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises(UserError, match=r"is damaged or truncated \(.*\): reinstall the package") as caught:
        read(path)
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("file", sorted(set(FILES.values())))
def test_flipped_bits(tmp_path: Path, file: str) -> None:
    """A flipped bit is either refused in one line, or it is in Parquet's own bookkeeping and no fact has changed."""
    whole = (TABLES / file).read_bytes()
    digest = read(TABLES / file).digest
    rng = np.random.default_rng(0)
    footer = int.from_bytes(whole[-8:-4], "little") + 8
    # Most of a file is values; the footer is sampled more densely, it is where a parser could be misled.
    data, tail = rng.integers(0, len(whole) - footer, 60), rng.integers(len(whole) - footer, len(whole), 60)
    path = tmp_path / file
    refused = {"values": 0, "footer": 0}
    for part, positions in (("values", data), ("footer", tail)):
        for position in positions:
            damaged = bytearray(whole)
            damaged[position] ^= 1 << int(rng.integers(8))
            path.write_bytes(damaged)
            try:
                assert read(path).digest == digest
            except UserError as error:
                refused[part] += 1
                assert str(path) in str(error) and "\n" not in str(error)
    assert refused["values"] == len(data), "every flipped bit of a value is found"
    assert refused["footer"] > 10


def _tampered(path: Path, **changes: object) -> None:
    table = pq.read_table(TABLES / "nas-bench-201.parquet")
    footer = json.loads(table.schema.metadata[storage._FOOTER])
    footer = {key: value for key, value in (footer | changes).items() if value is not None}
    pq.write_table(table.replace_schema_metadata({storage._FOOTER: json.dumps(footer).encode()}), path)


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"schema": 99}, "has table schema 99, this suite reads 1"),
        ({"provenance": {"benchmark": "x"}}, "has a damaged or foreign footer"),
        ({"provenance": []}, "has a damaged or foreign footer"),
        ({"sha256": None}, "has a damaged or foreign footer"),
        ({"schema": None}, "has a damaged or foreign footer"),
        ({"sha256": "0" * 64}, "does not match its checksum"),
    ],
)
def test_wrong_footer(tmp_path: Path, changes: dict[str, object], message: str) -> None:
    path = tmp_path / "nas-bench-201.parquet"
    _tampered(path, **changes)
    with pytest.raises(UserError, match=message):
        read(path)


def test_foreign_files(tmp_path: Path) -> None:
    path = tmp_path / "nas-bench-201.parquet"
    pq.write_table(pa.table({"x": [1]}), path)
    with pytest.raises(UserError, match="is a Parquet file but not a ground-truth table"):
        ground_truth.load("nas-bench-201", tables=tmp_path)
    path.write_text("index,arch_str\n")
    with pytest.raises(UserError, match="is damaged or truncated"):
        ground_truth.load("nas-bench-201", tables=tmp_path)
    write(path, *small())
    with pytest.raises(UserError, match="does not list the 15,625 architectures of NAS-Bench-201"):
        ground_truth.load("nas-bench-201", tables=tmp_path)
    write(tmp_path / "nas-bench-1shot1.parquet", *small())
    with pytest.raises(UserError, match="lacks the column encodings_s2"):
        ground_truth.load("nas-bench-1shot1-s2", tables=tmp_path)


def test_rows_in_another_order_are_refused(tmp_path: Path) -> None:
    stored = read(TABLES / "nas-bench-201.parquet")
    swapped = stored.data.take([1, 0, *range(2, 15_625)])
    columns = {name: swapped.column(name).combine_chunks() for name in swapped.column_names}
    write(tmp_path / "nas-bench-201.parquet", columns, stored.provenance)
    with pytest.raises(UserError, match="in the order of the official index"):
        ground_truth.load("nas-bench-201", tables=tmp_path)


def test_shipped_tables_are_small_and_describe_every_column() -> None:
    assert sum(path.stat().st_size for path in TABLES.glob("*.parquet")) < 6_000_000
    assert {path.name for path in TABLES.glob("*.parquet")} == set(FILES.values())
    for file in set(FILES.values()):
        for column in read(TABLES / file).provenance.columns.values():
            assert column.meaning and column.source and column.licence
            assert not column.licence.startswith("D0352276"), "no column from a source without a licence file"
