"""The search loop that all differentiable methods share: a bilevel problem solved by alternating steps.

A method is a choice of four parts (BaLeNAS differs from DARTS in one of them):

    relaxation   architecture parameters -> operation weights              ``relax``
    optimizer    where gradients are taken and what they do to the mean    ``build_optimizer``
    gradient     first order, or second order through an unrolled step     ``methods.gradients``
    selection    architecture parameters -> architecture                   ``architecture``

The order of an epoch, with one training and one validation minibatch a step, is DARTS's (Liu et al. 2019, Algorithm 1;
quark0/darts): the architecture step first, on the validation batch, then the weight step on the training batch.
"""

from __future__ import annotations

import math
import time
from abc import abstractmethod
from collections import defaultdict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import starmap
from typing import Any, Literal

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.errors import check_choices, check_counts
from benchmarks.images import Augmentation, epoch_batches
from benchmarks.spaces import Architecture
from benchmarks.spec import Diverged, Method, SearchProblem, Trace
from methods import measurements, supernets
from methods.gradients import Batch, first_order, second_order
from methods.optimizers import ArchitectureOptimizer
from methods.relaxations import softmax

ALPHA_SCALE = 1e-3
"""Standard deviation of the initial architecture parameters (quark0/darts, AutoDL)."""


@dataclass(frozen=True)
class SearchConfig:
    """Hyper-parameters of the loop. Tiers set what is not here (``benchmarks.spec.Budget``).

    Attributes:
        order: 1, or 2 for DARTS's unrolled gradient.
        update_order: ``architecture-first`` as in quark0/darts, or ``weights-first`` as AutoDL's DARTS-V1 does it.
        weights_at: weights train at the ``mean`` (the author's left-over code) or at a ``sample``: wherever the
            optimizer takes its gradients, for a plain point optimizer the mean again.
        samples: Monte Carlo samples M of an architecture step.
        unrolled_at: second order only: ``sample`` draws first and takes every term there, an estimate of the gradient
            of E_q; ``mean`` unrolls before drawing, so that only the finite difference sees the noise (the author's
            left-over code).
        hessian_vector: second order only: ``finite-difference`` as in the paper, or ``exact`` by double backward.
        track_running_stats: whether the supernet's batch norm keeps running statistics. Searching uses batch
            statistics either way; every forward pass of a step moves the running ones, as in the public code, and
            measurements do not.
    """

    order: Literal[1, 2] = 1
    update_order: Literal["architecture-first", "weights-first"] = "architecture-first"
    weights_at: Literal["mean", "sample"] = "mean"
    samples: int = 1
    unrolled_at: Literal["sample", "mean"] = "sample"
    hessian_vector: Literal["finite-difference", "exact"] = "finite-difference"
    track_running_stats: bool = False

    def __post_init__(self) -> None:
        check_choices(self)
        check_counts(samples=self.samples)


