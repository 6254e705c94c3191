"""Searches trained together give what each gives alone, and a search computes the same in every way of computing."""

from __future__ import annotations

from dataclasses import replace

import pytest
import torch

from benchmarks import images, spaces, tiers
from benchmarks.errors import UserError
from benchmarks.images import search_split
from benchmarks.seeds import Seeds
from benchmarks.spec import Compute, Diverged, SearchProblem
from methods import gradients, resolve
from methods.differentiable import DifferentiableSearch
from methods.gradients import Batch
from methods.together import StackedSupernet, train_epoch

USUAL = Compute()
SPACES = pytest.mark.parametrize("space", ["nas-bench-201", "nas-bench-1shot1-s3"])


def search(method: str, space: str, seed: int, *, compute: Compute = USUAL, **settings) -> DifferentiableSearch:
    """In double precision, so that sums in another order differ by next to nothing."""
    budget = replace(
        tiers.budget("smoke", space),
        train_images=48,
        valid_images=48,
        batch_size=16,
        probe_images=16,
        hessian_images=16,
    )
    seeds = Seeds(seed, space, "digits", method)
    generator = seeds.generator("split")
    split = search_split(images.load("digits"), train=32, valid=32, size=16, generator=generator)
    kind, config = resolve(method, settings)
    made = kind(SearchProblem(spaces.get(space), split, budget, seeds, compute=compute), config)
    assert isinstance(made, DifferentiableSearch)
    return made


def doubled(made: DifferentiableSearch) -> DifferentiableSearch:
    made.supernet.double()
    made.optimizer.mean = made.optimizer.mean.double()
    single = made.batches
    made.batches = lambda split, epoch: (Batch(x.double(), y) for x, y in single(split, epoch))  # type: ignore[method-assign]
    return made


def same(a: DifferentiableSearch, b: DifferentiableSearch, tolerance: float = 1e-10) -> None:
    def values(made: DifferentiableSearch) -> list[torch.Tensor]:
        momenta = [made.sgd.state[p]["momentum_buffer"] for p in made.supernet.parameters()]
        return [made.optimizer.mean, made.optimizer.sigma, *made.supernet.parameters(), *momenta]

    for x, y in zip(values(a), values(b), strict=True):
        torch.testing.assert_close(x, y, rtol=tolerance, atol=tolerance)


@SPACES
@pytest.mark.parametrize(
    ("method", "settings"),
    [
        ("darts-1st", {}),
        ("darts-2nd", {}),
        ("balenas-1st", {"samples": 2, "weights_at": "sample"}),
        ("balenas-2nd", {"unrolled_at": "mean"}),
        ("balenas-2nd", {"hessian_vector": "exact", "update_order": "weights-first"}),
    ],
)
def test_together_as_alone(space: str, method: str, settings: dict[str, object]) -> None:
    # The finite difference magnifies rounding: its numerator is a small difference of gradients.
    tolerance = 1e-6 if method.endswith("2nd") else 1e-10
    alone, together = ([doubled(search(method, space, seed, **settings)) for seed in range(3)] for _ in range(2))
    for epoch in (1, 2):
        expected = [each.train_epoch(epoch) for each in alone]
        found = train_epoch(together, epoch)
        for a, b, trace, other in zip(alone, together, expected, found, strict=True):
            same(a, b, tolerance)
            assert isinstance(other, dict)
            assert trace == pytest.approx(other, rel=1e-6)


def test_one_divergence_leaves_the_others_alone() -> None:
    alone, together = ([doubled(search("darts-1st", "nas-bench-201", seed)) for seed in range(2)] for _ in range(2))
    with torch.no_grad():
        next(together[1].supernet.parameters()).fill_(torch.nan)
    alone[0].train_epoch(1)
    first, second = train_epoch(together, 1)
    assert isinstance(first, dict)
    assert isinstance(second, Diverged)
    same(alone[0], together[0])


def test_what_cannot_be_trained_together() -> None:
    with pytest.raises(UserError, match="--compile and --together exclude each other"):
        Compute(compile=True, together=True)
    one = search("darts-1st", "nas-bench-201", 0)
    with pytest.raises(UserError, match="nothing but their seeds"):
        train_epoch([one, search("darts-2nd", "nas-bench-201", 1)], 1)
    with pytest.raises(UserError, match="track_running_stats=False"):
        train_epoch([search("darts-1st", "nas-bench-201", 0, track_running_stats=True)] * 2, 1)

    class Own(type(one)):  # type: ignore[misc]
        def weight_step(self, train, noise):
            return 0.0

    own = Own(one.problem, one.config)
    with pytest.raises(UserError, match="steps of its own"):
        train_epoch([own, own], 1)


