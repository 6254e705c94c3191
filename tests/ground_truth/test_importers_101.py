from __future__ import annotations

import base64
import json
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks.errors import UserError
from benchmarks.ground_truth import TABLES, AllSeeds, BestOfRuns, Dataset, Mean, NASBench1Shot1Table, Run, Split, load
from benchmarks.ground_truth import importers as importers_module
from benchmarks.ground_truth.importers import import_path, nas_bench_101
from benchmarks.ground_truth.importers.tfrecord import fields, masked_crc, records
from benchmarks.ground_truth.storage import StoredTable, read, write
from benchmarks.spaces.nas_bench_1shot1 import NASBench1Shot1
from tests.ground_truth import importer_files as official
from tests.ground_truth.test_importers_201 import Log

INTERIOR = ("conv3x3-bn-relu", "conv1x1-bn-relu", "maxpool3x3")
OTHER = "02e5a0247bbdcf2860b7e96f74961594"  # the best of NAS-Bench-101, outside S1 to S3
ENCODING = NASBench1Shot1(3).sample(np.random.default_rng(0))


@pytest.fixture
def log() -> Iterator[Log]:
    log = Log()
    with log.progress:
        yield log


@pytest.fixture(scope="module")
def shipped() -> StoredTable:
    return read(TABLES / "nas-bench-1shot1.parquet")


@pytest.fixture
def small(tmp_path: Path, shipped: StoredTable, monkeypatch: pytest.MonkeyPatch) -> StoredTable:
    """A few rows of the real table in place of it, so that a whole file is small."""
    rows = {int(row) for number in (1, 2, 3) for row in np.flatnonzero(shipped.column(f"encodings_s{number}"))[:4]}
    rows = sorted(rows | {hashes_of(shipped).index(NASBench1Shot1(3).module_hash(ENCODING))})
    data = shipped.data.take(rows)
    columns = {name: data.column(name).combine_chunks() for name in data.column_names}
    table = write(tmp_path / "in-place" / "nas-bench-1shot1.parquet", columns, shipped.provenance)
    monkeypatch.setattr(importers_module, "TABLES", tmp_path / "in-place")
    monkeypatch.setattr(nas_bench_101, "GRAPHS", len(rows) + 1)
    monkeypatch.setattr(nas_bench_101, "_SAMPLE", 1)
    return table


def hashes_of(table: StoredTable) -> list[str]:
    return [value.hex() for value in table.data.column("hash").to_pylist()]


