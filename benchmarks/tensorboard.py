"""The stored traces for TensorBoard: ``python -m benchmarks.tensorboard DIR --output LOGDIR``, then ``tensorboard``.

One event file a run, one scalar an epoch for every number of its rows, at the second of the search it belongs to.
Exit codes: 0, or 2 with one line. Needs the extra ``tensorboard``.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.errors import UserError, exit_code
from benchmarks.spec import RunRecord
from benchmarks.store import Store


def write(store: Store, output: Path) -> int:
    """Convert every run that has rows. Returns how many.

    Raises:
        UserError: no such folder, a folder that holds something already, or TensorBoard is not installed.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError:
        raise UserError("TensorBoard is not installed: pip install 'balenas-bench[tensorboard]'") from None
    store.must_exist()
    if output.exists() and (not output.is_dir() or any(output.iterdir())):
        raise UserError(f"output {output} holds something already: name a new folder")
    written = 0
    for record in filter(_has_rows, store.records()):
        place = store.path(record.spec).relative_to(store.folder).with_suffix("")
        with SummaryWriter(str(output / place)) as writer:
            for row in record.rows:
                step, seconds = int(row["epoch"]), float(row["seconds"])  # type: ignore[arg-type]
                for key, value in row.items():
                    if isinstance(value, int | float) and key != "epoch":
                        writer.add_scalar(key, value, step, walltime=seconds)
        written += 1
    return written


def _has_rows(record: RunRecord) -> bool:
    return bool(record.rows)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.tensorboard", description=__doc__)
    parser.add_argument("store", type=Path, metavar="DIR", help="results folder")
    parser.add_argument("--output", type=Path, required=True, metavar="LOGDIR", help="new folder for the event files")
    options = parser.parse_args(arguments)

    def work() -> None:
        print(f"{write(Store(options.store), options.output)} runs; next: tensorboard --logdir {options.output}")

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
