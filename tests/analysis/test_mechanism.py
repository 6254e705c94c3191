"""Tables and figure of the mechanism, from invented measurements with known answers."""

from __future__ import annotations

import re
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import pytest

from analysis import figures, make_study, rendering, runs
from analysis.rendering import Table
from analysis.tables import mechanism
from benchmarks import observations, spaces, tiers
from benchmarks.observations import Row

OPERATIONS = spaces.get("nas-bench-201").groups[0].alternatives
FOLDER = Path(__file__).resolve().parents[2] / make_study.FOLDER
ABOUT = {
    "seed": 0,
    "batch": 256,
    "pairs": 32,
    "budget": asdict(tiers.budget("cpu", "nas-bench-201")),
    "facts": {"images_sha256": "0" * 64, "images_provenance": "a copy"},
}
CELL = "|skip_connect~0|+|none~0|nor_conv_3x3~1|+|none~0|none~1|skip_connect~2|"
RISES = {"none": 0.0, "skip_connect": 0.1, "nor_conv_1x1": 0.2, "nor_conv_3x3": 0.3, "avg_pool_3x3": 0.05}


def invented(search: str, widths: tuple[str, ...]) -> list[Row]:
    """Gradients at the mean point along edge 0, those over draws 0.6 along edge 0 and 0.8 along edge 1."""
    rows: list[Row] = []
    directions = {"mean": (1.0, 0.0), "own": (1.0, 0.0), "wide": (0.6, 0.8)}
    for epoch in (0, 1, 2):
        at = (search, epoch, CELL)
        for edge in range(6):
            for place, name in enumerate(OPERATIONS):
                known = {"curvature": 0.01, "weight": 0.2, "sigma": 0.5 if "own" in widths else 0.0}
                rows += [(*at, quantity, None, edge, name, value, None) for quantity, value in known.items()]
                for width in ("mean", *widths):
                    length = directions[width][edge] if edge < 2 else 0.0
                    rows.append((*at, "gradient", width, edge, name, length * (place - 2), 1e-4))
        for place, name in enumerate(OPERATIONS):
            # Over wide draws an operation is pushed against its rise, at the mean along it.
            pushed = {"mean": 0.001 * (epoch + 1) * place, "own": 0.002, "wide": -0.01 * RISES[name]}
            rows += [(*at, "push", width, None, name, pushed[width], 1e-4) for width in ("mean", *widths)]
            rows.append((*at, "rise", "wide", None, name, RISES[name], 0.001))
        rows.append((*at, "loss", "mean", None, None, 2.0 - epoch / 10, None))
        for width in widths:
            rows.append((*at, "predicted", width, None, None, 0.15, None))
            rows.append((*at, "rise", width, None, None, 0.1 * epoch + 0.02, 0.01))
    return rows


@pytest.fixture
def frame() -> pd.DataFrame:
    rows = invented("darts-1st", ("wide",)) + invented("balenas-1st@weights_at=sample", ("wide", "own"))
    return pd.DataFrame(rows, columns=list(observations.COLUMNS))


def rows_of(table: Table, first: str) -> list[tuple[object, ...]]:
    return [row for row in table.rows if row[0] == first]


def test_pushes_at_the_mean_and_over_draws(frame: pd.DataFrame):
    table = mechanism.gradients(frame, ABOUT)
    first, *_, last = rows_of(table, "DARTS (1st)")
    assert first[1:9] == (0, None, "2 of 6", "1 of 6", "+1.0 (0.1)", None, None, "-1.0 (0.1)")
    assert last[5:13] == ("+3.0 (0.1)", None, None, "-1.0 (0.1)", "+9.0 (0.1)", None, None, "-3.0 (0.1)")
    assert last[13] is None and last[14] == pytest.approx(0.6)
    noisy = rows_of(table, "BaLeNAS (1st), weights at draws")[-1]
    assert noisy[2] == "0.50" and noisy[13] == pytest.approx(1.0)
    assert noisy[5:8] == ("+3.0 (0.1)", "+2.0 (0.1)", "-1.0 (0.1)")  # the error is that of the draws
    assert "cpu tier, cifar10 (4,096 + 4,096 images of 16x16, a copy, SHA-256 000000000000); seed 0" in table.caption


