"""The contracts of the suite: what a run is, what a method is given, what it must do, what is recorded.

    RunSpec -> SearchProblem -> Method (epoch by epoch) -> trace -> + ground truth -> results store

Only this module and ``benchmarks.spaces`` are needed to write a method.
"""

from __future__ import annotations

import dataclasses
import hashlib
import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any, ClassVar

from benchmarks.errors import UserError
from benchmarks.seeds import Seeds
from benchmarks.spaces.space import Architecture, SearchSpace

if TYPE_CHECKING:
    from benchmarks.images import SearchImages

NUMERICS = {"float32": 1, "bfloat16": 3}
"""Version of the arithmetic in each precision, part of every spec hash. Raise it when a change alters the bits of a
search, so that older results are not mistaken for ones that today's code would give."""

Value = float | int | str | list[float] | None
"""What a trace may hold under a key; None and NaN both mean 'not measured'."""
Trace = dict[str, Value]
TAKEN = frozenset({
    "epoch", "architecture", "seconds", "method", "space", "seed", "tier", "data", "images", "numerics", "status",
    "message", "spec_hash", "upstream", "label", "cifar10_valid", "cifar10_test", "cifar100_valid", "cifar100_test",
    "imagenet16-120_valid", "imagenet16-120_test",
})  # fmt: skip
TAKEN_BEGINNINGS = ("count_", "regret_", "budget.", "config.", "compute.", "facts.")
"""Names that the harness, the store and the tables give to columns of their own, and how others of these begin."""


def is_taken(name: str) -> bool:
    """Whether a column is not a method's: ground truth and whatever else the harness, the store and tables add."""
    return name in TAKEN or name.startswith(TAKEN_BEGINNINGS)


def handed_on(row: Mapping[str, Value]) -> Trace:
    """Of a run's last row what a method that builds on the run gets: its trace, epoch and architecture, no times."""
    own = ("epoch", "architecture")
    return {k: v for k, v in row.items() if k in own or not (is_taken(k) or k.startswith("seconds"))}


def check_trace(trace: Mapping[str, object], rows: Sequence[Mapping[str, object]] = ()) -> None:
    """Raise ``UserError`` for what cannot be kept as a row after others: a name that is taken, or a value's kind."""
    for name, value in trace.items():
        if is_taken(name):
            raise UserError(f"a trace may not have {name!r}, which the harness writes: choose another name")
        kind = _kind(value)
        if kind is None:
            allowed = "a plain number (as .item() makes it; of 64 bits), truth value, text, list of numbers or None"
            raise UserError(f"{name!r} of a trace is of type {type(value).__name__}: give {allowed}")
        before = next((found for row in rows if (found := _kind(row.get(name))) != "nothing"), kind)
        if "nothing" != kind != before:
            raise UserError(f"{name!r} of a trace was a {before} and is a {kind}: give one kind at all epochs")


def _kind(value: object) -> str | None:
    if value is None:
        return "nothing"
    if isinstance(value, bool):
        return "truth value"
    if isinstance(value, float) or (isinstance(value, int) and -(2**63) <= value < 2**63):
        return "number"
    if isinstance(value, str):
        return "text"
    return "list of numbers" if isinstance(value, list) and all(_kind(one) == "number" for one in value) else None


class Status(StrEnum):
    """How a run ended. Everything but ``DONE`` is kept as a row too, with its message."""

    DONE = "done"
    DIVERGED = "diverged"
    ERROR = "error"
    TIMEOUT = "timeout"


class Diverged(Exception):
    """Raised by a method whose loss or parameters are no longer finite."""


