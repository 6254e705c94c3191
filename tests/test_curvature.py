"""The Hessian against three other ways to get it, and the paper's expansions where they are exact."""

from __future__ import annotations

import itertools
import math
import time

import pytest
import torch
from numpy.testing import assert_allclose
from torch import Tensor, nn
from torch.nn import functional

from benchmarks import spaces
from methods import supernets
from methods.curvature import Curvature, curvature, discretisation_gap, noise_effect, summary
from methods.gradients import frozen
from methods.relaxations import softmax

SIZES = (4, 3, 2)
D = sum(SIZES)


def generator(seed: int) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=generator(seed), dtype=torch.float64)


class Mixture(nn.Module):
    """A loss in operation weights that is nothing like quadratic; ``columns`` are the operations it computes."""

    def __init__(self, columns: slice = slice(None)) -> None:
        super().__init__()
        self.columns = columns
        self.first, self.second = normal(6, D, seed=1), normal(5, 6, seed=2)
        self.images, self.labels = 1 + normal(8, D, seed=3), torch.arange(8) % 5

    def forward(self, p: Tensor) -> Tensor:
        hidden = torch.tanh((self.images * p)[:, self.columns] @ self.first[:, self.columns].T)
        return functional.cross_entropy(3 * hidden @ self.second.T, self.labels)


class Quadratic(nn.Module):
    """c + g'x + x'Hx / 2."""

    def __init__(self, d: int) -> None:
        super().__init__()
        root = normal(d, d, seed=4)
        self.slope, self.hessian = normal(d, seed=5), root + root.T

    def forward(self, x: Tensor) -> Tensor:
        return 0.7 + self.slope @ x + x @ self.hessian @ x / 2


def of_alpha(loss, sizes=SIZES):
    return lambda alpha: loss(softmax(alpha, sizes))


@pytest.fixture
def alpha() -> Tensor:
    return normal(D, seed=6)


