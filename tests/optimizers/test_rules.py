"""Every rule against numbers worked out by hand, another implementation, or what theory says of it."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.testing import assert_allclose
from torch import Tensor

from methods.optimizers import (
    AdamConfig,
    AnnealedAdamConfig,
    BayesByBackpropConfig,
    Eq17Config,
    Eq17TwoRatesConfig,
    IVONConfig,
    NoisyAdamConfig,
    UniformAdamConfig,
    VAdamConfig,
    VONConfig,
    VpropConfig,
)

START = torch.tensor([0.1, -0.2], dtype=torch.float64)
FIRST = torch.tensor([[0.01, -0.02]], dtype=torch.float64)
SECOND = torch.tensor([[0.03, 0.0]], dtype=torch.float64)
CURVATURE = torch.tensor([0.5, 1.0, 2.0], dtype=torch.float64)
MINIMUM = torch.tensor([1.0, -1.0, 0.5], dtype=torch.float64)


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def quadratic(points: Tensor) -> Tensor:
    """Gradients of the mean loss sum h (theta - minimum)^2 / 2."""
    return CURVATURE * (points - MINIMUM)


def run(optimizer, steps: int, gradients=quadratic, samples: int = 1, seed: int = 0):
    noise = generator(seed)
    for _ in range(steps):
        points = optimizer.sample(samples, noise)
        optimizer.step(points, gradients(points))
    return optimizer


def tail_averages(optimizer, steps: int, gradients=quadratic, samples: int = 1) -> tuple[Tensor, Tensor]:
    """Mean and s averaged over further steps, which removes the noise of the last one."""
    noise, means, curvatures = generator(1), [], []
    for _ in range(steps):
        points = optimizer.sample(samples, noise)
        optimizer.step(points, gradients(points))
        means.append(optimizer.mean)
        curvatures.append(optimizer.s)
    return torch.stack(means).mean(0), torch.stack(curvatures).mean(0)


def test_vadam_golden_values():
    vadam = VAdamConfig().build(START)  # N = 25,000, delta = 1, lr = 3e-4, betas (0.5, 0.999)
    vadam.step(START[None], FIRST)
    assert_allclose(vadam.mean, [0.099701075697, -0.199700479042], rtol=0, atol=1e-12)
    assert_allclose(vadam.m, [5.0020e-3, -1.00040e-2], rtol=1e-12)
    assert_allclose(vadam.s, [1.0e-7, 4.0e-7], rtol=1e-10)
    assert_allclose(vadam.sigma, [0.9987523389, 0.9950371902], rtol=0, atol=1e-10)
    vadam.step(START[None], SECOND)
    assert_allclose(vadam.mean, [0.099388594127, -0.199559252270], rtol=0, atol=1e-12)
    assert_allclose(vadam.m, [1.7502994022e-2, -5.0059940096e-3], rtol=1e-10)
    assert_allclose(vadam.s, [9.999e-7, 3.996e-7], rtol=1e-10)
    assert_allclose(vadam.sigma, [0.9877308012, 0.9950421162], rtol=0, atol=1e-10)


def test_eq17_golden_values():
    eq17 = Eq17Config(lr=3e-4).build(START)
    eq17.step(START[None], FIRST)
    assert_allclose(eq17.mean, [0.0250, -0.0504], rtol=0, atol=5e-5)
    eq17.step(START[None], SECOND)
    assert_allclose(eq17.mean, [-0.2355, 0.0244], rtol=0, atol=5e-5)


def test_adam_is_torchs_adam():
    config = AdamConfig(lr=0.02, beta1=0.5, beta2=0.999, eps=1e-8, weight_decay=1e-3)
    ours = config.build(MINIMUM * 3)
    parameter = torch.nn.Parameter(MINIMUM * 3)
    theirs = torch.optim.Adam([parameter], lr=0.02, betas=(0.5, 0.999), eps=1e-8, weight_decay=1e-3)
    noise = generator()
    for _ in range(500):
        gradient = quadratic(parameter.detach()) + 0.1 * torch.randn(3, generator=noise, dtype=torch.float64)
        parameter.grad = gradient
        theirs.step()
        ours.step(ours.sample(1, noise), gradient[None])
    torch.testing.assert_close(ours.mean, parameter.detach(), rtol=1e-11, atol=1e-13)


def test_vadam_without_noise_is_adam_with_eps_lambda_and_l2_in_the_first_moment():
    config = VAdamConfig(lr=0.02, prior_precision=50.0, prec_init=50.0, data_size=1000)
    vadam = config.build(MINIMUM * 3)
    mean, m, v, weight = (MINIMUM * 3).numpy().copy(), np.zeros(3), np.zeros(3), 0.05
    for t in range(1, 301):
        gradient = quadratic(torch.from_numpy(mean.copy())).numpy()
        m += (1 - 0.5) * (gradient + weight * mean - m)
        v += (1 - 0.999) * (gradient**2 - v)
        mean -= 0.02 * (m / (1 - 0.5**t)) / (np.sqrt(v / (1 - 0.999**t)) + weight)
        vadam.step(vadam.mean[None], quadratic(vadam.mean[None]))
        assert_allclose(vadam.mean, mean, rtol=1e-10, atol=1e-12)
        assert_allclose(vadam.sigma, 1 / np.sqrt(1000 * v + 50), rtol=1e-10)


def test_vadam_without_noise_is_torchs_adam_where_the_prior_is_negligible():
    vadam = VAdamConfig(lr=0.02, prior_precision=1e-12, data_size=10_000).build(MINIMUM * 3)  # lambda = 1e-16
    vadam.s.zero_()  # prec_init 1 gives it a start that Adam has not
    parameter = torch.nn.Parameter(MINIMUM * 3)
    theirs = torch.optim.Adam([parameter], lr=0.02, betas=(0.5, 0.999), eps=1e-16)
    for _ in range(200):
        parameter.grad = quadratic(parameter.detach())
        theirs.step()
        vadam.step(vadam.mean[None], quadratic(vadam.mean[None]))
    torch.testing.assert_close(vadam.mean, parameter.detach(), rtol=1e-9, atol=1e-11)


@pytest.mark.parametrize("config", [VAdamConfig(), VpropConfig(), Eq17TwoRatesConfig()], ids=lambda c: type(c).__name__)
def test_s_averages_squares_and_does_not_square_an_average(config):
    optimizer = config.build(START)
    pair = torch.tensor([[0.03, 0.01], [-0.03, 0.03]], dtype=torch.float64)
    optimizer.step(START.expand(2, -1), pair)
    assert_allclose(optimizer.s, 0.001 * np.array([9e-4, 5e-4]), rtol=1e-10)


def test_vprop_by_hand():
    vprop = VpropConfig(lr=0.01, beta2=0.9, prior_precision=1.0, data_size=100).build(START)
    vprop.step(START[None], torch.tensor([[0.2, 0.1]], dtype=torch.float64))
    # s = 0.1 g^2 = (0.004, 0.001); g + lambda mu = (0.201, 0.098)
    assert_allclose(vprop.s, [0.004, 0.001], rtol=1e-12)
    assert_allclose(
        vprop.mean,
        [0.1 - 0.01 * 0.201 / (math.sqrt(0.004) + 0.01), -0.2 - 0.01 * 0.098 / (math.sqrt(0.001) + 0.01)],
        rtol=1e-12,
    )


def test_von_by_hand():
    von = VONConfig(lr=0.01, beta2=0.9, prec_init=4.0, prior_precision=1.0, data_size=100).build(START)
    points = START + torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    von.step(points, torch.tensor([[0.2, 0.4]], dtype=torch.float64))
    # s was 0.03 and the precision 4, so h = 4 * 0.5 * g = (0.4, 0.8)
    s = [0.9 * 0.03 + 0.1 * 0.4, 0.9 * 0.03 + 0.1 * 0.8]
    assert_allclose(von.s, s, rtol=1e-12)
    assert_allclose(von.mean, [0.1 - 0.01 * 0.201 / (s[0] + 0.01), -0.2 - 0.01 * 0.398 / (s[1] + 0.01)], rtol=1e-12)


def test_ivon_by_hand():
    ivon = IVONConfig(lr=0.1, beta1=0.5, beta2=0.9, prec_init=4.0, prior_precision=1.0, data_size=100).build(START)
    points = START + torch.tensor([[0.5, 0.5]], dtype=torch.float64)
    ivon.step(points, torch.tensor([[0.2, 0.4]], dtype=torch.float64))
    h = [0.9 * 0.03 + 0.1 * e + 0.5 * 0.01 * (0.03 - e) ** 2 / 0.04 for e in (0.4, 0.8)]
    assert_allclose(ivon.s, h, rtol=1e-12)
    rate = 0.1 * 0.04  # lr (h_0 + lambda)
    assert_allclose(ivon.mean, [0.1 - rate * 0.201 / (h[0] + 0.01), -0.2 - rate * 0.398 / (h[1] + 0.01)], rtol=1e-12)


def test_von_finds_curvature_and_mean_of_the_exact_posterior():
    n, delta = 100, 5.0
    von = VONConfig(lr=0.01, beta2=0.99, prec_init=20.0, prior_precision=delta, data_size=n).build(0 * MINIMUM)
    run(von, 2000, samples=4)
    mean, s = tail_averages(von, 3000, samples=4)
    assert_allclose(n * s + delta, n * CURVATURE + delta, rtol=0.05)
    assert_allclose(mean, n * CURVATURE * MINIMUM / (n * CURVATURE + delta), atol=0.02)


def test_ivon_finds_curvature_and_mean_of_the_exact_posterior():
    n, delta = 100, 5.0
    ivon = IVONConfig(lr=0.1, beta2=0.99, prec_init=20.0, prior_precision=delta, data_size=n).build(0 * MINIMUM)
    run(ivon, 3000, samples=4)
    mean, s = tail_averages(ivon, 3000, samples=4)
    assert_allclose(n * s + delta, n * CURVATURE + delta, rtol=0.1)
    assert_allclose(mean, n * CURVATURE * MINIMUM / (n * CURVATURE + delta), atol=0.02)


@pytest.mark.parametrize("config", [VAdamConfig, VpropConfig, Eq17TwoRatesConfig])
def test_gradient_magnitudes_are_not_curvature(config):
    # Minibatch noise of the gradient, which curvature does not see, goes into s whole.
    n, delta, spread = 100, 5.0, 3.0
    minibatch = generator(5)

    def noisy(points: Tensor) -> Tensor:
        return quadratic(points) + spread * torch.randn(points.shape, generator=minibatch, dtype=points.dtype)

    optimizer = config(lr=1e-3, beta2=0.99, prec_init=20.0, prior_precision=delta, data_size=n).build(MINIMUM)
    run(optimizer, 1500, noisy)
    mean, s = tail_averages(optimizer, 2500, noisy)
    squares = spread**2 + CURVATURE**2 * ((mean - MINIMUM).square() + 1 / (n * s + delta))  # E[g^2]
    assert_allclose(s, squares, rtol=0.1)
    assert (s > 2 * CURVATURE).all()
    assert_allclose(mean, MINIMUM, atol=0.2)


@settings(deadline=None, max_examples=50)
@given(
    estimates=st.lists(st.floats(-1e3, 1e3), min_size=1, max_size=60),
    beta2=st.floats(0.0, 0.9999),
    prec_init=st.floats(1.0, 1e3),
)
def test_ivon_and_von_stay_proper_whatever_the_estimate(estimates, beta2, prec_init):
    start = torch.zeros(1, dtype=torch.float64)
    ivon = IVONConfig(beta2=beta2, prec_init=prec_init, data_size=100).build(start)
    von = VONConfig(beta2=beta2, prec_init=prec_init, data_size=100).build(start)
    for estimate in estimates:
        for optimizer in (ivon, von):
            before = optimizer.precision.clone()
            points = optimizer.mean[None] + optimizer.sigma
            optimizer.step(points, torch.tensor([[estimate]], dtype=torch.float64))
            assert optimizer.sigma.isfinite().all() and (optimizer.sigma > 0).all()
            if optimizer is ivon:
                assert (optimizer.precision >= before / 2 * (1 - 1e-9)).all()
            else:
                assert (optimizer.precision >= 1.0).all()


def test_price_estimate_is_the_curvature_on_average_and_without_noise_on_antithetic_pairs():
    von = VONConfig(prec_init=9.0).build(MINIMUM)
    draws = von.draw(100_000, generator())
    assert_allclose(von.price_estimate(draws, quadratic(draws)), CURVATURE, rtol=0.02)
    step = torch.full((3,), 1 / 3, dtype=torch.float64)  # one sigma
    pair = torch.stack([MINIMUM + step, MINIMUM - step])
    assert_allclose(von.price_estimate(pair, quadratic(pair)), CURVATURE, rtol=1e-12)


def test_bbb_is_descent_on_the_free_energy():
    n, delta, lr = 50, 3.0, 0.1
    config = BayesByBackpropConfig(lr=lr, prec_init=4.0, prior_precision=delta, data_size=n)
    bbb = config.build(START)
    noise = torch.tensor([[0.4, -1.2], [-0.3, 0.8]], dtype=torch.float64)
    for _ in range(3):
        mean, rho = bbb.mean.clone().requires_grad_(), bbb.rho.clone().requires_grad_()
        sigma = torch.log1p(rho.exp())
        points = mean + sigma * noise
        loss = (points.sin() + points**4).sum(1).mean()
        posterior = torch.distributions.Normal(mean, sigma)
        prior = torch.distributions.Normal(torch.zeros(2, dtype=torch.float64), delta**-0.5)
        energy = loss + torch.distributions.kl_divergence(posterior, prior).sum() / n
        slope_mean, slope_rho = torch.autograd.grad(energy, (mean, rho))
        points = points.detach()
        bbb.step(points, points.cos() + 4 * points**3)
        torch.testing.assert_close(bbb.mean, (mean - lr * slope_mean).detach(), rtol=1e-12, atol=1e-14)
        torch.testing.assert_close(bbb.rho, (rho - lr * slope_rho).detach(), rtol=1e-12, atol=1e-14)


def test_bbb_finds_the_exact_posterior():
    n, delta = 10, 5.0
    bbb = BayesByBackpropConfig(lr=0.05, prior_precision=delta, data_size=n, prec_init=1.0).build(0 * MINIMUM)
    run(bbb, 4000, samples=8)
    assert_allclose(bbb.sigma**-2, n * CURVATURE + delta, rtol=0.1)
    assert_allclose(bbb.mean, n * CURVATURE * MINIMUM / (n * CURVATURE + delta), atol=0.1)


def test_eq17_has_one_rate_and_its_variant_two():
    one, two = Eq17Config(lr=1e-4).build(START), Eq17TwoRatesConfig(lr=1e-4, beta2=0.99).build(START)
    for optimizer in (one, two):
        optimizer.step(START[None], FIRST)
    assert_allclose(one.s, 1e-4 * FIRST[0] ** 2, rtol=1e-12)
    assert_allclose(two.s, 1e-2 * FIRST[0] ** 2, rtol=1e-12)


@pytest.mark.parametrize(("slope", "longer_than_vadams"), [(1e-3, 20), (1e-2, 200), (3e-2, 100)])
def test_eq17_takes_far_longer_steps_than_vadam_at_the_same_rate(slope, longer_than_vadams):
    zero, gradient = torch.zeros(1, dtype=torch.float64), torch.full((1, 1), slope, dtype=torch.float64)
    eq17, vadam = Eq17Config(lr=3e-4).build(zero), VAdamConfig(lr=3e-4).build(zero)
    for optimizer in (eq17, vadam):
        optimizer.step(zero[None], gradient)
    assert eq17.mean / vadam.mean > longer_than_vadams


@pytest.mark.parametrize(("share", "runs_away"), [(0.9, False), (1.1, True), (10.0, True)])
def test_eq17_runs_away_where_curvature_exceeds_its_bound_until_s_has_grown(share, runs_away):
    # Heavy ball is stable while b h / (s + lambda) < 2 (1 + gamma).
    config = Eq17Config(lr=3e-4)
    curvature = share * 2 * (1 + config.beta1) * config.prior / config.lr
    eq17 = config.build(torch.full((1,), 1e-3, dtype=torch.float64))
    distances = []
    for _ in range(400):
        eq17.step(eq17.mean[None], curvature * eq17.mean[None])
        distances.append(abs(float(eq17.mean)))
    assert (max(distances) > 1e-2) == runs_away
    assert distances[-1] < 1e-6


def test_noise_controls_step_as_adam_with_vadams_prior():
    adam = AdamConfig(weight_decay=1 / 25_000).build(START)
    controls = [config().build(START) for config in (NoisyAdamConfig, AnnealedAdamConfig, UniformAdamConfig)]
    for gradients in (FIRST, SECOND, FIRST):
        for optimizer in (adam, *controls):
            optimizer.step(START[None], gradients)
        assert all(torch.equal(control.mean, adam.mean) for control in controls)


def test_fixed_noise_stays_and_annealed_noise_falls_linearly_to_nothing():
    fixed = NoisyAdamConfig(prec_init=4.0).build(START)
    annealed = AnnealedAdamConfig(prec_init=4.0, steps=10).build(START)
    seen = []
    for _ in range(12):
        seen.append(float(annealed.sigma[0]))
        assert_allclose(fixed.sigma, [0.5, 0.5])
        for optimizer in (fixed, annealed):
            optimizer.step(START[None], FIRST)
    assert_allclose(seen, [0.5 * max(0, 1 - t / 10) for t in range(12)], atol=1e-15)
    assert torch.equal(annealed.sample(2, generator()), annealed.mean.expand(2, -1))


def test_uniform_points_have_uniform_weights_wherever_the_mean_is():
    n, size = 40_000, 5
    optimizer = UniformAdamConfig().build(torch.arange(5, dtype=torch.float64))
    weights = optimizer.sample(n, generator()).softmax(-1)
    law = torch.distributions.Dirichlet(torch.ones(size, dtype=torch.float64))
    assert ((weights.mean(0) - law.mean).abs() < 5 * (law.variance / n).sqrt()).all()
    assert_allclose(weights.var(0), law.variance, rtol=0.05)
