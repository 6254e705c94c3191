"""The search loop beside one written out with torch's own optimizers, and what it records beside autograd."""

from __future__ import annotations

import math
from collections.abc import Sequence
from copy import deepcopy
from dataclasses import replace

import pytest
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import images, spaces, tiers
from benchmarks.seeds import Seeds
from benchmarks.spec import Compute, SearchProblem
from methods import measurements, resolve
from methods.differentiable import DifferentiableSearch
from methods.gradients import Batch, frozen
from methods.optimizers import VAdamConfig
from tests.methods.test_together import doubled

SPACE = spaces.get("nas-bench-201")
EPOCHS, CLIP = 3, 0.2
BUDGET = replace(
    tiers.budget("smoke", SPACE.name),
    train_images=32,
    valid_images=32,
    batch_size=16,
    epochs=EPOCHS,
    gradient_clip=CLIP,
    arch_lr=0.05,
    arch_beta2=0.8,
    hessian_every=2,
    hessian_images=8,
    probe_images=16,
)


def search(method: str, *, precision: str = "float32", **settings: object) -> DifferentiableSearch:
    seeds = Seeds(0, SPACE.name, "digits", method)
    generator = seeds.generator("split")
    split = images.search_split(images.load("digits"), train=32, valid=32, size=16, generator=generator)
    kind, config = resolve(method, settings)
    return kind(SearchProblem(SPACE, split, BUDGET, seeds, compute=Compute(precision=precision)), config)


def softmax(alpha: Tensor) -> Tensor:
    return torch.cat([part.softmax(0) for part in alpha.split(list(SPACE.sizes))])


def loss_at(network: torch.nn.Module, alpha: Tensor, batch: Batch) -> Tensor:
    return functional.cross_entropy(network(batch.images, softmax(alpha)), batch.labels)


