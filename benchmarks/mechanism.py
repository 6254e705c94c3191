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
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, cast

import joblib
import torch
from torch import Tensor
from torch.nn import functional

from benchmarks import harness, plan, tiers
from benchmarks.errors import UserError, exit_code
from benchmarks.files import prepare, save
from benchmarks.images import probe
from benchmarks.observations import Row, encoded, read
from benchmarks.spec import SearchProblem
from benchmarks.store import Store
from methods.curvature import NoiseEffect, curvature, noise_effect
from methods.differentiable import DifferentiableSearch
from methods.gradients import Batch, first_order, frozen

SPACE = "nas-bench-201"
SEARCHES = ("darts-1st", "darts-1st@arch_weight_decay=4e-5", "balenas-1st", "balenas-1st@weights_at=sample")
"""DARTS, the same with the L2 of BaLeNAS's prior (delta/N), so that only noise is left between it and BaLeNAS."""
EPOCHS = (0, 1, 2, 3, 5, 10, 15, 20, 25)
"""Measured besides the last."""
IMAGES = 256
"""In a batch."""
BATCHES = 4
"""Disjoint ones, whose spread says how far a gradient at the mean hangs on its images."""
PAIRS = 32
"""Antithetic pairs of draws that gradients and losses are averaged over."""
WIDE = 1.0


def observe(search: DifferentiableSearch, epoch: int, batches: Sequence[Batch], pairs: int = PAIRS) -> Iterator[Row]:
    """Everything that is measured of a search after an epoch, on fixed batches of its validation split.

    Args:
        search: is left as it was.
        epoch: names the draws, which are the same for every search at a seed.
        batches: everything is measured on the first; the others serve errors at the mean.
        pairs: of draws.

    Yields:
        ``(quantity, width, edge, operation, value, error)``. Of every parameter its ``alpha``, ``weight`` (of the
        operation), ``sigma``, ``curvature`` (diagonal of the Hessian) and ``gradient``; of every operation its
        ``push``, minus the gradient averaged over edges. Gradients are of width ``mean`` at the mean, with the
        standard deviation over batches as error, and of width ``own`` and ``wide`` averaged over draws, with the
        standard error over pairs. Of the whole, ``loss`` at the mean, ``rise`` of the mean loss over draws above it,
        and ``predicted``, half the sum of sigma_i^2 H_ii. Of every operation, the ``rise`` where only its own
        parameters are drawn.
    """
    batch = batches[0]
    space, mean, own = search.problem.space, search.optimizer.mean.detach(), search.optimizer.sigma.detach()
    names = [(edge, name) for edge, group in enumerate(space.groups) for name in group.alternatives]
    unit = torch.randn(pairs, len(mean), generator=search.problem.seeds.generator("mechanism", epoch))
    used = torch.tensor([name != "none" for _, name in names])
    masks = {op: torch.tensor([name == op for _, name in names]) for op in dict.fromkeys(name for _, name in names)}
    widths = {"wide": torch.full_like(mean, WIDE)} | ({"own": own} if bool((own > 0).any()) else {})

    def of_parameters(quantity: str, values: Tensor) -> Iterator[Row]:
        for (edge, name), value in zip(names, values.tolist(), strict=True):
            yield quantity, None, edge, name, value, None

    def gradients(width: str, values: Tensor, repeated: Tensor, scale: float) -> Iterator[Row]:
        """A gradient ``[parameters]``, its errors from the spread of repetitions ``[n, parameters]``."""
        errors = repeated.std(0) * scale
        for (edge, name), value, error in zip(names, values.tolist(), errors.tolist(), strict=True):
            yield "gradient", width, edge, name, value, error
        for operation, mask in masks.items():
            push, error = -values[mask].mean(), repeated[:, mask].mean(1).std() * scale
            yield "push", width, None, operation, float(push), float(error)

    def gradient(point: Tensor, at: Batch = batch) -> Tensor:
        return first_order(search.supernet, search.relax, point, at)

    def loss(weights: Tensor) -> Tensor:
        return functional.cross_entropy(search.supernet(batch.images, weights), batch.labels)

    def effect(sigma: Tensor) -> NoiseEffect:
        return noise_effect(lambda alpha: loss(search.relax(alpha)), mean, sigma, exact.h_alpha, mean + unit * sigma)

    with search.supernet.unobserved(), frozen(search.supernet):
        with search.supernet.twice_differentiable():
            exact = curvature(loss, mean, space.sizes, used=used)
        yield from of_parameters("alpha", mean)
        yield from of_parameters("weight", exact.p)
        yield from of_parameters("sigma", own)
        yield from of_parameters("curvature", exact.h_alpha.diagonal())
        yield "loss", "mean", None, None, exact.loss, None
        at_mean = torch.stack([gradient(mean, at) for at in batches])
        yield from gradients("mean", at_mean[0], at_mean, 1)
        for width, sigma in widths.items():
            offsets = unit * sigma
            found = torch.stack([(gradient(mean + offset) + gradient(mean - offset)) / 2 for offset in offsets])
            yield from gradients(width, found.mean(0), found, pairs**-0.5)
            whole = effect(sigma)
            yield "predicted", width, None, None, whole.predicted, None
            yield "rise", width, None, None, whole.measured, whole.standard_error
        for operation, mask in masks.items():
            part = effect(WIDE * mask)
            yield "rise", "wide", None, operation, part.measured, part.standard_error


