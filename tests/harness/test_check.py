"""The contract's checks find what they are for, one broken method each; a user's method keeps it on every space."""

from __future__ import annotations

import random
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from benchmarks import check, spaces
from benchmarks.errors import UserError
from benchmarks.spec import Method, Trace

EXAMPLES = Path(__file__).parents[2] / "examples"
IN_PROCESS = [c for c in check.CHECKS if c is not check.never_touches_ground_truth]


class Sound(Method):
    """Trains a small network for five epochs and keeps the contract. The broken ones below differ in one thing."""

    epochs = 5

    def __init__(self, problem: Any, config: Any) -> None:
        super().__init__(problem, config)
        with problem.seeds.scope("network"):
            network = torch.nn.Sequential(torch.nn.Linear(3, 3), torch.nn.BatchNorm1d(3))
        self.inside = SimpleNamespace(networks=[network])  # where a check has to look for it

    @property
    def network(self) -> torch.nn.Module:
        return self.inside.networks[0]

    def train_epoch(self, epoch: int) -> Trace:
        x = torch.randn(8, 3, generator=self.problem.seeds.generator("x", epoch))
        loss = self.network(x).square().sum() + self.network[0](x).square().mean()
        loss.backward()
        with torch.no_grad():
            for parameter in self.network.parameters():
                parameter -= 0.01 * parameter.grad
                parameter.grad = None
        return {"loss": float(loss.detach())}

    def measure(self, epoch: int) -> Trace:
        self.network.eval()
        with torch.no_grad():
            value = float(self.network(torch.ones(1, 3)).sum())
        self.network.train()
        return {"value": value}

    def architecture(self) -> Any:
        weights = self.network[0].weight.detach().flatten().repeat(9)[: self.problem.space.parameters]
        return self.problem.space.discretise(weights)

    def state_dict(self) -> dict[str, Any]:
        return {"network": {key: value.clone() for key, value in self.network.state_dict().items()}}

    def load_state_dict(self, state: Any) -> None:
        self.network.load_state_dict(state["network"])


class StaysInEval(Sound):
    def measure(self, epoch: int) -> Trace:
        trace = super().measure(epoch)
        self.network.eval()
        return trace


class FreezesWeights(Sound):
    def measure(self, epoch: int) -> Trace:
        self.network.requires_grad_(False)
        trace = super().measure(epoch)
        self.network[1].requires_grad_(True)
        return trace


class MeasuresInTrainMode(Sound):
    """Moves the running statistics."""

    def measure(self, epoch: int) -> Trace:
        self.network(torch.arange(6.0).reshape(2, 3))
        return super().measure(epoch)


class ForgetsRunningStatistics(Sound):
    def state_dict(self) -> dict[str, Any]:
        return {"network": dict(super().state_dict()["network"])}

    def load_state_dict(self, state: Any) -> None:
        kept = {key: value for key, value in state["network"].items() if "running" not in key}
        self.network.load_state_dict(kept, strict=False)


class DrawsFromTorch(Sound):
    def train_epoch(self, epoch: int) -> Trace:
        torch.rand(1)
        return super().train_epoch(epoch)


class DrawsFromNumpy(Sound):
    def train_epoch(self, epoch: int) -> Trace:
        np.random.rand()  # noqa: NPY002
        return super().train_epoch(epoch)


class DrawsFromPython(Sound):
    def train_epoch(self, epoch: int) -> Trace:
        random.random()
        return super().train_epoch(epoch)


class SeedsTorch(Sound):
    def train_epoch(self, epoch: int) -> Trace:
        torch.manual_seed(0)
        return super().train_epoch(epoch)


class KeepsAnArray(Sound):
    """Saves what a checkpoint does not load."""

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"array": np.ones(2)}


class TellsATensor(Sound):
    def measure(self, epoch: int) -> Trace:
        return {"value": torch.ones(())}  # type: ignore[dict-item]


class Undecided(Sound):
    """Answers another architecture each time it is asked."""

    asked = 0

    def architecture(self) -> Any:
        self.asked += 1
        return self.problem.space.sample(np.random.default_rng(self.asked))


class Cheat(Method):
    """Looks the accuracies up."""

    def architecture(self) -> Any:
        from benchmarks import ground_truth

        return ground_truth.load("nas-bench-201", tables=None).architectures[0]


