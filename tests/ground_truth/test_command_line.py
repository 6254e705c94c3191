"""build, verify and describe from the command line."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from benchmarks.ground_truth import FILES, TABLES, load
from benchmarks.ground_truth.__main__ import main
from benchmarks.ground_truth.storage import read


@pytest.fixture
def facts() -> Path:
    folder = os.environ.get("NAS_SHARED_DATA")
    if not folder:
        pytest.skip("NAS_SHARED_DATA does not name the folder of compiled facts")
    return Path(folder)


def test_the_shipped_tables_are_what_the_build_command_makes(facts: Path, tmp_path: Path) -> None:
    assert main(["build", str(facts), "--output", str(tmp_path)]) == 0
    for file in set(FILES.values()):
        assert read(tmp_path / file).digest == read(TABLES / file).digest


def test_every_number_of_the_facts_comes_back(facts: Path) -> None:
    from benchmarks.ground_truth.build import _accuracies_201

    source = pd.read_csv(facts / "nas_bench_201.csv.gz")
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
