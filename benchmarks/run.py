"""The main job: ``python -m benchmarks.run``. Plans the runs, executes what is missing, sums up.

Exit codes: 0 all done; 1 some run failed; 2 bad arguments; 74 the results folder cannot be written (full, over quota,
read-only); 130 interrupted by Ctrl-C; 143 stopped by SIGTERM, after the running epochs. What is finished is always
kept, and the same command goes on.
"""

from __future__ import annotations

import argparse
import math
import os
import sys
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import torch
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks import execution, images, plan, spaces, store
from benchmarks.errors import UserError, exit_code, one_of
from benchmarks.files import CannotWrite
from benchmarks.harness import Settings
from benchmarks.spec import DEVICES, PRECISIONS, Compute, RunRecord, Status
from benchmarks.studies import STUDIES
from benchmarks.tiers import TIERS
from benchmarks.workers import Cluster, Here, Processes, Workers
from methods import METHODS, resolve

CANNOT_WRITE, INTERRUPTED, TERMINATED = 74, 130, 143


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(
        prog="python -m benchmarks.run",
        description="Search architectures, look up their ground truth, store one file a run.",
        epilog="Then: python -m analysis.make_tables --results DIR",
        allow_abbrev=False,  # --seed 3 would be --seeds 3, which is seeds 0 to 2
    )
    p.add_argument(
        "--all", action="store_true", help="every method on every space, but for what --methods or --spaces name"
    )
    p.add_argument(
        "--methods",
        nargs="+",
        action="extend",
        metavar="M",
        help=f"{', '.join(METHODS)}, or package.module:Class of your own; hyper-parameters (--list) follow an at sign: "
        "zero-cost@proxy=naswot,draws=500",
    )
    p.add_argument("--spaces", nargs="+", action="extend", metavar="S", help=", ".join(spaces.SPACES))
    p.add_argument("--study", metavar="NAME", help=f"{', '.join(STUDIES)}: a plan of its own (benchmarks/studies.py)")
    p.add_argument("--seeds", metavar="N", help="a count (4: seeds 0 to 3) or names (3,5,8); default 4")
    p.add_argument("--tier", metavar="T", help=f"{', '.join(TIERS)}; default quick")
    p.add_argument("--data", metavar="D", help="digits or cifar10, to replace the tier's images")
    p.add_argument(
        "--budget",
        nargs="+",
        action="extend",
        metavar="B",
        help="numbers of the tier to replace: arch_lr=1e-5 epochs=60",
    )
    p.add_argument("--data-dir", type=Path, metavar="DIR", help="folder that holds cifar-10-batches-py")
    p.add_argument("--tables", type=Path, metavar="DIR", help="ground truth imported from official files")
    p.add_argument("--jobs", type=int, metavar="N", help="worker processes; default: one a core, at most 2")
    p.add_argument("--dask-scheduler", metavar="ADDRESS", help="work on a dask cluster that shares the folders below")
    p.add_argument("--device", default="cpu", metavar="D", help="cpu or cuda, for searches; default cpu")
    p.add_argument(
        "--precision", default="float32", metavar="P", help="float32, or bfloat16 by autocast; default float32"
    )
    p.add_argument("--compile", action="store_true", help="torch.compile the supernets; minutes at the start of a run")
    p.add_argument("--together", action="store_true", help="train all seeds of a search in one batched supernet")
    p.add_argument("--output", type=Path, default=store.DEFAULT, metavar="DIR", help=f"default {store.DEFAULT}")
    p.add_argument("--checkpoint-every", type=int, default=1, metavar="E", help="epochs between checkpoints; default 1")
    p.add_argument("--time-limit", type=float, metavar="S", help="seconds after which a run is ended as 'timeout'")
    p.add_argument("--redo", action="store_true", help="do every run from the start, done ones too")
    p.add_argument("--dry-run", action="store_true", help="print the plan with an estimate of its time, run nothing")
    p.add_argument("--list", action="store_true", help="print methods, spaces and tiers")
    return p


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    console = Console()
    options = parser().parse_args(arguments)

    def work() -> int:
        if options.list:
            _print_lists(console)
            return 0
        try:
            return _main(options, console)
        except CannotWrite as error:
            raise CannotWrite(f"{error}; finished runs are kept") from None

    try:
        return exit_code(work, {CannotWrite: CANNOT_WRITE})
    except KeyboardInterrupt:
        print("interrupted: finished runs are kept; the same command goes on where this one stopped", file=sys.stderr)
        return INTERRUPTED
    except execution.Terminated:
        print("stopped after the running epochs; the same command goes on where this one stopped", file=sys.stderr)
        return TERMINATED