@dataclass(frozen=True)
class Budget:
    """Everything that a tier fixes for a space: images, supernet size, length, and the weight optimizer.

    All methods of one table share a budget; what differs between methods is in their own configs.

    Attributes:
        tier: name of the tier.
        data: image set.
        train_images: images of the training split that weights are trained on.
        valid_images: images that architecture parameters are trained on.
        image_size: height and width in pixels after averaging.
        padding: zero padding in pixels of the random crop; 0 turns it off.
        flip: whether images are mirrored at random.
        channels: channels of the first stage.
        cells_per_stage: searched cells in each of the three stages.
        epochs: passes over the training split.
        batch_size: images in a minibatch of either split.
        weight_lr: initial learning rate of SGD on the weights, annealed by a cosine per epoch to ``weight_lr_min``.
        weight_lr_min: what that tends to; it would be reached after the last epoch, as in quark0/darts.
        momentum: of SGD.
        nesterov: whether SGD uses Nesterov's momentum.
        weight_decay: L2 of SGD.
        gradient_clip: largest norm of the weight gradient.
        arch_lr: learning rate of the architecture optimizer (Adam's and VAdam's alike).
        arch_beta2: decay of its second moment.
        hessian_every: epochs between Hessians (0: none; the first and last epoch are always measured otherwise).
        hessian_images: images of the fixed probe that the Hessian is taken on.
        probe_images: images a split of the fixed probes that loss and accuracy are measured on.
        proxy_channels: channels of the networks that training-free proxies score.
        proxy_cells_per_stage: their cells in each stage.
        resamplings: further sets of draws by which BaLeNAS-TF shows the luck of the draw.
    """

    tier: str
    data: str
    train_images: int
    valid_images: int
    image_size: int
    padding: int
    flip: bool
    channels: int
    cells_per_stage: int
    epochs: int
    batch_size: int
    weight_lr: float = 0.025
    weight_lr_min: float = 0.001
    momentum: float = 0.9
    nesterov: bool = True
    weight_decay: float = 5e-4
    gradient_clip: float = 5.0
    arch_lr: float = 3e-4
    arch_beta2: float = 0.999
    hessian_every: int = 5
    hessian_images: int = 64
    probe_images: int = 512
    proxy_channels: int = 16
    proxy_cells_per_stage: int = 5
    resamplings: int = 100


DEVICES = ("cpu", "cuda")
PRECISIONS = ("float32", "bfloat16")


@dataclass(frozen=True)
class Compute:
    """How the supernet's arithmetic is done. None of it is meant to change a result, but all of it changes bits.

    Attributes:
        device: ``cpu`` or ``cuda`` (this process's GPU).
        precision: ``float32``, or ``bfloat16`` for forward and backward passes under autocast.
        compile: whether torch compiles the supernet. The first step takes minutes; for long runs on a GPU.
        together: whether the seeds of a method train in one batched supernet. How many did is a fact of the record.

    Raises:
        UserError: ``compile`` with ``together``, whose supernet is built anew at every epoch.
    """

    device: str = "cpu"
    precision: str = "float32"
    compile: bool = False
    together: bool = False

    def __post_init__(self) -> None:
        if self.compile and self.together:
            raise UserError("--compile and --together exclude each other: give one, batched supernets are not compiled")


ON_CPU = Compute()
"""The default: in single precision, bit for bit the same on one machine."""


@dataclass(frozen=True)
class RunSpec:
    """One run, completely. Two runs with equal hashes give the same bits on the same machine.

    With ``compute.together`` the bits may also depend on how many seeds train together, epoch by epoch.

    Attributes:
        method: a built-in name or ``package.module:Class``.
        space: name of the search space.
        seed: base seed, >= 0.
        budget: the tier's numbers for this space.
        config: the method's hyper-parameters after defaults, as JSON values.
        images: SHA-256 of the image set.
        upstream: hash of the run whose final state this one starts from, if the method has an upstream.
        numerics: that of ``NUMERICS`` for the precision.
        compute: device and precision.
    """

    method: str
    space: str
    seed: int
    budget: Budget
    config: Mapping[str, Any]
    images: str
    upstream: str | None = None
    numerics: int = NUMERICS["float32"]
    compute: Compute = ON_CPU

    def to_json(self) -> str:
        """Canonical JSON: sorted keys, no white space. ``compute`` came later and is left out where it is default."""
        fields = dataclasses.asdict(self)
        if self.compute == ON_CPU:
            del fields["compute"]
        return json.dumps(fields, sort_keys=True, separators=(",", ":"))

    @classmethod
    def from_json(cls, text: str) -> RunSpec:
        """Inverse of ``to_json``."""
        fields = json.loads(text)
        nested = {"budget": Budget(**fields["budget"]), "compute": Compute(**fields.get("compute", {}))}
        return cls(**{**fields, **nested})

    @property
    def hash(self) -> str:
        """SHA-256 of ``to_json`` in hex."""
        return hashlib.sha256(self.to_json().encode()).hexdigest()

    @property
    def label(self) -> str:
        """Short name for logs: ``darts-1st on nas-bench-201, seed 0``."""
        return f"{self.method} on {self.space}, seed {self.seed}"


