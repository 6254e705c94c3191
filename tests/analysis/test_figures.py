"""Every figure renders and says what it shows; two are compared with committed pictures.

NAS_UPDATE_PICTURES=1 writes the committed pictures anew: look at them before committing.
"""

from __future__ import annotations

import io
import os
from pathlib import Path

import matplotlib.image
import numpy as np
import pytest
from matplotlib.testing.compare import compare_images

from analysis import figures, make_figures, runs
from analysis.figures import cells, outcomes, style, trajectories
from analysis.figures.style import Picture
from benchmarks.store import Store
from tests.analysis.conftest import record

PICTURES = Path(__file__).parent / "pictures"


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> runs.Runs:
    store = Store(tmp_path_factory.mktemp("figures") / "runs").open()
    for method in ("random", "darts-1st", "balenas-1st"):
        for space in ("nas-bench-201", "nas-bench-1shot1-s1"):
            for seed in range(2):
                store.append(record(method, space, seed))
    return runs.load([store.folder])


@pytest.fixture(scope="module")
def pictures(loaded: runs.Runs) -> dict[str, Picture]:
    return {picture.name: picture for picture in figures.build(loaded)}


def test_every_figure_is_there(pictures: dict[str, Picture]):
    assert set(pictures) >= {
        "figure-1-quick-digits", "trajectories-nas-bench-201-quick-digits", "figure-2-quick-digits",
        "figure-3-quick-digits", "posterior-quick-digits", "noise-quick-digits", "distribution-quick-digits",
        "anytime-quick-digits", "cells-nas-bench-201-quick-digits", "cells-nas-bench-1shot1-s1-quick-digits",
    }  # fmt: skip


def test_every_figure_renders_in_every_format(pictures: dict[str, Picture]):
    for picture in pictures.values():
        image = matplotlib.image.imread(io.BytesIO(figures.render(picture, "png")))
        assert image.shape[0] > 200 and image.shape[1] > 400 and image[..., :3].std() > 0.02, picture.name
    some = pictures["figure-1-quick-digits"]
    assert figures.render(some, "pdf").startswith(b"%PDF") and b"<svg" in figures.render(some, "svg")


def test_captions_say_tier_n_and_bands(pictures: dict[str, Picture]):
    for name, picture in pictures.items():
        if name.startswith("proxies-"):
            assert "n = " in picture.caption
            continue
        for part in ("quick tier", "n = 2", "not what the paper claims"):
            assert part in picture.caption, name
        if any(axis.collections for axis in picture.figure.axes) and not name.startswith(("noise", "anytime", "cells")):
            assert "bands the range of the searches" in picture.caption, name


def test_axes_have_labels(pictures: dict[str, Picture]):
    for name, picture in pictures.items():
        if not name.startswith("cells-"):
            assert any(axis.get_xlabel() for axis in picture.figure.axes), name
            assert any(axis.get_ylabel() for axis in picture.figure.axes), name


def test_analogues_are_named_so(pictures: dict[str, Picture]):
    for number in (2, 3):
        assert pictures[f"figure-{number}-quick-digits"].title.startswith(f"Analogue of Fig. {number} on NAS-Bench-201")


def test_figure_1_draws_means_and_never_guesses_validation(loaded: runs.Runs, pictures: dict[str, Picture]):
    top, bottom = pictures["figure-1-quick-digits"].figure.axes[:2]
    lines = {line.get_label(): line for line in top.get_lines()}
    frame = loaded.epochs.query("method == 'darts-1st' and space == 'nas-bench-1shot1-s1'")
    np.testing.assert_allclose(lines["DARTS (1st)"].get_ydata(), frame.groupby("epoch")["regret_cifar10_test"].mean())
    assert not bottom.get_lines() and "few graphs" in bottom.texts[0].get_text()


def test_validation_is_drawn_where_all_is_known(loaded: runs.Runs):
    frame = loaded.epochs.assign(cifar10_valid=loaded.epochs["cifar10_test"] + 1)
    picture = next(p for p in trajectories.build(runs.Runs(frame)) if p.name.startswith("figure-1"))
    assert picture.figure.axes[1].get_lines()


def test_distribution_covers_the_space(pictures: dict[str, Picture]):
    heights = [patch.get_height() for patch in pictures["distribution-quick-digits"].figure.axes[0].patches]
    assert sum(heights) == pytest.approx(100)


def test_anytime_is_the_exact_expectation(pictures: dict[str, Picture]):
    right = pictures["anytime-quick-digits"].figure.axes[1]
    expectation = right.get_lines()[0].get_ydata()
    assert expectation[0] == pytest.approx(87.0629, abs=1e-3)
    assert (np.diff(expectation) > 0).all() and expectation[-1] < 94.3734
    assert "table queries" in right.get_xlabel()
    assert outcomes.QUERIES[0] == 1


def test_methods_differ_in_dash_or_marker_too():
    looks = [style.look(method) for method in runs.METHODS]
    assert len({look.colour for look in looks}) == len({look.marker for look in looks}) == len(looks)
    assert len({(str(look.dash), look.marker) for look in looks}) == len(looks)


def test_the_same_bytes_each_time(loaded: runs.Runs):
    first, second = (next(iter(trajectories.build(loaded))) for _ in range(2))
    for ending in figures.ENDINGS:
        assert figures.render(first, ending) == figures.render(second, ending), ending


def test_command_line_writes_three_formats_and_captions(make_store, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    folder = make_store(methods=("random",), space_names=("nas-bench-201",), seeds=1)
    out = tmp_path / "out"
    assert make_figures.main(["--results", str(folder), "--output", str(out)]) == 0
    stem = out / "figures" / "distribution-quick-digits"
    assert all(stem.with_suffix(f".{ending}").stat().st_size > 1000 for ending in figures.ENDINGS)
    assert "one marker a search" in stem.with_suffix(".txt").read_text()
    assert "figures (pdf, svg, png)" in capsys.readouterr().out


def _cells() -> Picture:
    figure, axes = style.panels(1, 2, width=2.6, height=1.25)
    cells.draw(
        axes[0][0], "nas-bench-201",
        "|nor_conv_3x3~0|+|none~0|avg_pool_3x3~1|+|skip_connect~0|nor_conv_1x1~1|nor_conv_3x3~2|",
    )  # fmt: skip
    cells.draw(
        axes[0][1], "nas-bench-1shot1-s1",
        "conv3x3-bn-relu(0)|maxpool3x3(0,1)|conv1x1-bn-relu(1,2)|conv3x3-bn-relu(0,3)|output(2,4)",
    )  # fmt: skip
    return Picture("cells", "cells", "", figure)


@pytest.mark.parametrize("name", ["cells", "figure-1"])
def test_pictures_look_as_committed(name: str, pictures: dict[str, Picture], tmp_path: Path):
    picture = _cells() if name == "cells" else pictures["figure-1-quick-digits"]
    drawn, committed = tmp_path / f"{name}.png", PICTURES / f"{name}.png"
    drawn.write_bytes(figures.render(picture, "png"))
    if os.environ.get("NAS_UPDATE_PICTURES"):
        committed.parent.mkdir(exist_ok=True)
        committed.write_bytes(drawn.read_bytes())
    assert compare_images(str(committed), str(drawn), tol=5) is None
