"""What the command lines of analysis share: two options, errors in one line, output whole or not at all."""

from __future__ import annotations

import argparse
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from analysis import runs
from benchmarks.errors import UserError, exit_code
from benchmarks.files import write_atomically

DEFAULT_OUTPUT = Path("results/analysis")


@dataclass(frozen=True)
class Block:
    """What a command writes into a README, between two lines that stay.

    Attributes:
        name: of the block.
        command: module of ``analysis`` that writes it.
    """

    name: str
    command: str

    @property
    def begin(self) -> str:
        """The line before."""
        return f"<!-- {self.name}: written by python -m analysis.{self.command} -->"

    @property
    def end(self) -> str:
        """The line after."""
        return f"<!-- end of {self.name} -->"

    def replaced(self, readme: str, text: str) -> str:
        """The README with ``text`` between the two lines. Raises ``UserError`` where it lacks them."""
        before, begin, rest = readme.partition(self.begin)
        _, end, after = rest.partition(self.end)
        if not begin or not end:
            raise UserError(f"README.md lacks the lines {self.begin!r} and {self.end!r}: add them where it is to stand")
        return f"{before}{self.begin}\n\n{text}\n{self.end}{after}"


@dataclass(frozen=True)
class Output:
    """A folder to write to."""

    folder: Path

    def replace(self, block: Block, text: str) -> None:
        """Rewrite a block of the folder's README. Raises ``UserError`` where there is none."""
        path = self.folder / "README.md"
        if not path.is_file():
            raise UserError(f"no README.md in {self.folder}: name the folder that has it with --output")
        self.write("README.md", block.replaced(path.read_text(encoding="utf-8"), text))

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
    results: Sequence[Path] = (),
) -> int:
    """Parse options, load runs, do the work. Returns the exit code: 2 for what the user can mend.

    Args:
        name: of the module.
        description: one line.
        work: from runs to files; may return an exit code.
        arguments: of the command line; None for those of the process.
        output: default folder to write to.
        results: default folders of runs; ``runs.default_folders`` if empty.
    """
    parser = argparse.ArgumentParser(prog=f"python -m analysis.{name}", description=description)
    parser.add_argument(
        "--results",
        nargs="+",
        type=Path,
        metavar="DIR",
        help="results folders; default: "
        + (" ".join(map(str, results)) or "the committed results/reference/*, or results/runs where there is none"),
    )
    parser.add_argument("--output", type=Path, default=output, metavar="DIR", help=f"default {output}")
    options = parser.parse_args(arguments)

    def work_through() -> int:
        folders = options.results or list(results) or runs.default_folders()
        print(f"results: {', '.join(map(str, folders))}", file=sys.stderr)
        status = work(runs.load(folders), Output(options.output)) or 0
        sys.stdout.flush()
        return status

    try:
        return exit_code(work_through)
    except BrokenPipeError:  # the reader of what we print has seen enough, for instance head
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
