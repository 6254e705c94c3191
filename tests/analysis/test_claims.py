"""The ledger: every claim has a check that fits, verdicts follow from numbers, too little evidence decides nothing."""

from __future__ import annotations

import dataclasses
import inspect
import json
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from analysis import check_claims, claims, published, runs, scores
from analysis.claims import Verdict, contradictions
from analysis.claims.checks import CHECKS
from analysis.claims.contradictions import Status
from analysis.claims.evidence import first_order_gap
from analysis.claims.finding import Pending, decide
from analysis.runs import Setting
from analysis.statistics import Interval, Paired
from benchmarks.errors import UserError

CPU = Setting("nas-bench-201", "cpu", "cifar10", "0", "", (16, 4096, 4096), ())
DIGITS = Setting("nas-bench-201", "quick", "digits", "0", "", (16, 768, 768), ())


@pytest.fixture(scope="module")
def cpu_runs(tmp_path_factory: pytest.TempPathFactory) -> runs.Runs:
    from benchmarks.store import Store
    from tests.analysis.conftest import record

    store = Store(tmp_path_factory.mktemp("cpu") / "runs").open()
    for method in ("darts-1st", "balenas-1st", "balenas-tf-1st", "zero-cost"):
        for seed in range(8):
            store.append(record(method, "nas-bench-201", seed, "cpu"))
    return runs.load([store.folder])


def shifted(loaded: runs.Runs, method: str, column: str, values: np.ndarray) -> runs.Runs:
    """The same runs with a column of a method replaced by a value a seed."""
    frame = loaded.epochs.copy()
    chosen = frame["method"] == method
    frame.loc[chosen, column] = values[frame.loc[chosen, "seed"].astype(int)]
    return runs.Runs(frame)


def verdict(loaded: runs.Runs, claim_id: str) -> claims.Finding:
    return {claim.id: finding for claim, finding in claims.judge(loaded, claims.load())}[claim_id]


def pending(setting: Setting = CPU, p: float = 0.01, p_equivalent: float = 0.9, **changes: int) -> Pending:
    """A test of eight pairs, the first better in each, but for the changes."""
    result = Paired(n=8, mean=2.0, sd=1.2, median=2.0, interval=Interval(1, 3), p=0.01, wins=8, ties=0, direction=1)
    return Pending(dataclasses.replace(result, **changes), p, p_equivalent, 1.0, "points", setting)


def test_every_claim_fits_its_check():
    for claim in claims.load():
        inspect.signature(CHECKS[claim.check]).bind(None, **claim.parameters)
        assert claim.statement and claim.where


def test_no_verdict_is_typed_in():
    for name, key in (("claims.toml", "claim"), ("contradictions.toml", "point")):
        for entry in tomllib.loads((published.FOLDER / name).read_text())[key]:
            assert not {"verdict", "holds", "effect", "p"} & set(entry), entry["id"]
            assert entry.get("status") in (None, "read", "not verified"), entry["id"]


def test_ids_are_unique():
    ids = [claim.id for claim in claims.load()]
    assert len(ids) == len(set(ids))


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, Verdict.HOLDS),
        ({"direction": -1}, Verdict.DOES_NOT_HOLD),
        ({"p": 0.2, "p_equivalent": 0.01}, Verdict.DOES_NOT_HOLD),
        ({"p_equivalent": 0.01}, Verdict.DOES_NOT_HOLD),  # of the claimed sign, and no more than the margin
        ({"p": 0.2}, Verdict.UNDECIDED),
        ({"n": 5}, Verdict.UNDECIDED),
        ({"setting": DIGITS}, Verdict.UNDECIDED),
    ],
)
def test_verdict_of_a_paired_test(changes: dict[str, Any], expected: Verdict):
    assert decide(pending(**changes), 1).verdict is expected


def test_too_few_pairs_for_a_family_are_named():
    evidence = [decide(pending(n=6, p=0.0625), family).evidence for family in (1, 2)]
    assert "neither different nor equivalent" in evidence[0]
    assert "n = 6 is too few to show a difference" in evidence[1]
    tied = decide(pending(n=6, p=0.0625, wins=5, ties=1), 1).evidence
    assert "n = 6 with 1 equal is too few to show a difference" in tied and "better in 5 of 6 pairs, 1 equal" in tied


def test_equal_pairs_of_the_runs_are_counted(cpu_runs: runs.Runs):
    up = 90.0 + np.arange(8.0)
    one = shifted(shifted(cpu_runs, "balenas-1st", "cifar10_test", up), "darts-1st", "cifar10_test", up - (up > 90))
    assert "better in 7 of 8 pairs, 1 equal" in verdict(one, "nas-bench-201-first-order").evidence