class ByHand:
    """A search with the hyper-parameters as numbers, in double precision."""

    def __init__(self, made: DifferentiableSearch, *, order: str, draws: bool, samples: int) -> None:
        self.made, self.order, self.draws, self.samples = made, order, draws, samples
        self.network = deepcopy(made.supernet)
        self.sgd = torch.optim.SGD(self.network.parameters(), lr=0.025, momentum=0.9, nesterov=True, weight_decay=5e-4)
        self.schedule = torch.optim.lr_scheduler.CosineAnnealingLR(self.sgd, T_max=EPOCHS, eta_min=0.001)
        self.clipped = 0

    def points(self, n: int) -> Sequence[Tensor]:
        raise NotImplementedError

    def take(self, points: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        raise NotImplementedError

    @property
    def mean(self) -> Tensor:
        raise NotImplementedError

    def architecture_step(self, valid: Batch) -> None:
        points = [point.detach().requires_grad_() for point in self.points(self.samples)]
        self.take(points, [torch.autograd.grad(loss_at(self.network, p, valid), p)[0] for p in points])

    def weight_step(self, train: Batch) -> None:
        alpha = self.points(1)[0] if self.draws else self.mean
        self.sgd.zero_grad()
        loss_at(self.network, alpha.detach(), train).backward()
        self.clipped += bool(torch.nn.utils.clip_grad_norm_(self.network.parameters(), CLIP) > CLIP)
        self.sgd.step()

    def run(self) -> None:
        for epoch in range(1, EPOCHS + 1):
            self.noise = self.made.problem.seeds.generator("posterior", epoch)
            for train, valid in zip(self.made.batches("train", epoch), self.made.batches("valid", epoch), strict=True):
                if self.order == "architecture-first":
                    self.architecture_step(valid)
                    self.weight_step(train)
                else:
                    self.weight_step(train)
                    self.architecture_step(valid)
            self.schedule.step()


class DARTSByHand(ByHand):
    def __init__(self, made: DifferentiableSearch, **how: object) -> None:
        super().__init__(made, **how)  # type: ignore[arg-type]
        self.alpha = made.optimizer.mean.detach().clone().requires_grad_()
        self.adam = torch.optim.Adam([self.alpha], lr=0.05, betas=(0.5, 0.8), weight_decay=1e-3)

    @property
    def mean(self) -> Tensor:
        return self.alpha

    def points(self, n: int) -> Sequence[Tensor]:
        return [self.alpha] * n

    def take(self, points: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        (self.alpha.grad,) = gradients
        self.adam.step()


class BaLeNASByHand(ByHand):
    """VAdam's rule has tests of its own (``tests/optimizers``)."""

    def __init__(self, made: DifferentiableSearch, **how: object) -> None:
        super().__init__(made, **how)  # type: ignore[arg-type]
        settings = {"prec_init": 1.0, "prior_precision": 1.0, "data_size": 25_000, "steps": 2 * EPOCHS}
        self.vadam = VAdamConfig(lr=0.05, beta1=0.5, beta2=0.8, **settings).build(made.optimizer.mean.clone())

    @property
    def mean(self) -> Tensor:
        return self.vadam.mean

    def points(self, n: int) -> Sequence[Tensor]:
        return list(self.vadam.sample(n, self.noise))

    def take(self, points: Sequence[Tensor], gradients: Sequence[Tensor]) -> None:
        self.vadam.step(torch.stack([p.detach() for p in points]), torch.stack(list(gradients)))


@pytest.mark.parametrize(
    ("method", "by_hand", "settings"),
    [
        ("darts-1st", DARTSByHand, {}),
        ("darts-1st", DARTSByHand, {"update_order": "weights-first"}),
        ("balenas-1st", BaLeNASByHand, {}),
        ("balenas-1st", BaLeNASByHand, {"update_order": "weights-first", "weights_at": "sample"}),
        ("balenas-1st", BaLeNASByHand, {"weights_at": "sample", "samples": 3}),
    ],
)
def test_a_search_is_what_its_loop_says(method: str, by_hand: type[ByHand], settings: dict[str, object]) -> None:
    made = doubled(search(method, **settings))
    order = str(settings.get("update_order", "architecture-first"))
    plain = by_hand(
        made, order=order, draws=settings.get("weights_at") == "sample", samples=settings.get("samples", 1)
    )  # fmt: skip
    plain.run()
    for epoch in range(1, EPOCHS + 1):
        made.train_epoch(epoch)
    assert plain.clipped > 0
    torch.testing.assert_close(made.optimizer.mean, plain.mean.detach(), rtol=1e-9, atol=1e-9)
    for own, other in zip(made.supernet.parameters(), plain.network.parameters(), strict=True):
        torch.testing.assert_close(own, other, rtol=1e-9, atol=1e-9)


def test_what_is_recorded_of_curvature() -> None:
    made = search("balenas-1st")
    made.train_epoch(1)
    trace = made.measure(EPOCHS)
    mean, batch, seeds = made.optimizer.mean.detach(), made.probes.hessian, made.problem.seeds
    network = made.supernet.double()
    batch = Batch(batch.images.double(), batch.labels)

    def loss(alpha: Tensor) -> Tensor:
        return loss_at(network, alpha, batch)

    def of_weights(weights: Tensor) -> float:
        return float(functional.cross_entropy(network(batch.images, weights.detach()), batch.labels).detach())

    def hessian(alpha: Tensor) -> Tensor:
        return torch.autograd.functional.hessian(loss, alpha.double())

    with frozen(network), network.twice_differentiable():
        at_mean = hessian(mean)
        draws = made.optimizer.draw(measurements.HESSIAN_DRAWS, seeds.generator("hessian draws", EPOCHS))
        average = torch.stack([hessian(draw) for draw in draws]).mean(0)
        slope = torch.stack([torch.autograd.functional.jacobian(loss, draw.double()) for draw in draws]).mean(0)
        p = softmax(mean.double()).requires_grad_()
        (g,) = torch.autograd.grad(functional.cross_entropy(network(batch.images, p), batch.labels), p)
    for name, expected in (("hessian", at_mean), ("hessian_posterior", average)):
        eigenvalues = torch.linalg.eigvalsh(expected)
        assert trace[f"{name}_spectral_norm"] == pytest.approx(float(eigenvalues.abs().max()), rel=1e-3)
        assert trace[f"{name}_trace"] == pytest.approx(float(eigenvalues.sum()), rel=1e-2, abs=1e-4)
    assert trace["hessian_posterior_gradient_norm"] == pytest.approx(float(slope.norm()), rel=1e-3)
    kept = torch.cat([functional.one_hot(torch.tensor(op), 5) for op in made.architecture()]).double()
    assert trace["gap_measured"] == pytest.approx(of_weights(kept) - of_weights(p), rel=1e-3, abs=1e-5)
    assert trace["gap_first_order"] == pytest.approx(float(g @ (kept - p.detach())), rel=1e-3, abs=1e-5)
    offsets = made.optimizer.draw(measurements.NOISE_PAIRS, seeds.generator("noise draws", EPOCHS)) - mean
    with torch.no_grad():
        rises = [float((loss(mean + e) + loss(mean - e)) / 2 - loss(mean)) for e in offsets.double()]
    assert trace["noise_measured"] == pytest.approx(sum(rises) / len(rises), rel=1e-2, abs=1e-5)
    sigma = made.optimizer.sigma.double()
    assert trace["noise_predicted"] == pytest.approx(float((sigma**2 * at_mean.diagonal()).sum() / 2), rel=1e-2)


def test_what_is_recorded_of_the_posterior() -> None:
    made = search("balenas-1st", prec_init=10.0)
    made.optimizer.mean = torch.randn(SPACE.parameters, generator=torch.Generator().manual_seed(0))
    trace, generator = made.measure(2), made.problem.seeds.generator("diversity", 2)
    cells = SPACE.discretise_many(made.optimizer.draw(measurements.DIVERSITY_DRAWS, generator))
    assert 1 < trace["distinct_draws"] == len(set(cells)) < 100
    assert 0 < trace["probability_of_mean"] == cells.count(made.architecture()) / 100 < 1
    p = softmax(made.optimizer.mean.double()).split(list(SPACE.sizes))
    entropies = [float(-(part * part.log()).sum() / math.log(len(part))) for part in p]
    assert trace["entropy"] == pytest.approx(entropies, rel=1e-6)
    assert (trace["alpha"], trace["sigma"]) == (made.optimizer.mean.tolist(), made.optimizer.sigma.tolist())


def test_noise_is_measured_in_the_precision_of_its_prediction() -> None:
    exact, rough = search("balenas-1st"), search("balenas-1st", precision="bfloat16")
    traces = [made.measure(0) for made in (exact, rough)]
    for name in ("noise_measured", "noise_standard_error", "noise_predicted", "hessian_trace", "gap_measured"):
        assert traces[0][name] == pytest.approx(traces[1][name], rel=1e-4), name
    assert traces[0]["valid_loss"] != traces[1]["valid_loss"]


def test_a_relaxation_of_ones_own_has_no_hessian() -> None:
    """Which is taken through the softmax."""
    kind, config = resolve("balenas-1st")

    class Sharp(kind):  # type: ignore[valid-type,misc]
        def relax(self, alpha: Tensor) -> Tensor:
            return super().relax(3 * alpha)

    made = Sharp(search("balenas-1st").problem, config)
    trace = made.measure(0)
    assert "valid_loss" in trace and not [key for key in trace if key.startswith(("hessian_", "gap_", "noise_"))]


@pytest.mark.parametrize(
    ("epochs", "every", "due", "averaged"),
    [
        (30, 5, {0, 5, 10, 15, 20, 25, 30}, {0, 15, 30}),
        (32, 5, {0, 5, 10, 15, 20, 25, 30, 32}, {0, 15, 32}),
        (6, 6, {0, 6}, {0, 6}),
        (6, 0, set(), set()),
    ],
)
def test_when_hessians_are_due(epochs: int, every: int, due: set[int], averaged: set[int]) -> None:
    budget = replace(BUDGET, epochs=epochs, hessian_every=every)
    assert {e for e in range(epochs + 1) if measurements.hessian_is_due(budget, e)} == due
    found = {e for e in due if measurements.posterior_hessian_is_due(budget, e)}
    assert found == averaged
