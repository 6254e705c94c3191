from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.distributions import Dirichlet
from torch.nn import functional

from benchmarks.errors import UserError
from methods.relaxations import concentrations, dirichlet, entropies, gumbel_softmax, softmax

SIZES = (5, 3, 2)
sizes_strategy = st.lists(st.integers(1, 6), min_size=1, max_size=5)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def random_alpha(*shape: int, seed: int = 1, scale: float = 1.0) -> torch.Tensor:
    return scale * torch.randn(*shape, dtype=torch.float64, generator=generator(seed))


def group_sums(weights: torch.Tensor, sizes: tuple[int, ...]) -> torch.Tensor:
    return torch.stack([part.sum(-1) for part in weights.split(list(sizes), -1)], -1)


RELAXATIONS = {
    "softmax": lambda alpha, sizes, g: softmax(alpha, sizes),
    "soft gumbel": lambda alpha, sizes, g: gumbel_softmax(alpha, sizes, temperature=0.7, generator=g),
    "hard gumbel": lambda alpha, sizes, g: gumbel_softmax(alpha, sizes, temperature=0.7, generator=g, hard=True),
    "dirichlet": lambda alpha, sizes, g: dirichlet(concentrations(alpha), sizes, generator=g),
}


@pytest.mark.parametrize("relax", RELAXATIONS.values(), ids=RELAXATIONS)
@settings(deadline=None)
@given(sizes=sizes_strategy, batch=st.lists(st.integers(1, 3), max_size=2), seed=st.integers(0, 2**32))
def test_weights_lie_on_the_simplex_of_each_group(relax, sizes, batch, seed):
    alpha = random_alpha(*batch, sum(sizes), seed=seed, scale=3.0)
    weights = relax(alpha, sizes, generator(seed))
    assert weights.shape == alpha.shape
    assert weights.isfinite().all() and (weights >= 0).all()
    torch.testing.assert_close(group_sums(weights, sizes), torch.ones(*batch, len(sizes), dtype=torch.float64))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
@pytest.mark.parametrize("relax", RELAXATIONS.values(), ids=RELAXATIONS)
def test_draws_follow_their_generator_only_and_keep_the_type(relax, dtype):
    alpha = random_alpha(4, 10).to(dtype)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    first = relax(alpha, SIZES, generator(3))
    assert torch.equal(torch.get_rng_state(), before)
    assert first.dtype == dtype
    assert torch.equal(first, relax(alpha, SIZES, generator(3)))


@pytest.mark.parametrize("name", ["soft gumbel", "hard gumbel", "dirichlet"])
def test_every_row_of_a_batch_is_a_draw_of_its_own(name):
    weights = RELAXATIONS[name](torch.zeros(64, 10), SIZES, generator())
    assert len(weights.unique(dim=0)) > 20


@pytest.mark.parametrize("name", ["softmax", "soft gumbel"])
def test_gradients_equal_finite_differences(name):
    direction = random_alpha(10, seed=5)
    assert torch.autograd.gradcheck(
        lambda alpha: RELAXATIONS[name](alpha, SIZES, generator(2)) @ direction, random_alpha(10).requires_grad_()
    )


def test_hard_draws_have_the_probabilities_of_the_softmax():
    alpha, n = random_alpha(10), 40_000
    drawn = gumbel_softmax(alpha.expand(n, -1), SIZES, temperature=0.3, generator=generator(), hard=True)
    p = softmax(alpha, SIZES)
    error = (p * (1 - p) / n).sqrt()
    assert ((drawn.mean(0) - p).abs() < 5 * error).all()


def test_hard_draws_are_exactly_one_hot_and_are_the_soft_ones_largest():
    alpha = random_alpha(100, 10).float()
    soft, hard = (
        gumbel_softmax(alpha, SIZES, temperature=0.5, generator=generator(), hard=hard) for hard in (False, True)
    )
    assert set(hard.unique().tolist()) == {0.0, 1.0}
    for soft_part, hard_part in zip(soft.split(list(SIZES), -1), hard.split(list(SIZES), -1), strict=True):
        assert torch.equal(soft_part.argmax(-1), hard_part.argmax(-1))


def test_straight_through_gradient_is_the_soft_draws():
    direction = random_alpha(10, seed=5)
    alpha = random_alpha(10).requires_grad_()
    slopes = []
    for hard in (False, True):
        weights = gumbel_softmax(alpha, SIZES, temperature=0.5, generator=generator(), hard=hard)
        slopes.append(torch.autograd.grad(weights @ direction, alpha)[0])
    assert slopes[0].abs().min() > 0
    torch.testing.assert_close(slopes[1], slopes[0])


