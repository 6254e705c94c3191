"""The tables from stored runs, and the command line that makes them."""

from __future__ import annotations

import csv
import io
from dataclasses import asdict, replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from analysis import make_tables, published, rendering, runs, tables
from analysis.rendering import MeanSd, Table
from benchmarks import tiers
from benchmarks.spec import Status
from benchmarks.store import Store
from tests.analysis.conftest import record


def rows_of(table: Table, label: str) -> list[tuple[rendering.Cell, ...]]:
    return [row for row in table.rows if row[0] == label]


def accuracy(loaded: runs.Runs, space: str) -> Table:
    setting = next(s for s in loaded.settings if s.space == space)
    return tables.accuracy.table(loaded, setting)


def test_table_1_shows_ours_beside_published(make_store):
    loaded = runs.load([make_store(seeds=3)])
    table = accuracy(loaded, "nas-bench-201")
    published, ours = rows_of(table, "BaLeNAS (1st)")
    assert published[1:3] == ("published", 4) and ours[1:3] == ("ours", 3)
    assert str(published[4]) == "93.62 ± 0.12"
    values = loaded.finals.query("method == 'balenas-1st' and space == 'nas-bench-201'")["cifar10_test"]
    assert ours[4] == MeanSd(values.mean(), values.std())
    difference = table.rows[table.rows.index(ours) + 1]
    assert difference[1] == "ours - published"
    assert float(str(difference[4])) == pytest.approx(values.mean() - 93.62, abs=0.005)
    assert "not the paper's setting" in str(difference[-1])


def test_table_1_marks_what_is_missing_or_exact(make_store):
    table = accuracy(runs.load([make_store()]), "nas-bench-201")
    assert rows_of(table, "BaLeNAS (2nd)")[1][3] == "not run"
    assert "not run here" in str(rows_of(table, "ENAS")[0][-1])
    assert len(rows_of(table, "ENAS")) == 1
    assert "6 of 6" in str(rows_of(table, "DrNAS")[0][-1])
    published, exact = rows_of(table, "optimum")
    assert "4 of 6" in str(published[-1]) and str(exact[5]) == "73.49"
    assert str(rows_of(table, "one uniform random architecture")[0][4]) == "87.06 ± 12.93"
    assert "oracle" in str(rows_of(table, "best of 100 uniform draws, oracle")[0][0])


def test_captions_name_tier_images_n_and_ddof(make_store):
    made = [table for table in tables.build(runs.load([make_store()])) if "quick" in table.name]
    assert len(made) >= 8
    for table in made:
        spread = () if table.name.startswith("across-") else ("n = 2", "ddof 1")  # lists its pairs, prints no sd
        for part in ("quick tier", "digits", "n = ", "SHA-256", *spread):
            assert part in table.caption, table.name
        assert any("not what the paper claims" in note for note in table.notes)


def test_one_shot_tables_never_guess_validation(make_store):
    loaded = runs.load([make_store()])
    table = accuracy(loaded, "nas-bench-1shot1-s1")
    row = rows_of(table, "DARTS (1st)")[0]
    frame = loaded.finals.query("method == 'darts-1st' and space == 'nas-bench-1shot1-s1'")
    assert row[-1] == frame["cifar10_valid"].notna().sum()
    assert row[5] == MeanSd(frame["regret_cifar10_test"].mean(), frame["regret_cifar10_test"].std())
    assert str(rows_of(table, "optimum")[0][5]) == "0.00"


def test_tiers_and_variants_are_not_mixed(make_store, tmp_path: Path):
    quick, smoke = make_store(seeds=2), make_store(seeds=3, tier="smoke", name="other")
    store = Store(quick)
    store.append(record("darts-1st", "nas-bench-201", 0, order=2))
    loaded = runs.load([quick, smoke])
    names = [setting.name for setting in loaded.settings]
    assert names == [
        "nas-bench-201-quick-digits", "nas-bench-1shot1-s1-quick-digits",
        "nas-bench-201-smoke-digits", "nas-bench-1shot1-s1-smoke-digits",
    ]  # fmt: skip
    labels = loaded.labels(loaded.settings[0])
    assert [label for label in labels if label.startswith("darts-1st")] == [
        "darts-1st [order=2]",
        "darts-1st [order=unset]",
    ]
    assert len(loaded.of(loaded.settings[0], "darts-1st [order=unset]")) == 2