def test_losses_beside_their_prediction(frame: pd.DataFrame):
    table = mechanism.noise(frame, ABOUT)
    first, *_, last = rows_of(table, "DARTS (1st)")
    assert first[1:] == (0, "2.000", None, None, None, "+0.0200 (0.0100)", "+0.1500", None)  # 2 errors from 0
    assert last[1:3] == (2, "1.800") and last[6:] == ("+0.2200 (0.0100)", "+0.1500", "0.68 (0.03)")
    assert rows_of(table, "BaLeNAS (1st), weights at draws")[2][3:6] == ("+0.2200 (0.0100)", "+0.1500", "0.68 (0.03)")


def test_tolerance_is_that_of_the_last_epoch(frame: pd.DataFrame):
    table = mechanism.tolerance(frame, ABOUT)
    assert table.columns[2:7] == OPERATIONS
    rise, curvature, weight, push = rows_of(table, "DARTS (1st)")
    assert rise[2:4] == ("+0.0000 (0.0010)", "+0.1000 (0.0010)")
    assert set(curvature[2:7]) == {"+0.0300"}  # half of six edges' 0.01
    assert set(weight[2:7]) == {"0.200"}
    assert push[3] == "-1.0" and push[-1] == "-1.00 (0.02)"  # 2 of 5! orders


def test_the_command_draws_what_was_measured(frame: pd.DataFrame, make_store, tmp_path: Path):
    folder = make_store(methods=("darts-1st",), seeds=1, tier="cpu")
    rows = list(frame.itertuples(index=False))
    (folder / make_study.MEASURED).write_bytes(observations.encoded(rows, ABOUT))
    (tmp_path / "README.md").write_text(f"{make_study.BLOCK.begin}\n{make_study.BLOCK.end}\n")
    assert make_study.main(["--results", str(folder), "--output", str(tmp_path)]) == 0
    text = (tmp_path / "README.md").read_text()
    assert "seed 0, one search each" in text and "![What the architecture gradient asks for" in text
    assert (tmp_path / "mechanism.png").stat().st_size > 20_000
    assert "+3.0 (0.1)" in (tmp_path / "mechanism-gradients.csv").read_text()


def test_the_figure_shows_every_search(frame: pd.DataFrame):
    picture = figures.mechanism.build(frame, ABOUT)
    titles = [axis.get_title() for axis in picture.figure.axes[:2]]
    assert titles == ["DARTS (1st)", "BaLeNAS (1st), weights at draws"]
    labels = {text.get_text() for legend in picture.figure.legends for text in legend.get_texts()}
    assert {"skip", "measured, sigma 1", "predicted, own sigma"} <= labels


