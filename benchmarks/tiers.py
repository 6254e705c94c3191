"""What tiers differ in, as a table to read. What they share are the defaults of ``benchmarks.spec.Budget``."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import asdict, replace

from benchmarks import assignments
from benchmarks.errors import UserError, one_of
from benchmarks.spec import Budget

# What differs between the two families of spaces at every tier, as in their public search code.
NAS_BENCH_201 = {"nesterov": True, "weight_decay": 5e-4}
NAS_BENCH_1SHOT1 = {"nesterov": False, "weight_decay": 3e-4, "proxy_cells_per_stage": 3}

# Handwritten digits ship with the install. Mirroring would change what a digit means, so they are only shifted.
DIGITS = {"data": "digits", "image_size": 16, "padding": 1, "flip": False}
# CIFAR-10 averaged to 16x16: the crop is scaled down with the images.
CIFAR10_SMALL = {"data": "cifar10", "image_size": 16, "padding": 2, "flip": True}
CIFAR10 = {"data": "cifar10", "image_size": 32, "padding": 4, "flip": True}

# The paper tier takes 19,500 architecture steps on NAS-Bench-201, the cpu tier 1,920: both rates times ten keep alpha
# and sigma on its scale.
TEN_TIMES_FASTER = {"arch_lr": 3e-3, "arch_beta2": 0.99}

TIERS: dict[str, dict[str, object]] = {
    "smoke": DIGITS
    | {"train_images": 64, "valid_images": 64, "channels": 4, "cells_per_stage": 1, "epochs": 2, "batch_size": 32}
    | {"hessian_every": 0, "probe_images": 64, "proxy_channels": 4, "proxy_cells_per_stage": 1, "resamplings": 2}
    | TEN_TIMES_FASTER,
    "quick": DIGITS
    | {"train_images": 768, "valid_images": 768, "channels": 4, "cells_per_stage": 1, "epochs": 6, "batch_size": 64}
    | {
        "hessian_every": 6,
        "hessian_images": 16,
        "probe_images": 256,
        "proxy_channels": 4,
        "proxy_cells_per_stage": 1,
        "resamplings": 10,
    }
    | {"arch_lr": 3e-2, "arch_beta2": 0.9},
    "cpu": CIFAR10_SMALL
    | {"train_images": 4096, "valid_images": 4096, "channels": 8, "cells_per_stage": 1, "epochs": 30, "batch_size": 64}
    | TEN_TIMES_FASTER,
    "paper": CIFAR10 | {"train_images": 25_000, "valid_images": 25_000, "channels": 16, "epochs": 50, "batch_size": 64},
}

# The paper tier is the only one at full depth, and the two families differ there.
PAPER_NAS_BENCH_201 = {"cells_per_stage": 5}
PAPER_NAS_BENCH_1SHOT1 = {"cells_per_stage": 3, "batch_size": 96}


def budget(tier: str, space: str, *, data: str | None = None) -> Budget:
    """The budget of a tier on a space.

    Args:
        tier: one of ``TIERS``.
        space: name of the space.
        data: ``digits`` or ``cifar10`` to replace the tier's images; sizes follow the images where they must.

    Raises:
        UserError: unknown tier, or images that do not exist at the tier's size.
    """
    if tier not in TIERS:
        raise one_of("tier", tier, TIERS)
    one_shot = space.startswith("nas-bench-1shot1")
    numbers = (NAS_BENCH_1SHOT1 if one_shot else NAS_BENCH_201) | TIERS[tier]
    if tier == "paper":
        numbers = numbers | (PAPER_NAS_BENCH_1SHOT1 if one_shot else PAPER_NAS_BENCH_201)
    if data is not None and data != numbers["data"]:
        images = {"digits": DIGITS, "cifar10": CIFAR10_SMALL}
        if data not in images:
            raise one_of("image set", data, images)
        if tier in ("cpu", "paper"):
            raise UserError(
                f"the {tier} tier is defined on cifar10, not on {data}: choose --tier quick or --data cifar10"
            )
        numbers = numbers | images[data]
    return Budget(tier=tier, **numbers)  # type: ignore[arg-type]


OFF = ("padding", "weight_lr_min", "momentum", "weight_decay", "arch_beta2", "hessian_every", "resamplings")
"""Numbers of a budget that may be 0."""


def changed(budget: Budget, words: Iterable[str]) -> Budget:
    """A budget with numbers of its tier replaced, for all methods alike.

    Args:
        budget: the tier's.
        words: such as ``arch_lr=1e-5``.

    Raises:
        UserError: a word that is no assignment, an unknown name, or a number out of range.
    """
    may = {name: value for name, value in asdict(budget).items() if name not in ("tier", "data")}
    numbers = assignments.parse(words, may, what="number of a tier", example="--budget arch_lr=1e-5 epochs=60")
    for name, value in numbers.items():
        assert isinstance(value, int | float)
        if not (0 < value < math.inf or (value == 0 and name in OFF) or isinstance(value, bool)):
            raise UserError(f"{name}={value} is out of range: choose a number above 0{' or 0' * (name in OFF)}")
        if name in ("momentum", "arch_beta2") and value >= 1:
            raise UserError(f"{name}={value} is no decay: choose a number below 1")
    found = replace(budget, **numbers)  # type: ignore[arg-type]
    if min(found.train_images, found.valid_images) < found.batch_size:
        raise UserError(f"batch_size={found.batch_size} is larger than a split of images: choose a smaller one")
    if found.train_images // found.batch_size != found.valid_images // found.batch_size:
        steps = f"train_images={found.train_images} and valid_images={found.valid_images}"
        raise UserError(f"{steps} make epochs of different length, and every step takes a batch of both: change both")
    if max(found.probe_images, found.hessian_images) > min(found.train_images, found.valid_images):
        raise UserError("probe_images and hessian_images come out of the splits: choose no more than these have")
    if found.nesterov and found.momentum == 0:
        raise UserError("momentum=0 leaves Nesterov nothing to look ahead with: give nesterov=false too")
    return found