def test_a_number_that_is_not_the_tiers_is_in_the_label(make_store):
    store = Store(make_store(methods=("random",)))
    made = record("darts-1st", "nas-bench-201", 0)
    faster = replace(made.spec, budget=tiers.changed(made.spec.budget, ["arch_lr=0.5", "flip=true"]))
    store.append(replace(made, spec=faster))
    loaded = runs.load([store.folder])
    assert loaded.labels(loaded.settings[0]) == ["random", "darts-1st [flip=True, arch_lr=0.5]"]
    table = accuracy(loaded, "nas-bench-201")
    assert {row[1] for row in rows_of(table, "DARTS (1st)")} == {"published"}
    place = table.rows.index(*rows_of(table, "DARTS (1st) [flip=True, arch_lr=0.5]"))
    assert "digits with flip=True, arch_lr=0.5, not the paper's setting" in str(table.rows[place + 1][-1])


def test_image_sizes_are_not_mixed(make_store):
    folder = make_store(methods=("random", "darts-1st"), space_names=("nas-bench-201",), tier="cpu")
    made = record("darts-1st", "nas-bench-201", 0, "cpu")
    larger = replace(made.spec, budget=tiers.changed(made.spec.budget, ["image_size=32", "padding=4"]))
    Store(folder).append(replace(made, spec=larger))
    Store(folder).append(replace(made, spec=replace(larger, seed=1), status=Status.DIVERGED))
    loaded = runs.load([folder])
    small, large = loaded.settings
    assert (small.name, large.name) == ("nas-bench-201-cpu-cifar10", "nas-bench-201-cpu-cifar10-image_size=32")
    assert "16x16" in small.description and "32x32" in large.description and large.title.endswith("image_size=32")
    assert (len(loaded.of(small, "darts-1st")), loaded.labels(large)) == (2, ["darts-1st [image_size=32, padding=4]"])
    assert loaded.setting_of(loaded.of(large).iloc[0]) == large and len(loaded.groups) == 2
    found = {table.name: table for table in tables.build(loaded)}
    assert not any("did not finish" in note for note in found[f"points-{small.name}"].notes)
    lost = rows_of(found[f"points-{large.name}"], "DARTS (1st) [image_size=32, padding=4]")[0]
    assert lost[1] == 1 and str(lost[4]).endswith("of 2")


def test_copies_of_the_images_are_told_apart(make_store):
    folder = make_store(methods=("random",), space_names=("nas-bench-201",))
    made = record("random", "nas-bench-201", 0)
    Store(folder).append(replace(made, spec=replace(made.spec, images="f" * 64)))
    names = [setting.name for setting in runs.load([folder]).settings]
    assert names == ["nas-bench-201-quick-digits-000000", "nas-bench-201-quick-digits-ffffff"]


def test_a_failed_run_of_newer_numerics_hides_no_finished_one(make_store):
    folder = make_store(methods=("random",), seeds=1, space_names=("nas-bench-201",))
    failed = record("random", "nas-bench-201", 0, status=Status.ERROR)
    Store(folder).append(replace(failed, spec=replace(failed.spec, numerics=failed.spec.numerics + 1)))
    loaded = runs.load([folder])
    assert len(loaded.finals) == 1 and loaded.failed.empty and loaded.superseded == 1


def test_equivalent_is_not_different_as_well(make_store):
    folder = make_store(methods=("random",), space_names=("nas-bench-201",))
    loaded = runs.load([folder])
    setting = loaded.settings[0]
    row = published.find("Table 1").row("BaLeNAS (1st)")
    row = replace(row, cells=tuple(replace(cell, sd=0.02) for cell in row.cells))
    near = {cell.column.measure: cell.value + 0.7 + 0.01 * np.arange(8) for cell in row.cells}
    verdict = tables.accuracy._verdict(replace(setting, tier="paper"), "balenas-1st", row, at_papers(near))
    assert verdict == "equivalent in 6, different in 0, undecided in 0 of 6"
    far = {cell.column.measure: cell.value - 30 + 0.01 * np.arange(8) for cell in row.cells}
    verdict = tables.accuracy._verdict(replace(setting, tier="paper"), "balenas-1st", row, at_papers(far))
    assert verdict == "equivalent in 0, different in 6, undecided in 0 of 6"
    quoted = published.find("Table 1").row("DARTS (1st)")
    assert "not stated" in tables.accuracy._verdict(replace(setting, tier="paper"), "darts-1st", quoted, at_papers(far))


def at_papers(columns: dict[str, np.ndarray]) -> pd.DataFrame:
    budget = tiers.budget("paper", "nas-bench-201")
    named = {f"budget.{name}": value for name, value in asdict(budget).items()}
    return pd.DataFrame(columns).assign(tier="paper", space="nas-bench-201", data="cifar10", **named)


