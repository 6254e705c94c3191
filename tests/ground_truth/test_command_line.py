"""build, verify and describe from the command line."""

from __future__ import annotations

import json
import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.ground_truth import FILES, TABLES, load
from benchmarks.ground_truth import __main__ as ground_truth_command
from benchmarks.ground_truth.__main__ import main
from benchmarks.ground_truth.build import _accuracies_201
from benchmarks.ground_truth.storage import read


@pytest.fixture
def shared_facts() -> Path:
    folder = os.environ.get("NAS_SHARED_DATA")
    if not folder:
        pytest.skip("NAS_SHARED_DATA does not name the folder of compiled facts")
    return Path(folder)


@pytest.fixture(scope="module")
def facts(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The facts as the build command reads them, written back from the shipped tables: % and decimals, not counts."""
    folder = tmp_path_factory.mktemp("facts")
    stored, table = read(TABLES / FILES["nas-bench-201"]), load("nas-bench-201", tables=None)
    names = {"ops": "operations", "n_seeds": "runs_200", "time12_c10valid": "time_cifar10-valid_12"}
    for short, dataset in {"c10": "cifar10", "c100": "cifar100", "in16": "imagenet16-120"}.items():
        names |= {f"{cost}_{short}": f"{cost}_{dataset}" for cost in ("params", "flops")}
        names[f"time200_{short}"] = f"time_{dataset}_200"
    names["time200_c10valid"] = "time_cifar10-valid_200"
    source = {origin: stored.column(name) for origin, name in names.items()}
    source["ops"] = np.array([f"{code:06d}" for code in source["ops"]])
    source |= {origin: values / 1e6 for origin, values in source.items() if origin.startswith(("params", "flops"))}
    for origin, m in _accuracies_201().items():
        names[origin] = m.column
        column = table.column(dataset=m.dataset, split=m.split, epochs=m.epochs, reduction=m.reduction)
        source[origin] = np.round(column, 8)
    pd.DataFrame(source).to_csv(folder / "nas_bench_201.csv.gz", index=False)
    columns = stored.provenance.columns
    notes = {origin: {"what": columns[n].source, "licence": columns[n].licence} for origin, n in names.items()}
    (folder / "nas_bench_201_columns.json").write_text(json.dumps(notes))

    shot = read(TABLES / FILES["nas-bench-1shot1-s1"])
    vertices = shot.column("vertices")
    digits = [f"{code:0{n - 2}d}" for code, n in zip(shot.column("operations"), vertices, strict=True)]
    validation = {
        f"val_correct_108_{kind}3": np.nan_to_num(shot.column(f"cifar10_valid_108_{name}"), nan=65_535).astype(
            np.uint16
        )
        for kind, name in (("sum", "mean"), ("max", "max"))
    }
    np.savez(
        folder / "nas_bench_1shot1.npz",
        hash=np.array([list(key) for key in shot.column("hash").tolist()], np.uint8),
        n_vertices=vertices,
        adj_bits=shot.column("adjacency").astype(np.uint32),
        ops=np.array([[*map(int, text), *[255] * (5 - len(text))] for text in digits], np.uint8),
        params=shot.column("params_cifar10"),
        test_correct_108_sum3=shot.column("cifar10_test_108_mean").astype(np.uint16),
        train_time_108_rep_s=shot.column("time_cifar10_108").astype(np.float32),
        s1_encodings=shot.column("encodings_s1"),
        s2_encodings=shot.column("encodings_s2"),
        s3_encodings=shot.column("encodings_s3"),
        **validation,
    )
    return folder


def check_build(facts: Path, output: Path) -> None:
    assert main(["build", str(facts), "--output", str(output)]) == 0
    for file in set(FILES.values()):
        assert read(output / file).digest == read(TABLES / file).digest


def test_the_shipped_tables_are_what_the_build_command_makes(shared_facts: Path, tmp_path: Path) -> None:
    check_build(shared_facts, tmp_path)


def test_build_is_the_inverse_of_reading_the_tables(facts: Path, tmp_path: Path) -> None:
    check_build(facts, tmp_path)


def test_every_number_of_the_facts_comes_back(shared_facts: Path) -> None:
    source = pd.read_csv(shared_facts / "nas_bench_201.csv.gz")
    table = load("nas-bench-201", tables=None)
    for origin, m in _accuracies_201().items():
        column = table.column(dataset=m.dataset, split=m.split, epochs=m.epochs, reduction=m.reduction)
        # The facts are rounded to eight decimals.
        np.testing.assert_allclose(column, source[origin], rtol=0, atol=6e-9)


def test_facts_that_are_no_counts(facts: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("nas_bench_201_columns.json", "nas_bench_1shot1.npz"):
        shutil.copy(facts / name, tmp_path)
    source = pd.read_csv(facts / "nas_bench_201.csv.gz", dtype={"ops": str})
    source.loc[7, "c10_test200"] += 0.0011
    source.to_csv(tmp_path / "nas_bench_201.csv.gz", index=False)
    assert main(["build", str(tmp_path), "--output", str(tmp_path / "out")]) == 2
    assert "column c10_test200 of the facts holds values that are no count of images" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_build_without_facts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["build", str(tmp_path), "--output", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "no nas_bench_201.csv.gz in" in error
    assert not list(tmp_path.iterdir())


def test_verify(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["verify"]) == 0
    printed = capsys.readouterr().out
    assert [line.split(":")[0] for line in printed.splitlines()] == list(FILES)
    assert load("nas-bench-201", tables=None).digest in printed


def test_one_imported_table_is_looked_at_alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copy(TABLES / FILES["nas-bench-1shot1-s1"], tmp_path)
    assert main(["verify", "--tables", str(tmp_path)]) == 0
    assert capsys.readouterr().out.count("is intact") == 3
    assert main(["describe", "--tables", str(tmp_path)]) == 0
    (tmp_path / FILES["nas-bench-1shot1-s1"]).unlink()
    for command in ("verify", "describe"):
        assert main([command, "--tables", str(tmp_path)]) == 2
        assert "has no tables: name a folder that holds nas-bench-201.parquet or" in capsys.readouterr().err


def test_an_install_without_a_table_is_found(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copy(TABLES / FILES["nas-bench-1shot1-s1"], tmp_path)
    monkeypatch.setattr(ground_truth_command, "TABLES", tmp_path)
    assert main(["verify"]) == 2
    assert "nas-bench-201.parquet" in capsys.readouterr().err


def test_verify_finds_damage(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for file in set(FILES.values()):
        content = bytearray((TABLES / file).read_bytes())
        content[len(content) // 3] ^= 1
        (tmp_path / file).write_bytes(content)
    assert main(["verify", "--tables", str(tmp_path)]) == 2
    error = capsys.readouterr().err
    assert error.count("\n") == 1 and "nas-bench-201.parquet" in error and "reinstall the package" in error


def test_describe_names_meaning_source_and_licence(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["describe"]) == 0
    printed = capsys.readouterr().out
    for file in set(FILES.values()):
        for name, column in read(TABLES / file).provenance.columns.items():
            assert f"  {name}: {column.meaning}; " in printed
            assert f"{column.source} [{column.licence}]" in printed
    assert (
        "cifar10_valid_108_mean: correct of 9984 images, summed over the three trainings; mostly missing; 650 of 66,111"
        in printed
    )


def test_unknown_command() -> None:
    with pytest.raises(SystemExit) as caught:
        main(["compile"])
    assert caught.value.code == 2