def test_a_reduced_tier_says_so():
    assert "cpu tier, cifar10: not the paper's setting" in decide(pending(), 1).qualified
    paper = dataclasses.replace(CPU, tier="paper")
    assert decide(pending(setting=paper), 1).qualified == "holds (paper tier, cifar10)"


def test_verdicts_follow_the_numbers(cpu_runs: runs.Runs):
    good, bad = 93.0 + np.arange(8) / 10, 54.3 + np.arange(8) / 20
    forward = shifted(shifted(cpu_runs, "balenas-1st", "cifar10_test", good), "darts-1st", "cifar10_test", bad)
    found = verdict(forward, "nas-bench-201-first-order")
    assert found.verdict is Verdict.HOLDS and found.n == 8 and found.interval is not None
    assert found.effect == f"{(good - bad).mean():+.3g} points"
    backward = shifted(shifted(cpu_runs, "balenas-1st", "cifar10_test", bad), "darts-1st", "cifar10_test", good)
    assert verdict(backward, "nas-bench-201-first-order").verdict is Verdict.DOES_NOT_HOLD
    same = shifted(shifted(cpu_runs, "balenas-1st", "cifar10_test", good), "darts-1st", "cifar10_test", good)
    assert "equivalent" in verdict(same, "nas-bench-201-first-order").evidence


def test_holm_binds_a_family(cpu_runs: runs.Runs):
    """Seven of eight pairs better is p = 0.0156 alone, three times that in a family of three."""
    base = 90 + np.arange(8.0)
    gain = np.array([2, 3, 4, 5, 6, 7, 8, -1.5])
    loaded = shifted(cpu_runs, "balenas-1st", "cifar10_test", base)
    loaded = shifted(loaded, "balenas-tf-1st", "cifar10_test", base + gain)
    loaded = shifted(loaded, "zero-cost", "cifar10_test", base + np.where(np.arange(8) % 2, 3.0, -3.0))
    one = [claim for claim in claims.load() if claim.id == "selection-improves-first-order"]
    assert claims.judge(loaded, one)[0][1].verdict is Verdict.HOLDS
    both = verdict(loaded, "selection-improves-first-order")
    assert "p = 0.0469, Holm over 3" in both.evidence


def test_what_was_not_run_is_undecided(cpu_runs: runs.Runs):
    found = verdict(cpu_runs, "space-2-second-order")
    assert found.verdict is Verdict.UNDECIDED and found.evidence.startswith("not run")
    assert verdict(cpu_runs, "darts-space-cifar10").verdict is Verdict.NOT_TESTABLE


def test_claims_that_lack_runs_count_in_their_family(cpu_runs: runs.Runs):
    """Second order has no runs here: its claim takes its share of the 5 % all the same."""
    gain = np.array([2, 3, 4, 5, 6, 7, 8, -1.5])
    loaded = shifted(cpu_runs, "darts-1st", "cifar10_test", np.full(8, 80.0))
    found = verdict(shifted(loaded, "balenas-1st", "cifar10_test", 80 + gain), "nas-bench-201-first-order")
    assert "p = 0.0312, Holm over 2" in found.evidence


def test_a_diverged_run_is_not_dropped_in_silence(cpu_runs: runs.Runs):
    frame = cpu_runs.epochs.copy()
    frame.loc[(frame["method"] == "balenas-1st") & (frame["seed"] == 3), "status"] = "diverged"
    found = verdict(runs.Runs(frame), "nas-bench-201-first-order")
    assert found.verdict is Verdict.UNDECIDED and found.evidence.endswith("lost: balenas-1st at seed 3")


@pytest.mark.parametrize(
    ("measured", "expected"),
    [
        ([0.02] * 8, Verdict.HOLDS),
        ([0.02] * 7 + [-0.01], Verdict.UNDECIDED),  # a wrong sign is a failure, not a missing value
        ([0.02] * 4 + [-0.01] * 4, Verdict.UNDECIDED),
        ([-0.01] * 8, Verdict.DOES_NOT_HOLD),
    ],
)
def test_predicted_noise_counts_every_search(cpu_runs: runs.Runs, measured: list[float], expected: Verdict):
    from analysis.claims.checks import noise_predicted

    loaded = shifted(cpu_runs, "balenas-1st", "noise_measured", np.array(measured))
    loaded = shifted(loaded, "balenas-1st", "noise_predicted", np.full(8, 0.025))
    found = noise_predicted(loaded, space="nas-bench-201", method="balenas-1st", factor=2.0)
    assert found.verdict is expected
    assert f"in {sum(value > 0 for value in measured)} of 8 searches" in found.effect