def replay(job: plan.Job, data_dir: Path | None, pairs: int = PAIRS) -> tuple[list[Row], dict[str, Any]]:
    """Search again and measure.

    Returns:
        ``(search, epoch, architecture, *observation)`` rows, epochs ascending, and the facts of the run.

    Raises:
        UserError: the search did not finish.
    """
    found: list[Row] = []
    with tempfile.TemporaryDirectory() as folder:
        settings = harness.Settings(Store(Path(folder)), data_dir, checkpoint_every=job.spec.budget.epochs)
        run = harness.Run(job, settings, lambda *_: None, lambda: False)
        with run:
            run.begin()
            search = cast(DifferentiableSearch, run.method)
            batches = probes(search.problem)
            while not run.is_over:
                epoch = run.epoch
                run.advance(search.train_epoch(epoch) if epoch else {})
                if epoch in EPOCHS or epoch == search.epochs:
                    at = (job.spec.method, epoch, run.rows[-1]["architecture"])
                    found += [(*at, *row) for row in observe(search, epoch, batches, pairs)]
    if run.record.message:
        raise UserError(f"{job.spec.label} ended as {run.record.status}: {run.record.last_line}")
    return found, dict(run.record.facts)


def probes(problem: SearchProblem) -> list[Batch]:
    """Up to ``BATCHES`` disjoint batches of up to ``IMAGES`` images of the validation split, two at least."""
    split = problem.images
    n = _batch_size(len(split.valid_images))
    parts = zip(split.valid_images.split(n), split.valid_labels.split(n), strict=True)
    batches = [Batch(*probe(*part, n, mean=split.mean, std=split.std)) for part in parts if len(part[0]) == n]
    return batches[:BATCHES]


def _batch_size(images: int) -> int:
    return min(IMAGES, images // 2)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0 done, 2 a mistake."""
    options = _parser().parse_args(arguments)

    def work() -> None:
        if options.jobs < 1 or options.seed < 0:
            raise UserError("--jobs takes 1 or more, --seed 0 or more")
        jobs = plan.make(
            methods=SEARCHES,
            space_names=[SPACE],
            seed_list=[options.seed],
            tier=options.tier,
            data_dir=options.data_dir,
        ).jobs
        budget = jobs[0].spec.budget
        _check_output(options.output, {job.spec.method: job.spec.hash for job in jobs})
        traces = joblib.Parallel(n_jobs=options.jobs)(joblib.delayed(replay)(job, options.data_dir) for job in jobs)
        rows = [row for trace, _ in traces for row in trace]
        about = {
            "command": f"python -m benchmarks.mechanism --seed {options.seed} --tier {options.tier}",
            "seed": options.seed,
            "pairs": PAIRS,
            "batch": _batch_size(budget.valid_images),
            "specs": {job.spec.method: job.spec.hash for job in jobs},
            "budget": asdict(budget),
            "facts": traces[0][1],
        }
        save(options.output, encoded(rows, about))
        print(f"{options.output}: {len(rows):,} measurements of {len(SEARCHES)} searches")

    return exit_code(work)


def _check_output(path: Path, specs: Mapping[str, str]) -> None:
    """Raise ``UserError`` where the file cannot be written, or would replace measurements of other searches."""
    prepare(path.parent)
    if path.exists():
        _, about = read(path)
        if about["specs"] != specs:
            held = f"seed {about['seed']} at the {about['budget']['tier']} tier, spec {min(about['specs'].values())}"
            raise UserError(f"{path} has other searches ({held}): name another --output")


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.mechanism",
        description="Measure architecture gradients at the mean and over the posterior, along four searches.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--seed", type=int, default=0, help="of all four searches")
    parser.add_argument("--tier", default="cpu", help=", ".join(tiers.TIERS))
    parser.add_argument("--data-dir", type=Path, help="folder that holds cifar-10-batches-py")
    parser.add_argument("--jobs", type=int, default=min(2, os.cpu_count() or 1), help="searches at the same time")
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("results/studies/reading/mechanism.parquet"),
        help="file, which is replaced only by measurements of the same searches",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
