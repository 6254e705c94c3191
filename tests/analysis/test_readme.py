"""The README's headline is what the reference results give today."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from matplotlib.testing.compare import compare_images

from analysis import claims, figures, make_readme, make_study, runs
from analysis.tables import selection
from analysis.tables import study as study_tables
from benchmarks.errors import UserError
from benchmarks.studies import STUDIES

ROOT = Path(__file__).resolve().parents[2]
README = f"before\n{make_readme.BLOCK.begin}\nold\n{make_readme.BLOCK.end}\nafter\n"


def test_only_the_block_is_replaced(make_store, tmp_path: Path):
    root = tmp_path / "root"
    root.mkdir()
    (root / "README.md").write_text(README)
    for _ in range(2):  # the second time changes nothing
        assert make_readme.main(["--results", str(make_store()), "--output", str(root)]) == 0
        text = (root / "README.md").read_text()
        assert text.startswith("before\n") and text.endswith("\nafter\n") and "old" not in text
        assert text.count(make_readme.BLOCK.begin) == 1
    for part in ("87.06 ± 12.93", "94.37", "93.62 ± 0.12", "undecided", "n = 2", "quick tier"):
        assert part in text
    named = [line.split("](")[1].rstrip(")") for line in text.splitlines() if line.startswith("![")]
    assert len(named) == 2 and all((root / name).stat().st_size > 5000 for name in named)


@pytest.mark.parametrize("text", [None, "no markers"])
def test_a_readme_without_markers_is_named(text: str | None, make_store, tmp_path: Path, capsys):
    if text is not None:
        (tmp_path / "README.md").write_text(text)
    folder = make_store(methods=("random",), seeds=1)
    assert make_readme.main(["--results", str(folder), "--output", str(tmp_path)]) == 2
    assert "README.md" in capsys.readouterr().err.splitlines()[-1]


def test_replaced_needs_both_markers():
    with pytest.raises(UserError, match="lacks"):
        make_readme.BLOCK.replaced(make_readme.BLOCK.begin, "x")


def test_the_committed_readme_is_fresh(tmp_path: Path):
    readme = (ROOT / "README.md").read_text(encoding="utf-8")
    folders = [folder for folder in runs.default_folders(ROOT) if folder.parent.name == "reference"]
    if make_readme.BLOCK.begin not in readme or not folders:
        pytest.skip("the README has no headline yet, or no reference results are committed")
    loaded = runs.load(folders)
    stale = "stale README: run python -m analysis.make_readme and commit what changed"
    assert make_readme.BLOCK.replaced(readme, make_readme.block(loaded)) == readme, stale
    for picture in make_readme.pictures(loaded):
        fresh = tmp_path / f"{picture.name}.png"
        fresh.write_bytes(figures.render(picture, "png"))
        assert compare_images(str(ROOT / make_readme.FIGURES / fresh.name), str(fresh), tol=5) is None, stale


def test_the_text_quotes_what_is_computed():
    text = " ".join((ROOT / "README.md").read_text(encoding="utf-8").split())
    rows = {(row[0], row[1]): row for row in selection.table_2().rows}
    columns = slice(selection.table_2().columns.index("CIFAR-10 test"), None)
    synflow, params = (
        " / ".join(f"{cell.mean:.2f}" for cell in rows[f"uniform draws, {proxy}", 100][columns][:3])
        for proxy in ("synflow", "params")
    )
    assert f"reaches {synflow} % on the three test sets in expectation, the parameter count {params} %" in text

    loaded = runs.load(runs.default_folders(ROOT))
    setting = loaded.settings_of("nas-bench-201", "balenas-tf-1st")[0]
    snip, grasp = (loaded.of(setting, f"balenas-tf-1st@proxy={proxy}") for proxy in ("snip", "grasp"))
    assert len(snip) == 8 and list(snip["architecture"]) == list(grasp["architecture"])
    assert "SNIP and GraSP chose the same cell in all eight searches" in text
    ((_, finding),) = claims.judge(loaded, [claim for claim in claims.load() if claim.id == "best-proxy"])
    assert finding.verdict is claims.Verdict.UNDECIDED and finding.n == 8
    quoted = re.search(r"in expectation the three reach ([\d.]+), ([\d.]+) and ([\d.]+) % on CIFAR-10", text)
    assert quoted is not None and all(number in finding.effect + finding.evidence for number in quoted.groups())

    table = study_tables.verdicts(runs.load([ROOT / make_study.FOLDER]), STUDIES["confirmation-32x32"])
    ahead = [row for row in table.rows if row[2] == "mean of trainings" and row[4].mean > 0]
    assert [f"{row[4].mean:.2f} points ({row[5]})" for row in ahead] == ["0.75 points (-3.71 to 5.20)"]
    assert "one of the three is ahead, by 0.75 points (-3.71 to 5.20)" in text