class Forgetful(Method):
    """Has a state that it does not save."""

    def __init__(self, problem: Any, config: Any) -> None:
        super().__init__(problem, config)
        self.count = 0

    epochs = 3

    def train_epoch(self, epoch: int) -> Trace:
        self.count += 1
        return {"count": self.count}

    def architecture(self) -> Any:
        return self.problem.space.at(0)


class Careless(Forgetful):
    """Draws from the global generator."""

    def architecture(self) -> Any:
        return self.problem.space.at(random.randrange(100))


class Meddling(Forgetful):
    """Measuring trains."""

    def measure(self, epoch: int) -> Trace:
        self.count += 1
        return {}

    def state_dict(self) -> dict[str, Any]:
        return {"count": self.count}


class Stray(Forgetful):
    """Leaves the space."""

    def architecture(self) -> Any:
        return (9,) * 6


def make(method: type[Method], space: str = "nas-bench-201") -> check.Make:
    return check.Make(f"tests.harness.test_check:{method.__name__}", space)


@pytest.mark.parametrize("checked", IN_PROCESS, ids=lambda c: c.__name__)
def test_a_sound_method_passes(checked: Any) -> None:
    checked(make(Sound))


@pytest.mark.parametrize(
    ("method", "checked", "named"),
    [
        (StaysInEval, check.measuring_changes_nothing, "in another mode"),
        (FreezesWeights, check.measuring_changes_nothing, "in another mode"),
        (MeasuresInTrainMode, check.measuring_changes_nothing, "changes the state"),
        (ForgetsRunningStatistics, check.continues_bit_for_bit, "ends elsewhere"),
        (KeepsAnArray, check.continues_bit_for_bit, "a checkpoint cannot hold its state_dict"),
        (DrawsFromTorch, check.leaves_global_randomness_alone, "global random generator moved"),
        (DrawsFromNumpy, check.leaves_global_randomness_alone, "global random generator moved"),
        (DrawsFromPython, check.leaves_global_randomness_alone, "global random generator moved"),
        (SeedsTorch, check.leaves_global_randomness_alone, "global random generator moved"),
        (Undecided, check.picks_valid_architectures, "another answer when called again"),
        (Cheat, check.never_touches_ground_truth, "import of benchmarks.ground_truth halted"),
        (Forgetful, check.continues_bit_for_bit, "ends elsewhere"),
        (Careless, check.leaves_global_randomness_alone, "global random generator moved"),
        (Careless, check.is_deterministic, "two runs at the same seed differ"),
        (Meddling, check.measuring_changes_nothing, "changes the state"),
        (Stray, check.picks_valid_architectures, "is no architecture"),
        (TellsATensor, check.is_deterministic, "'value' of a trace is of type Tensor"),
    ],
)
def test_a_broken_method_is_found(method: type[Method], checked: Any, named: str) -> None:
    with pytest.raises((check.Broken, UserError), match=named) as error:
        checked(make(method))
    assert len(str(error.value).splitlines()) == 1


def test_command_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert check.main(["random", "--spaces", "nas-bench-201"]) == 0
    assert capsys.readouterr().out.count("ok") == len(check.CHECKS)
    assert check.main(["tests.harness.test_check:Stray", "--spaces", "nas-bench-201"]) == 1
    assert "is no architecture" in " ".join(capsys.readouterr().out.split())
    assert check.main(["nothing"]) == 2


@pytest.mark.parametrize("checked", check.CHECKS, ids=lambda c: c.__name__)
def test_epochs_are_counted(checked: Any) -> None:
    with pytest.raises(check.Broken, match="-1: it must be a whole number, 0 or more"):
        checked(check.Make("tests.harness.toy:Backwards", "nas-bench-201"))


@pytest.mark.parametrize("space", spaces.SPACES)
@pytest.mark.parametrize("checked", IN_PROCESS, ids=lambda c: c.__name__)
def test_the_example_keeps_the_contract_on_every_space(
    checked: Any, space: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    checked(check.Make("successive_halving:Halving", space))


def test_the_example_in_the_readme(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(EXAMPLES))
    assert len((EXAMPLES / "successive_halving.py").read_text().splitlines()) < 60
    check.never_touches_ground_truth(check.Make("successive_halving:Halving", "nas-bench-201"))
