"""How figures look: one colour, dash and marker a method, apart in grey and to colour-blind eyes."""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib as mpl
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from analysis.runs import method_of

RC: Any = {
    "font.size": 9,
    "axes.titlesize": 9,
    "axes.labelsize": 9,
    "legend.fontsize": 8,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "grid.alpha": 0.25,
    "lines.linewidth": 1.6,
    "lines.markersize": 4,
    "svg.hashsalt": "balenas-bench",  # the same bytes each time
    "pdf.compression": 6,
}

# Okabe and Ito's palette, which stays apart in the common kinds of colour blindness; dashes tell lines apart in grey.
_LOOKS: dict[str, tuple[str, Any, str]] = {
    "random": ("#7f7f7f", (0, (1, 1)), "x"),
    "zero-cost": ("#e69f00", (0, (3, 1, 1, 1)), "^"),
    "darts-1st": ("#0072b2", "-", "o"),
    "darts-2nd": ("#56b4e9", (0, (5, 2)), "s"),
    "balenas-1st": ("#d55e00", "-", "D"),
    "balenas-2nd": ("#cc79a7", (0, (5, 2)), "v"),
    "balenas-tf-1st": ("#009e73", (0, (4, 1, 1, 1)), "P"),
    "balenas-tf-2nd": ("#000000", (0, (2, 2)), "*"),
}
_OTHERS = ("#8c564b", "#bcbd22", "#17becf", "#9467bd")


@dataclass(frozen=True)
class Look:
    """Colour, dash and marker."""

    colour: str
    dash: Any
    marker: str


@dataclass(frozen=True)
class Picture:
    """A figure ready to save.

    Attributes:
        name: stem of its file names.
        title: one line.
        caption: what is drawn: tier, images, n, what bands are.
        figure: the drawing.
    """

    name: str
    title: str
    caption: str
    figure: Figure


def look(label: str) -> Look:
    """The look of a method; variants and users' methods take other colours, the same ones each time."""
    if label in _LOOKS:
        return Look(*_LOOKS[label])
    number = sum(map(ord, label))
    dash, marker = _LOOKS.get(method_of(label), ("", (0, (6, 1, 1, 1)), "h"))[1:]
    return Look(_OTHERS[number % len(_OTHERS)], dash, marker)


def panels(rows: int, columns: int, *, width: float = 2.9, height: float = 2.4) -> tuple[Figure, list[list[Axes]]]:
    """A figure with a grid of axes; sizes in inches a panel."""
    figure = Figure(figsize=(max(width * columns, 4.5), height * rows + 0.5), layout="constrained")
    axes = figure.subplots(rows, columns, squeeze=False)
    return figure, [list(row) for row in axes]


def legend(figure: Figure, axes: Sequence[Axes]) -> None:
    """One legend below the panels for the lines of all of them."""
    found: dict[str, Any] = {}
    for axis in axes:
        for handle, label in zip(*axis.get_legend_handles_labels(), strict=True):
            found.setdefault(label, handle)
    if found:
        columns = max(1, int(figure.get_size_inches()[0] / 1.6))  # inches that a long label takes
        figure.legend(list(found.values()), list(found), loc="outside lower center", ncols=columns, frameon=False)


def say(axis: Axes, text: str) -> None:
    """An empty panel that says why it is empty."""
    axis.set_xticks([])
    axis.set_yticks([])
    axis.grid(False)
    axis.text(0.5, 0.5, text, ha="center", va="center", transform=axis.transAxes, fontsize=8)


def render(picture: Picture, ending: str) -> bytes:
    """The picture as PDF, SVG or PNG; the same bytes each time."""
    buffer = io.BytesIO()
    metadata = {"pdf": {"CreationDate": None, "Title": picture.title}, "svg": {"Date": None, "Title": picture.title}}
    with mpl.rc_context(RC):
        picture.figure.savefig(buffer, format=ending, dpi=160, metadata=metadata.get(ending, {"Title": picture.title}))
    picture.figure.set_layout_engine("none")  # the panels stay where they were laid out, in every format
    return buffer.getvalue()


ENDINGS = ("pdf", "svg", "png")
