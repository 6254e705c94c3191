"""What fusing buys, as ratios of steps run side by side on one thread: `tox -e benchmark -- tests/supernets`.

A step is what first-order DARTS does with a minibatch of 64: an architecture step (Adam) and a weight step (SGD).
"""

from __future__ import annotations

import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import replace

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.profiler import ProfilerActivity, profile

from benchmarks import images, spaces, tiers
from benchmarks.seeds import Seeds
from benchmarks.spec import SearchProblem
from methods import resolve, supernets
from methods.gradients import Batch, frozen
from methods.relaxations import softmax
from tests import textbook

SIZES = {
    "nas-bench-201 C=16 N=1 32x32": ("nas-bench-201", 16, 1, 32),
    "nas-bench-201 C=16 N=5 32x32": ("nas-bench-201", 16, 5, 32),
    "nas-bench-201 C=8 N=1 16x16": ("nas-bench-201", 8, 1, 16),
    "nas-bench-1shot1-s3 C=16 9 cells 32x32": ("nas-bench-1shot1-s3", 16, 3, 32),
}
Step = Callable[[], None]


def best_of(steps: dict[str, Step], rounds: int) -> dict[str, float]:
    """Least seconds of each, taking turns so that a busy machine slows all of them."""
    least = dict.fromkeys(steps, float("inf"))
    for step in steps.values():
        step()
    for _ in range(rounds):
        for name, step in steps.items():
            start = time.perf_counter()
            step()
            least[name] = min(least[name], time.perf_counter() - start)
    return least


def step_of(network: nn.Module, space: str, size: int, *, idle: bool, active=None, channels_last=True) -> Step:
    """A step on random images. ``idle``: leave out the gradients that a half step does not use."""
    sizes = spaces.get(space).sizes
    alpha = torch.zeros(sum(sizes), requires_grad=True)
    adam = torch.optim.Adam([alpha], lr=3e-4, betas=(0.5, 0.999))
    sgd = torch.optim.SGD(network.parameters(), lr=0.025, momentum=0.9, nesterov=True)
    x, y = torch.randn(64, 3, size, size), torch.randint(0, 10, (64,))
    if channels_last:
        x, network = x.contiguous(memory_format=torch.channels_last), network.to(memory_format=torch.channels_last)

    def loss(weights: Tensor) -> Tensor:
        return functional.cross_entropy(network(x, weights, active), y)

    def half(optimizer: torch.optim.Optimizer, weights: Tensor) -> None:
        adam.zero_grad()
        sgd.zero_grad()
        loss(weights).backward()
        optimizer.step()

    def step() -> None:
        if idle:
            with frozen(network):
                half(adam, softmax(alpha, sizes))
        else:
            half(adam, softmax(alpha, sizes))
        weights = softmax(alpha, sizes)
        half(sgd, weights.detach() if idle else weights)

    return step


def networks(space: str, channels: int, cells: int) -> tuple[nn.Module, nn.Module]:
    torch.manual_seed(0)
    kinds = {"channels": channels, "cells_per_stage": cells, "classes": 10}
    return supernets.build(spaces.get(space), **kinds), textbook.build(spaces.get(space), **kinds, track=False)


@pytest.mark.benchmark(group="one first-order step, fused against textbook")
@pytest.mark.parametrize("name", SIZES)
def test_fused_against_textbook(benchmark, name: str) -> None:
    space, channels, cells, size = SIZES[name]
    fused, plain = networks(space, channels, cells)
    steps = {
        "fused": step_of(fused, space, size, idle=True),
        "textbook": step_of(plain, space, size, idle=False, channels_last=False),
    }
    least = best_of(steps, 3 if cells > 1 else 8)
    benchmark.pedantic(steps["fused"], rounds=2)
    ratio = least["textbook"] / least["fused"]
    benchmark.extra_info["textbook / fused"] = ratio
    with profile(activities=[ProfilerActivity.CPU]) as watched:
        steps["fused"]()
    events = watched.key_averages()
    spent = sum(e.self_cpu_time_total for e in events)
    convolving = sum(e.self_cpu_time_total for e in events if "conv" in e.key)
    print(f"\n{name}: {ratio:.2f} times as fast as the textbook; {100 * convolving / spent:.0f} % of it convolutions")


