"""Tables beside Table 1: selection, comparisons, cost, curvature, correlations."""

from __future__ import annotations

import numpy as np
import pytest

from analysis import published, regression, runs, scores, statistics, tables
from analysis.published import Check
from analysis.rendering import MeanSd, Table
from analysis.tables import comparisons, measurements, posteriors, selection
from analysis.zero_cost import best_of_draws
from benchmarks.store import Store
from tests.analysis.conftest import record


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> runs.Runs:
    store = Store(tmp_path_factory.mktemp("tables") / "runs").open()
    for method in ("random", "darts-1st", "balenas-1st"):
        for space in ("nas-bench-201", "nas-bench-1shot1-s1"):
            for seed in range(6):
                store.append(record(method, space, seed, "cpu"))
    return runs.load([store.folder])


def row(table: Table | None, label: str) -> tuple:
    assert table is not None
    return next(r for r in table.rows if r[0] == label)


def test_all_tables_have_names_of_their_own(loaded: runs.Runs):
    names = [table.name for table in tables.build(loaded)]
    assert len(names) == len(set(names))
    for start in ("table-1-", "table-2", "table-3", "points-", "paired-", "cost-", "hessian-"):
        assert any(name.startswith(start) for name in names), start


def test_every_table_of_runs_says_tier_and_n(loaded: runs.Runs):
    for table in tables.build(loaded):
        if "cpu" in table.name:
            assert "cpu tier" in table.caption and "n = " in table.caption, table.name
            listed = table.name.startswith("across-")  # it lists its pairs and prints no sd
            assert listed or ("n = 6" in table.caption and "ddof 1" in table.caption), table.name
        else:
            assert "no run of a search" in table.caption or "Published numbers only" in table.caption, table.name


def test_points_come_before_means(loaded: runs.Runs):
    setting = loaded.settings[0]
    table = comparisons.points(loaded, setting)
    values = loaded.of(setting, "darts-1st")["cifar10_test"]
    found = row(table, "DARTS (1st)")
    assert found[2] == ", ".join(f"{v:.2f}" for v in values) and found[3] == pytest.approx(values.median())
    assert table.columns.index("collapsed") < table.columns.index("interquartile mean")


def test_floor_is_the_weighted_fifth_percentile():
    for space in ("nas-bench-201", "nas-bench-1shot1-s1"):
        ground = regression.load(space)
        values = ground.column(**regression.keywords(space, "cifar10_test"))
        low = comparisons.floor(space)
        share = ground.weights[values < low].sum() / ground.weights.sum()
        assert share < 0.05 <= share + ground.weights[values == low].sum() / ground.weights.sum()


def test_all_skip_is_seen(loaded: runs.Runs):
    frame = loaded.of(loaded.settings[0], "darts-1st").copy()
    assert not comparisons.all_skip(frame).any()
    for name in [c for c in frame if c.startswith("count_")]:
        frame[name] = 0
    frame["count_skip_connect"] = 6
    assert comparisons.all_skip(frame).all()


def test_paired_rows(loaded: runs.Runs):
    setting = loaded.settings[0]
    table = comparisons.paired(loaded, setting)
    found = row(table, "BaLeNAS (1st) - DARTS (1st)")
    a, b = (loaded.of(setting, m)["cifar10_test"].to_numpy() for m in ("balenas-1st", "darts-1st"))
    assert found[1] == 6 and isinstance(found[2], MeanSd) and found[2].mean == pytest.approx((a - b).mean())
    assert found[-1] == f"{statistics.wilcoxon(a - b):.3f}"


def test_a_resumed_search_is_in_no_ratio(loaded: runs.Runs):
    frame = loaded.epochs.copy()
    frame["facts.resumed"] = (frame["method"] == "balenas-1st") & (frame["seed"] == 0)
    frame.loc[frame["facts.resumed"], "seconds_weights"] = 1e6
    table = measurements.cost(runs.Runs(frame), loaded.settings[0])
    assert row(table, "BaLeNAS (1st)")[1] == 5
    assert row(table, "BaLeNAS (1st)")[-1] == row(measurements.cost(loaded, loaded.settings[0]), "BaLeNAS (1st)")[-1]


def test_across_spaces_weighs_them_equally(loaded: runs.Runs):
    table = comparisons.across(loaded, loaded.groups[0])
    found = row(table, "BaLeNAS (1st) - DARTS (1st)")
    means = [
        (
            loaded.of(s, "balenas-1st")["cifar10_test"].to_numpy()
            - loaded.of(s, "darts-1st")["cifar10_test"].to_numpy()
        ).mean()
        for s in loaded.groups[0]
    ]
    assert found[1:3] == (2, "6, 6") and found[3] == pytest.approx(np.mean(means))


