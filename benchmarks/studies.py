"""Studies: plans that answer a question, as tables to read.

``python -m benchmarks.run --study reading --data-dir DIR`` asks which reading of the BaLeNAS paper, if any, gives its
order (BaLeNAS before DARTS) at a size that can be checked. The paper leaves its method under-specified, so every row
changes one thing. Rates, length and decay are shared by both methods: such a row turns the knob for both. What this
explores, ``confirmation`` and ``confirmation-32x32`` run again on fresh seeds.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Literal

from benchmarks import tiers
from benchmarks.spec import Budget


@dataclass(frozen=True)
class Row:
    """One change.

    Attributes:
        kind: a ``reading`` of the paper, a knob ``shared`` with DARTS, or a ``control`` that no paper proposes.
        question: what it asks.
        methods: names with their hyper-parameters, as the command line takes them.
        budget: numbers of the tier that the row replaces.
    """

    kind: Literal["reading", "shared", "control"]
    question: str
    methods: tuple[str, ...]
    budget: Mapping[str, float | int] = field(default_factory=dict)


@dataclass(frozen=True)
class Study:
    """Rows on one space, at one tier and at the same seeds.

    Attributes:
        name: for the command line and file names.
        space: name of the space.
        tier: name of the tier.
        seeds: of every row.
        rows: the first has the DARTS that every row without DARTS is compared with.
        changes: numbers of the tier that every row replaces; a row's own come on top.
        confirms: name of the study that chose the rows; without one, this study explores and carries no verdict.
    """

    name: str
    space: str
    tier: str
    seeds: tuple[int, ...]
    rows: tuple[Row, ...]
    changes: Mapping[str, float | int] = field(default_factory=dict)
    confirms: str | None = None

    def budget(self, row: Row) -> Budget:
        """The tier's budget with what the study and the row replace."""
        return replace(tiers.budget(self.tier, self.space), **{**self.changes, **row.budget})  # type: ignore[arg-type]

    def only(self, question: str, method: str) -> Row:
        """The row of a question with one of its methods alone."""
        row = next(row for row in self.rows if row.question == question)
        if method not in row.methods:
            raise ValueError(f"the row {question!r} has no {method}")
        return replace(row, methods=(method,))


BOTH = ("darts-1st", "balenas-1st")

# Two rows came after seed 0 of the others, where IVON's best searches had hardly moved (entropy 1.000 of 1): a slower
# architecture rate for both methods, and a faster IVON.
READING = Study(
    name="reading",
    space="nas-bench-201",
    tier="cpu",
    seeds=(0, 1, 2, 3),
    rows=(
        Row("shared", "the defaults", BOTH),
        # How the paper may be read.
        Row("reading", "weights train at a draw, not at the mean", ("balenas-1st@weights_at=sample",)),
        Row("reading", "N is the validation split's true size", ("balenas-1st@data_size=4096",)),
        Row("reading", "prior precision 0.1", ("balenas-1st@prior_precision=0.1",)),
        Row("reading", "prior precision 10", ("balenas-1st@prior_precision=10,prec_init=10",)),
        Row("reading", "prior precision 100", ("balenas-1st@prior_precision=100,prec_init=100",)),
        Row("reading", "four Monte Carlo samples a step", ("balenas-1st@samples=4",)),
        Row("reading", "Vprop: no first moment", ("balenas-1st@optimizer=vprop",)),
        Row("reading", "VON: the exact rule", ("balenas-1st@optimizer=von",), {"arch_lr": 1e-5}),
        Row("reading", "VON, ten times the rate", ("balenas-1st@optimizer=von",), {"arch_lr": 1e-4}),
        Row("reading", "Eq. 17 and 18 literally, one rate", ("balenas-1st@optimizer=eq17",), {"arch_lr": 1e-5}),
        Row("reading", "the same, s with its own rate", ("balenas-1st@optimizer=eq17-two-rates",), {"arch_lr": 1e-5}),
        Row("reading", "the same at ten times the rate", ("balenas-1st@optimizer=eq17-two-rates",), {"arch_lr": 1e-4}),
        Row("reading", "IVON", ("balenas-1st@optimizer=ivon",), {"arch_lr": 1.0}),
        Row("reading", "IVON, ten times the rate", ("balenas-1st@optimizer=ivon",), {"arch_lr": 10.0}),
        Row("reading", "IVON, a hundred times the rate", ("balenas-1st@optimizer=ivon",), {"arch_lr": 100.0}),
        Row("reading", "Bayes by Backprop (Eq. 7)", ("balenas-1st@optimizer=bbb",), {"arch_lr": 0.03}),
        Row("reading", "Bayes by Backprop, ten times the rate", ("balenas-1st@optimizer=bbb",), {"arch_lr": 0.3}),
        # Knobs that both methods have.
        Row("shared", "weights before the architecture", tuple(f"{name}@update_order=weights-first" for name in BOTH)),
        Row("shared", "second moment of 1,000 steps, as in the author's code", BOTH, {"arch_beta2": 0.999}),
        Row("shared", "a tenth of the architecture rate", BOTH, {"arch_lr": 3e-4}),
        Row("shared", "three times the architecture rate", BOTH, {"arch_lr": 9e-3}),
        Row("shared", "ten times the architecture rate", BOTH, {"arch_lr": 3e-2}),
        Row("shared", "twice the length", BOTH, {"epochs": 60}),
        Row("shared", "DARTS with the L2 of BaLeNAS's prior, delta/N", ("darts-1st@arch_weight_decay=4e-5",)),
        Row("shared", "BaLeNAS with DARTS's L2: N = 1,000, so sigma too", ("balenas-1st@data_size=1000",)),
        # Controls: noise with nothing Bayesian about it.
        Row("control", "fixed noise, sigma 1", ("balenas-1st@optimizer=adam-fixed-noise",)),
        Row("control", "fixed noise, sigma 0.3", ("balenas-1st@optimizer=adam-fixed-noise,prec_init=11.1",)),
        Row("control", "fixed noise, sigma 0.1", ("balenas-1st@optimizer=adam-fixed-noise,prec_init=100",)),
        Row("control", "noise that falls from sigma 1 to 0", ("balenas-1st@optimizer=adam-annealed-noise",)),
        Row("control", "architecture step at uniform weights", ("balenas-1st@optimizer=adam-uniform-weights",)),
        # Both readings of the second order, beside DARTS's.
        Row("reading", "second order", ("darts-2nd", "balenas-2nd", "balenas-2nd@unrolled_at=mean")),
    ),
)  # fmt: skip

# What the rule of `analysis.study` sends on from those runs; a test compares.
SENT = (
    READING.only("second moment of 1,000 steps, as in the author's code", "darts-1st"),
    READING.only("IVON, a hundred times the rate", "balenas-1st@optimizer=ivon"),
    READING.only("IVON", "balenas-1st@optimizer=ivon"),
    READING.only("weights train at a draw, not at the mean", "balenas-1st@weights_at=sample"),
)
CONFIRMATION = Study(
    name="confirmation",
    space=READING.space,
    tier=READING.tier,
    seeds=tuple(range(100, 108)),
    # DARTS at its defaults came when the others had ended: readings led it in exploration. It has no part in a verdict.
    rows=(*SENT, READING.only("the defaults", "darts-1st")),
    confirms=READING.name,
)
LARGER_IMAGES = replace(
    CONFIRMATION,
    name="confirmation-32x32",
    seeds=CONFIRMATION.seeds[:4],
    rows=SENT,
    changes={"image_size": 32, "padding": 4},
)

STUDIES = {study.name: study for study in (READING, CONFIRMATION, LARGER_IMAGES)}
