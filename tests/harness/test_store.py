"""The results store: what goes in comes out, damage is noticed, nothing is half written."""

from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path

import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from benchmarks import files, store, tiers
from benchmarks.errors import UserError
from benchmarks.spec import RunRecord, RunSpec, Status


def record(seed: int = 0, **changes: object) -> RunRecord:
    spec = RunSpec("darts-1st", "nas-bench-201", seed, tiers.budget("smoke", "nas-bench-201"), {"order": 1}, "0" * 64)
    rows = (
        {"epoch": 0, "architecture": "|a|", "cifar10_test": 54.3, "alpha": [0.1, float("nan")], "hessian_trace": None},
        {"epoch": 1, "architecture": "|b|", "cifar10_test": 94.37, "alpha": [0.2, 0.3], "hessian_trace": 1.5},
    )
    return replace(RunRecord(spec, Status.DONE, "", rows, {"processor": "x", "seconds_total": 1.5}), **changes)


def same(a: RunRecord, b: RunRecord) -> bool:
    """Equality with NaN equal to itself."""
    return repr(a) == repr(b)


def test_a_record_comes_back_as_it_was(tmp_path: Path) -> None:
    results = store.Store(tmp_path / "runs").open()
    path = results.append(record())
    assert same(store.read(path), record())
    assert same(results.get(record().spec), record())
    assert results.get(replace(record().spec, seed=1)) is None


def test_rows_with_different_keys_are_kept(tmp_path: Path) -> None:
    rows = ({"epoch": 0}, {"epoch": 1, "late": 2.0})
    path = store.Store(tmp_path).open().append(record(rows=rows))
    assert store.read(path).rows == ({"epoch": 0, "late": None}, {"epoch": 1, "late": 2.0})


def test_a_failed_run_without_rows_is_kept(tmp_path: Path) -> None:
    failed = record(rows=(), status=Status.ERROR, message="Traceback\nboom")
    path = store.Store(tmp_path).open().append(failed)
    assert same(store.read(path), failed)


@given(position=st.floats(0, 1, exclude_max=True), bit=st.integers(0, 7))
def test_no_flipped_bit_is_read_as_other_data(
    tmp_path_factory: pytest.TempPathFactory, position: float, bit: int
) -> None:
    path = tmp_path_factory.mktemp("flip") / "seed-0-x.parquet"
    data = bytearray(store.encode(record()))
    data[int(position * len(data))] ^= 1 << bit
    path.write_bytes(data)
    try:
        read = store.read(path)
    except (store.DamagedFile, store.NewerFile) as error:  # newer, where it hit the version's digit
        assert len(str(error).splitlines()) == 1
    else:  # a bit that carries no data, such as the writer's version
        assert same(read, record())


@pytest.mark.parametrize("length", [0, 4, 100, -1])
def test_a_truncated_file_is_refused(tmp_path: Path, length: int) -> None:
    path = tmp_path / "seed-0-x.parquet"
    path.write_bytes(store.encode(record())[:length])
    with pytest.raises(store.DamagedFile, match="not a readable run file"):
        store.read(path)


def test_a_newer_schema_is_refused(tmp_path: Path) -> None:
    path = store.Store(tmp_path).open().append(record())
    table = pq.read_table(path)
    footer = json.loads(table.schema.metadata[b"balenas-bench"])
    footer["schema_version"] = store.SCHEMA_VERSION + 1
    pq.write_table(table.replace_schema_metadata({b"balenas-bench": json.dumps(footer).encode()}), path)
    with pytest.raises(store.NewerFile, match="update the suite"):
        store.read(path)


