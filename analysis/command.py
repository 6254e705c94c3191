"""What the command lines of analysis share: two options, errors in one line, output whole or not at all."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis import runs
from benchmarks.errors import UserError
from benchmarks.files import write_atomically

DEFAULT_OUTPUT = Path("results/analysis")


@dataclass(frozen=True)
class Output:
    """A folder to write to."""

    folder: Path

    def write(self, name: str, content: str | bytes) -> Path:
        """Write a file whole or not at all. Raises ``UserError`` where the folder cannot be written."""
        path = self.folder / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            write_atomically(path, content.encode() if isinstance(content, str) else content)
        except OSError as error:
            raise UserError(
                f"cannot write {path} ({error.strerror or error}): choose a writable folder with --output"
            ) from None
        return path


def main(
    name: str,
    description: str,
    work: Callable[[runs.Runs, Output], int | None],
    arguments: Sequence[str] | None = None,
    *,
    output: Path = DEFAULT_OUTPUT,
) -> int:
    """Parse options, load runs, do the work. Returns the exit code: 2 for what the user can mend."""
    parser = argparse.ArgumentParser(prog=f"python -m analysis.{name}", description=description)
    parser.add_argument(
        "--results",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="results folders; default: the committed results/reference/*, or results/runs where there is none",
    )
    parser.add_argument("--output", type=Path, default=output, metavar="DIR", help=f"default {output}")
    options = parser.parse_args(arguments)
    try:
        folders = options.results or runs.default_folders()
        print(f"results: {', '.join(map(str, folders))}", file=sys.stderr)
        status = work(runs.load(folders), Output(options.output)) or 0
        sys.stdout.flush()
        return status
    except BrokenPipeError:  # the reader of what we print has seen enough, for instance head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