def test_temperature_interpolates_between_one_hot_and_uniform():
    alpha = random_alpha(50, 10)
    cold, hot = (gumbel_softmax(alpha, SIZES, temperature=t, generator=generator()) for t in (1e-4, 1e6))
    assert entropies(cold, SIZES).mean() < 1e-3
    assert (entropies(hot, SIZES, normalised=True) > 1 - 1e-6).all()


@pytest.mark.parametrize("temperature", [0.0, -1.0, math.nan])
def test_a_temperature_that_is_not_positive_is_refused(temperature):
    with pytest.raises(UserError, match="temperature"):
        gumbel_softmax(torch.zeros(10), SIZES, temperature=temperature, generator=generator())


def test_dirichlet_moments():
    c = torch.tensor([0.05, 0.5, 1.0, 2.0, 7.0, 1.0, 1.0, 1.0, 30.0, 3.0], dtype=torch.float64)
    n = 40_000
    draws = dirichlet(c.expand(n, -1), SIZES, generator=generator())
    for drawn, part in zip(draws.split(list(SIZES), -1), c.split(list(SIZES)), strict=True):
        law = Dirichlet(part)
        assert ((drawn.mean(0) - law.mean).abs() < 5 * (law.variance / n).sqrt()).all()
        torch.testing.assert_close(drawn.var(0), law.variance, rtol=0.05, atol=0)


def test_dirichlet_gradient_is_unbiased():
    # E[p_i^2] = c_i (c_i + 1) / (c0 (c0 + 1)) has a derivative in closed form.
    c = torch.tensor([0.3, 1.0, 2.5], dtype=torch.float64, requires_grad=True)
    total = c.sum()
    (exact,) = torch.autograd.grad((c[0] * (c[0] + 1) / (total * (total + 1))), c)

    n = 200_000
    many = c.detach().expand(n, -1).clone().requires_grad_()
    (slopes,) = torch.autograd.grad(dirichlet(many, (3,), generator=generator())[:, 0].square().sum(), many)
    error = slopes.std(0) / math.sqrt(n)
    assert (error < 0.05 * exact.abs()).all()
    assert ((slopes.mean(0) - exact).abs() < 5 * error).all()


@pytest.mark.parametrize("alpha", [-80.0, -18.0, -1.0, 0.0, 2.0])
def test_concentrations_are_positive_in_single_precision(alpha: float):
    single = torch.full((5,), alpha, requires_grad=True)
    double = torch.full((5,), alpha, dtype=torch.float64, requires_grad=True)
    found, expected = concentrations(single), functional.elu(double) + 1
    assert bool((found > 0).all())
    torch.testing.assert_close(found.double(), expected if alpha > -10 else double.exp(), rtol=1e-5, atol=0)
    (slope,) = torch.autograd.grad(found.sum(), single)
    torch.testing.assert_close(slope, found if alpha < 0 else torch.ones(5))
    assert bool(dirichlet(found, (5,), generator=generator()).isfinite().all())


def test_dirichlet_survives_concentrations_whose_gamma_draws_underflow():
    alpha = torch.full((1000, 5), -8.0, requires_grad=True)  # concentrations of 3e-4
    weights = dirichlet(concentrations(alpha), (5,), generator=generator())
    (slope,) = torch.autograd.grad((weights * torch.arange(5.0)).sum(), alpha)
    assert weights.isfinite().all() and slope.isfinite().all()
    torch.testing.assert_close(weights.detach().sum(-1), torch.ones(1000))
    assert ((weights.detach().mean(0) - 0.2).abs() < 0.07).all()


def test_concentrations_are_positive_and_one_at_zero():
    alpha = torch.linspace(-10, 10, 101, dtype=torch.float64)
    assert (concentrations(alpha) > 0).all()
    assert concentrations(torch.zeros(1)).item() == 1.0


@settings(deadline=None)
@given(sizes=sizes_strategy, shift=st.floats(-50, 50))
def test_softmax_does_not_see_a_shift_of_a_group(sizes, shift):
    alpha = random_alpha(sum(sizes))
    moved = alpha.clone()
    moved[: sizes[0]] += shift
    torch.testing.assert_close(softmax(moved, sizes), softmax(alpha, sizes))


def test_entropies_of_uniform_and_decided_groups():
    uniform = softmax(torch.zeros(2, 10, dtype=torch.float64), SIZES)
    nats = torch.tensor([math.log(size) for size in SIZES], dtype=torch.float64)
    torch.testing.assert_close(entropies(uniform, SIZES), nats.expand(2, -1))
    torch.testing.assert_close(entropies(uniform, SIZES, normalised=True), torch.ones(2, 3, dtype=torch.float64))
    decided = torch.tensor([0.0, 1, 0, 0, 0, 1, 0, 0, 0, 1])
    assert torch.equal(entropies(decided, SIZES), torch.zeros(3))
