"""The two tiers on CIFAR-10 take real steps on a CPU, the paper's full size within 8 GB. Run by `tox -e slow`."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import replace

import pytest
import torch

from benchmarks import images, spaces, tiers
from benchmarks.images import ImageSet
from benchmarks.seeds import Seeds
from benchmarks.spec import SearchProblem
from methods import METHODS, resolve

SEARCHES = [name for name in METHODS if name.startswith(("darts", "balenas-1", "balenas-2"))]


def two_steps(tier: str, method: str, space: str) -> None:
    """Two minibatches of noise in place of CIFAR-10, everything else as the tier says."""
    budget = tiers.budget(tier, space)
    n = 2 * budget.batch_size
    budget = replace(budget, train_images=n, valid_images=n, epochs=1, hessian_every=0, probe_images=64)
    generator = torch.Generator().manual_seed(0)
    noise = torch.randint(0, 256, (2 * n, 3, 32, 32), dtype=torch.uint8, generator=generator)
    labels = torch.arange(2 * n) % 10
    image_set = ImageSet("noise", noise, labels, tuple("0123456789"), "noise", "0" * 64)
    seeds = Seeds(0, space, "noise", method)
    split = images.search_split(image_set, train=n, valid=n, size=budget.image_size, generator=seeds.generator("split"))
    method_class, config = resolve(method)
    search = method_class(SearchProblem(spaces.get(space), split, budget, seeds), config)
    before = search.optimizer.mean.clone()
    trace = search.train_epoch(1)
    assert trace["weight_step_loss"] > 0
    assert not torch.equal(search.optimizer.mean, before)
    spaces.get(space).check(search.architecture())


@pytest.mark.slow
@pytest.mark.parametrize("space", spaces.SPACES)
@pytest.mark.parametrize("method", SEARCHES)
@pytest.mark.parametrize("tier", ["cpu", "paper"])
def test_two_steps(tier: str, method: str, space: str) -> None:
    code = (
        f"import sys, resource; sys.path[:0] = {[p for p in sys.path if p]!r}\n"
        "from tests.methods.test_paper_tier import two_steps\n"
        f"two_steps({tier!r}, {method!r}, {space!r})\n"
        "print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    assert int(done.stdout.split()[-1]) < 8 * 1024**2