@pytest.mark.parametrize("worst", [1.0, 0.0, -1.0])
def test_several_gains_hold_together_or_not(worst: float):
    from analysis.claims.selection import _of_searches

    rises = 1 + np.arange(8.0)
    found = _of_searches([rises, rises, worst * rises])
    assert found is {1.0: Verdict.HOLDS, 0.0: Verdict.UNDECIDED, -1.0: Verdict.DOES_NOT_HOLD}[worst]


def test_claims_decided_in_print(cpu_runs: runs.Runs):
    best = verdict(cpu_runs, "best-on-all-data-sets")
    assert best.verdict is Verdict.DOES_NOT_HOLD and "DrNAS 73.51 ≥ 72.95" in best.evidence
    assert verdict(cpu_runs, "best-single-run").verdict is Verdict.HOLDS
    assert verdict(cpu_runs, "state-of-the-art").verdict is Verdict.DOES_NOT_HOLD
    assert "70.27 to 69.87" in verdict(cpu_runs, "more-samples-help-in-print").evidence


def test_contradictions_are_computed(cpu_runs: runs.Runs):
    points = {point.id: point for point in contradictions.load(cpu_runs)}
    assert points["optimum-cifar100"].status is Status.CONFIRMED
    assert points["optimum-imagenet"].status is Status.OPEN
    assert "5 of 6 columns" in points["not-the-best"].evidence
    assert points["tf-row"].status is Status.OPEN and "none matches" in points["tf-row"].evidence
    assert points["sigma"].status is Status.CONFIRMED and "158 times as much" in points["sigma"].evidence
    assert points["space-sizes"].status is Status.CONFIRMED
    assert "363,648" in points["space-sizes"].evidence and "1,312,200" in points["space-sizes"].evidence
    assert points["edges"].status is Status.CONFIRMED
    assert points["eq-2"].status is Status.CONFIRMED and "150%" in points["eq-2"].evidence
    assert points["imagenet-columns"].status is Status.REFUTED
    assert points["equal-darts-rows"].status is Status.REFUTED
    assert points["mixed-blocks"].status is Status.NOT_VERIFIED
    assert points["eq-19"].status is Status.CONFIRMED and "least -0." in points["eq-19"].evidence


@pytest.mark.parametrize(("small", "expected"), [((), True), ((0, 2, 4, 6), None), (range(8), False)])
def test_the_dropped_term_counts_searches(cpu_runs: runs.Runs, small: Sequence[int], expected: bool | None):
    """Where it is large in half of the searches, nothing follows."""
    gaps = cpu_runs.epochs["gap_first_order"].where(~cpu_runs.epochs["seed"].isin(small), 0.0)
    loaded = runs.Runs(cpu_runs.epochs.assign(gap_first_order=gaps))
    assert first_order_gap(loaded, share=0.1).confirmed is expected


def test_unknown_checks_are_named(tmp_path: Path):
    (tmp_path / "claims.toml").write_text('[[claim]]\nid = "x"\nstatement = "s"\nwhere = "w"\ncheck = "oracle"\n')
    with pytest.raises(UserError, match="oracle"):
        claims.load(tmp_path)


