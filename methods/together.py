"""All seeds of a method in one batched supernet, for a GPU that one small supernet cannot fill.

The networks' parameters, images and operation weights get a leading dimension, and ``torch.func.vmap`` turns K forward
passes into one: convolutions become grouped convolutions. Everything else of a step is elementwise, or a norm that is
taken for each network. The searches keep their own posterior, random streams and probes, so each gives what it gives
alone, to rounding. On a CPU this is slower than one search after the other, which has single-pass kernels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from copy import deepcopy
from itertools import chain
from typing import Literal

import torch
from torch import Tensor, nn
from torch.func import functional_call, stack_module_state, vmap
from torch.nn import functional

from benchmarks.errors import UserError
from benchmarks.spec import Diverged, Trace
from methods.differentiable import DifferentiableSearch
from methods.gradients import Batch, first_order, second_order
from methods.supernets import Supernet


class StackedSupernet(Supernet):
    """K supernets of one shape: ``[K, B, 3, H, W]`` and ``[K, parameters]`` to ``[K, B, classes]``.

    Args:
        supernets: without running statistics; their weights are copied.
    """

    def __init__(self, supernets: Sequence[Supernet]) -> None:
        super().__init__()
        parameters, _ = stack_module_state(list(supernets))
        self.networks = len(supernets)
        self.stacked = nn.ParameterDict({_key(name): value.detach() for name, value in parameters.items()})
        self._template = (deepcopy(supernets[0]),)  # in a tuple, so that it is no submodule with parameters of its own

    def parts(self) -> Iterator[nn.Module]:
        """See ``Supernet``."""
        return chain(self.modules(), self._template[0].modules())

    def logits(self, images: Tensor, weights: Tensor, active: Sequence[bool] | None) -> Tensor:
        """See ``Supernet``; ``active`` holds for all."""
        parameters = {name: self.stacked[_key(name)] for name, _ in self._template[0].named_parameters()}

        def one(own: dict[str, Tensor], images: Tensor, weights: Tensor) -> Tensor:
            logits: Tensor = functional_call(self._template[0], own, (images, weights, active))
            return logits

        found: Tensor = vmap(one)(parameters, images, weights)
        return found


def train_epoch(searches: Sequence[DifferentiableSearch], epoch: int) -> list[Trace | Diverged]:
    """What ``search.train_epoch(epoch)`` does to each search, done to all at once, without its clock.

    Args:
        searches: at the same epoch; they may differ in nothing but their seeds.
        epoch: as in ``Method.train_epoch``.

    Returns:
        A search's trace, or why it diverged; the others are not touched by that.

    Raises:
        UserError: searches that cannot be trained together.
    """
    _check(searches)
    return _Epoch(searches, epoch).run()


class _Epoch:
    """Weights and momenta, stacked for the length of an epoch."""

    def __init__(self, searches: Sequence[DifferentiableSearch], epoch: int) -> None:
        self.searches, self.epoch, self.first = searches, epoch, searches[0]
        for search in searches:
            search.anneal(epoch)
        self.network = StackedSupernet([search.supernet for search in searches])
        settings = {name: value for name, value in self.first.sgd.param_groups[0].items() if name != "params"}
        self.sgd = torch.optim.SGD(self.network.parameters(), **settings)
        for name, stacked in self.network.stacked.items():
            momenta = [s.sgd.state[s.supernet.get_parameter(_name(name))].get("momentum_buffer") for s in searches]
            if all(momentum is not None for momentum in momenta):
                self.sgd.state[stacked]["momentum_buffer"] = torch.stack(momenta)
        self.diverged: dict[int, Diverged] = {}

    def run(self) -> list[Trace | Diverged]:
        """All steps; weights and momenta go back to the searches."""
        noises = [search.problem.seeds.generator("posterior", self.epoch) for search in self.searches]
        norms, losses, steps = torch.zeros(len(self.searches)), torch.zeros(len(self.searches)), 0
        for train, valid in zip(self.batches("train"), self.batches("valid"), strict=True):
            if self.first.config.update_order == "weights-first":
                losses += self.weight_step(train, noises)
            norms += self.architecture_step(train, valid, noises)
            if self.first.config.update_order == "architecture-first":
                losses += self.weight_step(train, noises)
            steps += 1
        self.give_back()
        return [
            self.diverged.get(k)
            or {"arch_gradient_norm": float(norms[k] / steps), "weight_step_loss": float(losses[k] / steps)}
            for k in range(len(self.searches))
        ]

    def batches(self, split: Literal["train", "valid"]) -> Iterator[Batch]:
        """Every search's own minibatches, stacked."""
        for parts in zip(*(search.batches(split, self.epoch) for search in self.searches), strict=True):
            yield Batch(*(torch.stack(each) for each in zip(*parts, strict=True)))

    def relax(self, alpha: Tensor) -> Tensor:
        """Each search's relaxation, ``[K, parameters]``."""
        return torch.stack([search.relax(own) for search, own in zip(self.searches, alpha, strict=True)])

    def architecture_step(self, train: Batch, valid: Batch, noises: list[torch.Generator]) -> Tensor:
        """See ``DifferentiableSearch``. Norms, ``[K]``."""
        samples = self.first.config.samples
        points = torch.stack([s.optimizer.sample(samples, n) for s, n in zip(self.searches, noises, strict=True)])
        gradients = torch.stack([self.gradient(points[:, m], train, valid) for m in range(samples)], dim=1)
        norms: Tensor = gradients.norm(dim=2).mean(1)
        for k, search in enumerate(self.searches):
            if math.isfinite(norms[k]):
                search.optimizer.step(points[k], gradients[k])
            else:
                self.diverged.setdefault(k, Diverged("the architecture gradient is not finite"))
        return norms

    def gradient(self, points: Tensor, train: Batch, valid: Batch) -> Tensor:
        """See ``DifferentiableSearch``. ``[K, parameters]``."""
        config = self.first.config
        if config.order == 1:
            return first_order(self.network, self.relax, points, valid)
        means = torch.stack([search.optimizer.mean for search in self.searches])
        return second_order(
            self.network,
            self.relax,
            points,
            train,
            valid,
            sgd=self.sgd,
            unrolled_at=means if config.unrolled_at == "mean" else points,
            hessian_vector=config.hessian_vector,
        )

    def weight_step(self, train: Batch, noises: list[torch.Generator]) -> Tensor:
        """See ``DifferentiableSearch``. Losses, ``[K]``."""
        at_mean = self.first.config.weights_at == "mean"
        alpha = torch.stack([
            s.optimizer.mean if at_mean else s.optimizer.sample(1, n)[0]
            for s, n in zip(self.searches, noises, strict=True)
        ])  # fmt: skip
        logits = self.network(train.images, self.relax(alpha.detach()))
        loss = functional.cross_entropy(logits.transpose(1, 2), train.labels, reduction="none").mean(1)
        for k, value in enumerate(loss.tolist()):
            if not math.isfinite(value):
                self.diverged.setdefault(k, Diverged("the training loss is not finite"))
        self.sgd.zero_grad()
        loss.sum().backward()
        gradients = [p.grad for p in self.network.parameters() if p.grad is not None]
        norms = torch.stack([g.flatten(1).norm(dim=1) for g in gradients]).norm(dim=0)
        scale = (self.first.problem.budget.gradient_clip / (norms + 1e-6)).clamp(max=1)
        for g in gradients:
            g.mul_(scale.view(-1, *[1] * (g.ndim - 1)))
        self.sgd.step()
        losses: Tensor = loss.detach().cpu()
        return losses

    def give_back(self) -> None:
        """Copy weights and momenta to the searches."""
        for name, stacked in self.network.stacked.items():
            momenta = self.sgd.state[stacked].get("momentum_buffer")  # none without momentum
            for k, search in enumerate(self.searches):
                own = search.supernet.get_parameter(_name(name))
                with torch.no_grad():
                    own.copy_(stacked[k])
                if momenta is not None:
                    search.sgd.state[own]["momentum_buffer"] = momenta[k].clone(memory_format=torch.preserve_format)


def _key(name: str) -> str:
    """A parameter's name as a key of a ``ParameterDict``, which has no dots."""
    return name.replace(".", ":")


def _name(key: str) -> str:
    return key.replace(":", ".")


def _check(searches: Sequence[DifferentiableSearch]) -> None:
    first = searches[0]
    if not isinstance(first, DifferentiableSearch):
        raise UserError(
            f"{type(first).__name__} is no DifferentiableSearch, whose steps can be taken together: run it alone"
        )
    for search in searches:
        same = type(search) is type(first) and search.config == first.config
        if not (same and (search.problem.space, search.problem.budget) == (first.problem.space, first.problem.budget)):
            raise UserError("searches are trained together only if they differ in nothing but their seeds")
    steps = ("train_epoch", "architecture_step", "gradient", "weight_step")
    if any(getattr(type(first), step) is not getattr(DifferentiableSearch, step) for step in steps):
        raise UserError(f"{type(first).__name__} has steps of its own, which cannot be trained together: run it alone")
    if first.config.track_running_stats:
        raise UserError("running statistics cannot be kept for seeds together: set track_running_stats=False")