@pytest.mark.parametrize(
    ("method", "space"),
    [
        ("darts-1st", "nas-bench-1shot1-s3"),
        pytest.param("balenas-2nd", "nas-bench-201", marks=pytest.mark.slow),
    ],
)
def test_compiled_as_not(method: str, space: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Traced and differentiated by the compiler's front end; code generation is the back end's, and takes minutes."""
    original = torch.compile
    monkeypatch.setattr(torch, "compile", lambda f: original(f, backend="aot_eager"))
    plain = doubled(search(method, space, 0))
    compiled = doubled(search(method, space, 0, compute=Compute(compile=True)))
    assert compiled.supernet.compiled is not None
    for each in (plain, compiled):
        each.train_epoch(1)
    same(plain, compiled, 1e-6 if method.endswith("2nd") else 1e-10)


@SPACES
def test_bfloat16_is_close_and_hessians_are_exact(space: str) -> None:
    exact, rough = search("darts-1st", space, 0), search("darts-1st", space, 0, compute=Compute(precision="bfloat16"))
    batch = next(iter(exact.batches("train", 1)))
    alpha = exact.optimizer.mean
    losses = [
        torch.nn.functional.cross_entropy(s.supernet(batch.images, s.relax(alpha)), batch.labels)
        for s in (exact, rough)
    ]
    assert losses[0] != losses[1]
    assert losses[1].dtype == torch.float32
    torch.testing.assert_close(losses[0], losses[1], rtol=0.02, atol=0)
    gradients = [s.gradient(alpha, batch, batch) for s in (exact, rough)]
    assert torch.nn.functional.cosine_similarity(*gradients, dim=0) > 0.95
    with exact.supernet.twice_differentiable(), rough.supernet.twice_differentiable():
        logits = [s.supernet(batch.images, s.relax(alpha)) for s in (exact, rough)]
    assert torch.equal(*logits)


@SPACES
def test_second_order_in_bfloat16_resolves_its_finite_difference(space: str) -> None:
    """The step of the weights is below what bfloat16 resolves."""
    exact, rough = search("darts-2nd", space, 0), search("darts-2nd", space, 0, compute=Compute(precision="bfloat16"))
    train, alpha = next(iter(exact.batches("train", 1))), exact.optimizer.mean
    vector = [torch.randn(p.shape, generator=torch.Generator().manual_seed(0)) for p in exact.supernet.parameters()]
    implicit = [
        gradients._mixed_finite_difference(
            made.supernet, made.relax, alpha, train, *zip(*made.supernet.named_parameters(), strict=True), vector
        )
        for made in (exact, rough)
    ]
    torch.testing.assert_close(*implicit)


def test_stacked_networks_are_exact_where_they_are_differentiated_twice() -> None:
    rough = [search("darts-1st", "nas-bench-201", seed, compute=Compute(precision="bfloat16")) for seed in (0, 1)]
    stacked = StackedSupernet([made.supernet for made in rough])
    stacked.autocasts = True
    images = torch.stack([next(iter(made.batches("train", 1))).images for made in rough])
    weights = torch.stack([made.relax(made.optimizer.mean) for made in rough])
    with stacked.twice_differentiable():
        found = stacked(images, weights)
    for made, one, own, logits in zip(rough, images, weights, found, strict=True):
        with made.supernet.twice_differentiable():
            torch.testing.assert_close(logits, made.supernet(one, own))


def test_without_momentum_together_as_alone() -> None:
    space = "nas-bench-1shot1-s3"
    alone, together = ([doubled(search("darts-1st", space, seed)) for seed in range(2)] for _ in range(2))
    for made in (*alone, *together):
        made.sgd.param_groups[0]["momentum"] = 0.0
    expected = [made.train_epoch(1) for made in alone]
    for found, trace in zip(train_epoch(together, 1), expected, strict=True):
        assert found == pytest.approx(trace, rel=1e-6)
    for a, b in zip(alone, together, strict=True):
        torch.testing.assert_close(list(a.supernet.parameters()), list(b.supernet.parameters()), rtol=1e-9, atol=1e-9)
