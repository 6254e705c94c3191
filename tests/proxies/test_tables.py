"""The shipped tables: complete about themselves, alike in settings, and what the code computes today."""

from __future__ import annotations

import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks import images, spaces
from benchmarks.errors import UserError
from benchmarks.files import CannotWrite
from benchmarks.proxies import TABLES, read
from benchmarks.proxies.chunks import Chunk
from benchmarks.proxies.request import CLASSES, Request, population, scoring_order
from benchmarks.proxies.scoring import score_chunk
from benchmarks.proxies.table import write
from benchmarks.spaces.nas_bench_201 import NASBench201, parameter_count
from methods.proxies import PROXIES

FILES = sorted(TABLES.glob("*.parquet"))


def request_of(table, data_dir=None) -> Request:
    """What gives the table again."""
    settings = table.settings
    return Request(
        space=settings.space,
        proxies=(settings.proxy,),
        seeds=tuple(table.by_seed),
        sample=len(table.positions),
        channels=settings.channels,
        cells_per_stage=settings.cells_per_stage,
        data=settings.images or "cifar10",
        data_dir=data_dir,
        image_size=settings.image_size,
        batch_size=settings.batch_size or 2,
        output=Path("unused"),
        command="",
    )


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_says_what_it_is(path):
    table = read(path)
    settings = table.settings
    depth = 5 if settings.space == "nas-bench-201" else 3
    assert (settings.cells_per_stage, settings.classes, settings.image_size) == (depth, CLASSES, 32)
    assert path.name.startswith(f"{settings.space}.{settings.proxy}.")
    if PROXIES[settings.proxy].uses_images:
        assert (settings.images, settings.batch_size) == ("cifar10", 64)
        assert settings.images_sha256 and settings.images_provenance
    assert table.population == population(settings.space)
    assert np.array_equal(table.positions, np.sort(scoring_order(settings.space, len(table.positions))))
    for seed, scores in table.by_seed.items():
        last = [case for case in table.not_finite if case.seed == seed]
        assert np.isneginf(scores).sum() == len(last)
        assert np.isfinite(scores).sum() == len(scores) - len(last)
    command = table.facts["command"]
    assert command and command.startswith("python -m benchmarks.proxies")
    assert "/" not in command.replace("benchmarks/proxies/tables", "")


@pytest.mark.parametrize("path", FILES, ids=lambda path: path.stem)
def test_is_what_the_code_computes(path):
    """The first three of the order at the last seed; proxies that see images only where the same images are."""
    table = read(path)
    data_dir = os.environ.get(images.DATA_DIR_VARIABLE)
    if table.settings.images:
        try:
            found = images.load(table.settings.images, data_dir)
        except UserError as error:
            pytest.skip(str(error))
        if found.sha256 != table.settings.images_sha256:
            pytest.skip("another copy of the images")
    request, seed = request_of(table, data_dir and Path(data_dir)), max(table.by_seed)
    scores = score_chunk(request, Chunk(seed, 0, 3, request.proxies))[table.settings.proxy]
    expected = table.scores(request.positions[:3], seed=seed)
    # Float32 passes round differently from processor to processor, and a ReLU near zero then switches; GraSP cancels.
    tolerance = {"grasp": 0.2}.get(table.settings.proxy, 0.02 if table.settings.images else 1e-9)
    np.testing.assert_allclose(np.where(np.isfinite(scores), scores, -np.inf), expected, rtol=tolerance)


def test_counts_are_those_of_the_benchmark():
    cells = np.array(list(NASBench201().enumerate()))
    by_name = {path.stem: read(path) for path in FILES}
    assert np.array_equal(by_name["nas-bench-201.params"].by_seed[0], parameter_count(cells, classes=CLASSES))
    assert {spaces.get(table.settings.space).name for table in by_name.values()} <= set(spaces.SPACES)
    copies = {table.settings.images_sha256 for table in by_name.values() if table.settings.images}
    assert len(copies) <= 1


def test_a_table_that_cannot_be_written_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(CannotWrite, match="cannot write"):
        write(read(min(TABLES.glob("*.parquet"))), tmp_path / "file" / "table.parquet")