@pytest.mark.benchmark(group="where the factor comes from")
@pytest.mark.parametrize("name", ["nas-bench-201 C=16 N=1 32x32", "nas-bench-201 C=8 N=1 16x16"])
def test_factors(benchmark, name: str) -> None:
    space, channels, cells, size = SIZES[name]
    fused, plain = networks(space, channels, cells)
    composed, _ = networks(space, channels, cells)
    for module in composed.modules():
        if hasattr(module, "fast"):
            module.fast = False
    without_none = [alternative != "none" for g in spaces.get(space).groups for alternative in g.alternatives]
    steps = {
        "textbook": step_of(plain, space, size, idle=False, channels_last=False),
        "textbook without none": step_of(plain, space, size, idle=False, channels_last=False, active=without_none),
        "textbook without idle gradients": step_of(plain, space, size, idle=True, channels_last=False),
        "fused, plain composition": step_of(composed, space, size, idle=True),
        "fused, idle gradients computed": step_of(fused, space, size, idle=False),
        "fused": step_of(fused, space, size, idle=True),
    }
    steps["textbook channels last"] = step_of(networks(space, channels, cells)[1], space, size, idle=False)
    least = best_of(steps, 5)
    benchmark.pedantic(steps["fused"], rounds=2)
    print(f"\n{name}")
    for title, seconds in least.items():
        print(f"  {title:<34} {least['textbook'] / seconds:.2f} times as fast as the textbook")


@pytest.mark.benchmark(group="BaLeNAS step against DARTS step")
@pytest.mark.parametrize("order", ["1st", "2nd"])
def test_balenas_against_darts(benchmark, order: str) -> None:
    """The paper claims no more time (and memory, below) than DARTS."""
    steps = {method: search_step(f"{method}-{order}") for method in ("darts", "balenas")}
    least = best_of(steps, 8)
    benchmark.pedantic(steps["balenas"], rounds=2)
    print(f"\n{order} order: a BaLeNAS step takes {least['balenas'] / least['darts']:.2f} of a DARTS step")


def search_step(name: str) -> Step:
    budget = replace(tiers.budget("smoke", "nas-bench-201"), channels=16, batch_size=64)
    method_class, config = resolve(name)
    seeds = Seeds(0, "nas-bench-201", "digits", name)
    split = images.search_split(images.load("digits"), train=64, valid=64, size=16, generator=seeds.generator("split"))
    search = method_class(SearchProblem(spaces.get("nas-bench-201"), split, budget, seeds), config)
    train, valid = (Batch(*next(search.batches(part, 1))) for part in ("train", "valid"))
    noise = seeds.generator("noise")

    def step() -> None:
        search.architecture_step(train, valid, noise)
        search.weight_step(train, noise)

    return step


PEAK = """
import sys, threading, time, psutil, torch
sys.path[:0] = {path!r}
from tests.supernets.test_speed import *
step = {step}
step()  # compiles, and allocates what later steps use again
used, done, seen = psutil.Process().memory_info, False, []
def watch():
    while not done:
        seen.append(used().rss)
        time.sleep(0.001)
thread = threading.Thread(target=watch)
thread.start()
step(); step()
done = True
thread.join()
print(max(seen) - {base})
"""


def peak(step: str, base: int = 0) -> int:
    """Bytes resident at the height of a step in a fresh process, less ``base``."""
    code = PEAK.format(path=[p for p in sys.path if p], step=step, base=base)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return int(done.stdout.split()[-1])


@pytest.mark.benchmark(group="peak memory")
def test_memory(benchmark) -> None:
    base = peak("lambda: None")
    for name in ("nas-bench-201 C=16 N=1 32x32", "nas-bench-1shot1-s3 C=16 9 cells 32x32"):
        space, channels, cells, size = SIZES[name]
        made = f"networks({space!r}, {channels}, {cells})"
        fused = peak(f"step_of({made}[0], {space!r}, {size}, idle=True)", base)
        plain = peak(f"step_of({made}[1], {space!r}, {size}, idle=False, channels_last=False)", base)
        print(f"\n{name}: {fused / 2**20:.0f} MiB fused, {fused / plain:.2f} of the textbook's")
    for order in ("1st", "2nd"):
        darts, balenas = (peak(f"search_step('{m}-{order}')", base) for m in ("darts", "balenas"))
        print(f"{order} order: a BaLeNAS step needs {balenas / darts:.2f} of a DARTS step's memory")
    benchmark.pedantic(lambda: None, rounds=1)
