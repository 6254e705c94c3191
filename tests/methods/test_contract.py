"""Every registered method, on every space, keeps the contract that ``benchmarks.check`` holds a user's method to."""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path

import pytest

from benchmarks import check, spaces
from benchmarks.errors import UserError
from benchmarks.spec import Diverged, Method
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


class Cheat(Method):
    """Looks the accuracies up."""

    def architecture(self):
        from benchmarks import ground_truth

        return ground_truth.load("nas-bench-201", tables=None).architectures[0]


class Forgetful(Method):
    """Has a state that it does not save."""

    def __init__(self, problem, config) -> None:
        super().__init__(problem, config)
        self.count = 0

    epochs = 3

    def train_epoch(self, epoch: int):
        self.count += 1
        return {"count": self.count}

    def architecture(self):
        return self.problem.space.at(0)


class Careless(Forgetful):
    """Draws from the global generator."""

    def architecture(self):
        import random

        return self.problem.space.at(random.randrange(100))


class Meddling(Forgetful):
    """Measuring trains."""

    def measure(self, epoch: int):
        self.count += 1
        return {}

    def state_dict(self):
        return {"count": self.count}


class Stray(Forgetful):
    """Leaves the space."""

    def architecture(self):
        return (9,) * 6


@pytest.mark.parametrize(
    ("method", "checked", "said"),
    [
        (Cheat, check.never_touches_ground_truth, "import of benchmarks.ground_truth halted"),
        (Forgetful, check.continues_bit_for_bit, "ends elsewhere"),
        (Careless, check.leaves_global_randomness_alone, "a global random generator moved"),
        (Careless, check.is_deterministic, "two runs at the same seed differ"),
        (Meddling, check.measuring_changes_nothing, "changes the state"),
        (Stray, check.picks_valid_architectures, "is no architecture"),
    ],
)
def test_a_broken_method_is_found(method: type, checked, said: str) -> None:
    with pytest.raises((check.Broken, UserError), match=said) as error:
        checked(check.Make(f"tests.methods.test_contract:{method.__name__}", "nas-bench-201"))
    assert len(str(error.value).splitlines()) == 1


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["random", "--spaces", "nas-bench-201"]) == 0
    assert capsys.readouterr().out.count("ok") == len(check.CHECKS)
    assert check.main(["tests.methods.test_contract:Stray", "--spaces", "nas-bench-201"]) == 1
    assert "is no architecture" in " ".join(capsys.readouterr().out.split())
    assert check.main(["nothing"]) == 2


def test_the_example_in_the_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    examples = Path(__file__).parents[2] / "examples"
    monkeypatch.syspath_prepend(str(examples))
    assert len((examples / "successive_halving.py").read_text().splitlines()) < 60
    try:
        for checked in check.CHECKS:
            checked(check.Make("successive_halving:Halving", "nas-bench-201"))
    finally:
        sys.modules.pop("successive_halving", None)
