"""What holds for every architecture optimizer."""

from __future__ import annotations

import dataclasses
import io
import math

import pytest
import torch

from benchmarks.errors import UserError
from methods.optimizers import POSTERIORS, AdamConfig

CONFIGS = {"adam": AdamConfig(), **{name: config() for name, config in POSTERIORS.items()}}
STILL = ("adam", "adam-uniform-weights")
"""Point estimates."""


def generator(seed: int = 0) -> torch.Generator:
    return torch.Generator().manual_seed(seed)


def start(dtype: torch.dtype = torch.float64) -> torch.Tensor:
    return 0.3 * torch.randn(7, generator=generator(9), dtype=dtype)


def slopes(points: torch.Tensor) -> torch.Tensor:
    """Gradients of a loss that is neither quadratic nor convex everywhere."""
    return 0.01 * (points + points.sin() * 2 - points.roll(1, dims=1))


def advance(optimizer, steps: int, noise: torch.Generator, samples: int = 2) -> None:
    for _ in range(steps):
        points = optimizer.sample(samples, noise)
        optimizer.step(points, slopes(points))


@pytest.fixture(params=CONFIGS.values(), ids=CONFIGS)
def config(request):
    return request.param


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_every_tensor_keeps_the_type_and_stays_finite(config, dtype):
    optimizer = config.build(start(dtype))
    advance(optimizer, 50, generator())
    tensors = [v for v in optimizer.state_dict().values() if isinstance(v, torch.Tensor)]
    assert len(tensors) >= 2
    assert all(t.dtype == dtype and t.isfinite().all() for t in [*tensors, optimizer.sigma, optimizer.mean])
    assert optimizer.t == 50
    assert not torch.equal(optimizer.mean, start(dtype))


def test_neither_the_start_nor_the_global_generator_is_touched(config):
    given = start()
    optimizer = config.build(given)
    torch.manual_seed(3)
    before = torch.get_rng_state()
    advance(optimizer, 3, generator())
    optimizer.draw(4, generator())
    assert torch.equal(torch.get_rng_state(), before)
    assert torch.equal(given, start())


def test_an_exception_between_sample_and_step_leaves_everything_as_it_was(config):
    optimizer = config.build(start())
    advance(optimizer, 5, generator())
    before = optimizer.state_dict()
    with pytest.raises(ZeroDivisionError):
        optimizer.step(optimizer.sample(2, generator()), torch.tensor(1 / 0))
    after = optimizer.state_dict()
    assert before.keys() == after.keys()
    assert all(torch.equal(torch.as_tensor(before[name]), torch.as_tensor(after[name])) for name in before)


def test_a_restored_optimizer_continues_bit_for_bit(config):
    original, restored = config.build(start()), config.build(torch.zeros(7, dtype=torch.float64))
    advance(original, 5, generator())
    file = io.BytesIO()
    torch.save(original.state_dict(), file)
    file.seek(0)
    restored.load_state_dict(torch.load(file))
    advance(original, 5, generator(1))
    advance(restored, 5, generator(1))
    assert torch.equal(original.mean, restored.mean)
    assert torch.equal(original.sigma, restored.sigma)
    assert original.state_dict().keys() == restored.state_dict().keys()


def test_a_saved_state_does_not_change_with_the_optimizer(config):
    optimizer = config.build(start())
    saved = optimizer.state_dict()
    advance(optimizer, 2, generator())
    assert saved["t"] == 0
    assert torch.equal(saved["mean"], start())


def test_a_foreign_state_is_refused_and_changes_nothing(config):
    optimizer = config.build(start())
    for foreign in (config.build(torch.zeros(3, dtype=torch.float64)).state_dict(), {"t": 5}):
        with pytest.raises(UserError, match="not one of") as error:
            optimizer.load_state_dict(foreign)
        assert "\n" not in str(error.value)
        assert optimizer.t == 0 and torch.equal(optimizer.mean, start())


def test_identical_draws_count_as_one(config):
    one, many = config.build(start()), config.build(start())
    noise = generator()
    for _ in range(10):
        points = one.sample(1, noise)
        one.step(points, slopes(points))
        many.step(points.expand(4, -1), slopes(points).expand(4, -1))
    torch.testing.assert_close(many.mean, one.mean, rtol=1e-12, atol=1e-14)
    torch.testing.assert_close(many.sigma, one.sigma, rtol=1e-12, atol=1e-14)


@pytest.mark.parametrize("name", [name for name in CONFIGS if name not in STILL])
def test_draws_have_the_mean_and_the_spread_that_are_reported(name):
    optimizer = CONFIGS[name].build(start())
    advance(optimizer, 30, generator())
    n = 40_000
    draws = optimizer.draw(n, generator(4))
    assert draws.shape == (n, 7)
    assert ((draws.mean(0) - optimizer.mean).abs() < 5 * optimizer.sigma / math.sqrt(n)).all()
    torch.testing.assert_close(draws.std(0), optimizer.sigma, rtol=5 / math.sqrt(2 * n), atol=0)


@pytest.mark.parametrize("name", STILL)
def test_point_estimates_draw_their_mean_and_no_random_numbers(name):
    optimizer, noise = CONFIGS[name].build(start()), generator()
    before = noise.get_state()
    assert torch.equal(optimizer.draw(3, noise), start().expand(3, -1))
    assert torch.equal(noise.get_state(), before)
    assert not optimizer.sigma.any()


@pytest.mark.parametrize("prec_init", [1.0, 4.0, 100.0])
@pytest.mark.parametrize("name", [name for name in POSTERIORS if name != "adam-uniform-weights"])
def test_sigma_starts_at_the_root_of_the_initial_precision(name, prec_init):
    optimizer = POSTERIORS[name](prec_init=prec_init).build(start())
    torch.testing.assert_close(optimizer.sigma, torch.full((7,), prec_init**-0.5, dtype=torch.float64))


@pytest.mark.parametrize(
    "wrong",
    [
        {"lr": 0.0},
        {"lr": -1.0},
        {"lr": math.nan},
        {"lr": math.inf},
        {"beta1": 1.0},
        {"beta2": -0.1},
        {"prec_init": 0.0},
        {"prior_precision": 0.0},
        {"data_size": 0},
        {"steps": 0},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", POSTERIORS)
def test_settings_out_of_range_are_named_in_one_line(name, wrong):
    with pytest.raises(UserError, match=next(iter(wrong))) as error:
        POSTERIORS[name](**wrong)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("wrong", [{"lr": 0.0}, {"eps": 0.0}, {"beta1": 1.0}, {"weight_decay": -1e-3}], ids=str)
def test_adams_settings_out_of_range_are_named_in_one_line(wrong):
    with pytest.raises(UserError, match=next(iter(wrong))) as error:
        AdamConfig(**wrong)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize("name", ["vadam", "vprop", "von", "eq17", "ivon"])
def test_a_start_wider_than_the_prior_is_refused(name):
    with pytest.raises(UserError, match=r"prec_init 1\.0 is below prior_precision 10\.0"):
        POSTERIORS[name](prior_precision=10.0).build(start())


@pytest.mark.parametrize("name", POSTERIORS)
def test_configs_are_frozen_and_share_their_settings(name):
    assert {"lr", "beta1", "beta2", "prec_init", "prior_precision", "data_size", "steps"} <= {
        field.name for field in dataclasses.fields(POSTERIORS[name])
    }
    with pytest.raises(dataclasses.FrozenInstanceError):
        POSTERIORS[name]().lr = 1.0
