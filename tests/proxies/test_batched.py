"""Many architectures at once against one network at a time."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import torch
from torch.nn.functional import conv2d, cross_entropy

from benchmarks.spaces.nas_bench_201 import NASBench201
from methods.proxies import Probe, initialise, score_together
from methods.proxies.batched import BATCH, synflow_of_many

NAMES = ("synflow", "log-synflow")
SMALL = {"channels": 3, "cells_per_stage": 1, "classes": 4}


def one_by_one(architectures, seed, size, shape, names=NAMES):
    rows = []
    for architecture in architectures:
        network = initialise(NASBench201().network(architecture, **shape), seed)
        images = torch.zeros(2, 3, size, size)
        found = score_together(names, Probe(network, images, torch.zeros(2), cross_entropy, torch.Generator()))
        rows.append([found[name] for name in names])
    return np.array(rows).T


def sampled(n, seed=0):
    rng = np.random.default_rng(seed)
    return [NASBench201().sample(rng) for _ in range(n)]


@pytest.mark.parametrize("size", [4, 12])
def test_equals_one_by_one(size):
    # More than a batch, with a remainder; every uniform cell; the emptiest cells.
    architectures = [*itertools.combinations_with_replacement(range(5), 1)]
    architectures = [op * 6 for op in architectures] + [(0, 0, 0, 2, 0, 0), (3, 0, 0, 0, 0, 0)] + sampled(BATCH + 5)
    found = synflow_of_many(architectures, seed=3, image_size=size, **SMALL)
    expected = one_by_one(architectures, 3, size, SMALL)
    np.testing.assert_allclose([found[name] for name in NAMES], expected, rtol=1e-12)


def test_equals_one_by_one_at_full_size():
    architectures = [(3,) * 6, (4, 3, 2, 3, 1, 4)]
    shape = {"channels": 16, "cells_per_stage": 5, "classes": 10}
    found = synflow_of_many(architectures, seed=0)
    np.testing.assert_allclose([found[name] for name in NAMES], one_by_one(architectures, 0, 32, shape), rtol=1e-12)


def test_the_disconnected_score_exactly_zero():
    """A cell whose output no path of operations reaches, in either sweep: 341 of 15,625."""
    everything = list(NASBench201().enumerate())
    found = synflow_of_many(everything[:: len(everything) // 250], seed=0, image_size=4, **SMALL)
    for architecture, score, log_score in zip(
        everything[:: len(everything) // 250], found["synflow"], found["log-synflow"], strict=True
    ):
        a, b, c, d, e, f = (op != 0 for op in architecture)
        connected = d or (a and e) or (f and (b or (a and c)))
        assert (score > 0) == connected == (log_score > 0)


def test_neither_order_nor_company_matters():
    architectures = sampled(9, seed=1)
    together = synflow_of_many(architectures, seed=0, image_size=8, **SMALL)
    alone = [synflow_of_many([a], seed=0, image_size=8, **SMALL)["synflow"][0] for a in reversed(architectures)]
    np.testing.assert_allclose(together["synflow"][::-1], alone, rtol=1e-12)


def test_log_is_optional_and_nothing_gives_nothing():
    assert set(synflow_of_many(sampled(2), seed=0, image_size=4, log=False, **SMALL)) == {"synflow"}
    empty = synflow_of_many([], seed=0, **SMALL)
    assert [len(empty[name]) for name in NAMES] == [0, 0]


@pytest.mark.benchmark(group="synflow of 100 architectures, C=16, N=5, 32x32, one thread")
@pytest.mark.parametrize("way", ["one by one", "batched"])
def test_speed(benchmark, way, request):
    architectures = sampled(100)
    if way == "batched":
        benchmark.pedantic(lambda: synflow_of_many(architectures, seed=0, log=False), rounds=3, warmup_rounds=1)
    else:
        shape = {"channels": 16, "cells_per_stage": 5, "classes": 10}
        benchmark.pedantic(lambda: one_by_one(architectures, 0, 32, shape, ("synflow",)), rounds=1)
    times = request.config.stash.setdefault(TIMES, {})
    times[way] = benchmark.stats.stats.min
    if len(times) == 2:
        print(f"\nbatched SynFlow is {times['one by one'] / times['batched']:.1f} times as fast as one by one")


@pytest.mark.benchmark(group="SNIP's 3x3 convolution of four networks, C=16, 64 images of 32x32, one thread")
@pytest.mark.parametrize("way", ["one by one", "grouped", "stacked"])
def test_what_batching_snip_would_gain(benchmark, way, request):
    """The kernel of a pass with images: networks side by side in groups, or as more images through shared weights."""
    networks, channels, size = 4, 16, 32
    calls, width, batch = {"one by one": (networks, 1, 64), "grouped": (1, networks, 64), "stacked": (1, 1, 256)}[way]
    images = torch.randn(batch, width * channels, size, size, requires_grad=True)
    weight = torch.randn(width * channels, channels, 3, 3, requires_grad=True)

    def passes():
        for _ in range(calls):
            torch.autograd.grad(conv2d(images, weight, padding=1, groups=width).sum(), [images, weight])

    benchmark.pedantic(passes, rounds=10, warmup_rounds=2)
    times = request.config.stash.setdefault(KERNELS, {})
    times[way] = benchmark.stats.stats.min
    if way != "one by one" and "one by one" in times:
        print(f"\n{way} convolutions are {times['one by one'] / times[way]:.2f} times as fast as one by one")


KERNELS = pytest.StashKey[dict[str, float]]()
TIMES = pytest.StashKey[dict[str, float]]()
