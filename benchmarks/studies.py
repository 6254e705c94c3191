"""Studies: plans that answer a question, as tables to read.

``python -m benchmarks.run --study reading --data-dir DIR`` asks which reading of the BaLeNAS paper, if any, gives its
order (BaLeNAS before DARTS) at a size that can be checked. The paper leaves its method under-specified, so every row
changes one thing. Rates, length and decay are shared by both methods: such a row turns the knob for both.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True)
class Row:
    """One change.

    Attributes:
        question: what it asks.
        methods: names with their hyper-parameters, as the command line takes them.
        budget: numbers of the tier that the row replaces.
    """

    question: str
    methods: tuple[str, ...]
    budget: Mapping[str, float | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """Rows on one space, at one tier and at the same seeds."""

    space: str
    tier: str
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]


BOTH = ("darts-1st", "balenas-1st")

READING = Study(
    space="nas-bench-201",
    tier="cpu",
    seeds=(0, 1, 2, 3),
    rows=(
        Row("the defaults", BOTH),
        # How the paper may be read.
        Row("weights train at a draw, not at the mean", ("balenas-1st@weights_at=sample",)),
        Row("N is the validation split's true size", ("balenas-1st@data_size=4096",)),
        Row("prior precision 0.1", ("balenas-1st@prior_precision=0.1",)),
        Row("prior precision 10", ("balenas-1st@prior_precision=10,prec_init=10",)),
        Row("prior precision 100", ("balenas-1st@prior_precision=100,prec_init=100",)),
        Row("four Monte Carlo samples a step", ("balenas-1st@samples=4",)),
        Row("Vprop: no first moment", ("balenas-1st@optimizer=vprop",)),
        Row("VON: the exact rule", ("balenas-1st@optimizer=von",), {"arch_lr": 1e-5}),
        Row("VON, ten times the rate", ("balenas-1st@optimizer=von",), {"arch_lr": 1e-4}),
        Row("Eq. 17 and 18 literally, one rate", ("balenas-1st@optimizer=eq17",), {"arch_lr": 1e-5}),
        Row("Eq. 17 and 18, a rate for s of its own", ("balenas-1st@optimizer=eq17-two-rates",), {"arch_lr": 1e-5}),
        Row("the same at ten times the rate", ("balenas-1st@optimizer=eq17-two-rates",), {"arch_lr": 1e-4}),
        Row("IVON", ("balenas-1st@optimizer=ivon",), {"arch_lr": 1.0}),
        Row("IVON, ten times the rate", ("balenas-1st@optimizer=ivon",), {"arch_lr": 10.0}),
        Row("Bayes by Backprop (Eq. 7)", ("balenas-1st@optimizer=bbb",), {"arch_lr": 0.03}),
        Row("Bayes by Backprop, ten times the rate", ("balenas-1st@optimizer=bbb",), {"arch_lr": 0.3}),
        # Knobs that both methods have.
        Row("weights before the architecture", tuple(f"{name}@update_order=weights-first" for name in BOTH)),
        Row("second moment of 1,000 steps, as in the paper", BOTH, {"arch_beta2": 0.999}),
        Row("three times the architecture rate", BOTH, {"arch_lr": 9e-3}),
        Row("ten times the architecture rate", BOTH, {"arch_lr": 3e-2}),
        Row("twice the length", BOTH, {"epochs": 60}),
        Row(
            "L2 on the mean: DARTS with BaLeNAS's delta/N, BaLeNAS with DARTS's 1e-3",
            ("darts-1st@arch_weight_decay=4e-5", "balenas-1st@data_size=1000"),
        ),
        # Controls: noise with nothing Bayesian about it.
        Row("fixed noise, sigma 1", ("balenas-1st@optimizer=adam-fixed-noise",)),
        Row("fixed noise, sigma 0.3", ("balenas-1st@optimizer=adam-fixed-noise,prec_init=11.1",)),
        Row("fixed noise, sigma 0.1", ("balenas-1st@optimizer=adam-fixed-noise,prec_init=100",)),
        Row("noise that falls from sigma 1 to 0", ("balenas-1st@optimizer=adam-annealed-noise",)),
        Row("uniform operation weights in the architecture step", ("balenas-1st@optimizer=adam-uniform-weights",)),
        # Both readings of the second order, beside DARTS's.
        Row("second order: draw first, or unroll first", ("darts-2nd", "balenas-2nd", "balenas-2nd@unrolled_at=mean")),
    ),
)  # fmt: skip

STUDIES = {"reading": READING}