def test_resampling_shows_the_luck_of_the_draws(loaded: runs.Runs):
    from benchmarks import spaces

    frame = loaded.epochs[loaded.epochs["method"] == "balenas-1st"].assign(
        method="balenas-tf-1st", label="balenas-tf-1st", mean_chosen=1.0, distinct_draws=40
    )
    frame["spec_hash"] += "tf"
    space = spaces.get("nas-bench-201")
    best, worst = space.position((3, 3, 3, 1, 3, 2)), space.position((1,) * 6)
    frame["resampled"] = [[float(best), float(worst)]] * len(frame)
    changed = runs.Runs(frame[frame["space"] == "nas-bench-201"])
    found = row(posteriors.resampling(changed, changed.settings[0]), "BaLeNAS-TF (1st)")
    assert found[3] == 2 and found[4].mean == pytest.approx((94.3733 + 54.2967) / 2, abs=1e-3) and found[4].sd < 1e-9
    assert found[5] == pytest.approx((94.3733 - 54.2967) / 2**0.5, abs=1e-3) and found[-1] == "6 of 6"


def test_cost_compares_steps_at_equal_seeds(loaded: runs.Runs):
    table = measurements.cost(loaded, loaded.settings[0])
    assert row(table, "BaLeNAS (1st)")[-1] == "1.00 (1.00 to 1.00) of DARTS (1st)"
    assert row(table, "Random")[-1] is None


def test_hessians_are_of_the_last_epoch(loaded: runs.Runs):
    setting = loaded.settings[0]
    table = measurements.hessian(loaded, setting)
    last = loaded.of(setting, "balenas-1st")["hessian_dominant"]
    assert row(table, "BaLeNAS (1st)")[2] == MeanSd(last.mean(), last.std(), 3)
    assert "analogue" in table.notes[-1]


def test_table_3_is_published_only():
    table = selection.table_3()
    assert {r[-1] for r in table.rows} == {"not run"}
    assert str(row(table, "BaLeNAS-TF")[1]) == "2.43 ± 0.08" and row(table, "BaLeNAS-TF")[3] == "24.2"
    assert row(table, "MdeNAS")[2] is not None and row(table, "DARTS (1st)")[2] is None


