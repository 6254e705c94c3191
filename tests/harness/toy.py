"""Methods that exist to be run by the harness's tests: cheap, with state, and faults on demand."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch

from benchmarks.spaces import Architecture
from benchmarks.spec import Diverged, Method, Trace


@dataclass(frozen=True)
class WalkConfig:
    """What goes wrong, and when."""

    fault: str = ""
    at: int = 3
    length: int = 5
    pause: float = 0.0


class Walk(Method):
    """A random walk over architecture parameters: its state is all its history."""

    Config = WalkConfig

    def __init__(self, problem: Any, config: WalkConfig) -> None:
        super().__init__(problem, config)
        self.alpha = torch.randn(problem.space.parameters, generator=problem.seeds.generator("start"))

    @property
    def epochs(self) -> int:
        return self.config.length

    def train_epoch(self, epoch: int) -> Trace:
        time.sleep(self.config.pause)
        if epoch == self.config.at:
            self.fail()
        noise = torch.randn(len(self.alpha), generator=self.problem.seeds.generator("walk", epoch))
        self.alpha = 0.9 * self.alpha + noise
        return {"distance": float(self.alpha.norm())}

    def fail(self) -> None:
        match self.config.fault:
            case "markup":
                raise ValueError("no weights in [/data/weights], shape [n, 30]")
            case "diverge":
                raise Diverged("the walk is not finite")
            case "raise":
                raise ZeroDivisionError("a fault of the method")
            case "memory":
                raise MemoryError
            case "kill":
                os.kill(os.getpid(), signal.SIGKILL)

    def architecture(self) -> Architecture:
        return self.problem.space.discretise(self.alpha)

    def state_dict(self) -> dict[str, Any]:
        return {"alpha": self.alpha}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.alpha = state["alpha"]


@dataclass(frozen=True)
class DivergingConfig(WalkConfig):
    fault: str = "diverge"


class Diverging(Walk):
    Config = DivergingConfig


@dataclass(frozen=True)
class RaisingConfig(WalkConfig):
    fault: str = "raise"


class Raising(Walk):
    Config = RaisingConfig


@dataclass(frozen=True)
class TellingConfig(WalkConfig):
    says: str = "much"


class Telling(Walk):
    """Has traces of all kinds."""

    Config = TellingConfig

    def train_epoch(self, epoch: int) -> Trace:
        much: Trace = {"wide": [1, 2.5], "word": "x", "flag": True, "now_and_then": None if epoch % 2 else epoch}
        told: dict[str, Any] = {
            "much": much | {"number": 1 if epoch == 1 else 2.5},
            "tensor": {"loss": torch.ones(())},
            "list": {"loss": [1.0, "x"]},
            "kinds": {"loss": 1.0 if epoch == 1 else "low"},
            "taken": {"images": 3},
            "accuracy": {"cifar10_test": 99.0},
            "count": {"count_draws": 3},
            "huge": {"loss": 2**63},
        }
        return dict(told[self.config.says])


class Continuing(Method):
    """Starts from a walk's end, and tells what it was given."""

    upstream = "tests.harness.toy:Walk"

    def measure(self, epoch: int) -> Trace:
        return {"given": " ".join(sorted(self.problem.upstream))}

    def architecture(self) -> Architecture:
        return self.problem.space.decode(str(self.problem.upstream["architecture"]))


@dataclass(frozen=True)
class SlowConfig(WalkConfig):
    pause: float = 0.15


class Slow(Walk):
    Config = SlowConfig


@dataclass(frozen=True)
class KillingConfig(WalkConfig):
    fault: str = "kill"


class Killing(Walk):
    """Takes its process with it, as the kernel does to what uses too much memory."""

    Config = KillingConfig


class Backwards(Walk):
    epochs = property(lambda self: -1)  # type: ignore[assignment]


class Heavy(Walk):
    """Has a state of two megabytes."""

    def state_dict(self) -> dict[str, Any]:
        return super().state_dict() | {"ballast": torch.zeros(500_000)}


class Gated(Slow):
    """Waits, in its first epoch, for the file that the environment variable GATE names, and says so by another."""

    def train_epoch(self, epoch: int) -> Trace:
        Path(f"{os.environ['GATE']}-{os.getpid()}").touch()
        while not Path(os.environ["GATE"]).exists():
            time.sleep(0.01)
        return super().train_epoch(epoch)
