"""Table 1 on NAS-Bench-201, and its like on each NAS-Bench-1Shot1 space: ours, published, and what is exact."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import pandas as pd

from analysis import published, regression, statistics
from analysis.published import Check, Row
from analysis.rendering import Cell, MeanSd, Table, span
from analysis.runs import METHODS, Runs, Setting, changes_of_tier, display, method_of, within
from benchmarks.ground_truth import random_search

ORACLE_DRAWS = (10, 100)
NOT_RUN = "not run"
ORACLE = "chosen by the column's own accuracy"
DIGITS = (
    "Searched on handwritten digits: the table shows that the machine runs, not what the paper claims. Accuracies are "
    "those of the architectures found, on the data sets named, from the benchmark."
)
PUBLISHED = (
    "Published: BaLeNAS (arXiv 2111.13204), divisor of the sd not stated; of how many searches its quoted rows are, it "
    "does not say."
)
VERDICTS = (
    f"A verdict on ours against published needs the paper's setting and n ≥ {statistics.MINIMUM_PAIRS}; equivalent "
    "means two one-sided Welch tests within ±1 point on CIFAR-10 and ±2 on the others, different a Welch test, both "
    "Holm-corrected over the columns."
)
EXACT = (
    "Exact rows are properties of the table. Oracle rows choose by the very accuracy that is reported, which no "
    "search can do."
)
FIGURE_ONLY = (
    "The paper shows this space in a figure at most and prints no number; the lowest error of a single training is the "
    "benchmark's own constant and cannot be reached by a mean of three."
)


def table(runs: Runs, setting: Setting) -> Table:
    """The accuracy table of a setting."""
    return _table_1(runs, setting) if setting.space == "nas-bench-201" else _one_shot(runs, setting)


def caption(runs: Runs, setting: Setting, extra: str = "") -> str:
    """Tier, images, n and ddof, which every table of runs must state."""
    n = span(runs.of(setting).groupby("label")["seed"].nunique())
    stated = f"{setting.space}, {setting.description}. n = {n} searches a method; mean ± sd over searches, ddof 1."
    return f"{stated} {extra}".strip()


def notes(runs: Runs, setting: Setting) -> tuple[str, ...]:
    """What a reader must know of a setting: digits, failed runs, superseded runs."""
    found = [DIGITS] if setting.is_digits else []
    failed = within(runs.failed, setting)
    found += [
        f"{display(str(label))}: {len(group)} run(s) did not finish ({', '.join(sorted(set(group['status'])))})."
        for label, group in failed.groupby("label")
    ]
    looked_up = runs.of(setting).get("facts.ground_truth_digest", pd.Series(dtype=str)).dropna()
    if (others := int((looked_up != regression.load(setting.space).digest).sum())) > 0:
        found.append(
            f"{others} run(s) were looked up in another table than the one that ships; exact rows are of that one."
        )
    return (*found, *runs.omissions)


def absent(runs: Runs, setting: Setting, method: str) -> str:
    """What a cell says where a method has no finished run."""
    return "failed" if (within(runs.failed, setting)["method"] == method).any() else NOT_RUN


def _table_1(runs: Runs, setting: Setting) -> Table:
    paper = published.find("Table 1")
    measures = [column.measure for column in paper.columns]
    rows: list[tuple[Cell, ...]] = []
    left = runs.labels(setting)
    for row in paper.rows:
        if row.label == "optimal":
            continue
        ours = [label for label in left if method_of(label) in row.methods]
        left = [label for label in left if label not in ours]
        rows.append((row.label, "published", row.cells[0].runs, *_published(row), _check(row)))
        rows += _ours(runs, setting, row, ours)
    for label in left:
        rows += _our_row(runs, setting, label, measures)
    optimal = paper.row("optimal")
    rows += _exact(setting.space, measures, optimal)
    return Table(
        name=f"table-1-{setting.name}",
        title=f"Table 1: NAS-Bench-201 ({setting.title})",
        columns=("Method", "", "n", *(column.label for column in paper.columns), "check or verdict"),
        rows=tuple(rows),
        caption=caption(runs, setting, "Accuracies in % at 200 epochs, mean of the benchmark's trainings."),
        notes=(
            *notes(runs, setting),
            PUBLISHED,
            VERDICTS,
            *(f"Optimum, {c.column.label}: {c.correction.reason}." for c in optimal.cells if c.correction is not None),
            EXACT,
        ),
    )


def _published(row: Row) -> list[Cell]:
    return [MeanSd(cell.value, cell.sd, cell.decimals) for cell in row.cells]


def _check(row: Row) -> str:
    cell = row.cells[0]
    if cell.check is Check.NOT_TESTABLE:
        return "published only: the method is not run here"
    if cell.check is Check.REPLAY:
        agreeing = sum(outcome.equals_published for outcome in regression.outcomes(row.cells))
        return f"replayed as one architecture: {agreeing} of {len(row.cells)} cells equal"
    return ""


def _ours(runs: Runs, setting: Setting, row: Row, labels: Sequence[str]) -> Iterator[tuple[Cell, ...]]:
    columns = [cell.column for cell in row.cells]
    missing = [m for m in row.methods if m not in {method_of(label) for label in labels}]
    for label in labels:
        frame = runs.of(setting, label)
        yield from _our_row(runs, setting, label, [column.measure for column in columns])
        differences = [float(frame[cell.column.measure].mean()) - cell.value for cell in row.cells]
        yield ("", "ours - published", None, *(f"{d:+.2f}" for d in differences), _verdict(setting, label, row, frame))
    if row.cells[0].check is not Check.NOT_TESTABLE:
        for method in missing:
            if method in METHODS:
                yield (display(method), "ours", 0, *[absent(runs, setting, method)] * len(columns), "")


def _our_row(runs: Runs, setting: Setting, label: str, measures: Sequence[str]) -> Iterator[tuple[Cell, ...]]:
    frame = runs.of(setting, label)
    yield (display(label), "ours", len(frame), *(MeanSd.of(frame[measure]) for measure in measures), "")


def _verdict(setting: Setting, label: str, row: Row, frame: pd.DataFrame) -> str:
    # A uniform draw is the same at every tier; every other method is only at the paper's setting where the tier is.
    if method_of(label) != "random":
        changed = ", ".join(f"{name}={value}" for name, value in changes_of_tier(frame.iloc[0].to_dict()).items())
        if changed or not setting.is_papers:
            why = "digits" if setting.is_digits else f"{setting.tier} tier"
            return f"not compared: {why}{f' with {changed}' * bool(changed)}, not the paper's setting"
    if any(cell.runs is None for cell in row.cells):
        return "not compared: a quoted row, of how many searches is not stated"
    if len(frame) < statistics.MINIMUM_PAIRS:
        return f"undecided: n = {len(frame)}"
    tests = [
        statistics.against_published(
            frame[cell.column.measure], cell.value, cell.sd or 0.0, cell.runs or 1, cell.column.margin or 1.0
        )
        for cell in row.cells
    ]
    equal = [p < statistics.ALPHA for p in statistics.holm([t.p_equivalent for t in tests])]
    apart = [p < statistics.ALPHA for p in statistics.holm([t.p for t in tests])]
    equivalent = sum(equal)
    different = sum(a and not e for a, e in zip(apart, equal, strict=True))  # within the margin there is no difference
    unclear = len(tests) - equivalent - different
    return f"equivalent in {equivalent}, different in {different}, undecided in {unclear} of {len(tests)}"


def _exact(space: str, measures: Sequence[str], optimal: Row | None = None) -> Iterator[tuple[Cell, ...]]:
    """Optimum, expectation of a uniform draw, oracle; ``None`` where the table misses values."""
    ground = regression.load(space)
    known = {m: regression.keywords(space, m) for m in measures if _complete(space, m)}

    def row(label: str, kind: str, values: Mapping[str, Cell], check: str = "") -> tuple[Cell, ...]:
        return (label, kind, None, *(values.get(measure) for measure in measures), check)

    if optimal is not None:
        equal = sum(outcome.equals_published for outcome in regression.outcomes(optimal.cells))
        yield ("optimum", "published", None, *_published(optimal), f"{equal} of {len(optimal.cells)} cells equal")
    yield row("optimum", "exact", {m: MeanSd(ground.optimum(**k).value) for m, k in known.items()})
    populations = {m: ground.population(**k) for m, k in known.items()}
    yield row(
        "one uniform random architecture",
        "exact expectation",
        {m: MeanSd(p.mean, p.sd) for m, p in populations.items()},
        "sd of a single search",
    )
    for draws in ORACLE_DRAWS:
        best = {m: random_search.oracle_best_of(ground, draws, **k) for m, k in known.items()}
        yield row(
            f"best of {draws} uniform draws, oracle",
            "exact expectation",
            {m: MeanSd(b.mean, b.sd) for m, b in best.items()},
            ORACLE,
        )


def _complete(space: str, name: str) -> bool:
    return bool(np.isfinite(regression.load(space).column(**regression.keywords(space, name))).all())


def _one_shot(runs: Runs, setting: Setting) -> Table:
    labels = runs.labels(setting)
    rows = [_one_shot_row(runs, setting, label) for label in labels]
    run = set(map(method_of, labels))
    rows += [(display(m), "ours", 0, *[absent(runs, setting, m)] * 5) for m in METHODS if m not in run]
    optimum = regression.load(setting.space).optimum(**regression.keywords(setting.space, "cifar10_test")).value
    for label, kind, n, value, remark in _exact(setting.space, ["cifar10_test"]):
        if isinstance(value, MeanSd):
            error, regret = MeanSd(100 - value.mean, value.sd), MeanSd(optimum - value.mean, value.sd)
            rows.append((label, f"{kind} (oracle)" if remark == ORACLE else kind, n, value, error, regret, None, None))
    floors = published.find("constants of its code", space=setting.space).rows[0].cells
    floor = next(cell.value for cell in floors if cell.column.split == "test")
    rows.append(("lowest error of a single training", "published", None, 100 - floor, floor, None, None, None))
    return Table(
        name=f"table-1-{setting.name}",
        title=f"NAS-Bench-1Shot1, space {setting.space[-1]} ({setting.title})",
        columns=("Method", "", "n", "test accuracy", "test error", "test regret", "validation accuracy", "known"),
        rows=tuple(rows),
        caption=caption(
            runs, setting, "In % and points, CIFAR-10, mean of three 108-epoch trainings; regret against the best mean."
        ),
        notes=(
            *notes(runs, setting),
            FIGURE_ONLY,
            "Validation accuracy is known for few graphs ('known' counts the searches) and is never guessed.",
        ),
    )


def _one_shot_row(runs: Runs, setting: Setting, label: str) -> tuple[Cell, ...]:
    frame = runs.of(setting, label)
    validation = frame["cifar10_valid"].astype(float) if "cifar10_valid" in frame else pd.Series(dtype=float)
    test = frame["cifar10_test"].astype(float)
    return (
        display(label),
        "ours",
        len(frame),
        MeanSd.of(test),
        MeanSd.of(100 - test),
        MeanSd.of(frame["regret_cifar10_test"].astype(float)),
        MeanSd.of(validation) or "missing",
        int(validation.notna().sum()),
    )
