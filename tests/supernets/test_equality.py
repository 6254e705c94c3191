"""Fused and textbook supernets are the same function: logits, all gradients, running statistics."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional

from benchmarks import spaces
from benchmarks.spaces import SearchSpace
from methods import supernets
from tests import textbook

EVERY = pytest.mark.parametrize("space", spaces.SPACES.values(), ids=str)
TOLERANCE = {"rtol": 1e-10, "atol": 1e-10}


def both(space: SearchSpace, *, channels: int = 5, cells: int = 1, track: bool = False):
    with torch.random.fork_rng():
        torch.manual_seed(0)
        fused = supernets.build(
            space, channels=channels, cells_per_stage=cells, classes=7, track_running_stats=track
        ).double()
        for module in fused.modules():  # statistics and affine parts that are not at their defaults
            for name, tensor in (*module.named_parameters(recurse=False), *module.named_buffers(recurse=False)):
                if tensor.ndim == 1 and tensor.is_floating_point():
                    with torch.no_grad():
                        tensor.uniform_(0.5, 1.5) if "weight" in name or "var" in name else tensor.normal_()
    plain = textbook.build(space, channels=channels, cells_per_stage=cells, classes=7, track=track).double()
    textbook.load(plain, fused)
    return fused, plain


def batch(size: int = 12, n: int = 3):
    generator = torch.Generator().manual_seed(1)
    images = torch.randn(n, 3, size, size, generator=generator, dtype=torch.float64)
    return images, torch.randint(0, 7, (n,), generator=generator)


def weights(space: SearchSpace) -> torch.Tensor:
    return torch.rand(space.parameters, generator=torch.Generator().manual_seed(2), dtype=torch.float64) + 0.1


def derivatives(network, space, active=None, *, size=12, n=3):
    images, labels = batch(size, n)
    p = weights(space).requires_grad_()
    logits = network(images, p, active)
    loss = functional.cross_entropy(logits, labels)
    named = dict(network.named_parameters())
    gradients = torch.autograd.grad(loss, [p, *named.values()], allow_unused=active is not None)
    return logits.detach(), gradients[0], dict(zip(named, gradients[1:], strict=True))


def compare(fused, plain, space, active=None, **shape) -> None:
    logits, g_weights, g_fused = derivatives(fused, space, active, **shape)
    expected, g_expected, g_plain = derivatives(plain, space, active, **shape)
    torch.testing.assert_close(logits, expected, **TOLERANCE)
    torch.testing.assert_close(g_weights, g_expected, **TOLERANCE)
    compared = 0
    for theirs, ours, rows in textbook.pairs(fused):
        if theirs in g_plain:
            g = g_fused[ours]
            if g is None or g_plain[theirs] is None:
                assert g_plain[theirs] is None or not g_plain[theirs].any()
                continue
            g = g if rows is None else g[rows]
            torch.testing.assert_close(g.reshape(g_plain[theirs].shape), g_plain[theirs], **TOLERANCE)
            compared += 1
    assert compared > 5


@EVERY
@pytest.mark.parametrize("training", [True, False], ids=["train", "eval"])
@pytest.mark.parametrize("track", [True, False], ids=["tracked", "batch"])
def test_logits_and_gradients(space: SearchSpace, track: bool, training: bool) -> None:
    fused, plain = both(space, track=track)
    compare(fused.train(training), plain.train(training), space)


@EVERY
@pytest.mark.parametrize(("channels", "cells", "size", "n"), [(4, 1, 8, 2), (8, 2, 16, 5), (3, 1, 12, 3)])
def test_other_sizes(space: SearchSpace, channels: int, cells: int, size: int, n: int) -> None:
    fused, plain = both(space, channels=channels, cells=cells)
    compare(fused, plain, space, size=size, n=n)


@EVERY
@pytest.mark.parametrize("track", [True, False], ids=["tracked", "batch"])
@pytest.mark.parametrize("draw", range(3))
def test_sampled_paths(space: SearchSpace, track: bool, draw: int) -> None:
    """One alternative a group, or a random half of them, as GDAS-like methods need."""
    generator = torch.Generator().manual_seed(draw)
    fused, plain = both(space, track=track)
    single = [
        i == int(torch.randint(0, g.size, (1,), generator=generator)) for g in space.groups for i in range(g.size)
    ]
    half = (torch.rand(space.parameters, generator=generator) < 0.5).tolist()
    for active in (single, half):
        logits = fused(batch()[0], weights(space), active)
        textbook.load(plain, both(space, track=track)[0])
        masked = weights(space) * torch.tensor(active)
        if not track:
            torch.testing.assert_close(logits, fused(batch()[0], masked), **TOLERANCE)
        fused, plain = both(space, track=track)
        if all(any(active[sum(space.sizes[:k]) : sum(space.sizes[: k + 1])]) for k in range(len(space.sizes))):
            compare(fused, plain, space, active)


@EVERY
def test_running_statistics(space: SearchSpace) -> None:
    fused, plain = both(space, track=True)
    for _ in range(2):
        fused(batch()[0], weights(space))
        plain(batch()[0], weights(space))
    state, expected = fused.state_dict(), plain.state_dict()
    for theirs, ours, rows in textbook.pairs(fused):
        if theirs.endswith(textbook.STATISTICS):
            value = state[ours] if rows is None else state[ours][rows]
            torch.testing.assert_close(value, expected[theirs], **TOLERANCE)


@EVERY
def test_tracking_does_not_change_training(space: SearchSpace) -> None:
    """So architectures that DARTS and BaLeNAS find are the same in both modes."""
    a, _ = both(space, track=False)
    b, _ = both(space, track=True)
    b.load_state_dict(a.state_dict(), strict=False)
    torch.testing.assert_close(derivatives(a, space)[1], derivatives(b, space)[1], **TOLERANCE)


@EVERY
def test_float32_agrees_to_its_precision(space: SearchSpace) -> None:
    """With room for a pixel whose ReLU or maximum flips by rounding."""
    fused, plain = both(space, channels=8)
    images, labels = batch(16, 8)
    results = []
    for network in (plain, fused.float()):
        dtype = next(network.parameters()).dtype
        p = weights(space).to(dtype).requires_grad_()
        loss = functional.cross_entropy(network(images.to(dtype), p), labels)
        results.append((loss.double(), torch.autograd.grad(loss, p)[0].double()))
    (loss, gradient), (loss32, gradient32) = results
    torch.testing.assert_close(loss32, loss, rtol=1e-5, atol=0)
    assert (gradient32 - gradient).norm() < 0.02 * gradient.norm()


@EVERY
def test_twice_differentiable_is_the_same_function(space: SearchSpace) -> None:
    fused, _ = both(space, cells=1)
    first = derivatives(fused, space)
    with fused.twice_differentiable():
        second = derivatives(fused, space)
        p = weights(space).requires_grad_()
        images, labels = batch()
        loss = functional.cross_entropy(fused(images, p), labels)
        (g,) = torch.autograd.grad(loss, p, create_graph=True)
        (row,) = torch.autograd.grad(g[1], p)
    torch.testing.assert_close(first[0], second[0], **TOLERANCE)
    torch.testing.assert_close(first[1], second[1], **TOLERANCE)
    step = 1e-5
    unit = torch.zeros_like(p)
    unit[1] = step
    moved = []
    for q in (weights(space) + unit, weights(space) - unit):
        q = q.requires_grad_()
        moved.append(torch.autograd.grad(functional.cross_entropy(fused(images, q), labels), q)[0])
    torch.testing.assert_close(row, (moved[0] - moved[1]) / (2 * step), rtol=1e-4, atol=1e-6)
    assert all(module.fast for module in fused.modules() if hasattr(module, "fast"))


@EVERY
def test_idle_gradients_are_not_computed(space: SearchSpace) -> None:
    """The architecture step has no weight gradients, the weight step no architecture gradient."""
    fused, _ = both(space)
    images, labels = batch()
    fused.requires_grad_(False)
    p = weights(space).requires_grad_()
    functional.cross_entropy(fused(images, p), labels).backward()
    assert p.grad is not None and all(q.grad is None for q in fused.parameters())
    fused.requires_grad_(True)
    functional.cross_entropy(fused(images, weights(space)), labels).backward()
    assert all(q.grad is not None for q in fused.parameters())


@EVERY
def test_other_weights_through_functional_call(space: SearchSpace) -> None:
    fused, plain = both(space)
    images, _ = batch()
    moved = {name: (q * 1.1).detach() for name, q in fused.named_parameters()}
    out = torch.func.functional_call(fused, moved, (images, weights(space)))
    fused.load_state_dict(moved, strict=False)
    textbook.load(plain, fused)
    torch.testing.assert_close(out, plain(images, weights(space)), **TOLERANCE)


@EVERY
def test_initialisation_is_pytorchs(space: SearchSpace) -> None:
    """Filters of a fused convolution are drawn as those of separate ones: uniform within 1 / sqrt(fan in)."""
    fused, _ = both(space, channels=16)
    for name, tensor in fused.named_parameters():
        if tensor.ndim >= 2 and "classifier" not in name:
            bound = (tensor[0].numel()) ** -0.5
            assert tensor.abs().max() <= bound
            assert tensor.std().item() == pytest.approx(bound / 3**0.5, rel=0.15)


@EVERY
def test_same_bits_twice(space: SearchSpace) -> None:
    fused, _ = both(space)
    fused = fused.float()
    images = batch()[0].float()
    runs = [torch.autograd.grad(fused(images, p).sum(), p)[0] for p in [weights(space).float().requires_grad_()] * 2]
    assert torch.equal(*runs)


def test_kernels_refuse_a_second_derivative() -> None:
    """Outside ``twice_differentiable`` a Hessian is an error, never silently a part of one."""
    space = spaces.get("nas-bench-201")
    fused, _ = both(space)
    images, labels = batch()
    p = weights(space).requires_grad_()
    loss = functional.cross_entropy(fused(images, p), labels)
    with pytest.raises(RuntimeError, match="no second derivative"):
        torch.autograd.grad(loss, p, create_graph=True)


@EVERY
def test_unobserved_passes_leave_running_statistics_alone(space: SearchSpace) -> None:
    fused, _ = both(space, track=True)
    before = {name: value.clone() for name, value in fused.named_buffers()}
    with fused.unobserved():
        first = fused(batch()[0], weights(space))
        with fused.twice_differentiable():
            torch.testing.assert_close(fused(batch()[0], weights(space)), first, **TOLERANCE)
    assert before and all(torch.equal(value, before[name]) for name, value in fused.named_buffers())
    torch.testing.assert_close(fused(batch()[0], weights(space)), first, **TOLERANCE)
    assert not all(torch.equal(value, before[name]) for name, value in fused.named_buffers())