@dataclass(frozen=True)
class SearchProblem:
    """All that a method gets. There is no way from here to the ground truth.

    Attributes:
        space: the search space.
        images: the search split: training and validation images with labels.
        budget: the tier's numbers.
        seeds: named random streams.
        upstream: final trace row of the run that the method builds on (``Method.upstream``), if it has one, with
            ``epoch`` and ``architecture``.
        compute: where and how to compute; a method may keep to the CPU.
    """

    space: SearchSpace
    images: SearchImages
    budget: Budget
    seeds: Seeds
    upstream: Mapping[str, Value] | None = None
    compute: Compute = ON_CPU


@dataclass(frozen=True)
class NoConfig:
    """The config of a method without hyper-parameters."""


class Method(ABC):
    """One search.

    The harness constructs it, calls ``train_epoch`` for epochs 1 to ``epochs`` and, before the first and after each of
    them, ``measure`` and ``architecture``.

    Everything random must come from ``problem.seeds``; draw per epoch (``generator("batches", epoch)``) and a resumed
    run needs no generator state. ``state_dict`` must hold all that ``load_state_dict`` needs to continue bit for bit.
    """

    Config: ClassVar[type] = NoConfig
    """Frozen dataclass of the method's hyper-parameters, each with a default: the paper's. What is out of range raises
    ``UserError`` in its ``__post_init__``, so that it is refused before anything runs."""
    computes: ClassVar[bool] = False
    """Whether ``problem.compute`` is heeded. Else the method keeps to the CPU, and its spec says so."""
    upstream: ClassVar[str | None] = None
    """Name of the method whose finished run at the same seed this one starts from."""

    def __init__(self, problem: SearchProblem, config: Any) -> None:
        self.problem = problem
        self.config = config

    @property
    def epochs(self) -> int:
        """How many times ``train_epoch`` is to be called; 0 for methods that train nothing."""
        return 0

    @property
    def has_an_end(self) -> bool:
        """Whether ``epochs`` is what it must be."""
        return isinstance(self.epochs, int) and self.epochs >= 0

    def train_epoch(self, epoch: int) -> Trace:  # noqa: ARG002 - for methods that train
        """Search one epoch, 1 <= epoch <= epochs. Returns what was seen, e.g. mean losses. Raises ``Diverged``."""
        return {}

    def measure(self, epoch: int) -> Trace:  # noqa: ARG002
        """Measure the current state without changing it, 0 <= epoch <= epochs (0: before training)."""
        return {}

    @abstractmethod
    def architecture(self) -> Architecture:
        """What the method would pick now."""

    def state_dict(self) -> dict[str, Any]:
        """Tensors, numbers, strings and containers of them that restore the search exactly."""
        return {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:  # noqa: B027 - nothing to restore by default
        """Restore what ``state_dict`` returned."""


@dataclass(frozen=True)
class RunRecord:
    """A finished run as the store holds it.

    Attributes:
        spec: what was run.
        status: how it ended.
        message: one line, or a traceback, where ``status`` is not done; else empty.
        rows: a mapping an epoch, 0 first: ``epoch``, ``architecture`` (the space's string), accuracies in %
            (``cifar10_test``, ...), regrets (``regret_cifar10_test``, ...), the trace.
        facts: run-level facts: versions, processor, git revision, ground truth digest, seconds.
    """

    spec: RunSpec
    status: Status
    message: str
    rows: tuple[Mapping[str, Value], ...]
    facts: Mapping[str, Any]

    @property
    def final(self) -> Mapping[str, Value]:
        """The last epoch's row."""
        return self.rows[-1]

    @property
    def last_line(self) -> str:
        """The last line of the message, which of a traceback names the error; else empty."""
        return (self.message.strip().splitlines() or [""])[-1]
