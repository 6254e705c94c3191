"""Tables and figure of the mechanism, from invented measurements with known answers."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd
import pytest

from analysis import figures, make_study
from analysis.rendering import Table
from analysis.tables import mechanism
from benchmarks import observations, spaces
from benchmarks.observations import Row

OPERATIONS = spaces.get("nas-bench-201").groups[0].alternatives
ABOUT = {"tier": "cpu", "seed": 0, "images": 256, "pairs": 32}
PUSHED = {"none": 0.0, "skip_connect": -0.004, "nor_conv_1x1": 0.001, "nor_conv_3x3": 0.002, "avg_pool_3x3": 0.001}
"""Gradient of each operation at the mean after the first epoch; over wide draws it is half of that."""


def invented(search: str, widths: tuple[str, ...]) -> list[Row]:
    rows: list[Row] = []
    for epoch in (0, 1, 2):
        scale = {"mean": 1.0, "own": 1.0, "wide": 0.5}
        for edge in range(6):
            for name in OPERATIONS:
                at = (search, epoch, "cell")
                rows += [(*at, "curvature", None, edge, name, 0.01, None), (*at, "weight", None, edge, name, 0.2, None)]
                # Epoch 0 points elsewhere: what is averaged leaves it out.
                value = PUSHED[name] if epoch else -1.0
                rows += [
                    (*at, "gradient", w, edge, name, scale[w] * value, None if w == "mean" else 1e-4)
                    for w in ("mean", *widths)
                ]
        rows.append((search, epoch, "cell", "loss", "mean", None, None, 2.0 - epoch / 10, None))
        for width in widths:
            rows.append((search, epoch, "cell", "predicted", width, None, None, 0.15, None))
            rows.append((search, epoch, "cell", "rise", width, None, None, 0.1 + epoch, 0.01))
        rows += [(search, epoch, "cell", "rise", "wide", None, name, PUSHED[name], 0.001) for name in OPERATIONS]
    return rows


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = invented("darts-1st", ("wide",)) + invented("balenas-1st@weights_at=sample", ("wide", "own"))
    return pd.DataFrame(rows, columns=list(observations.COLUMNS))


def rows_of(table: Table, first: str) -> list[tuple[object, ...]]:
    return [row for row in table.rows if row[0] == first]


def test_gradients_are_averaged_after_the_first_epoch(frame: pd.DataFrame):
    table = mechanism.gradients(frame, ABOUT)
    assert table.columns[2:7] == OPERATIONS
    at_mean, wide = rows_of(table, "DARTS (1st)")
    assert at_mean[1:] == ("at the mean", "+0.0", "+4.0", "-1.0", "-2.0", "-1.0", None, None)
    assert wide[1:7] == ("over draws of sigma 1", "+0.0", "+2.0", "-0.5", "-1.0", "-0.5")
    assert wide[7:] == (pytest.approx(1.0), pytest.approx(0.5))
    assert [row[1] for row in rows_of(table, "BaLeNAS (1st), weights at draws")] == list(mechanism.WIDTHS.values())


def test_losses_beside_their_prediction(frame: pd.DataFrame):
    table = mechanism.noise(frame, ABOUT)
    first, *_, last = rows_of(table, "DARTS (1st)")
    assert first[1:5] == (0, first[2], None, None) and str(first[2]) == "2.000"
    assert last[1] == 2 and last[5:] == ("+2.1000 (0.0100)", "+0.1500")
    assert rows_of(table, "BaLeNAS (1st), weights at draws")[0][3:5] == ("+0.1000 (0.0100)", "+0.1500")


def test_tolerance_is_that_of_the_last_epoch(frame: pd.DataFrame):
    rise, curvature, weight = rows_of(mechanism.tolerance(frame, ABOUT), "DARTS (1st)")
    assert rise[2:4] == ("+0.0000 (0.0010)", "-0.0040 (0.0010)")
    assert set(curvature[2:]) == {"+0.0300"}  # half of six edges' 0.01
    assert set(weight[2:]) == {"0.200"}


def test_the_command_draws_what_was_measured(frame: pd.DataFrame, make_store, tmp_path: Path):
    folder = make_store(methods=("darts-1st",), seeds=1, tier="cpu")
    rows = list(frame.itertuples(index=False))
    (folder / make_study.MEASURED).write_bytes(observations.encoded(rows, ABOUT))
    (tmp_path / "README.md").write_text(f"{make_study.BLOCK.begin}\n{make_study.BLOCK.end}\n")
    assert make_study.main(["--results", str(folder), "--output", str(tmp_path)]) == 0
    text = (tmp_path / "README.md").read_text()
    assert "seed 0, one search a row" in text and "![What the architecture gradient asks for" in text
    assert (tmp_path / "mechanism.png").stat().st_size > 20_000
    assert "+4.0" in (tmp_path / "mechanism-gradients.csv").read_text()


def test_the_figure_shows_every_search(frame: pd.DataFrame):
    picture = figures.mechanism.build(frame, ABOUT)
    titles = [axis.get_title() for axis in picture.figure.axes[:2]]
    assert titles == ["DARTS (1st)", "BaLeNAS (1st), weights at draws"]
    labels = {text.get_text() for legend in picture.figure.legends for text in legend.get_texts()}
    assert {"skip", "measured, sigma 1", "predicted, own sigma"} <= labels


def test_every_number_of_the_text_is_in_the_tables():
    folder = Path(__file__).resolve().parents[2] / make_study.FOLDER
    prose, tables = (folder / "README.md").read_text(encoding="utf-8").split(make_study.BLOCK.begin)
    numbers = re.findall(r"(?<![\w.])[+-]?\d+\.\d+", prose.partition("## Why skip")[2])
    assert len(numbers) > 20
    printed = set(re.findall(r"[+-]?\d+\.\d+", tables))
    assert [number for number in numbers if number not in printed] == []