def graph(table: StoredTable, row: int) -> tuple[str, str, str]:
    """Hash, adjacency and operations of a row in the form of the official file."""
    size = int(table.column("vertices")[row])
    bits = int(table.column("adjacency")[row])
    matrix = np.zeros((size, size), int)
    for y in range(size):
        for x in range(y):
            matrix[x, y] = bits >> (x + y * (y - 1) // 2) & 1
    digits = f"{int(table.column('operations')[row]):0{size - 2}d}" if size > 2 else ""
    names = ["input", *(INTERIOR[int(digit)] for digit in digits), "output"]
    return bytes(table.column("hash")[row]).hex(), "".join(map(str, matrix.ravel())), ",".join(names)


def three_runs(total: int) -> list[int]:
    """Three counts that add up to a total and differ."""
    third = total // 3
    return [third - 2, third + 5, total - 2 * third - 3]


def trainings(table: StoredTable, epochs: tuple[int, ...] = (108,)) -> Iterator[bytes]:
    """Three trainings of every graph of a table, and of one graph that it does not have, mixed."""
    for run in range(3):
        for row in reversed(range(table.data.num_rows)):
            name, adjacency, operations = graph(table, row)
            test = three_runs(int(table.column("cifar10_test_108_mean")[row]))[run]
            for length in epochs:
                yield official.record(
                    name,
                    length,
                    adjacency,
                    operations,
                    valid=9_000 + 10 * run + row,
                    test=test - (108 - length),
                    parameters=int(table.column("params_cifar10")[row]),
                    seconds=1000.0 + run,
                )
        for length in epochs:
            yield official.record(OTHER, length, "0100", "input,output", valid=9, test=8, parameters=7)


def write_records(path: Path, rows: Iterator[bytes]) -> Path:
    path.write_bytes(b"".join(map(official.framed, rows)))
    return path


@pytest.mark.filterwarnings("error")
@pytest.mark.parametrize("epochs", [(108,), (4, 12, 36, 108)])
def test_a_whole_file_fills_validation_and_single_runs(
    epochs: tuple[int, ...], tmp_path: Path, small: StoredTable, log: Log
) -> None:
    path = write_records(tmp_path / "any name", trainings(small, epochs))
    import_path(path, tmp_path / "out", log.progress)
    seen = 0
    for number in (1, 2, 3):
        table = load(f"nas-bench-1shot1-s{number}", tables=tmp_path / "out")
        assert isinstance(table, NASBench1Shot1Table)
        for length in epochs:
            key: dict[str, Any] = {"dataset": Dataset.CIFAR10, "epochs": length}
            for place, name in enumerate(table.hashes):
                row = hashes_of(small).index(name)
                test = three_runs(int(small.column("cifar10_test_108_mean")[row]))
                for run in range(3):
                    valid = table.column(split=Split.VALID, reduction=Run(run), **key)[place]
                    assert valid == pytest.approx(100 * (9_000 + 10 * run + row) / 9984, abs=1e-12)
                    found = table.column(split=Split.TEST, reduction=Run(run), **key)[place]
                    assert found == pytest.approx(100 * (test[run] - (108 - length)) / 9984, abs=1e-12)
                mean = table.column(split=Split.VALID, reduction=Mean(), **key)[place]
                assert mean == pytest.approx(100 * (9_010 + row) / 9984, abs=1e-12)
                seen += 1
        best = table.column(dataset=Dataset.CIFAR10, split=Split.VALID, epochs=108, reduction=BestOfRuns())
        assert best.max() > 100 * 9_020 / 9984 - 1e-9
    assert seen >= len(epochs) * small.data.num_rows
    new = read(tmp_path / "out" / "nas-bench-1shot1.parquet")
    for name in ("hash", "vertices", "adjacency", "operations", "params_cifar10", "cifar10_test_108_mean"):
        assert new.data.column(name).equals(small.data.column(name)), name
    assert new.column("time_cifar10_108").tolist() == [1001.0] * small.data.num_rows
    assert set(small.data.column_names) <= set(new.data.column_names)
    text = " ".join(log.text.split())
    assert f"{small.data.num_rows} graphs hashed again by our code" in text
    assert "no checksum of it is published: an unverified copy" in text
    assert "best mean validation accuracy" in text
    assert "DIFFERS from the published 94.7182 %" in text


def test_all_runs_of_an_encoding(tmp_path: Path, small: StoredTable, log: Log) -> None:
    import_path(write_records(tmp_path / "f", trainings(small)), tmp_path / "out", log.progress)
    table = load("nas-bench-1shot1-s3", tables=tmp_path / "out")
    row = hashes_of(small).index(NASBench1Shot1(3).module_hash(ENCODING))
    runs = table.accuracy(ENCODING, dataset=Dataset.CIFAR10, split=Split.VALID, epochs=108, reduction=AllSeeds())
    assert runs == {run: pytest.approx(100 * (9_000 + 10 * run + row) / 9984) for run in range(3)}


def test_the_table_in_place_is_checked_against(tmp_path: Path, small: StoredTable, log: Log) -> None:
    rows = list(trainings(small))
    name, epochs, adjacency, operations, _ = json.loads(rows[0])
    rows[0] = official.record(name, epochs, adjacency, operations, valid=1, test=2, parameters=3)
    import_path(write_records(tmp_path / "f", iter(rows)), tmp_path / "out", log.progress)
    text = " ".join(log.text.split())
    assert f"cifar10_test_108_mean differs in 1 of {small.data.num_rows} rows" in text
    assert "WARNING: 1 trainings disagree with the table in place on the parameters" in text


def test_a_part_is_imported_only_when_asked(tmp_path: Path, small: StoredTable, log: Log) -> None:
    rows = list(trainings(small))
    path = write_records(tmp_path / "nasbench_only108.tfrecord", iter(rows[:-1]))
    whole = 3 * (small.data.num_rows + 1)
    with pytest.raises(UserError, match=f"holds {whole - 1} of 108 epochs trainings instead of {whole}"):
        import_path(path, tmp_path / "out", log.progress)
    assert not (tmp_path / "out").exists()
    path = write_records(path, iter(rows[: small.data.num_rows - 2]))
    table = import_path(path, tmp_path / "out", log.progress, partial=True)
    assert table is not None
    assert table.data.column("cifar10_valid_108_mean").null_count == small.data.num_rows
    assert table.data.column("cifar10_valid_108_run0").null_count == 2
    assert "graphs stay without values" in log.text
    assert "WARNING: its checksum is not that of the official file of this name" in log.text


def test_the_real_table_takes_a_part(tmp_path: Path, shipped: StoredTable, log: Log) -> None:
    row = 1_000
    name, adjacency, operations = graph(shipped, row)
    rows = [
        official.record(name, 108, adjacency, operations, valid=9_000 + run, test=9_100, parameters=1)
        for run in range(3)
    ]
    table = import_path(write_records(tmp_path / "f", iter(rows)), tmp_path, log.progress, partial=True)
    assert table is not None
    assert table.column("cifar10_valid_108_mean")[row] == 27_003
    assert table.data.column("cifar10_valid_108_mean").null_count == shipped.data.num_rows - 1


@pytest.mark.parametrize("share", [0.3, 0.999])
def test_a_truncated_file_is_one_line_and_writes_nothing(
    share: float, tmp_path: Path, small: StoredTable, log: Log
) -> None:
    path = write_records(tmp_path / "f", trainings(small))
    data = path.read_bytes()
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(UserError, match="it ends within the record at byte") as refusal:
        import_path(path, tmp_path / "out", log.progress, partial=True)
    assert "\n" not in str(refusal.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("place", [0, 5, 9, 100, -1])
def test_one_wrong_bit_is_found(place: int, tmp_path: Path, small: StoredTable, log: Log) -> None:
    rows = [official.framed(row) for row in trainings(small)]
    damaged = bytearray(rows[3])
    damaged[place] ^= 4
    path = tmp_path / "f"
    path.write_bytes(b"".join([*rows[:3], bytes(damaged), *rows[4:]]))
    with pytest.raises(UserError, match=f"record at byte {sum(map(len, rows[:3])):,} does not match its checksum"):
        import_path(path, tmp_path / "out", log.progress, partial=True)
    assert not (tmp_path / "out").exists()


def wrong(table: StoredTable, **changes: Any) -> bytes:
    name, adjacency, operations = graph(table, 0)
    values: dict[str, Any] = {"valid": 9_000, "test": 9_000, "parameters": 1} | changes
    fixed = [values.pop(key, value) for key, value in (("adjacency", adjacency), ("operations", operations))]
    return official.record(name, values.pop("epochs", 108), *fixed, **values)


def with_metrics(table: StoredTable, message: bytes) -> bytes:
    name, adjacency, operations = graph(table, 0)
    return json.dumps([name, 108, adjacency, operations, base64.b64encode(message).decode()]).encode()


def test_what_no_official_file_holds_is_refused(tmp_path: Path, small: StoredTable, log: Log) -> None:
    good = wrong(small)
    end = official.evaluation(108.0, 1.0, 1.0, 0.9, 0.9)
    for bad, reason in (
        (b"[1, 2]", "no training of NAS-Bench-101"),
        (b"not json", "damaged, truncated or foreign"),
        (wrong(small, epochs=50), "has 50 epochs: NAS-Bench-101 has 4, 12, 36, 108"),
        (wrong(small, valid=20_000), "is no count of 9984 images"),
        (wrong(small, valid=9_000.5), "is no count of 9984 images"),
        (wrong(small, operations="input,output"), "needs|another one"),
        (wrong(small, adjacency="01"), "damaged, truncated or foreign"),
        (with_metrics(small, b"\x0f\x01"), "protocol buffer in it is malformed"),
        (with_metrics(small, b"\x0a\xff\xff"), "protocol buffer in it is malformed"),
        (with_metrics(small, official.metrics([end, end], 1)), "holds 2 evaluations, not 3"),
        (with_metrics(small, official.metrics([end, end, end[:9]], 1)), "lacks the field"),
    ):
        path = write_records(tmp_path / "f", iter([good, bad]))
        with pytest.raises(UserError, match=reason) as refusal:
            import_path(path, tmp_path / "out", log.progress, partial=True)
        assert "\n" not in str(refusal.value)
    path = write_records(tmp_path / "f", iter([good] * 4))
    with pytest.raises(UserError, match="a fourth training of 108 epochs"):
        import_path(path, tmp_path / "out", log.progress, partial=True)
    assert not (tmp_path / "out").exists()


def test_a_graph_filed_under_another_hash_is_refused(tmp_path: Path, small: StoredTable, log: Log) -> None:
    name, _, _ = graph(small, 0)
    _, adjacency, operations = graph(small, 5)
    row = official.record(name, 108, adjacency, operations, valid=1, test=1, parameters=1)
    with pytest.raises(UserError, match=f"filed under the module hash {name} has another one"):
        import_path(write_records(tmp_path / "f", iter([row])), tmp_path / "out", log.progress, partial=True)


def test_known_checksums() -> None:
    # Test vectors of RFC 3720, B.4, and the check value of the Castagnoli polynomial.
    assert official.crc32c(b"123456789") == 0xE3069283
    assert official.crc32c(bytes(32)) == 0x8A9136AA
    assert official.crc32c(bytes(range(32))) == 0x46DD794E
    for data in (b"", b"123456789", bytes(range(256)) * 3):
        assert masked_crc(data) == struct.unpack("<I", official.masked(data))[0]


@given(st.lists(st.binary(max_size=40), max_size=8))
def test_records_come_back(tmp_path_factory: pytest.TempPathFactory, rows: list[bytes]) -> None:
    path = tmp_path_factory.mktemp("records") / "f"
    path.write_bytes(b"".join(map(official.framed, rows)))
    advanced: list[int] = []
    assert list(records(path, advanced.append)) == rows
    assert sum(advanced) == path.stat().st_size


def test_records_across_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("benchmarks.ground_truth.importers.tfrecord._CHUNK", 100)
    rows = [bytes([i]) * (37 * i % 450) for i in range(60)]
    path = tmp_path / "f"
    path.write_bytes(b"".join(map(official.framed, rows)))
    assert list(records(path, lambda _: None)) == rows


@given(
    st.lists(
        st.tuples(
            st.integers(1, 1 << 20), st.one_of(st.integers(0, 2**64 - 1), st.floats(allow_nan=False), st.binary())
        )
    )
)
def test_protocol_buffers_come_back(values: list[tuple[int, Any]]) -> None:
    message = b""
    for number, value in values:
        if isinstance(value, int):
            message += official.varint(number << 3) + official.varint(value)
        elif isinstance(value, float):
            message += official.varint(number << 3 | 1) + struct.pack("<d", value)
        else:
            message += official.varint(number << 3 | 2) + official.varint(len(value)) + value
    assert list(fields(message)) == values


def test_single_precision_fields() -> None:
    assert list(fields(official.varint(5 << 3 | 5) + struct.pack("<f", 0.5))) == [(5, 0.5)]


@pytest.mark.benchmark(group="checksums of TFRecords")
@pytest.mark.parametrize("reader", ["checked", "unchecked"])
def test_speed_of_records(benchmark: Any, reader: str, tmp_path: Path) -> None:
    """Reading records with their checksums, and only cutting them apart in Python."""
    row = official.framed(bytes(range(256)) + bytes(140))
    path = tmp_path / "f"
    path.write_bytes(row * 50_000)

    def unchecked() -> int:
        data, position, count = path.read_bytes(), 0, 0
        while position < len(data):
            length = int.from_bytes(data[position : position + 8], "little")
            record = data[position + 12 : position + 12 + length]
            position, count = position + length + 16, count + bool(record)
        return count

    run = unchecked if reader == "unchecked" else lambda: sum(1 for _ in records(path, lambda _: None))
    assert benchmark(run) == 50_000


def test_arrow_columns_keep_their_types(tmp_path: Path, small: StoredTable, log: Log) -> None:
    table = import_path(write_records(tmp_path / "f", trainings(small)), tmp_path / "out", log.progress)
    assert table is not None
    assert table.data.column("hash").type == pa.binary(16)
    assert table.data.column("cifar10_valid_108_run2").type == pa.int32()
