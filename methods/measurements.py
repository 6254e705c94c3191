"""What is measured after an epoch: probe losses, the posterior, curvature. Nothing here changes a search.

Probes are fixed for a run and the same for every method at a seed, so that curves of different methods can be compared
point by point.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch
from torch import Tensor
from torch.nn import functional

from benchmarks.images import probe
from benchmarks.spec import Budget, SearchProblem, Trace
from methods.curvature import curvature as exact_curvature
from methods.curvature import discretisation_gap, noise_effect, summary
from methods.gradients import Batch, frozen
from methods.relaxations import entropies

if TYPE_CHECKING:
    from methods.differentiable import DifferentiableSearch

DIVERSITY_DRAWS = 100
"""Draws of the posterior that distinct architectures are counted in, as many as BaLeNAS-TF scores."""
HESSIAN_DRAWS = 4
"""Draws that the posterior average of the Hessian is taken over."""
NOISE_PAIRS = 16
"""Antithetic pairs of draws that E_q[L] - L(mu) is measured with."""


@dataclass(frozen=True)
class Probes:
    """Fixed, un-augmented batches: both splits for losses, a smaller one of the validation split for curvature."""

    train: Batch
    valid: Batch
    hessian: Batch

    @classmethod
    def of(cls, problem: SearchProblem) -> Probes:
        """The first images of each (shuffled) split."""
        images, budget = problem.images, problem.budget

        def take(split_images: Tensor, labels: Tensor, n: int) -> Batch:
            found = probe(split_images, labels, n, mean=images.mean, std=images.std)
            return Batch(*(part.to(problem.compute.device) for part in found))

        return cls(
            take(images.train_images, images.train_labels, budget.probe_images),
            take(images.valid_images, images.valid_labels, budget.probe_images),
            take(images.valid_images, images.valid_labels, budget.hessian_images),
        )


def supernet(search: DifferentiableSearch, probes: Probes) -> Trace:
    """Loss (nats) and accuracy (%) of the supernet at the mean on both probes, with batch statistics."""
    trace: Trace = {}
    with torch.no_grad():
        weights = search.relax(search.optimizer.mean)
        for name, batch in (("train", probes.train), ("valid", probes.valid)):
            logits = search.supernet(batch.images, weights)
            trace[f"{name}_loss"] = float(functional.cross_entropy(logits, batch.labels))
            trace[f"{name}_accuracy"] = 100 * float((logits.argmax(1) == batch.labels).double().mean())
    return trace


def posterior(search: DifferentiableSearch, epoch: int) -> Trace:
    """Architecture parameters, their entropies, and how far draws of the posterior spread.

    ``alpha`` and ``sigma`` are what BaLeNAS-TF and any later selection start from.
    """
    space, optimizer = search.problem.space, search.optimizer
    mean, sigma = optimizer.mean.detach(), optimizer.sigma.detach()
    normalised = entropies(search.relax(mean), space.sizes, normalised=True)
    trace: Trace = {
        "alpha": mean.tolist(),
        "sigma": sigma.tolist(),
        "entropy": normalised.tolist(),
        "entropy_mean": float(normalised.mean()),
        "sigma_mean": float(sigma.mean()),
        "sigma_min": float(sigma.min()),
        "sigma_max": float(sigma.max()),
        "sigma_by_group": [float(part.mean()) for part in sigma.split(space.sizes)],
    }
    if bool((sigma > 0).any()):
        generator = search.problem.seeds.generator("diversity", epoch)
        draws = space.discretise_many(optimizer.draw(DIVERSITY_DRAWS, generator))
        # Of encodings: on NAS-Bench-1Shot1 many of them may be one network.
        trace["distinct_draws"] = len(set(draws))
        trace["probability_of_mean"] = draws.count(search.architecture()) / len(draws)
    return trace


def hessian_is_due(budget: Budget, epoch: int) -> bool:
    """At epoch 0, every ``hessian_every`` epochs and at the last; never if that is 0."""
    return budget.hessian_every > 0 and (epoch % budget.hessian_every == 0 or epoch == budget.epochs)


def posterior_hessian_is_due(budget: Budget, epoch: int) -> bool:
    """At the first Hessian, the one nearest the middle, and the last: the average costs as many Hessians as draws."""
    if budget.hessian_every == 0:
        return False
    middle = round(budget.epochs / 2 / budget.hessian_every) * budget.hessian_every
    return epoch in (0, middle, budget.epochs)


def curvature(search: DifferentiableSearch, probes: Probes, epoch: int) -> Trace:
    """Exact Hessian of the probe's loss, and the paper's two Taylor expansions as measurements.

    ``hessian_*`` is taken at the mean, ``hessian_posterior_*`` averaged over draws; both without the arch weight decay
    that other trackers add (which shifts every eigenvalue by that constant). ``gap_*`` compares the loss of the
    discretised operation weights with its expansion, in the coordinates of the operation weights (Eq. 2 of the paper
    mixes logits and weights and drops the first-order term). ``noise_*`` compares E_q[L] - L(mu) with half the sum of
    sigma_i^2 H_ii (Eq. 19).
    """
    space, optimizer = search.problem.space, search.optimizer
    mean, sigma = optimizer.mean.detach(), optimizer.sigma.detach()
    images, labels = probes.hessian
    network = search.supernet
    used = torch.tensor([name != "none" for group in space.groups for name in group.alternatives])

    def loss_of_weights(weights: Tensor) -> Tensor:
        return functional.cross_entropy(network(images, weights), labels)

    with frozen(network), network.twice_differentiable():
        at_mean = exact_curvature(loss_of_weights, mean, space.sizes, used=used)
        trace: Trace = {f"hessian_{k}": v for k, v in summary(at_mean.h_alpha, at_mean.g_alpha).items()}
        if all(group.picks == 1 for group in space.groups):
            kept = torch.cat([
                functional.one_hot(torch.tensor(decision), group.size).to(mean)
                for group, decision in zip(space.groups, search.architecture(), strict=True)
            ])  # fmt: skip
            gap = discretisation_gap(loss_of_weights, at_mean, kept)
            trace |= {
                "gap_measured": gap.measured,
                "gap_first_order": gap.first_order,
                "gap_second_order": gap.second_order,
            }
        if bool((sigma > 0).any()) and posterior_hessian_is_due(search.problem.budget, epoch):
            draws = optimizer.draw(HESSIAN_DRAWS, search.problem.seeds.generator("hessian draws", epoch))
            parts = [exact_curvature(loss_of_weights, draw, space.sizes, used=used) for draw in draws]
            average = torch.stack([part.h_alpha for part in parts]).mean(0)
            slope = torch.stack([part.g_alpha for part in parts]).mean(0)
            trace |= {f"hessian_posterior_{k}": v for k, v in summary(average, slope).items()}
    if bool((sigma > 0).any()):
        draws = optimizer.draw(NOISE_PAIRS, search.problem.seeds.generator("noise draws", epoch))

        def loss_of_alpha(alpha: Tensor) -> Tensor:
            return loss_of_weights(search.relax(alpha))

        with network.in_full_precision():  # as the Hessian is
            effect = noise_effect(loss_of_alpha, mean, sigma, at_mean.h_alpha, draws)
        trace |= {
            "noise_measured": effect.measured,
            "noise_standard_error": effect.standard_error,
            "noise_predicted": effect.predicted,
        }
    return trace