def _main(options: argparse.Namespace, console: Console) -> int:
    if not (options.all or options.study or (options.methods and options.spaces)):
        raise UserError("nothing to run: give --all, --study, or both --methods and --spaces (--list shows the names)")
    jobs = options.jobs if options.jobs is not None else min(2, os.cpu_count() or 1)
    if options.dask_scheduler and options.jobs is not None:
        raise UserError("--jobs counts processes of this machine, --dask-scheduler uses all its workers: give one")
    if (
        jobs < 1
        or options.checkpoint_every < 1
        or not (options.time_limit is None or 0 < options.time_limit < math.inf)
    ):
        raise UserError("--jobs, --checkpoint-every and --time-limit must be positive numbers")
    if options.dask_scheduler and options.together:
        raise UserError("--together trains in this process, on none of a cluster's: leave it or --dask-scheduler out")
    the_plan = _plan(options)
    results = store.Store(options.output.absolute() if options.dask_scheduler else options.output)
    results.check()
    kept = {} if options.redo else plan.done(the_plan, results)
    plan.check_tables(the_plan, results, kept.values(), options.tables)
    if options.dry_run:
        missing = [job for job in the_plan.jobs if job.spec.hash not in kept]
        _print_plan(the_plan, missing, results, 1 if options.dask_scheduler else jobs, console)
        return 0
    results.open()
    results.remember([job.spec for job in the_plan.jobs])
    data_dir, tables = options.data_dir, options.tables
    workers: Workers = Here() if jobs == 1 else Processes(jobs)
    if options.dask_scheduler:  # its workers have another working directory and environment
        workers = Cluster(options.dask_scheduler)
        data_dir, tables = images.data_directory(data_dir).absolute(), tables and tables.absolute()
    settings = Settings(results, data_dir, tables, options.checkpoint_every, options.time_limit, options.redo)
    try:
        records = execution.run(the_plan, settings, workers=workers, console=console)
    finally:
        workers.close()
    _print_summary(records, console)
    following = f"results in {results.folder}; next: python -m analysis.make_tables --results {results.folder}"
    console.print(following, markup=False)
    return 0 if all(record.status is Status.DONE for record in records) else 1


def _plan(options: argparse.Namespace) -> plan.Plan:
    compute = Compute(options.device, options.precision, options.compile, options.together)
    if options.device not in DEVICES:
        raise one_of("device", options.device, DEVICES)
    if options.precision not in PRECISIONS:
        raise one_of("precision", options.precision, PRECISIONS)
    if options.device == "cuda" and not options.dask_scheduler and not torch.cuda.is_available():
        raise UserError("--device cuda: torch sees no GPU here; leave it out to compute on the CPU")
    if options.study:
        if options.study not in STUDIES:
            raise one_of("study", options.study, STUDIES)
        own = ("all", "methods", "spaces", "seeds", "tier", "data", "budget")
        if any(getattr(options, name) for name in own):
            raise UserError(f"--study has a plan of its own: give none of --{', --'.join(own)}")
        return plan.of_study(STUDIES[options.study], data_dir=options.data_dir, compute=compute)
    return plan.make(
        methods=options.methods or list(METHODS),
        space_names=options.spaces or list(spaces.SPACES),
        seed_list=plan.seeds("4" if options.seeds is None else options.seeds),
        tier="quick" if options.tier is None else options.tier,
        data=options.data,
        data_dir=options.data_dir,
        compute=compute,
        changes=options.budget or (),
    )


def _print_lists(console: Console) -> None:
    table = Table("method", "hyper-parameters with their defaults")
    for name in METHODS:
        _, config = resolve(name)
        free = {key: value for key, value in asdict(config).items() if key not in METHODS[name].settings}
        table.add_row(name, ", ".join(f"{key}={value}" for key, value in free.items()) or "-")
    console.print(table)
    console.print("spaces: ", ", ".join(spaces.SPACES), highlight=False)
    console.print("tiers:  ", ", ".join(TIERS), highlight=False)
    console.print("studies:", ", ".join(STUDIES), highlight=False)


def _print_plan(
    the_plan: plan.Plan, missing: Sequence[plan.Job], results: store.Store, jobs: int, console: Console
) -> None:
    counts = Counter((job.spec.method, job.spec.space) for job in missing)
    table = Table("method", "space", "runs to do")
    for (method, space), n in counts.items():
        table.add_row(escape(method), space, str(n))
    if missing:
        console.print(table)
    console.print(f"{len(the_plan.jobs) - len(missing)} of {len(the_plan.jobs)} runs done", highlight=False)
    cost = plan.estimate(missing, results)
    if len(missing) > cost.unknown:
        minutes = cost.seconds / jobs / 60
        console.print(
            f"the rest takes about {minutes:.1f} minutes on {jobs} process{'es' if jobs > 1 else ''}", highlight=False
        )
    if cost.elsewhere:
        console.print(f"{cost.elsewhere} runs are priced by runs of another processor, for want of any of this one")
    if cost.unknown:
        unpriced = f"{cost.unknown} runs are not in this time: {results.folder} has no earlier run to price them by"
        console.print(unpriced, markup=False)


def _print_summary(records: Sequence[RunRecord], console: Console) -> None:
    done = pd.DataFrame([
        {"space": r.spec.space, "method": r.spec.method, "accuracy": r.final["cifar10_test"]}
        for r in records
        if r.status is Status.DONE
    ])  # fmt: skip
    if len(done):
        table = Table("space", "method", "n", "CIFAR-10 test %, mean ± sd (ddof 1)")
        for (space, method), found in done.groupby(["space", "method"], sort=False)["accuracy"]:
            values = found.dropna().astype(float)  # an imported table may lack some
            spread = f" ± {values.std():.2f}" if len(values) > 1 else ""
            mean = f"{values.mean():.2f}{spread}" if len(values) else "not in the table"
            table.add_row(str(space), escape(str(method)), str(len(values)), mean)
        console.print(table)
    failed = [r for r in records if r.status is not Status.DONE]
    for record in failed:
        said = escape(f"{record.spec.label}: {record.last_line}")
        console.print(f"[red]{record.status}[/red] {said}", highlight=False)
    console.print(f"{len(records) - len(failed)} runs done, {len(failed)} failed")


if __name__ == "__main__":
    sys.exit(main())
