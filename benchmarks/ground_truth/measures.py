"""What can be asked of a table: a measure is a data set, a split, an epoch budget and a reduction over the trainings.

An accuracy column is named ``{dataset}_{split}_{epochs}_{reduction}``, for instance ``imagenet16-120_test_200_mean``;
columns that differ in the reduction only form a *group*, ``imagenet16-120_test_200``: the same trainings on the same
images.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from enum import StrEnum

from benchmarks.errors import one_of


class Dataset(StrEnum):
    """Image sets of the benchmarks."""

    CIFAR10 = "cifar10"
    CIFAR100 = "cifar100"
    IMAGENET16_120 = "imagenet16-120"


class Split(StrEnum):
    """Which images an accuracy was taken on.

    On NAS-Bench-201 ``VALID`` and ``TEST`` of CIFAR-10 come from two different trainings (on half of the training
    images and on all of them). CIFAR-100 and ImageNet16-120 have one training; the benchmark cuts their official test
    set into halves ``VALID`` and ``TEST``, and ``VALTEST`` is both together.
    """

    TRAIN = "train"
    VALID = "valid"
    TEST = "test"
    VALTEST = "valtest"


class Cost(StrEnum):
    """What an architecture costs, whatever its accuracy."""

    PARAMETERS = "params"
    FLOPS = "flops"
    LATENCY = "latency"


@dataclass(frozen=True)
class Mean:
    """The mean over all trainings of the architecture."""

    @property
    def label(self) -> str:
        """``mean``."""
        return "mean"


@dataclass(frozen=True)
class Seed:
    """The training from one seed (NAS-Bench-201: 777, 888, 999 at 200 epochs, 111 at 12)."""

    number: int

    @property
    def label(self) -> str:
        """For instance ``seed777``."""
        return f"seed{self.number}"


@dataclass(frozen=True)
class Run:
    """One of the repeats of NAS-Bench-101, which have no seeds: 0, 1 or 2, in the order of the official file."""

    number: int

    @property
    def label(self) -> str:
        """For instance ``run0``."""
        return f"run{self.number}"


@dataclass(frozen=True)
class BestOfRuns:
    """The highest accuracy of the trainings: neither a mean nor a particular training, and never offered as one."""

    @property
    def label(self) -> str:
        """``max``."""
        return "max"


@dataclass(frozen=True)
class AllSeeds:
    """Every single training (by seed, or by repeat where there are no seeds), or an error where one is not held."""

    @property
    def label(self) -> str:
        """``all``."""
        return "all"


Single = Seed | Run
"""The reductions that pick one training."""
Reduction = Mean | Single | BestOfRuns
"""The reductions that are one number an architecture."""

_COLUMN = re.compile(
    rf"({'|'.join(Dataset)})_({'|'.join(Split)})_([1-9][0-9]*)_(mean|max|seed(?:0|[1-9][0-9]*)|run[0-9])"
)


@dataclass(frozen=True)
class Measure:
    """One accuracy column.

    Attributes:
        dataset: image set.
        split: which images of it.
        epochs: length of the training.
        reduction: which trainings, and how they become one number.
    """

    dataset: Dataset
    split: Split
    epochs: int
    reduction: Reduction

    @property
    def group(self) -> str:
        """Name of the trainings and images, without the reduction."""
        return group_name(self.dataset, self.split, self.epochs)

    @property
    def column(self) -> str:
        """Name of the column."""
        return f"{self.group}_{self.reduction.label}"

    @classmethod
    def parse(cls, column: str) -> Measure | None:
        """Inverse of ``column``; None where the name is not that of an accuracy column."""
        match = _COLUMN.fullmatch(column)
        if match is None:
            return None
        dataset, split, epochs, label = match.groups()
        return cls(Dataset(dataset), Split(split), int(epochs), _reduction(label))


def group_name(dataset: Dataset, split: Split, epochs: int) -> str:
    """Name of a group of columns. Raises ``UserError`` for an unknown data set or split."""
    if dataset not in tuple(Dataset):
        raise one_of("dataset", dataset, Dataset)
    if split not in tuple(Split):
        raise one_of("split", split, Split)
    return f"{dataset}_{split}_{epochs}"


def _reduction(label: str) -> Reduction:
    if label == "mean":
        return Mean()
    if label == "max":
        return BestOfRuns()
    return Seed(int(label[4:])) if label.startswith("seed") else Run(int(label[3:]))