def test_writing_is_atomic(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = tmp_path / "file"
    files.write_atomically(target, b"old")

    def full_disk(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full_disk)
    with pytest.raises(OSError, match="No space left"):
        files.write_atomically(target, b"new")
    assert target.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["file"]


def test_foreign_and_impossible_folders_are_refused(tmp_path: Path) -> None:
    (tmp_path / "foreign").mkdir()
    (tmp_path / "foreign" / "thesis.tex").write_text("mine")
    with pytest.raises(UserError, match="not ours"):
        store.Store(tmp_path / "foreign").open()
    with pytest.raises(UserError, match="is a file"):
        store.Store(tmp_path / "foreign" / "thesis.tex").open()
    with pytest.raises(UserError, match="cannot write"):
        store.Store(Path("/proc/no/such")).open()


def test_a_store_that_another_command_makes_meanwhile_is_not_foreign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    beginning = store._is_beginning

    def begun_meanwhile(path: Path) -> bool:
        monkeypatch.setattr(store, "_is_beginning", beginning)
        (tmp_path / store._MARKER).write_text("{}")
        return beginning(path)

    (tmp_path / "claims").mkdir()
    monkeypatch.setattr(store, "_is_beginning", begun_meanwhile)
    store.Store(tmp_path).open()


def test_a_folder_that_is_no_store_is_no_empty_one(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    results = store.Store(tmp_path / "cpu").open()
    results.must_exist()
    for folder, mend in ((tmp_path, f"did you mean {tmp_path / 'cpu'}"), (tmp_path / "notes", "name one that")):
        with pytest.raises(UserError, match=f"no results folder {folder}: {mend}"):
            store.Store(folder).must_exist()
        with pytest.raises(UserError, match="no results folder"):
            store.frame([folder])


@pytest.mark.parametrize("value", ["/data/x.pt", "../../../../escaped", "a b:c%", "x" * 300])
def test_every_name_of_a_method_has_its_place_inside(value: str, tmp_path: Path) -> None:
    results, made = store.Store(tmp_path).open(), record(0)
    made = replace(made, spec=replace(made.spec, method=f"own:Own@file={value}"))
    path = results.append(made)
    assert results.files() == [path]
    held = results.get(made.spec)
    assert held is not None and held.spec == made.spec
    assert len(results.log(made.spec).name) < 255
    other = replace(made.spec, method=f"{made.spec.method}y")
    assert results.path(other).parent != path.parent


def test_frame_counts_a_run_in_two_folders_once(tmp_path: Path) -> None:
    for name, seeds in (("a", (0, 1)), ("b", (1, 2))):
        results = store.Store(tmp_path / name).open()
        for seed in seeds:
            results.append(record(seed))
    final = store.frame([tmp_path / "a", tmp_path / "b"])
    assert sorted(final["seed"]) == [0, 1, 2]
    assert set(final["epoch"]) == {1}
    assert len(store.frame([tmp_path / "a"], final=False)) == 4
    with pytest.raises(UserError, match="no results folder"):
        store.frame([tmp_path / "missing"])


@pytest.mark.parametrize("order", [("lost", "done"), ("done", "lost")])
def test_a_finished_run_stands_before_a_failed_one_of_another_folder(tmp_path: Path, order: tuple[str, str]) -> None:
    store.Store(tmp_path / "done").open().append(record())
    store.Store(tmp_path / "lost").open().append(record(status=Status.TIMEOUT, rows=record().rows[:1]))
    frame = store.frame([tmp_path / name for name in order], final=False)
    assert list(frame["status"]) == ["done", "done"] and list(frame["epoch"]) == [0, 1]


def test_no_row_passes_for_another_run(tmp_path: Path) -> None:
    store.Store(tmp_path).open().append(record(rows=({"epoch": 0, "seed": 7, "images": "1" * 64, "status": "error"},)))
    row = store.frame([tmp_path]).iloc[0]
    assert (row["seed"], row["images"], row["status"]) == (0, "0" * 64, "done")


def test_the_spec_hash_covers_everything() -> None:
    spec = record().spec
    assert RunSpec.from_json(spec.to_json()).hash == spec.hash
    changed = [
        replace(spec, seed=1),
        replace(spec, method="darts-2nd"),
        replace(spec, config={"order": 2}),
        replace(spec, numerics=spec.numerics + 1),
        replace(spec, images="1" * 64),
        replace(spec, upstream="2" * 64),
        replace(spec, budget=replace(spec.budget, arch_lr=1.0)),
    ]
    assert len({spec.hash, *(s.hash for s in changed)}) == len(changed) + 1
