"""Results of one or several machines: ``python -m benchmarks.store verify | merge | export``.

Exit codes: 0 in order; 1 damaged files were found, or runs that contradict each other; 2 bad arguments; 74 no writing.
"""

from __future__ import annotations

import argparse
import io
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from benchmarks.errors import UserError, exit_code
from benchmarks.files import CannotWrite, save
from benchmarks.store import DamagedFile, Store, frame
from benchmarks.store.merging import Conflict, merge


def parser() -> argparse.ArgumentParser:
    """The command line."""
    p = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    commands = p.add_subparsers(dest="command", required=True)
    verify_ = commands.add_parser("verify", help="read every file and compare its checksum")
    verify_.add_argument("stores", nargs="+", type=Path, metavar="DIR")
    merge_ = commands.add_parser("merge", help="add the runs of other folders to the first, which may be new")
    merge_.add_argument("into", type=Path, metavar="A")
    merge_.add_argument("sources", nargs="+", type=Path, metavar="B")
    export_ = commands.add_parser("export", help="one table of all runs, a row an epoch")
    export_.add_argument("stores", nargs="+", type=Path, metavar="DIR")
    export_.add_argument("--output", type=Path, required=True, metavar="FILE", help="FILE.csv or FILE.parquet")
    export_.add_argument("--final", action="store_true", help="the last epoch of each run only")
    return p


def verify(stores: Sequence[Store]) -> int:
    """Print a line for every file that is damaged or under a wrong name. Returns how many there are."""
    wrong = total = 0
    for store in stores:
        store.must_exist()
        for path, record in store.scan():
            total += 1
            line = ""
            if isinstance(record, UserError):
                line = str(record)
            elif path != store.path(record.spec):
                line = f"{path} holds {record.spec.label}, whose place is {store.path(record.spec)}: move it there"
            wrong += bool(line)
            if line:
                print(line)
    print(f"{total - wrong} of {total} files in order")
    return wrong


def export(folders: Sequence[Path], output: Path, *, final: bool) -> int:
    """Write all runs as one table. Returns its number of rows."""
    if output.suffix not in (".csv", ".parquet"):
        raise UserError(f"cannot tell the format of {output}: name it .csv or .parquet")
    table, buffer = frame(folders, final=final), io.BytesIO()
    if output.suffix == ".csv":
        lists = table.map(lambda value: json.dumps(value) if isinstance(value, list) else value)
        lists.to_csv(buffer, index=False)
    else:
        table.to_parquet(buffer, index=False)
    save(output, buffer.getvalue())
    return len(table)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command line and return the exit code."""
    options = parser().parse_args(arguments)

    def work() -> int:
        if options.command == "verify":
            return 1 if verify([Store(folder) for folder in options.stores]) else 0
        if options.command == "merge":
            added = merge(Store(options.into), [Store(folder) for folder in options.sources])
            print(f"{added} runs added to {options.into}")
        else:
            print(f"{export(options.stores, options.output, final=options.final)} rows in {options.output}")
        return 0

    return exit_code(work, {DamagedFile: 1, Conflict: 1, CannotWrite: 74})


if __name__ == "__main__":
    sys.exit(main())
