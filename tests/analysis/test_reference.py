"""The committed reference results: still true of the benchmark, and consistent with what is known exactly.

Limits of five standard errors: chance passes them in fewer than one in a million, so a failure is a moved number.

A failure names method, space, seed, the stored value and today's.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from analysis import regression, runs, scores
from analysis.runs import Runs
from analysis.zero_cost import best_of_draws
from benchmarks import spaces

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture(scope="module")
def reference() -> Runs:
    folders = [folder for folder in runs.default_folders(ROOT) if folder.parent.name == "reference"]
    if not folders:
        pytest.skip("no reference results are committed yet")
    return runs.load(folders)


def test_every_stored_accuracy_is_replayed(reference: Runs):
    for row in reference.finals.to_dict("records"):
        table = regression.load(row["space"])
        today = table.accuracies(spaces.get(row["space"]).decode(row["architecture"]))
        for name, value in today.items():
            stored = row.get(name)
            same = (value is None and (stored is None or np.isnan(stored))) or stored == pytest.approx(value, abs=1e-9)
            assert same, (
                f"{row['method']} on {row['space']}, seed {row['seed']}, {name}: stored {stored}, today {value}"
            )


def test_random_agrees_with_its_exact_expectation(reference: Runs):
    for setting in reference.settings:
        if "random" not in reference.labels(setting):
            continue
        values = reference.of(setting, "random")["cifar10_test"].to_numpy(float)
        exact = regression.load(setting.space).population(**regression.keywords(setting.space, "cifar10_test"))
        z = (values.mean() - exact.mean) / (exact.sd / np.sqrt(len(values)))
        assert abs(z) < 5, (
            f"random on {setting.space}: mean {values.mean():.2f}, exactly {exact.mean:.2f} (z = {z:.1f})"
        )


def test_zero_cost_agrees_with_its_exact_expectation(reference: Runs):
    if "synflow" not in scores.held("nas-bench-201"):
        pytest.skip("no SynFlow scores are shipped yet")
    table = scores.load("nas-bench-201", "synflow")
    for setting in reference.settings:
        if setting.space != "nas-bench-201" or setting.is_digits or "zero-cost" not in reference.labels(setting):
            continue
        frame = reference.of(setting, "zero-cost")
        if not (frame["config.proxy"].eq("synflow").all() and table.complete):
            continue
        draws = int(frame["config.draws"].iloc[0])
        exact = best_of_draws(table.by_seed, table.accuracies[:, 0], draws)
        values = frame["cifar10_test"].to_numpy(float)
        z = (values.mean() - exact.mean[0]) / (exact.sd[0] / np.sqrt(len(values)))
        assert abs(z) < 5, f"zero-cost ({draws}): mean {values.mean():.2f}, exactly {exact.mean[0]:.2f} (z = {z:.1f})"


def test_chosen_by_argmax_of_the_mean(reference: Runs):
    """The architecture of a differentiable search is the argmax of the parameters stored beside it."""
    for row in reference.finals.dropna(subset=["alpha"]).to_dict("records") if "alpha" in reference.finals else []:
        space = spaces.get(row["space"])
        parts = np.split(np.asarray(row["alpha"]), np.cumsum(space.sizes)[:-1])
        kept = tuple(
            tuple(sorted(np.argsort(-p, kind="stable")[: g.picks])) for p, g in zip(parts, space.groups, strict=True)
        )
        assert space.kept(space.decode(row["architecture"])) == kept, f"{row['method']}, seed {row['seed']}"


def test_no_reference_run_failed(reference: Runs):
    assert reference.failed.empty, reference.failed[["method", "space", "seed", "message"]].to_string()
