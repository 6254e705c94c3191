"""Every registered method, on every space, keeps the contract that ``benchmarks.check`` holds a user's method to."""

from __future__ import annotations

from dataclasses import replace

import pytest

from benchmarks import check, spaces
from benchmarks.spec import Diverged
from methods import METHODS, resolve
from methods.optimizers import POSTERIORS

FEW_DRAWS = {name: {"draws": 4} for name in METHODS if hasattr(resolve(name)[1], "draws")}
"""Scoring a hundred networks says no more about the contract than scoring four."""
# Spaces 1 and 2 run the code of space 3, and methods of a family share theirs: other pairs are among the slow tests.
USUAL = {
    "nas-bench-201": METHODS,
    "nas-bench-1shot1-s3": ("random", "zero-cost", "darts-1st", "balenas-2nd", "balenas-tf-1st"),
}
PAIRS = [
    pytest.param(method, space, marks=[] if method in USUAL.get(space, ()) else pytest.mark.slow)
    for space in spaces.SPACES
    for method in METHODS
]
IN_PROCESS = [c for c in check.CHECKS if c is not check.never_touches_ground_truth]


@pytest.mark.parametrize(("method", "space"), PAIRS)
@pytest.mark.parametrize("checked", IN_PROCESS, ids=lambda c: c.__name__)
def test_contract(checked, method: str, space: str) -> None:
    checked(check.Make(method, space, settings=FEW_DRAWS.get(method, {})))


@pytest.mark.parametrize("optimizer", POSTERIORS)
def test_contract_of_every_posterior(optimizer: str) -> None:
    made = check.Make("balenas-1st", "nas-bench-201", settings={"optimizer": optimizer})
    check.continues_bit_for_bit(made)


@pytest.mark.parametrize("space", spaces.SPACES)
def test_a_loss_that_is_not_finite_ends_a_real_search(space: str) -> None:
    usual = check.Make("balenas-1st", space)(0)
    budget = replace(usual.problem.budget, weight_lr=1e30)
    made = type(usual)(replace(usual.problem, budget=budget), usual.config)
    with pytest.raises(Diverged, match="not finite"):
        for epoch in range(1, made.epochs + 1):
            made.train_epoch(epoch)


# The import linter forbids methods to name the tables at all; what that cannot see is sampled.
@pytest.mark.parametrize(
    "method",
    [pytest.param(m, marks=[] if m in ("zero-cost", "balenas-tf-2nd") else pytest.mark.slow) for m in METHODS],
)
def test_methods_run_without_the_tables(method: str) -> None:
    check.never_touches_ground_truth(check.Make(method, "nas-bench-201"))