def test_table_2_without_scores_says_so(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(scores, "held", lambda space: [])
    table = selection.table_2()
    assert any("its rows are missing" in note for note in table.notes)
    assert str(row(table, "uniform draw, no proxy")[4]) == "87.06 ± 12.93"
    assert str(row(table, "most parameters of the whole space")[6]) == "41.44"


needs_synflow = pytest.mark.skipif(
    "synflow" not in scores.held("nas-bench-201"), reason="no SynFlow scores are shipped yet"
)


@needs_synflow
@pytest.mark.parametrize(("control", "label"), [(False, "posterior of"), (True, "mean of")])
def test_posterior_rows_agree_with_drawing(loaded: runs.Runs, control: bool, label: str):
    """The closed form against draws of the same posteriors, scored by the same table."""
    from benchmarks import spaces

    setting = loaded.settings[0]
    found = next(
        r
        for r in posteriors.table_2(loaded, setting).rows
        if r[0].startswith(label) and r[0].endswith(", synflow") and r[1] == 10
    )
    synflow, space = scores.load("nas-bench-201", "synflow"), spaces.get("nas-bench-201")
    rng = np.random.default_rng(0)
    means, within, distinct, own = [], [], [], []
    frame = loaded.of(setting, "balenas-1st")
    for alpha, sigma in zip(frame["alpha"], frame["sigma"], strict=True):
        spread = np.full(30, np.sqrt(np.mean(np.square(sigma)))) if control else np.array(sigma)
        draws = np.array(alpha) + spread * rng.normal(size=(4000, 10, 30))
        chosen = np.stack([part.argmax(-1) for part in np.split(draws, 6, axis=-1)], axis=-1)
        positions = np.ravel_multi_index(tuple(np.moveaxis(chosen, -1, 0)), space.choices)
        by_seed = synflow.by_seed[rng.integers(len(synflow.seeds))]
        best = np.take_along_axis(positions, by_seed[positions].argmax(1)[:, None], 1)[:, 0]
        means.append(synflow.accuracies[best, 0].mean())
        within.append(synflow.accuracies[best, 0].std())
        distinct.append(np.mean([len(set(row)) for row in positions.tolist()]))
        kept = tuple(int(part.argmax()) for part in np.split(np.array(alpha), 6))
        own.append((best == space.position(kept)).mean())
    assert found[3] == len(frame)
    assert found[4].mean == pytest.approx(np.mean(means), abs=0.1)
    assert found[7] == pytest.approx(np.std(means, ddof=1), abs=0.2)
    assert found[8] == pytest.approx(np.sqrt(np.mean(np.square(within))), rel=0.1)
    assert found[4].sd == pytest.approx(np.hypot(found[7], found[8]))
    assert found[9].mean == pytest.approx(np.mean(distinct), abs=0.05)
    assert found[10] == pytest.approx(100 * np.mean(own), abs=1.5)


@needs_synflow
def test_posterior_rows_cover_every_complete_proxy_and_sample_size(loaded: runs.Runs):
    table = posteriors.table_2(loaded, loaded.settings[0])
    listed = {(r[0].rpartition(", ")[2], r[1]) for r in table.rows if r[0].startswith("posterior of")}
    complete = [p for p in scores.held("nas-bench-201") if scores.complete("nas-bench-201", p)]
    assert listed == {("no proxy", 1)} | {(proxy, n) for proxy in complete for n in scores.DRAWS}
    assert any(r[0].startswith("parameters of DARTS") for r in table.rows)
    assert any("whatever networks the tier" in note for note in table.notes)


@pytest.mark.parametrize("space", ["nas-bench-201", "nas-bench-1shot1-s2"])
def test_zero_cost_rows(space: str):
    """Every shipped proxy at every n; samples say so and carry an interval that holds the row's mean."""
    table = selection.zero_cost(space)
    measures = len(table.columns) - 5
    for proxy, width in scores.held_widths(space):
        held = scores.load(space, proxy, width)
        name = f"uniform draws, {proxy}" + (f" at C={width}" if width else "")
        rows = [r for r in table.rows if r[0] == name]
        assert [r[1] for r in rows] == list(scores.DRAWS)
        for r in rows:
            assert (r[-1] is None) == held.complete
            if not held.complete:
                assert f"{len(held.positions):,}" in r[2]
                ends = [[float(end) for end in part.split(" to ")] for part in r[-1].split(" / ")]
                means = [cell.mean for cell in r[4:-1]]
                assert len(ends) == measures
                assert r[1] > 100 or all(a <= mean <= b for (a, b), mean in zip(ends, means, strict=True))
    if space == "nas-bench-201":
        assert str(table.rows[0][4]) == "90.19 ± 0.66"
        assert str(row(table, "optimum")[4]) == "91.61"


def test_what_is_not_done_is_listed(monkeypatch: pytest.MonkeyPatch):
    from methods.proxies import PROXIES

    assert set(scores.PROXIES) == set(PROXIES)
    monkeypatch.setattr(scores, "held", lambda space: [p for p in PROXIES if p not in ("ntk", "zen")])
    assert scores.not_done("nas-bench-201") == "Not done on nas-bench-201: ntk, zen."
    assert scores.not_done("nas-bench-201") in selection.zero_cost("nas-bench-201").notes


@needs_synflow
def test_printed_means_of_zero_cost_nas_are_what_chance_allows():
    """Every mean lies within two standard errors of the closed form, and one outside its margin."""
    rows = {row[0]: row for row in selection.printed_means().rows}
    assert [row[-1] for row in rows.values()] == ["3 of 3", "3 of 3", "2 of 3", "3 of 3"]
    for row in rows.values():
        for cell in row[2:5]:
            difference, errors = (float(part) for part in cell.rstrip(")").split(" ("))
            assert abs(errors) < 2 and difference * errors >= 0
    synflow = scores.complete("nas-bench-201", "synflow")
    exact = best_of_draws(synflow.by_seed, synflow.accuracies, 100)
    printed = published.find("Table 2").row("Zero-cost NAS (100)").cells[2].value
    (error,) = (4**-0.5 * sd for sd in exact.sd[2:])
    expected = f"{printed - exact.mean[2]:+.2f} ({(printed - exact.mean[2]) / error:+.1f})"
    assert rows["Zero-cost NAS (100), Table 2"][4] == expected


@needs_synflow
def test_small_spreads_of_every_printed_row():
    table = selection.small_spreads()
    assert [r[:3] for r in table.rows][-1] == ("Zero-cost NAS, Table 1", 100, 1)
    joint = {(r[0], r[2]): float(r[6]) for r in table.rows}
    assert len(joint) == 8
    for (label, ddof), p in joint.items():
        # A divisor of 3 makes sds larger, hence small ones rarer; only two rows are implausible.
        assert p <= joint[label, 0] and (p < 0.01) == ("(50)" in label or "(100)" in label), (label, ddof)
    for r in table.rows:
        low, high = map(float, r[7].split(" to "))
        assert low <= float(r[6]) <= high and all(float(p) >= float(r[6]) for p in r[3:6])


def test_correlations_of_samples_have_intervals():
    from analysis.tables import proxies

    for space in ("nas-bench-201", "nas-bench-1shot1-s1"):
        table = proxies.correlations(space)
        for r in table.rows:
            if r[1] is not None:
                assert (" to " in r[3]) == (r[2] not in (15_625, 2_685)), r
                assert r[2] >= 500


@needs_synflow
@pytest.mark.parametrize("cell", [c for c in published.cells() if c.table == "rank correlations"], ids=str)
def test_published_correlations(cell):
    """FreeREA's correlations, at its own initialisation, within the stated margin of ours."""
    if cell.check is not Check.STATISTICAL or cell.row not in scores.held("nas-bench-201"):
        pytest.skip(cell.reason or "not scored yet, or checked exactly")
    from analysis.correlation import correlation

    table = scores.load("nas-bench-201", cell.row)
    ours = correlation(table.by_seed[0], table.accuracies[:, 0]).spearman
    assert abs(ours - cell.value) <= cell.column.margin, f"{cell}: published {cell.value}, ours {ours:.3f}"
