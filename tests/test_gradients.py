"""Architecture gradients against one that differentiates the unrolled step from end to end."""

from __future__ import annotations

from collections.abc import Sequence
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor, nn
from torch.func import functional_call
from torch.nn import functional

from benchmarks import spaces
from methods import gradients, supernets
from methods.differentiable import DifferentiableSearch, SearchConfig
from methods.gradients import Batch, first_order, frozen, second_order
from methods.relaxations import softmax
from methods.supernets import Supernet

SIZES = (3, 4)


def normal(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def relax(alpha: Tensor) -> Tensor:
    return softmax(alpha, SIZES)


def batch(seed: int) -> Batch:
    return Batch(normal(16, 3, 4, 4, seed=seed), torch.arange(16) % 4)


TRAIN, VALID = batch(1), batch(2)
ALPHA, MEAN = normal(7, seed=3), normal(7, seed=4)


class Smooth(Supernet):
    """Two mixed layers without a kink, so that differences can be compared to many digits."""

    def __init__(self) -> None:
        super().__init__()
        self.first = nn.Parameter(normal(3, 12, 48, seed=5) / 5)
        self.second = nn.Parameter(normal(4, 4, 12, seed=6) / 2)

    def logits(self, images: Tensor, weights: Tensor, active: Sequence[bool] | None) -> Tensor:
        p, q = weights.split(SIZES)
        hidden = torch.tanh(torch.einsum("o,oij,bj->bi", p, self.first, images.flatten(1)))
        return 2 * torch.einsum("o,oij,bj->bi", q, self.second, hidden)


@pytest.fixture
def network() -> Smooth:
    return Smooth()


def trained(network: nn.Module, relax=relax, alpha: Tensor = MEAN, train: Batch = TRAIN, **settings) -> torch.optim.SGD:
    """SGD after a few steps, so that its momentum is not zero, at a learning rate of which much depends."""
    sgd = torch.optim.SGD(network.parameters(), **{"lr": 0.05, "momentum": 0.9, "weight_decay": 0.1, **settings})
    for _ in range(3):
        sgd.zero_grad()
        functional.cross_entropy(network(train.images, relax(alpha)), train.labels).backward()
        sgd.step()
    sgd.zero_grad()
    sgd.param_groups[0]["lr"] = 0.7
    return sgd


def loss(network: Supernet, weights: dict[str, Tensor], operation_weights: Tensor, data: Batch) -> Tensor:
    return functional.cross_entropy(functional_call(network, weights, (data.images, operation_weights)), data.labels)


def end_to_end(network: Supernet, sgd: torch.optim.SGD, alpha: Tensor, relax=relax, train=TRAIN, valid=VALID) -> Tensor:
    """d/d alpha of the validation loss after one step of heavy-ball SGD on the training loss, by autograd alone."""
    group = sgd.param_groups[0]
    alpha = alpha.clone().requires_grad_()
    with network.twice_differentiable():
        weights = dict(network.named_parameters())
        slopes = torch.autograd.grad(
            loss(network, weights, relax(alpha), train), list(weights.values()), create_graph=True
        )
        after = {}
        for (name, w), slope in zip(weights.items(), slopes, strict=True):
            velocity = slope + group["weight_decay"] * w
            if sgd.state:
                velocity = velocity + group["momentum"] * (sgd.state[w]["momentum_buffer"] if group["momentum"] else 0)
            after[name] = w - group["lr"] * velocity
        (gradient,) = torch.autograd.grad(loss(network, after, relax(alpha), valid), alpha)
    return gradient


def second(network: Supernet, sgd: torch.optim.SGD, method: str, alpha=ALPHA, unrolled_at=None) -> Tensor:
    at = alpha if unrolled_at is None else unrolled_at
    return second_order(network, relax, alpha, TRAIN, VALID, sgd=sgd, unrolled_at=at, hessian_vector=method)


def test_first_order_is_the_gradient_of_the_validation_loss(network):
    alpha = ALPHA.clone().requires_grad_()
    (expected,) = torch.autograd.grad(loss(network, {}, relax(alpha), VALID), alpha)
    torch.testing.assert_close(first_order(network, relax, ALPHA, VALID), expected, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize(
    "settings",
    [{}, {"momentum": 0.0}, {"weight_decay": 0.0}, {"momentum": 0.0, "weight_decay": 0.0}],
    ids=["all", "no momentum", "no decay", "plain"],
)
def test_second_order_differentiates_the_unrolled_step(network, settings):
    sgd = trained(network, **settings)
    expected = end_to_end(network, sgd, ALPHA)
    torch.testing.assert_close(second(network, sgd, "exact"), expected, rtol=1e-10, atol=1e-13)
    torch.testing.assert_close(second(network, sgd, "finite-difference"), expected, rtol=1e-4, atol=1e-6)
    assert (first_order(network, relax, ALPHA, VALID) - expected).norm() > 0.1 * expected.norm()


def test_every_part_of_the_unrolled_step_counts(network):
    sgd = trained(network)
    group, found = sgd.param_groups[0], [second(network, sgd, "exact")]
    for name in ("momentum", "weight_decay", "lr"):
        before, group[name] = group[name], group[name] / 2
        found.append(second(network, sgd, "exact"))
        torch.testing.assert_close(found[-1], end_to_end(network, sgd, ALPHA), rtol=1e-10, atol=1e-13)
        group[name] = before
    assert all((other - found[0]).norm() > 1e-3 * found[0].norm() for other in found[1:])


def test_before_the_first_step_there_is_no_momentum(network):
    sgd = torch.optim.SGD(network.parameters(), lr=0.7, momentum=0.9)
    torch.testing.assert_close(second(network, sgd, "exact"), end_to_end(network, sgd, ALPHA), rtol=1e-10, atol=1e-13)
    assert not sgd.state


def test_the_unrolled_step_is_heavy_ball_even_where_the_real_one_is_nesterovs(network):
    sgd = trained(network)
    heavy_ball = second(network, sgd, "finite-difference")
    sgd.param_groups[0]["nesterov"] = True
    assert torch.equal(second(network, sgd, "finite-difference"), heavy_ball)


def implicit_term(network: Supernet, sgd: torch.optim.SGD, method: str) -> Tensor:
    """The mixed derivative alone: it is what is multiplied by the learning rate."""
    unrolled = {}
    for name, w in network.named_parameters():
        (slope,) = torch.autograd.grad(loss(network, {}, relax(ALPHA), TRAIN), w)
        unrolled[name] = (w - 0.7 * (0.9 * sgd.state[w]["momentum_buffer"] + slope + 0.1 * w)).detach()
    alpha = ALPHA.clone().requires_grad_()
    (direct,) = torch.autograd.grad(loss(network, unrolled, relax(alpha), VALID), alpha)
    return (direct - second(network, sgd, method)) / 0.7


@pytest.mark.parametrize("radius", [0.04, 0.01, 0.0025])
def test_the_difference_is_divided_by_twice_its_step(network, monkeypatch, radius):
    # `(p - n) / 2.*eps`, a known slip, multiplies by eps: it would show as a factor eps^2, radius by radius.
    monkeypatch.setattr(gradients, "RADIUS", radius)
    sgd = trained(network)
    exact = implicit_term(network, sgd, "exact")
    assert exact.norm() > 0.05
    torch.testing.assert_close(implicit_term(network, sgd, "finite-difference"), exact, rtol=1e-3, atol=1e-5)


def test_the_difference_is_central(network, monkeypatch):
    # Second-order accuracy: halving the step quarters the error. A one-sided one would halve it.
    sgd = trained(network)
    exact, errors = second(network, sgd, "exact"), []
    for radius in (0.2, 0.1):
        monkeypatch.setattr(gradients, "RADIUS", radius)
        errors.append(float((second(network, sgd, "finite-difference") - exact).norm()))
    assert errors[0] / errors[1] == pytest.approx(4, rel=0.1)


def test_unrolled_at_the_mean_only_the_mixed_derivative_sees_the_sample(network):
    sgd = trained(network)
    group, weights = sgd.param_groups[0], dict(network.named_parameters())
    slopes = torch.autograd.grad(loss(network, {}, relax(MEAN), TRAIN), list(weights.values()))
    after = {
        name: (w - group["lr"] * (0.9 * sgd.state[w]["momentum_buffer"] + slope + 0.1 * w)).detach().requires_grad_()
        for (name, w), slope in zip(weights.items(), slopes, strict=True)
    }
    mean, sample = MEAN.clone().requires_grad_(), ALPHA.clone().requires_grad_()
    direct, *vector = torch.autograd.grad(loss(network, after, relax(mean), VALID), [mean, *after.values()])
    slopes = torch.autograd.grad(loss(network, {}, relax(sample), TRAIN), list(weights.values()), create_graph=True)
    (mixed,) = torch.autograd.grad(sum((s * v).sum() for s, v in zip(slopes, vector, strict=True)), sample)
    expected = direct - group["lr"] * mixed

    torch.testing.assert_close(second(network, sgd, "exact", unrolled_at=MEAN), expected, rtol=1e-10, atol=1e-13)
    at_sample = second(network, sgd, "exact")
    assert (at_sample - expected).norm() > 0.1 * expected.norm()
    torch.testing.assert_close(
        second(network, sgd, "exact", alpha=MEAN, unrolled_at=MEAN), end_to_end(network, sgd, MEAN)
    )


@pytest.mark.parametrize("unrolled_at", ["sample", "mean"])
def test_a_search_unrolls_where_its_config_says(network, unrolled_at):
    sgd = trained(network)
    search = SimpleNamespace(
        config=SearchConfig(order=2, unrolled_at=unrolled_at, hessian_vector="exact"),
        supernet=network,
        relax=relax,
        sgd=sgd,
        optimizer=SimpleNamespace(mean=MEAN),
    )
    expected = second(network, sgd, "exact", unrolled_at={"sample": ALPHA, "mean": MEAN}[unrolled_at])
    assert torch.equal(DifferentiableSearch.gradient(search, ALPHA, TRAIN, VALID), expected)


@pytest.mark.parametrize("method", ["first", "finite-difference", "exact"])
def test_nothing_is_left_in_network_optimizer_or_arguments(network, method):
    sgd = trained(network)
    weights = {name: w.detach().clone() for name, w in network.named_parameters()}
    buffers = [sgd.state[w]["momentum_buffer"].clone() for w in network.parameters()]
    alpha, mean = ALPHA.clone(), MEAN.clone()
    if method == "first":
        first_order(network, relax, alpha, VALID)
    else:
        second_order(network, relax, alpha, TRAIN, VALID, sgd=sgd, unrolled_at=mean, hessian_vector=method)
    for name, w in network.named_parameters():
        assert w.requires_grad and w.grad is None
        assert torch.equal(w, weights[name])
    assert all(
        torch.equal(sgd.state[w]["momentum_buffer"], b) for w, b in zip(network.parameters(), buffers, strict=True)
    )
    assert not alpha.requires_grad and not mean.requires_grad
    assert torch.equal(alpha, ALPHA) and torch.equal(mean, MEAN)


def test_frozen_parameters_get_no_gradient_and_thaw_after_an_exception(network):
    network.second.requires_grad_(False)
    with pytest.raises(ZeroDivisionError), frozen(network):
        assert not any(p.requires_grad for p in network.parameters())
        raise ZeroDivisionError
    assert network.first.requires_grad and not network.second.requires_grad


@pytest.mark.parametrize("name", ["nas-bench-201", "nas-bench-1shot1-s3"])
def test_exact_second_order_of_the_real_supernets(name):
    space = spaces.get(name)
    torch.manual_seed(0)
    network = supernets.build(space, channels=4, cells_per_stage=1, classes=4).double()
    train, valid = (Batch(normal(8, 3, 8, 8, seed=seed), torch.arange(8) % 4) for seed in (1, 2))
    alpha = normal(space.parameters, seed=3)

    def relax(alpha: Tensor) -> Tensor:
        return softmax(alpha, space.sizes)

    sgd = trained(network, relax, alpha, train, lr=0.01, weight_decay=1e-3)
    sgd.param_groups[0]["lr"] = 0.05
    found = second_order(network, relax, alpha, train, valid, sgd=sgd, unrolled_at=alpha, hessian_vector="exact")
    expected = end_to_end(network, sgd, alpha, relax, train, valid)
    torch.testing.assert_close(found, expected, rtol=1e-7, atol=1e-10)
    assert (first_order(network, relax, alpha, valid) - expected).norm() > 1e-2 * expected.norm()
