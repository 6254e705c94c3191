"""``python -m benchmarks.mechanism``: why skip connections win or lose under a wide posterior.

Replays searches of NAS-Bench-201 at one seed and measures, at some epochs, what the search's own trace is too cheap to
hold: the architecture gradient of every operation at the mean beside its average over draws, the effect of the draws on
the loss beside Eq. (19)'s prediction, and how much noise each operation tolerates. Draws have the posterior's own
width, or ``WIDE``, from which BaLeNAS's posterior starts: so DARTS, which has no posterior, can be measured too.
Measuring changes nothing: a replayed search ends in the bits of the plain one.
"""

from __future__ import annotations

import argparse
import os
import shlex
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import cast

import joblib
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import environment, harness, plan, tiers
from benchmarks.errors import UserError
from benchmarks.files import save
from benchmarks.images import probe
from benchmarks.observations import Row, encoded
from benchmarks.store import Store
from methods.curvature import curvature
from methods.differentiable import DifferentiableSearch
from methods.gradients import Batch, first_order, frozen

SPACE = "nas-bench-201"
SEARCHES = ("darts-1st", "balenas-1st", "balenas-1st@weights_at=sample")
EPOCHS = (0, 1, 2, 3, 5, 10, 15, 20, 25)
"""Measured besides the last."""
IMAGES = 256
PAIRS = 32
"""Antithetic pairs of draws that gradients and losses are averaged over."""
WIDE = 1.0


def observe(search: DifferentiableSearch, epoch: int, batch: Batch, pairs: int = PAIRS) -> Iterator[Row]:
    """Everything that is measured of a search after an epoch, on one fixed batch of its validation split.

    Args:
        search: is left as it was.
        epoch: names the draws, which are the same for every search at a seed.
        batch: images and labels.
        pairs: of draws.

    Yields:
        ``(quantity, width, edge, operation, value, error)``, the last a standard error over pairs. Of every parameter
        its ``alpha``, ``weight`` (of the operation), ``sigma``, ``curvature`` (diagonal of the Hessian) and
        ``gradient``; of width ``mean`` at the mean, ``own`` and ``wide`` averaged over draws. Of the whole, ``loss``
        at the mean, ``rise`` of the mean loss over draws above it, and ``predicted``, half the sum of sigma_i^2 H_ii.
        Of every operation, the ``rise`` where only its own parameters are drawn.
    """
    space, mean, own = search.problem.space, search.optimizer.mean.detach(), search.optimizer.sigma.detach()
    names = [(edge, name) for edge, group in enumerate(space.groups) for name in group.alternatives]
    unit = torch.randn(pairs, len(mean), generator=search.problem.seeds.generator("mechanism", epoch))
    used = torch.tensor([name != "none" for _, name in names])
    widths = {"wide": torch.full_like(mean, WIDE)} | ({"own": own} if bool((own > 0).any()) else {})

    def of_parameters(quantity: str, width: str | None, values: Tensor, errors: Tensor | None = None) -> Iterator[Row]:
        missing = [None] * len(names) if errors is None else errors.tolist()
        for (edge, name), value, error in zip(names, values.tolist(), missing, strict=True):
            yield quantity, width, edge, name, value, error

    def loss(weights: Tensor) -> Tensor:
        return functional.cross_entropy(search.supernet(batch.images, weights), batch.labels)

    def rise(offsets: Tensor) -> tuple[float, float]:
        ends = [[float(loss(search.relax(mean + sign * offset))) for sign in (1, -1)] for offset in offsets]
        values = torch.tensor(ends, dtype=torch.float64).mean(1) - base
        return float(values.mean()), float(values.std() / pairs**0.5)

    with search.supernet.unobserved(), frozen(search.supernet):
        with search.supernet.twice_differentiable():
            exact = curvature(loss, mean, space.sizes, used=used)
        diagonal, base = exact.h_alpha.diagonal(), exact.loss
        yield from of_parameters("alpha", None, mean)
        yield from of_parameters("weight", None, exact.p)
        yield from of_parameters("sigma", None, own)
        yield from of_parameters("curvature", None, diagonal)
        yield from of_parameters("gradient", "mean", first_order(search.supernet, search.relax, mean, batch))
        yield "loss", "mean", None, None, base, None
        for width, sigma in widths.items():
            offsets = unit * sigma
            found = torch.stack([
                torch.stack([
                    first_order(search.supernet, search.relax, mean + sign * offset, batch) for sign in (1, -1)
                ]).mean(0)
                for offset in offsets
            ])  # fmt: skip
            yield from of_parameters("gradient", width, found.mean(0), found.std(0) / pairs**0.5)
            yield "predicted", width, None, None, float((sigma.square() * diagonal).sum() / 2), None
            with torch.no_grad():
                yield "rise", width, None, None, *rise(offsets)
        with torch.no_grad():
            for operation in dict.fromkeys(name for _, name in names):
                mask = torch.tensor([float(name == operation) for _, name in names])
                yield "rise", "wide", None, operation, *rise(unit * WIDE * mask)


