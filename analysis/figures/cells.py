"""Pictures of the cells that methods chose."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from matplotlib.axes import Axes
from matplotlib.patches import FancyArrowPatch

from analysis.figures import style
from analysis.figures.style import Picture
from analysis.figures.trajectories import NAMES, note
from analysis.runs import Runs, Setting, display
from benchmarks import spaces
from benchmarks.spaces.nas_bench_1shot1 import NASBench1Shot1

_SHORT = {
    "nor_conv_3x3": "3x3", "nor_conv_1x1": "1x1", "avg_pool_3x3": "avg", "skip_connect": "skip", "none": "none",
    "conv3x3-bn-relu": "3x3", "conv1x1-bn-relu": "1x1", "maxpool3x3": "max",
}  # fmt: skip
_BEND = 0.32  # height of an arc's control point per unit of its length
_COLOURS = {
    "3x3": "#0072b2",
    "1x1": "#009e73",
    "avg": "#cc79a7",
    "max": "#cc79a7",
    "skip": "#e69f00",
    "none": "#aaaaaa",
}


def build(runs: Runs) -> Iterator[Picture]:
    """One figure a setting: for each method the cell that most of its searches chose."""
    for setting in runs.settings:
        yield _cells(runs, setting)


def _cells(runs: Runs, setting: Setting) -> Picture:
    labels = runs.labels(setting)
    columns = min(4, len(labels))
    rows = -(-len(labels) // columns)
    figure, axes = style.panels(rows, columns, width=2.6, height=1.25)
    flat = [axis for row in axes for axis in row]
    for axis in flat:
        axis.set_axis_off()
    for axis, label in zip(flat, labels, strict=False):
        frame = runs.of(setting, label)
        counts = frame["architecture"].value_counts(sort=True)
        text = str(counts.index[0])
        accuracy = float(frame.loc[frame["architecture"] == text, "cifar10_test"].iloc[0])
        draw(axis, setting.space, text)
        axis.set_title(f"{display(label)}: {counts.iloc[0]} of {len(frame)}, {accuracy:.2f} %", fontsize=8)
    return Picture(
        f"cells-{setting.name}",
        f"Cells chosen on {NAMES.get(setting.space, setting.space)}",
        "For each method the cell that most searches chose (the first of several that tie), how many chose it, and its "
        f"CIFAR-10 test accuracy. {note(runs, [setting])}",
        figure,
    )


def draw(axis: Axes, space: str, text: str) -> None:
    """Draw the cell of an architecture string."""
    chosen = spaces.get(space)
    if isinstance(chosen, NASBench1Shot1):
        names, inputs = chosen.operations_and_inputs(chosen.decode(text))
        nodes = ["in", *(_SHORT[name] for name in names), "out"]
        _graph(axis, nodes, [(s, t, "", "#444444") for t, found in enumerate(inputs, start=1) for s in found])
        return
    edges = []
    for target, part in enumerate(text.split("+"), start=1):
        for term in part.strip("|").split("|"):
            name, _, source = term.partition("~")
            short = _SHORT[name]
            edges.append((int(source), target, short, _COLOURS[short]))
    _graph(axis, ["in", "1", "2", "out"], edges)


def _graph(axis: Axes, nodes: Sequence[str], edges: Sequence[tuple[int, int, str, str]]) -> None:
    """Nodes on a line, edges as arcs: short ones straight, long ones above and below in turn."""
    axis.set_xlim(-0.4, len(nodes) - 0.6)
    highest = _BEND * (len(nodes) - 1) / 2
    axis.set_ylim(-highest - 0.2, highest + 0.2)
    axis.set_aspect("equal")  # so that an arc is as high as computed below
    for number, (source, target, label, colour) in enumerate(edges):
        span = target - source
        side = 0.0 if span == 1 else 1.0 if (source + span) % 2 or span == len(nodes) - 1 else -1.0
        bend = side * _BEND
        axis.add_patch(
            FancyArrowPatch(
                (source, 0), (target, 0), connectionstyle=f"arc3,rad={-bend}", arrowstyle="-|>", mutation_scale=8,
                shrinkA=8, shrinkB=8, color=colour, linewidth=1.0 if label == "none" else 1.6,
                linestyle=":" if label == "none" else "-", zorder=1 + number / 100,
            )
        )  # fmt: skip
        if label:
            # A quadratic curve passes half as high as its control point.
            axis.text(
                (source + target) / 2, bend * span / 2, label, ha="center", va="center", fontsize=7, color=colour,
                zorder=4, bbox={"boxstyle": "square,pad=0.1", "facecolor": "white", "edgecolor": "none"},
            )  # fmt: skip
    for position, name in enumerate(nodes):
        colour = _COLOURS.get(name, "black")
        axis.text(
            position, 0, name, ha="center", va="center", fontsize=7, color=colour, zorder=5,
            bbox={"boxstyle": "round,pad=0.3", "facecolor": "white", "edgecolor": colour, "linewidth": 0.8},
        )  # fmt: skip
