"""What searches cost, and what their Hessians were."""

from __future__ import annotations

import numpy as np
import pandas as pd

from analysis import statistics
from analysis.claims.checks import pairs
from analysis.rendering import Cell, MeanSd, Table
from analysis.runs import Runs, Setting, display
from analysis.tables.accuracy import caption, notes

_PHASES = ("seconds_architecture", "seconds_weights", "seconds_measure", "seconds_hessian")
_HESSIAN = (
    ("hessian_dominant", "dominant eigenvalue"),
    ("hessian_smallest", "smallest eigenvalue"),
    ("hessian_spectral_norm", "spectral norm"),
    ("hessian_frobenius_norm", "Frobenius norm"),
    ("hessian_trace", "trace"),
    ("hessian_gradient_norm", "gradient norm"),
    ("hessian_posterior_dominant", "dominant eigenvalue, posterior average"),
    ("hessian_posterior_spectral_norm", "spectral norm, posterior average"),
)
COST = (
    "A search includes its measurements. Ratios compare architecture and weight steps only, of searches that "
    "were not resumed, with Student's t interval of the geometric mean; other work on the machine adds noise."
)
ANALOGUE = (
    "At the last measured epoch; the last two columns leave epoch 0 out. The paper plots a 'Hessian norm' of the DARTS "
    "space and does not define it: this is its analogue on another space."
)


def cost(runs: Runs, setting: Setting) -> Table | None:
    """Seconds of a search by phase, and the ratio of steps to DARTS's at equal seeds."""
    rows: list[tuple[Cell, ...]] = []
    processors: set[str] = set()
    for label in runs.labels(setting):
        frame = runs.of(setting, label)
        frame = frame[~_resumed(frame)]
        if frame.empty:
            continue
        processors |= set(frame.get("facts.processor", pd.Series(dtype=str)).dropna().astype(str))
        phases = [MeanSd.of(frame[p].astype(float), 1) if p in frame else None for p in _PHASES]
        rows.append(
            (
                display(label),
                len(frame),
                MeanSd.of(frame["seconds"].astype(float), 1),
                *phases,
                _ratio(runs, setting, label),
            )
        )
    if not rows:
        return None
    return Table(
        f"cost-{setting.name}",
        f"What a search costs on {setting.space} ({setting.title})",
        (
            "Method", "n", "search (s)", "architecture steps (s)", "weight steps (s)", "measuring (s)", "Hessians (s)",
            "steps / DARTS's at equal seeds",
        ),
        tuple(rows),
        caption(runs, setting, f"Seconds of one thread on {', '.join(sorted(processors)) or 'an unnamed processor'}."),
        (
            *notes(runs, setting),
            COST,
            "BaLeNAS-TF counts its selection; the search that it starts from is the BaLeNAS row's.",
        ),
    )  # fmt: skip


def _resumed(frame: pd.DataFrame) -> pd.Series:
    """Rows of searches that ran on more than one occasion."""
    held = frame.get("facts.resumed", pd.Series(False, frame.index))
    return held.fillna(False).astype(bool)


def _ratio(runs: Runs, setting: Setting, label: str) -> str | None:
    base = {"balenas-1st": "darts-1st", "balenas-2nd": "darts-2nd", "darts-2nd": "darts-1st"}.get(label)
    if base is None or base not in runs.labels(setting):
        return None

    def seconds(run: pd.DataFrame) -> float:
        if _resumed(run).any():
            return float("nan")
        last = run.iloc[-1]
        return float(last.get("seconds_architecture", np.nan)) + float(last.get("seconds_weights", np.nan))

    table = pairs(runs, setting, label, base, seconds)
    table = table[(table > 0).all(axis=1)]
    if table.empty:
        return None
    logs = np.log(table["better"] / table["worse"])
    interval = statistics.mean_interval(logs)
    ends = f" ({np.exp(interval.low):.2f} to {np.exp(interval.high):.2f})" if interval.is_finite else ""
    return f"{np.exp(logs.mean()):.2f}{ends} of {display(base)}"


def hessian(runs: Runs, setting: Setting) -> Table | None:
    """Quantities of the Hessian at the last measured epoch, and the spectral norm over the search."""
    held = [(name, title) for name, title in _HESSIAN if name in runs.epochs and runs.epochs[name].notna().any()]
    rows: list[tuple[Cell, ...]] = []
    for label in runs.labels(setting):
        frame = runs.of(setting, label, epochs=True)
        if not held or held[0][0] not in frame:
            continue
        measured = frame.dropna(subset=[held[0][0]])
        if measured.empty:
            continue
        last = measured.groupby("seed").tail(1)
        norms = measured[measured["epoch"] > 0].groupby("seed")["hessian_spectral_norm"]
        rows.append(
            (
                display(label),
                len(last),
                *(MeanSd.of(last[name].astype(float), 3) for name, _ in held),
                MeanSd.of(norms.mean(), 3),
                MeanSd.of(norms.max(), 3),
            )
        )
    if not rows:
        return None
    return Table(
        f"hessian-{setting.name}",
        f"Hessian of the validation loss in the architecture parameters on {setting.space} ({setting.title})",
        ("Method", "n", *(title for _, title in held), "spectral norm, mean over the search", "spectral norm, largest"),
        tuple(rows),
        caption(runs, setting, "In nats, exact, on one fixed probe batch, at the mean and without weight decay."),
        (
            *notes(runs, setting),
            ANALOGUE,
        ),
    )