CORRELATION = "Spearman of rise and push (exact p)"
QUOTED = {
    "mechanism-gradients": {
        ("DARTS (1st)", 0): {"skip_connect: over sigma 1": "+1.3"},
        ("DARTS (1st)", 5): {"skip_connect: over sigma 1": "+20.4"},
        ("DARTS (1st)", 30): {
            "skip_connect: over sigma 1": "+72.1",
            "nor_conv_3x3: over sigma 1": "-60.6",
            "skip_connect: at the mean": "+12.1 (16.2)",
            "skip_connect in the cell": "6 of 6",
        },
        ("DARTS (1st), L2 of BaLeNAS", 30): {
            "skip_connect: at the mean": "-3.9 (12.1)",
            "skip_connect in the cell": "5 of 6",
            "nor_conv_3x3 in the cell": "0 of 6",
        },
        ("BaLeNAS (1st)", 1): {"mean sigma": "0.64", "skip_connect: posterior minus mean": "+3.0 (0.6)"},
        ("BaLeNAS (1st)", 3): {"skip_connect: posterior minus mean": "-2.1 (0.6)"},
        ("BaLeNAS (1st)", 5): {"mean sigma": "0.34", "skip_connect: posterior minus mean": "+1.9 (0.3)"},
        ("BaLeNAS (1st)", 15): {"skip_connect: posterior minus mean": "+3.9 (0.5)"},
        ("BaLeNAS (1st)", 30): {
            "mean sigma": "0.23",
            "skip_connect: posterior minus mean": "+5.9 (0.7)",
            "nor_conv_3x3: posterior minus mean": "-5.0 (0.8)",
            "skip_connect: over sigma 1": "+41.3",
            "skip_connect: at the mean": "-6.1 (7.4)",
            "skip_connect in the cell": "3 of 6",
            "nor_conv_3x3 in the cell": "2 of 6",
        },
        ("BaLeNAS (1st), weights at draws", 30): {
            "skip_connect: over sigma 1": "+5.3",
            "skip_connect in the cell": "5 of 6",
            "skip_connect: posterior minus mean": "-0.7 (0.3)",
            "nor_conv_3x3: posterior minus mean": "+1.3 (0.3)",
        },
    },
    "mechanism-noise": {
        ("DARTS (1st)", 30): {"rise over sigma 1": "+0.7508"},
        ("DARTS (1st), L2 of BaLeNAS", 30): {"rise over sigma 1": "+0.6167"},
        ("BaLeNAS (1st)", 0): {"predicted": "-0.0948", "rise over the posterior": "+0.0023 (0.0014)"},
        ("BaLeNAS (1st)", 3): {"predicted / measured": "0.74"},
        ("BaLeNAS (1st)", 20): {"predicted / measured": "1.55"},
        ("BaLeNAS (1st)", 30): {
            "rise over sigma 1": "+0.5626",
            "predicted / measured, sigma 1": "2.14",
        },
        ("BaLeNAS (1st), weights at draws", 30): {"rise over sigma 1": "+0.0882", "predicted / measured": "2.27"},
    },
    "mechanism-tolerance": {
        ("DARTS (1st)", "rise"): {
            "nor_conv_3x3": "+0.3912",
            "skip_connect": "+0.2104",
            "avg_pool_3x3": "+0.0604",
        },
        ("DARTS (1st)", "mean operation weight"): {"skip_connect": "0.383"},
        ("DARTS (1st)", "push over sigma 1"): {
            "avg_pool_3x3": "+13.1",
            CORRELATION: "-0.60 (0.35)",
        },
        ("DARTS (1st), L2 of BaLeNAS", "mean operation weight"): {"skip_connect": "0.345"},
        ("DARTS (1st), L2 of BaLeNAS", "push over sigma 1"): {CORRELATION: "-0.60 (0.35)"},
        ("BaLeNAS (1st)", "mean operation weight"): {"skip_connect": "0.297"},
        ("BaLeNAS (1st)", "push over sigma 1"): {CORRELATION: "-0.30"},
        ("BaLeNAS (1st), weights at draws", "push over sigma 1"): {CORRELATION: "-0.60 (0.35)"},
    },
}
"""What the text quotes, by table, row and column."""


def test_what_the_text_quotes_stands_in_the_tables():
    prose = (FOLDER / "README.md").read_text(encoding="utf-8").split(make_study.BLOCK.begin)[0]
    prose = prose.partition("## Why skip")[2]
    measured = observations.read(FOLDER / make_study.MEASURED)
    quoted = set()
    for table in mechanism.build(*measured):
        for key, columns in QUOTED[table.name].items():
            row = next(row for row in table.rows if row[:2] == key)
            for column, expected in columns.items():
                cell = rendering.text(row[table.columns.index(column)])
                assert cell == expected or cell.startswith(f"{expected} ("), (table.name, key, column)
                quoted |= set(re.findall(r"\d+\.\d+", expected))
    assert set(re.findall(r"\d+\.\d+", prose)) == quoted


def test_the_quoted_range_of_eq_19_is_that_of_all_epochs():
    table = mechanism.noise(*observations.read(FOLDER / make_study.MEASURED))
    column = table.columns.index("predicted / measured")
    printed = {int(row[1]): row[column] for row in rows_of(table, "BaLeNAS (1st)")}
    ratios = {epoch: float(text.split()[0]) for epoch, text in printed.items() if text}
    assert len(ratios) == 9 and (min(ratios.values()), max(ratios.values())) == (0.74, 1.55)
    assert all(ratio > 1 for epoch, ratio in ratios.items() if epoch >= 5)


def test_the_replayed_searches_are_those_of_the_study():
    frame, about = observations.read(FOLDER / make_study.MEASURED)
    epochs = runs.load([FOLDER]).epochs
    compared = 0
    for search, spec in about["specs"].items():
        stored = epochs[epochs["spec_hash"] == spec]
        if stored.empty:  # not run in the study yet
            continue
        last, row = frame[(frame["search"] == search) & (frame["epoch"] == 30)], stored.iloc[-1]
        assert last[last["quantity"] == "alpha"]["value"].tolist() == list(row["alpha"])
        assert set(last["architecture"]) == {row["architecture"]}
        compared += 1
    assert compared >= 3