def test_command_line(make_store, tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    out = tmp_path / "out"
    assert check_claims.main(["--results", str(make_store()), "--output", str(out)]) == 0
    printed = capsys.readouterr().out
    written = json.loads((out / "claims" / "claims.json").read_text())
    assert len(written["claims"]) == len(claims.load())
    tested = next(c for c in written["claims"] if c["id"] == "nas-bench-201-first-order")
    assert tested["verdict"] == "undecided" and "only digits" in tested["evidence"] and tested["n"] == 2
    assert all(c["statement"] in printed for c in written["claims"])
    assert (out / "claims" / "contradictions.md").exists()


@pytest.mark.parametrize("seed", range(3))
def test_argmax_probabilities_against_simulation(seed: int):
    rng = np.random.default_rng(seed)
    mean, sigma = rng.normal(0, 0.3, 5), rng.uniform(0.05, 1.0, 5)
    drawn = (mean + sigma * rng.normal(size=(200_000, 5))).argmax(axis=1)
    found = scores.argmax_probabilities(mean, sigma)
    np.testing.assert_allclose(found, np.bincount(drawn, minlength=5) / 200_000, atol=0.006)
    assert found.sum() == pytest.approx(1)


def test_argmax_probabilities_in_the_limits():
    np.testing.assert_allclose(scores.argmax_probabilities([0.0] * 5, [1.0] * 5), 0.2, atol=1e-6)
    np.testing.assert_array_equal(scores.argmax_probabilities([0.0, 1.0], [0.0, 0.0]), [0, 1])
    np.testing.assert_allclose(scores.argmax_probabilities([0.0, 5.0], [1e-3, 1.0]), [2.8665e-7, 1], rtol=1e-3)


def test_posterior_probabilities_are_by_position():
    from benchmarks import spaces

    space = spaces.get("nas-bench-201")
    alpha, sigma = np.zeros(30), np.full(30, 1e-3)
    kept = (3, 3, 1, 3, 2, 0)
    alpha[[5 * edge + op for edge, op in enumerate(kept)]] = 1.0
    probability = scores.posterior_probabilities("nas-bench-201", alpha.tolist(), sigma.tolist())
    assert probability.argmax() == space.position(kept) and probability.max() == pytest.approx(1)
    with pytest.raises(ValueError, match="single choices"):
        scores.posterior_probabilities("nas-bench-1shot1-s1", [0.0], [0.0])


def choosing(tmp_path: Path, ranks: dict[str, list[float]]) -> runs.Runs:
    """BaLeNAS-TF by several proxies: every search of one chose the cell of that rank (1 the best) in each set."""
    from benchmarks.store import Store
    from tests.analysis.conftest import record

    order = np.argsort(scores.accuracies("nas-bench-201", np.arange(15_625))[:, 0])
    store = Store(tmp_path).open()
    for name, of_seed in ranks.items():
        for seed, rank in enumerate(of_seed):
            made = record(name, "nas-bench-201", seed, "cpu")
            picks = [float(order[round(rank * 15_624)])] * 3
            store.append(dataclasses.replace(made, rows=({**made.rows[-1], "resampled": picks},)))
    return runs.load([tmp_path])


def test_best_proxy_of_posteriors_is_paired_by_search(tmp_path: Path):
    spread = np.linspace(0, 0.05, 8)
    base, low = list(0.9 + spread), list(0.5 + spread)
    tf = "balenas-tf-1st"
    loaded = choosing(tmp_path / "a", {tf: base, f"{tf}@proxy=snip": low, f"{tf}@proxy=grasp": low})
    found = verdict(loaded, "best-proxy")
    assert found.verdict is Verdict.HOLDS and found.n == 8
    assert "ahead of snip by +" in found.evidence and "ahead of grasp by +" in found.evidence
    loaded = choosing(tmp_path / "b", {tf: low, f"{tf}@proxy=snip": base, f"{tf}@proxy=grasp": low})
    assert verdict(loaded, "best-proxy").verdict is Verdict.DOES_NOT_HOLD
    loaded = choosing(tmp_path / "c", {tf: base[:4], f"{tf}@proxy=snip": low, f"{tf}@proxy=grasp": low})
    assert verdict(loaded, "best-proxy").verdict is Verdict.UNDECIDED  # four pairs
    loaded = choosing(tmp_path / "d", {tf: base, f"{tf}@proxy=snip": low})
    assert verdict(loaded, "best-proxy").evidence == f"not run: {tf}@proxy=grasp"
    assert verdict(choosing(tmp_path / "e", {"random": base}), "best-proxy").evidence.startswith(f"not run: {tf}, ")


def test_best_proxy_on_a_sample_needs_an_interval(monkeypatch, cpu_runs: runs.Runs):
    """Ahead for certain, behind for certain, or neither: decided by a bootstrap of paired differences."""
    from analysis.claims import selection

    truth = scores.accuracies("nas-bench-201", np.arange(15_625))
    rng = np.random.default_rng(0)
    positions = np.sort(rng.choice(15_625, 600, replace=False))
    accuracy = truth[positions, 0]

    def table(score):
        whole = scores.load("nas-bench-201", "params")
        return dataclasses.replace(
            whole, positions=positions, by_seed=score[None], accuracies=truth[positions], complete=False
        )

    tables = {
        "good": table(accuracy),
        "bad": table(-accuracy),
        "noise": table(rng.random(600)),
        "noise again": table(rng.random(600)),
    }
    monkeypatch.setattr(scores, "held", lambda space: list(tables))
    monkeypatch.setattr(scores, "load", lambda space, proxy, width=None: tables[proxy])

    def found(proxy, *others):
        return selection.best_proxy_zero_cost(cpu_runs, proxy=proxy, others=others, draws=100)

    assert found("good", "noise").verdict is Verdict.HOLDS
    assert found("bad", "noise").verdict is Verdict.DOES_NOT_HOLD
    assert found("noise", "noise again").verdict is Verdict.UNDECIDED
    assert "over 600 architectures, a uniform sample" in found("good", "noise").evidence
    # A rival that is not scored can still win, but not save a proxy that has lost.
    assert found("good", "noise", "absent").verdict is Verdict.UNDECIDED
    assert found("bad", "noise", "absent").verdict is Verdict.DOES_NOT_HOLD
    assert found("bad", "noise", "absent").evidence.endswith("; not run: absent")
    assert found("good", "absent").evidence.startswith("not run: no absent")
