"""``python -m benchmarks.proxies``: score a space by training-free proxies."""

from __future__ import annotations

import argparse
import os
import shlex
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn, TimeRemainingColumn

from benchmarks import images, spaces
from benchmarks.errors import UserError, exit_code
from benchmarks.files import prepare
from benchmarks.proxies import chunks, scoring
from benchmarks.proxies.request import Request
from benchmarks.proxies.table import read
from methods.proxies import PROXIES


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command. Returns the exit code: 0 done, 2 a mistake, 130 interrupted (finished chunks are kept)."""
    options = _parser().parse_args(arguments)
    console = Console(stderr=True, highlight=False)

    def work() -> None:
        request = _request(options, sys.argv[1:] if arguments is None else arguments)
        request.check()
        prepare(request.output)
        _score(request, chunks.missing(request), jobs=options.jobs, console=console)
        for path in chunks.assemble(request):
            table = read(path)
            print(
                f"{path}: {len(table.positions):,} of {table.population:,} architectures, seeds "
                f"{', '.join(map(str, table.by_seed))}, {len(table.not_finite)} scores not finite"
            )

    try:
        return exit_code(work)
    except KeyboardInterrupt:
        print("interrupted: finished chunks are kept, run the command again to go on", file=sys.stderr)
        return 130


def _score(request: Request, work: list[chunks.Chunk], *, jobs: int, console: Console) -> None:
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn())
    times = (TimeElapsedColumn(), TimeRemainingColumn())
    with Progress(*columns, *times, console=console, disable=not console.is_terminal) as progress:
        task = progress.add_task(
            f"{', '.join(request.proxies)} on {request.space}", total=sum(c.stop - c.start for c in work)
        )
        for chunk, lines in scoring.execute(request, work, jobs=jobs):
            progress.advance(task, chunk.stop - chunk.start)
            for line in lines:
                console.print(f"{line}: ranks last", soft_wrap=True)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.proxies",
        description="Score the architectures of a space without training. An interrupted run goes on where it stopped.",
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )
    parser.add_argument("--space", default="nas-bench-201", help=", ".join(spaces.SPACES))
    parser.add_argument("--proxy", nargs="+", default=["synflow"], metavar="PROXY", help=", ".join(PROXIES))
    parser.add_argument("--seeds", default="0", help="initialisation seeds, e.g. 0,1,2")
    parser.add_argument("--sample", type=int, help="score that many, drawn uniformly; all if not given")
    parser.add_argument("--data", default="digits", help=f"{', '.join(images.NAMES)}; only for proxies that see images")
    parser.add_argument("--data-dir", type=Path, help=f"folder of the image sets, else ${images.DATA_DIR_VARIABLE}")
    parser.add_argument("--image-size", type=int, help="pixels a side; the image set's own if not given")
    parser.add_argument("--batch-size", type=int, default=64, help="images in the batch")
    parser.add_argument("--channels", type=int, default=16, help="of the networks' first stage")
    parser.add_argument("--cells-per-stage", type=int, help="5 on nas-bench-201, 3 on the others if not given")
    parser.add_argument("--jobs", type=int, default=1, help="processes, of one thread each")
    parser.add_argument("--output", type=Path, default=Path("results/proxies"), help="folder of the tables")
    return parser


def _request(options: argparse.Namespace, arguments: Sequence[str]) -> Request:
    try:
        seeds = tuple(dict.fromkeys(int(text) for text in options.seeds.split(",")))
    except ValueError:
        raise UserError(f"--seeds {options.seeds!r} is no list of numbers: write for example 0,1,2") from None
    if options.jobs < 1:
        raise UserError(f"--jobs {options.jobs} is too small: choose 1 to {os.cpu_count()}")
    depth = options.cells_per_stage
    return Request(
        space=spaces.get(options.space).name,
        proxies=tuple(dict.fromkeys(options.proxy)),
        seeds=seeds,
        sample=options.sample,
        channels=options.channels,
        cells_per_stage=depth if depth is not None else 5 if options.space == "nas-bench-201" else 3,
        data=options.data,
        data_dir=options.data_dir,
        image_size=options.image_size,
        batch_size=options.batch_size,
        output=options.output,
        command=shlex.join(["python", "-m", "benchmarks.proxies", *arguments]),
    )


if __name__ == "__main__":
    sys.exit(main())