def test_failed_runs_are_counted_not_averaged(make_store):
    folder = make_store(seeds=2)
    Store(folder).append(record("darts-1st", "nas-bench-201", 7, status=Status.DIVERGED))
    table = accuracy(runs.load([folder]), "nas-bench-201")
    assert rows_of(table, "DARTS (1st)")[1][2] == 2
    assert any("1 run(s) did not finish (diverged)" in note for note in table.notes)
    Store(folder).append(record("darts-2nd", "nas-bench-201", 0, status=Status.ERROR))
    assert rows_of(accuracy(runs.load([folder]), "nas-bench-201"), "DARTS (2nd)")[1][3] == "failed"


def test_runs_of_another_ground_truth_are_noted(make_store):
    loaded = runs.load([make_store(methods=("random",))])
    frame = loaded.epochs.assign(**{"facts.ground_truth_digest": "another"})
    assert any("another table" in note for note in accuracy(runs.Runs(frame), "nas-bench-201").notes)
    assert not any("another table" in note for note in accuracy(loaded, "nas-bench-201").notes)


def test_files_in_four_formats(make_store, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    assert make_tables.main(["--results", str(make_store()), "--output", str(out)]) == 0
    printed = capsys.readouterr().out
    assert "Table 1: NAS-Bench-201 (quick tier, digits)" in printed and "space 1" in printed
    stem = out / "tables" / "table-1-nas-bench-201-quick-digits"
    parsed = list(csv.DictReader(stem.with_suffix(".csv").read_text().splitlines()))
    assert float(parsed[0]["CIFAR-10 test mean"]) == 86.61 and float(parsed[0]["CIFAR-10 test sd"]) == 13.46
    tex = stem.with_suffix(".tex").read_text()
    assert tex.isascii()
    assert r"\toprule" in tex and r"86.61 $\pm$ 13.46" in tex and tex.count("\\\\") == len(parsed) + 1
    assert "<table" in stem.with_suffix(".html").read_text()
    assert stem.with_suffix(".md").read_text() in printed


def test_runs_twice_give_the_same_bytes(make_store, tmp_path: Path):
    folder = make_store()
    for name in ("a", "b"):
        make_tables.main(["--results", str(folder), "--output", str(tmp_path / name)])
    first, second = (sorted((tmp_path / name).rglob("*.*")) for name in ("a", "b"))
    assert [p.read_bytes() for p in first] == [p.read_bytes() for p in second]


@pytest.mark.parametrize("case", ["missing", "empty", "file for output", "damaged"])
def test_bad_folders_are_one_line(case: str, make_store, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder, out = tmp_path / "runs", tmp_path / "out"
    if case != "missing":
        folder = make_store() if case != "empty" else Store(tmp_path / "runs").open().folder
    if case == "file for output":
        out.write_text("x")
    if case == "damaged":
        next(folder.rglob("seed-*.parquet")).write_bytes(b"PAR1")
    assert make_tables.main(["--results", str(folder), "--output", str(out)]) == 2
    error = capsys.readouterr().err.splitlines()
    assert [line for line in error if line.startswith("error: ")] == error[1:] and len(error) == 2


def test_default_is_the_reference_if_it_is_there(tmp_path: Path):
    assert runs.default_folders(tmp_path) == [tmp_path / "results" / "runs"]
    Store(tmp_path / "results" / "reference" / "cpu").open().append(record("random", "nas-bench-201", 0))
    (tmp_path / "results" / "reference" / "notes").mkdir()
    assert runs.default_folders(tmp_path) == [tmp_path / "results" / "reference" / "cpu"]


def test_rendering_escapes():
    table = Table("t", "a_b", ("x|y", "50 %"), (("a & b", MeanSd(1, 2)), ("<i>", None)), "c")
    assert r"x\|y" in rendering.markdown(table) and "| - " in rendering.markdown(table)
    assert r"a \& b & 1.00 $\pm$ 2.00 \\" in rendering.latex(table) and r"50 \%" in rendering.latex(table)
    assert "&lt;i&gt;" in rendering.html_table(table) and 'data-value="1"' in rendering.html_table(table)
    assert next(csv.reader(io.StringIO(rendering.comma_separated(table)))) == ["x|y", "50 % mean", "50 % sd"]


def test_mean_of_nothing_is_nothing():
    assert MeanSd.of([np.nan]) is None
    assert str(MeanSd.of([1.0])) == "1.00"


def test_a_row_that_does_not_fit_is_refused():
    with pytest.raises(ValueError, match="2 headings"):
        Table("t", "t", ("a", "b"), ((1,),), "")
