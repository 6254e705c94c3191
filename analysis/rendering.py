"""A table as data, and the same table as Markdown, CSV, LaTeX (booktabs) and HTML."""

from __future__ import annotations

import csv
import html
import io
import math
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike

PLUS_MINUS = "±"


@dataclass(frozen=True)
class MeanSd:
    """Mean and standard deviation (ddof 1 unless the caption says otherwise), with the digits to print.

    Attributes:
        mean: mean.
        sd: spread, None where there is none (a single value).
        digits: decimals.
    """

    mean: float
    sd: float | None = None
    digits: int = 2

    @classmethod
    def of(cls, values: ArrayLike, digits: int = 2) -> MeanSd | None:
        """Of the values that are not NaN; None if there are none."""
        array = np.asarray(values, np.float64)
        array = array[~np.isnan(array)]
        if len(array) == 0:
            return None
        return cls(float(array.mean()), float(array.std(ddof=1)) if len(array) > 1 else None, digits)

    def __str__(self) -> str:
        mean = f"{self.mean:.{self.digits}f}"
        return mean if self.sd is None else f"{mean} {PLUS_MINUS} {self.sd:.{self.digits}f}"


def span(counts: Iterable[int]) -> str:
    """Counts as captions print them: ``4``, or ``2 to 4`` where they differ, ``0`` where there are none."""
    ends = sorted(set(counts)) or [0]
    return str(ends[0]) if len(ends) == 1 else f"{ends[0]} to {ends[-1]}"


Cell = MeanSd | float | int | str | None
"""What a table holds; None prints as a dash."""


@dataclass(frozen=True)
class Table:
    """A table ready to print.

    Attributes:
        name: stem of its file names.
        title: one line.
        columns: headings.
        rows: a cell a column.
        caption: what it shows: tier, n, images, ddof.
        notes: what a reader must know besides.
    """

    name: str
    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[Cell, ...], ...]
    caption: str
    notes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"{self.name}: a row of {len(row)} cells under {len(self.columns)} headings: {row}")


def text(cell: Cell) -> str:
    """A cell as it is printed."""
    if cell is None or (isinstance(cell, float) and math.isnan(cell)):
        return "-"
    if isinstance(cell, float):
        return f"{cell:.2f}"
    return str(cell)


def markdown(table: Table) -> str:
    """GitHub Markdown with aligned pipes."""
    cells = [[text(c).replace("|", "\\|") for c in row] for row in (table.columns, *table.rows)]
    widths = [max(3, *(len(row[i]) for row in cells)) for i in range(len(table.columns))]
    lines = ["| " + " | ".join(c.ljust(w) for c, w in zip(row, widths, strict=True)) + " |" for row in cells]
    lines.insert(1, "|" + "|".join("-" * (w + 2) for w in widths) + "|")
    below = "\n".join(f"- {note}" for note in table.notes)
    return f"### {table.title}\n\n" + "\n".join(lines) + f"\n\n{table.caption}\n" + (f"\n{below}\n" if below else "")


def comma_separated(table: Table) -> str:
    """CSV; a column that holds a mean and its spread becomes two."""
    split = [any(isinstance(row[i], MeanSd) for row in table.rows) for i in range(len(table.columns))]
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    heads = [[f"{name} mean", f"{name} sd"] if two else [name] for name, two in zip(table.columns, split, strict=True)]
    writer.writerow([head for pair in heads for head in pair])
    for row in table.rows:
        pairs = [_values(cell, two) for cell, two in zip(row, split, strict=True)]
        writer.writerow([value for pair in pairs for value in pair])
    return out.getvalue()


def _values(cell: Cell, two: bool) -> list[object]:
    if isinstance(cell, MeanSd):
        mean, sd = round(cell.mean, 6), "" if cell.sd is None else round(cell.sd, 6)
        return [mean, sd]
    value: object = "" if cell is None else round(cell, 6) if isinstance(cell, float) else cell
    return [value, ""] if two else [value]


def latex(table: Table) -> str:
    """A table environment in the style of the package booktabs."""
    align = "l" + "r" * (len(table.columns) - 1)
    rows = [" & ".join(_tex(text(c)) for c in row) + r" \\" for row in table.rows]
    head = " & ".join(_tex(c) for c in table.columns) + r" \\"
    caption = _tex(" ".join([table.title + ".", table.caption, *table.notes]))
    body = "\n".join([r"\toprule", head, r"\midrule", *rows, r"\bottomrule"])
    return (
        "\\begin{table}\n\\centering\n\\small\n"
        f"\\begin{{tabular}}{{{align}}}\n{body}\n\\end{{tabular}}\n"
        f"\\caption{{{caption}}}\n\\label{{tab:{table.name}}}\n\\end{{table}}\n"
    )


_TEX = {
    "\\": r"\textbackslash{}",
    "&": r"\&",
    "%": r"\%",
    "$": r"\$",
    "#": r"\#",
    "_": r"\_",
    "{": r"\{",
    "}": r"\}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    "|": r"\textbar{}",
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "±": r"$\pm$",
    "≤": r"$\leq$",
    "≥": r"$\geq$",
}


def _tex(string: str) -> str:
    return "".join(_TEX.get(character, character) for character in string)


def html_table(table: Table) -> str:
    """A figure with the table; numeric cells carry ``data-value`` to sort by."""
    head = "".join(f'<th scope="col">{html.escape(c)}</th>' for c in table.columns)
    body = "\n".join("<tr>" + "".join(_td(c) for c in row) + "</tr>" for row in table.rows)
    notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.notes)
    return (
        f'<figure class="table" id="tab-{html.escape(table.name)}"><h3>{html.escape(table.title)}</h3>\n'
        f'<div class="scroll"><table class="sortable"><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{body}\n</tbody></table></div>\n"
        f"<figcaption>{html.escape(table.caption)}{f'<ul>{notes}</ul>' if notes else ''}</figcaption></figure>\n"
    )


def _td(cell: Cell) -> str:
    value = cell.mean if isinstance(cell, MeanSd) else cell
    number = f' class="number" data-value="{value!r}"' if isinstance(value, int | float) and value == value else ""
    return f"<td{number}>{html.escape(text(cell))}</td>"


def html_page(tables: Iterable[Table], title: str) -> str:
    """A plain page of tables."""
    return (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{html.escape(title)}</title>'
        "<style>body{font-family:sans-serif;margin:2em}table{border-collapse:collapse}"
        "td,th{padding:.2em .6em;border-bottom:1px solid #ccc;text-align:left}td.number{text-align:right}</style>\n"
        + "".join(html_table(table) for table in tables)
        + "</html>\n"
    )


FORMATS: dict[str, Callable[[Table], str]] = {
    "md": markdown,
    "csv": comma_separated,
    "tex": latex,
    "html": lambda table: html_page([table], table.title),
}
"""File ending to renderer."""