def replay(method: str, *, seed: int, tier: str, data_dir: Path | None, pairs: int = PAIRS) -> list[Row]:
    """Search again and measure: ``(epoch, architecture, *observation)`` rows, epochs ascending.

    Raises:
        UserError: the search did not finish.
    """
    made = plan.make(methods=[method], space_names=[SPACE], seed_list=[seed], tier=tier, data_dir=data_dir)
    (job,) = made.jobs
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = harness.Settings(Store(Path(folder)), data_dir, checkpoint_every=job.spec.budget.epochs)
        run = harness.Run(job, settings, lambda *_: None, lambda: False)
        with run:
            run.begin()
            search = cast(DifferentiableSearch, run.method)
            split = search.problem.images
            n = min(IMAGES, len(split.valid_images))
            batch = Batch(*probe(split.valid_images, split.valid_labels, n, mean=split.mean, std=split.std))
            while not run.is_over:
                epoch = run.epoch
                run.advance(search.train_epoch(epoch) if epoch else {})
                if epoch in EPOCHS or epoch == search.epochs:
                    cell = run.rows[-1]["architecture"]
                    found += [(epoch, cell, *row) for row in observe(search, epoch, batch, pairs)]
    if run.record.message:
        raise UserError(f"{job.spec.label} ended as {run.record.status}: {run.record.last_line}")
    return found


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0 done, 2 a mistake."""
    options = _parser().parse_args(arguments)
    if options.jobs < 1 or options.seed < 0:
        print("error: --jobs takes 1 or more, --seed 0 or more", file=sys.stderr)
        return 2
    command = shlex.join(["python", "-m", "benchmarks.mechanism", *(sys.argv[1:] if arguments is None else arguments)])
    try:
        work = (
            joblib.delayed(replay)(name, seed=options.seed, tier=options.tier, data_dir=options.data_dir)
            for name in SEARCHES
        )
        traces = joblib.Parallel(n_jobs=options.jobs, backend="loky")(work)
        rows = [(name, *row) for name, trace in zip(SEARCHES, traces, strict=True) for row in trace]
        about = {
            "command": command, "seed": options.seed, "tier": options.tier, "pairs": PAIRS,
            "images": min(IMAGES, tiers.budget(options.tier, SPACE).valid_images),
            "facts": environment.facts(),
        }  # fmt: skip
        save(options.output, encoded(rows, about))
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    print(f"{options.output}: {len(rows):,} measurements of {len(SEARCHES)} searches")
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mechanism",
        description="Measure architecture gradients at the mean and over the posterior, along three searches.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--tier", default="cpu")
    parser.add_argument("--data-dir", type=Path, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="searches at the same time")
    parser.add_argument("--output", type=Path, default=Path("results/studies/reading/mechanism.parquet"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