def test_agrees_with_autograds_hessian(alpha):
    loss = Mixture()
    ours = curvature(loss, alpha, SIZES)
    reference = torch.autograd.functional.hessian(of_alpha(loss), alpha)
    assert reference.norm() > 0.1
    torch.testing.assert_close(ours.h_alpha, reference, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(ours.g_alpha, torch.func.grad(of_alpha(loss))(alpha), rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(ours.g_p, torch.func.grad(loss)(ours.p), rtol=1e-10, atol=1e-13)
    assert ours.loss == pytest.approx(float(loss(softmax(alpha, SIZES))), rel=1e-14)


def test_agrees_with_finite_differences(alpha):
    loss, step = of_alpha(Mixture()), 1e-5
    slope = torch.func.grad(loss)
    rows = [(slope(alpha + step * e) - slope(alpha - step * e)) / (2 * step) for e in torch.eye(D, dtype=torch.float64)]
    assert_allclose(curvature(Mixture(), alpha, SIZES).h_alpha, torch.stack(rows), rtol=0, atol=1e-8)


def test_agrees_with_curvlinops(alpha):
    # Only a library that cannot be imported skips: it is a test oracle, not a dependency.
    curvlinops = pytest.importorskip("curvlinops", exc_type=ImportError, reason="curvlinops cannot be imported")
    loss = Mixture()

    class Network(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.alpha = nn.Parameter(alpha.clone())

        def forward(self, images: Tensor) -> Tensor:
            hidden = torch.tanh((images * softmax(self.alpha, SIZES)) @ loss.first.T)
            return 3 * hidden @ loss.second.T

    network = Network()
    operator = curvlinops.HessianLinearOperator(
        network, nn.CrossEntropyLoss(), [network.alpha], [(loss.images, loss.labels)]
    )
    reference = operator @ torch.eye(D, dtype=torch.float64)
    torch.testing.assert_close(
        curvature(loss, alpha, SIZES).h_alpha, reference.detach().view(D, D), rtol=1e-9, atol=1e-12
    )


def test_h_p_is_the_hessian_along_steps_that_keep_every_groups_sum(alpha):
    loss = Mixture()
    ours = curvature(loss, alpha, SIZES)
    full = torch.autograd.functional.hessian(loss, ours.p)
    steps = softmax(normal(20, D, seed=8), SIZES) - ours.p
    assert_allclose(steps @ ours.h_p @ steps.T, steps @ full @ steps.T, rtol=1e-9, atol=1e-14)
    assert not torch.allclose(ours.h_p, full)


def test_unused_operations_cost_nothing_and_change_nothing(alpha):
    used = torch.ones(D, dtype=torch.bool)
    used[-1] = False  # of a group of two
    calls = 0

    class Counted(Mixture):
        def forward(self, p: Tensor) -> Tensor:
            value = super().forward(p)

            def count(_: Tensor) -> None:
                nonlocal calls
                calls += 1

            p.register_hook(count)
            return value

    with_mask = curvature(Counted(slice(0, D - 1)), alpha, SIZES, used=used)
    assert calls == 1 + (4 - 1) + (3 - 1) + 1  # the gradient, and a product for each direction that is left
    full = torch.autograd.functional.hessian(Mixture(slice(0, D - 1)), with_mask.p)
    assert not full[-1].any() and not with_mask.h_p[-1].any()
    assert_allclose(with_mask.h_p[-2, -2], full[-2, -2], rtol=1e-12)
    without = curvature(Mixture(slice(0, D - 1)), alpha, SIZES)
    torch.testing.assert_close(with_mask.h_alpha, without.h_alpha, rtol=1e-10, atol=1e-13)


def test_a_shift_of_a_group_is_a_null_direction_and_the_matrix_symmetric(alpha):
    h = curvature(Mixture(), alpha, SIZES).h_alpha
    assert torch.equal(h, h.T)
    ones = torch.block_diag(*(torch.ones(size, dtype=torch.float64) for size in SIZES))
    assert_allclose(h @ ones.T, torch.zeros(D, len(SIZES)), rtol=0, atol=1e-14)
    small = torch.linalg.eigvalsh(h).abs() < 1e-13
    assert int(small.sum()) == len(SIZES)


def test_single_precision_is_close(alpha):
    class Single(Mixture):
        def forward(self, p: Tensor) -> Tensor:
            return super().forward(p.double()).float()

    ours = curvature(Single(), alpha.float(), SIZES)
    assert ours.h_alpha.dtype == torch.float32
    torch.testing.assert_close(ours.h_alpha.double(), curvature(Mixture(), alpha, SIZES).h_alpha, rtol=1e-3, atol=1e-5)


def test_nothing_is_left_in_the_network(alpha):
    network = nn.Linear(D, 1, dtype=torch.float64)
    curvature(lambda p: network(p).tanh().sum(), alpha, SIZES)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not alpha.requires_grad


def test_summary_of_a_known_matrix():
    q, _ = torch.linalg.qr(normal(4, 4, seed=9))
    eigenvalues = torch.tensor([2.0, 0.5, 0.0, -3.0], dtype=torch.float64)
    found = summary(q @ torch.diag(eigenvalues) @ q.T, torch.tensor([3.0, 0.0, 4.0, 0.0]))
    expected = {
        "dominant": 2.0,
        "smallest": -3.0,
        "spectral_norm": 3.0,
        "frobenius_norm": math.sqrt(4 + 0.25 + 9),
        "trace": -0.5,
        "gradient_norm": 5.0,
    }
    assert found == pytest.approx(expected, abs=1e-12)


def test_summary_of_a_matrix_that_is_not_finite():
    found = summary(torch.full((3, 3), torch.inf), torch.zeros(3))
    assert math.isnan(found["dominant"]) and math.isnan(found["spectral_norm"])
    assert found["gradient_norm"] == 0.0


def corners(sizes: tuple[int, ...]) -> list[Tensor]:
    """Operation weights of all discrete architectures."""
    return [
        torch.cat([functional.one_hot(torch.tensor(k), n) for k, n in zip(decision, sizes, strict=True)]).double()
        for decision in itertools.product(*(range(n) for n in sizes))
    ]


def test_discretisation_gap_is_its_expansion_for_a_quadratic_in_the_operation_weights(alpha):
    loss = Quadratic(D)
    at = curvature(loss, alpha, SIZES)
    for corner in corners(SIZES):
        gap = discretisation_gap(loss, at, corner)
        assert gap.measured == pytest.approx(gap.first_order + gap.second_order, abs=1e-12)
        assert gap.measured == pytest.approx(float(loss(corner) - loss(at.p)), abs=1e-12)
        assert abs(gap.first_order) > 1e-6  # what Eq. 2 of the paper drops


def test_discretisation_gap_is_third_order_near_a_corner():
    loss, corner = Mixture(), corners(SIZES)[7]
    errors = []
    for distance in (0.02, 0.01):
        p = (1 - distance) * corner + distance * softmax(torch.zeros(D, dtype=torch.float64), SIZES)
        gap = discretisation_gap(loss, curvature(loss, p.log(), SIZES), corner)
        errors.append(abs(gap.measured - gap.first_order - gap.second_order))
    assert errors[0] / errors[1] == pytest.approx(8, rel=0.2)


def test_noise_adds_half_the_sum_of_variances_times_curvatures_of_a_quadratic():
    loss, mean = Quadratic(D), normal(D, seed=10)
    sigma = torch.linspace(0.1, 1.5, D, dtype=torch.float64)
    exact = mean + math.sqrt(D) * torch.diag(sigma)  # draws whose second moments are exactly sigma^2
    effect = noise_effect(loss, mean, sigma, loss.hessian, exact)
    assert effect.measured == pytest.approx(effect.predicted, abs=1e-12)
    draws = mean + sigma * normal(4000, D, seed=11)
    effect = noise_effect(loss, mean, sigma, loss.hessian, draws)
    assert abs(effect.measured - effect.predicted) < 4 * effect.standard_error
    # Not the trace times one variance, as Eq. 19 of the paper has it.
    one_sigma = float(sigma.square().mean() * loss.hessian.trace() / 2)
    assert abs(effect.measured - one_sigma) > 10 * effect.standard_error


def test_antithetic_draws_remove_the_slope_from_the_error():
    flat = Quadratic(D)
    flat.hessian = torch.zeros(D, D, dtype=torch.float64)
    mean, sigma = normal(D, seed=10), torch.ones(D, dtype=torch.float64)
    effect = noise_effect(flat, mean, sigma, flat.hessian, mean + normal(8, D, seed=11))
    assert effect.measured == pytest.approx(0, abs=1e-14)
    assert effect.standard_error < 1e-14


@pytest.fixture(params=spaces.SPACES.values(), ids=str, scope="module")
def supernet(request):
    """A small supernet in double precision: its space, operations used, network, loss of operation weights."""
    space = request.param
    torch.manual_seed(0)
    network = supernets.build(space, channels=4, cells_per_stage=1, classes=10).double()
    images, labels = normal(6, 3, 8, 8, seed=12), torch.arange(6)
    used = torch.tensor([name != "none" for group in space.groups for name in group.alternatives])
    return space, used, network, lambda p: functional.cross_entropy(network(images, p), labels)


def hessian_of(supernet) -> tuple[Curvature, Tensor]:
    space, used, network, loss = supernet
    alpha = normal(space.parameters, seed=13)
    with frozen(network), network.twice_differentiable():
        return curvature(loss, alpha, space.sizes, used=used), alpha


def test_supernets_hessian_agrees_with_autograds(supernet):
    space, _, network, loss = supernet
    ours, alpha = hessian_of(supernet)
    with frozen(network), network.twice_differentiable():
        reference = torch.autograd.functional.hessian(of_alpha(loss, space.sizes), alpha)
    torch.testing.assert_close(ours.h_alpha, reference, rtol=1e-9, atol=1e-11)
    assert int((torch.linalg.eigvalsh(ours.h_alpha).abs() < 1e-10).sum()) >= len(space.sizes)
    assert reference.norm() > 0.01


def test_supernets_hessian_agrees_with_differences_of_the_compiled_gradient(supernet):
    space, _, network, loss = supernet
    ours, alpha = hessian_of(supernet)
    step = 1e-7  # short, so that no ReLU changes sign on the way

    def slope(at: Tensor) -> Tensor:
        at = at.requires_grad_()
        return torch.autograd.grad(of_alpha(loss, space.sizes)(at), at)[0]

    directions = normal(3, space.parameters, seed=14)
    with frozen(network):
        for v in directions:
            product = (slope(alpha + step * v) - slope(alpha - step * v)) / (2 * step)
            assert_allclose(ours.h_alpha @ v, product, rtol=0, atol=1e-6)


@pytest.mark.parametrize("name", ["nas-bench-201", "nas-bench-1shot1-s3"])
@pytest.mark.benchmark
def test_seconds_of_a_hessian_in_search_steps(name, benchmark):
    """At the cpu tier's size. Seven Hessians, and twelve more for a posterior, go into 1,920 steps there."""
    space = spaces.get(name)
    network = supernets.build(space, channels=8, cells_per_stage=1, classes=10)
    images, labels = torch.randn(64, 3, 16, 16), torch.randint(10, (64,))
    alpha = torch.zeros(space.parameters, requires_grad=True)
    used = torch.tensor([name != "none" for group in space.groups for name in group.alternatives])

    def loss(p: Tensor) -> Tensor:
        return functional.cross_entropy(network(images, p), labels)

    def step() -> None:
        with frozen(network):
            torch.autograd.grad(loss(softmax(alpha, space.sizes)), alpha)
        loss(softmax(alpha.detach(), space.sizes)).backward()

    def hessian() -> None:
        with frozen(network), network.twice_differentiable():
            curvature(loss, alpha, space.sizes, used=used)

    seconds: dict[str, list[float]] = {"step": [], "hessian": []}
    step()

    def both() -> None:
        for work, repeats in ((step, 10), (hessian, 1)):
            start = time.process_time()
            for _ in range(repeats):
                work()
            seconds[work.__name__].append((time.process_time() - start) / repeats)

    benchmark.pedantic(both, rounds=3)
    ratio = min(seconds["hessian"]) / min(seconds["step"])
    share, shares = 7 * ratio / 1920, 19 * ratio / 1920
    print(
        f"\n{name}: a Hessian takes {min(seconds['hessian']):.2f} s, {ratio:.0f} first-order steps: "
        f"{share:.1%} of a DARTS search, {shares:.1%} of a BaLeNAS search"
    )