class DifferentiableSearch(Method):
    """Alternating architecture and weight steps on a supernet."""

    computes = True
    config: SearchConfig
    optimizer: ArchitectureOptimizer

    def __init__(self, problem: SearchProblem, config: SearchConfig) -> None:
        super().__init__(problem, config)
        space, budget = problem.space, problem.budget
        with problem.seeds.scope("supernet"):
            self.supernet = supernets.build(
                space,
                channels=budget.channels,
                cells_per_stage=budget.cells_per_stage,
                classes=len(problem.images.classes),
                track_running_stats=config.track_running_stats,
            )
        self.supernet.compute_by(problem.compute)
        start = torch.randn(space.parameters, generator=problem.seeds.generator("alpha")) * ALPHA_SCALE
        self.optimizer = self.build_optimizer(start)
        self.sgd = torch.optim.SGD(
            self.supernet.parameters(),
            lr=budget.weight_lr,
            momentum=budget.momentum,
            nesterov=budget.nesterov,
            weight_decay=budget.weight_decay,
        )
        self.probes = measurements.Probes.of(problem)
        self.seconds: defaultdict[str, float] = defaultdict(float)

    @abstractmethod
    def build_optimizer(self, start: Tensor) -> ArchitectureOptimizer:
        """The architecture optimizer, its mean at ``start``, shape ``[parameters]``."""

    def relax(self, alpha: Tensor) -> Tensor:
        """Architecture parameters ``[parameters]`` to operation weights ``[parameters]``: a softmax per group.

        A method with another one has no Hessian in its trace, for that is taken through the softmax.
        """
        return softmax(alpha, self.problem.space.sizes)

    @property
    def relaxes_by_softmax(self) -> bool:
        """Whether ``relax`` is the one above."""
        return type(self).relax is DifferentiableSearch.relax

    def architecture(self) -> Architecture:
        """The largest mean parameters of each group."""
        return self.problem.space.discretise(self.optimizer.mean)

    @property
    def epochs(self) -> int:
        """The tier's."""
        return self.problem.budget.epochs

    def train_epoch(self, epoch: int) -> Trace:
        """One pass over the training split."""
        self.anneal(epoch)
        noise = self.problem.seeds.generator("posterior", epoch)
        totals: defaultdict[str, float] = defaultdict(float)
        steps = 0
        for train, valid in zip(self.batches("train", epoch), self.batches("valid", epoch), strict=True):
            if self.config.update_order == "weights-first":
                totals["weight_step_loss"] += self.weight_step(train, noise)
            totals["arch_gradient_norm"] += self.architecture_step(train, valid, noise)
            if self.config.update_order == "architecture-first":
                totals["weight_step_loss"] += self.weight_step(train, noise)
            steps += 1
        return {name: total / steps for name, total in totals.items()}

    def anneal(self, epoch: int) -> None:
        """Set the weights' learning rate of an epoch, by a cosine."""
        budget = self.problem.budget
        cosine = (1 + math.cos(math.pi * (epoch - 1) / budget.epochs)) / 2
        self.sgd.param_groups[0]["lr"] = budget.weight_lr_min + (budget.weight_lr - budget.weight_lr_min) * cosine

    def architecture_step(self, train: Batch, valid: Batch, noise: torch.Generator) -> float:
        """Step on the validation batch. Returns the gradient's norm, averaged over the samples."""
        with self.timed("architecture"):
            points = self.optimizer.sample(self.config.samples, noise)
            gradients = torch.stack([self.gradient(point, train, valid) for point in points])
            norm = float(gradients.norm(dim=1).mean())
            if not math.isfinite(norm):
                raise Diverged("the architecture gradient is not finite")
            self.optimizer.step(points, gradients)
        return norm

    def gradient(self, point: Tensor, train: Batch, valid: Batch) -> Tensor:
        """Gradient of the mean validation loss in the architecture parameters at ``point``, shape ``[parameters]``."""
        if self.config.order == 1:
            return first_order(self.supernet, self.relax, point, valid)
        return second_order(
            self.supernet,
            self.relax,
            point,
            train,
            valid,
            sgd=self.sgd,
            unrolled_at=self.optimizer.mean if self.config.unrolled_at == "mean" else point,
            hessian_vector=self.config.hessian_vector,
        )

    def weight_step(self, train: Batch, noise: torch.Generator) -> float:
        """SGD step on the training batch. Returns the loss."""
        with self.timed("weights"):
            at_mean = self.config.weights_at == "mean"
            alpha = self.optimizer.mean if at_mean else self.optimizer.sample(1, noise)[0]
            images, labels = train
            loss = functional.cross_entropy(self.supernet(images, self.relax(alpha.detach())), labels)
            value = loss.item()
            if not math.isfinite(value):
                raise Diverged("the training loss is not finite")
            self.sgd.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(self.supernet.parameters(), self.problem.budget.gradient_clip)
            self.sgd.step()
        return value

    def batches(self, split: Literal["train", "valid"], epoch: int) -> Iterator[Batch]:
        """The epoch's augmented minibatches; the order is the same for all methods at a seed."""
        images, budget, device = self.problem.images, self.problem.budget, self.problem.compute.device
        return starmap(
            Batch,
            epoch_batches(
                (images.train_images if split == "train" else images.valid_images).to(device),
                (images.train_labels if split == "train" else images.valid_labels).to(device),
                batch_size=budget.batch_size,
                generator=self.problem.seeds.generator(f"{split} batches", epoch),
                augmentation=Augmentation(padding=budget.padding, flip=budget.flip),
                mean=images.mean,
                std=images.std,
            ),
        )

    def measure(self, epoch: int) -> Trace:
        """Probe losses, posterior and, at the tier's cadence, curvature."""
        with self.supernet.unobserved():
            with self.timed("measure"):
                trace = measurements.supernet(self, self.probes) | measurements.posterior(self, epoch)
            if self.relaxes_by_softmax and measurements.hessian_is_due(self.problem.budget, epoch):
                with self.timed("hessian"):
                    trace |= measurements.curvature(self, self.probes, epoch)
        return trace | {f"seconds_{phase}": seconds for phase, seconds in self.seconds.items()}

    @contextmanager
    def timed(self, phase: str) -> Iterator[None]:
        """Add the block's wall-clock seconds to a phase."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds[phase] += time.perf_counter() - start

    def state_dict(self) -> dict[str, Any]:
        """Weights, momentum, architecture parameters and posterior, and the clock."""
        return {
            "supernet": self.supernet.state_dict(),
            "sgd": self.sgd.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "seconds": dict(self.seconds),
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Continue where ``state_dict`` was taken, bit for bit."""
        self.supernet.load_state_dict(state["supernet"])
        self.sgd.load_state_dict(state["sgd"])
        self.optimizer.load_state_dict(state["optimizer"])
        self.seconds = defaultdict(float, state["seconds"])
