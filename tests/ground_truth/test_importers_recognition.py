from __future__ import annotations

import io
import json
import sys
import tarfile
import types
import zipfile
from pathlib import Path

import pytest
from rich.console import Console
from rich.progress import Progress

from benchmarks.errors import UserError
from benchmarks.ground_truth.importers import RECOGNISED, import_path
from tests.ground_truth import importer_files as official


def attempt(path: Path, output: Path) -> str:
    """The error of an import, which must be one line."""
    with pytest.raises(UserError) as refusal:
        import_path(path, output, Progress(console=Console(file=io.StringIO())))
    assert "\n" not in str(refusal.value)
    return str(refusal.value)


def zipped(path: Path) -> Path:
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("readme.txt", "no tensors")
    return path


@pytest.mark.parametrize("content", [b"", b"short", b"PK\x03\x04 no zip", b"\x00" * 100, "ä text\n".encode() * 50])
def test_an_unknown_file_is_told_what_is_recognised(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "NAS-Bench-201-v1_1-096897.pth"  # the name alone makes no benchmark
    path.write_bytes(content)
    assert RECOGNISED in attempt(path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_other_known_formats_that_are_no_benchmark(tmp_path: Path) -> None:
    assert RECOGNISED in attempt(zipped(tmp_path / "f.zip"), tmp_path)
    (tmp_path / "images.tfrecord").write_bytes(official.framed(b"an image"))
    assert RECOGNISED in attempt(tmp_path / "images.tfrecord", tmp_path)
    assert "has a dict 'arch2infos'" in attempt(official.write_pbz2(tmp_path / "list", [1, 2]), tmp_path)
    assert "has a dict 'arch2infos'" in attempt(official.write_pth(tmp_path / "p", {"arch2infos": None}), tmp_path)


def test_an_archive_is_to_be_unpacked_first(tmp_path: Path) -> None:
    path = tmp_path / "NATS-tss-v1_0-3ffb9-simple.tar"
    with tarfile.open(path, "w") as archive:
        archive.add(official.write_pbz2(tmp_path / "000000.pickle.pbz2", {}), "simple/000000.pickle.pbz2")
    assert "is an archive: unpack it" in attempt(path, tmp_path)


def test_a_folder_of_anything_else(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    assert RECOGNISED in attempt(tmp_path / "folder", tmp_path)
    assert f"there is no {tmp_path / 'absent'}" in attempt(tmp_path / "absent", tmp_path)


def test_an_output_that_is_no_folder_is_refused_before_reading(tmp_path: Path) -> None:
    path = official.write_pbz2(tmp_path / "f", [1])
    assert "cannot write tables to" in attempt(path, path)
    assert "cannot write tables to" in attempt(path, path / "deeper")


@pytest.fixture
def surrogates(tmp_path: Path) -> Path:
    for member in range(3):
        folder = tmp_path / "nb_models" / "xgb_v1.0" / str(member)
        folder.mkdir(parents=True)
        (folder / "surrogate_model.model").write_bytes(b"\x80\x04cos\nsystem\n.")  # never read
        (folder / "model_config.json").write_text(json.dumps({"model": "xgb"}))
        (folder / "data_config.json").write_text("{}")
    return tmp_path / "nb_models"


@pytest.mark.parametrize("inner", ["", "xgb_v1.0"])
def test_nas_bench_301_without_its_package(
    inner: str, surrogates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "nasbench301", None)
    message = attempt(surrogates / inner, tmp_path / "out")
    assert "holds 3 surrogate models of NAS-Bench-301 (xgb), which only the package nasbench301 can load" in message
    assert not (tmp_path / "out").exists()


def test_nas_bench_301_with_its_package(surrogates: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "nasbench301", types.ModuleType("nasbench301"))
    console = Console(file=io.StringIO(), width=300)
    assert import_path(surrogates, tmp_path / "out", Progress(console=console)) is None
    assert "query it in place with nasbench301.load_ensemble" in console.file.getvalue()  # type: ignore[attr-defined]
    assert not (tmp_path / "out").exists()
