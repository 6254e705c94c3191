"""The tables from the command line: build, import, verify, describe."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from rich.console import Console
from rich.progress import Progress

from benchmarks.errors import UserError, exit_code
from benchmarks.ground_truth import FILES, TABLES, load
from benchmarks.ground_truth.storage import StoredTable, read

IMPORTED = Path("ground-truth")
"""Where imports go: beside the shipped tables, never over them. ``benchmarks.run --tables ground-truth`` reads them."""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a subcommand. Returns the exit code: 0, or 2 for a user's mistake."""
    arguments = _parser().parse_args(argv)
    console = Console()
    return exit_code(lambda: arguments.run(arguments, console))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.ground_truth", description=__doc__)
    commands = parser.add_subparsers(required=True, metavar="COMMAND")

    build = commands.add_parser("build", help="compile the tables from a folder of facts")
    build.add_argument("facts", type=Path, help="folder with nas_bench_201.csv.gz and nas_bench_1shot1.npz")
    build.set_defaults(run=_build)

    importer = commands.add_parser("import", help="read an official benchmark file and write its table")
    importer.add_argument("path", type=Path, help="official file or folder")
    importer.add_argument(
        "--partial", action="store_true", help="accept a file that lacks architectures; they stay missing"
    )
    importer.set_defaults(run=_import)
    for command, default, where in (
        (build, TABLES, "the shipped ones, in their place"),
        (importer, IMPORTED, IMPORTED),
    ):
        command.add_argument("--output", type=Path, default=default, help=f"folder of the tables (default: {where})")

    verify = commands.add_parser("verify", help="check checksums and columns of the tables")
    verify.set_defaults(run=_verify)
    describe = commands.add_parser("describe", help="list every column with its meaning, source and licence")
    describe.set_defaults(run=_describe)
    for command in (verify, describe):
        command.add_argument(
            "--tables", type=Path, default=TABLES, help="folder of the tables (default: the shipped ones)"
        )
    return parser


def _build(arguments: argparse.Namespace, console: Console) -> None:
    from benchmarks.ground_truth.build import build

    with console.status("compiling the tables"):
        written = build(arguments.facts, arguments.output)
    for table in written:
        console.print(_summary(table), soft_wrap=True)


def _import(arguments: argparse.Namespace, console: Console) -> None:
    from benchmarks.ground_truth.importers import import_path

    with Progress(console=console) as progress:
        import_path(arguments.path, arguments.output, progress, partial=arguments.partial)


def _held(folder: Path) -> dict[str, str]:
    """File name by space: all where the tables ship, what is there elsewhere, for an import may have made one only."""
    if folder == TABLES:
        return dict(FILES)
    found = {space: file for space, file in FILES.items() if (folder / file).is_file()}
    if not found:
        raise UserError(
            f"{folder} has no tables: name a folder that holds {' or '.join(dict.fromkeys(FILES.values()))}"
        )
    return found


def _verify(arguments: argparse.Namespace, console: Console) -> None:
    for space, file in _held(arguments.tables).items():
        table = load(space, tables=arguments.tables)
        console.print(f"{space}: {len(table):,} rows, {file} sha256 {table.digest} is intact", soft_wrap=True)


def _describe(arguments: argparse.Namespace, console: Console) -> None:
    for file in dict.fromkeys(_held(arguments.tables).values()):
        table = read(arguments.tables / file)
        console.print(_summary(table), soft_wrap=True)
        rows = table.data.num_rows
        for name in table.data.column_names:
            column = table.provenance.columns[name]
            held = rows - table.data.column(name).null_count
            console.print(f"  {name}: {column.meaning}; {held:,} of {rows:,} held", soft_wrap=True, highlight=False)
            console.print(f"    {column.source} [{column.licence}]", soft_wrap=True, highlight=False, markup=False)


def _summary(table: StoredTable) -> str:
    about, size = table.provenance, table.path.stat().st_size
    return (
        f"{about.benchmark}, {about.release}: {table.data.num_rows:,} rows, {table.data.num_columns} columns, "
        f"{size / 1e6:.2f} MB, sha256 {table.digest}, {table.path}"
    )


if __name__ == "__main__":
    sys.exit(main())
