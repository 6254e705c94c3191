"""Claims about choosing among draws by a proxy. Exact: expectations over scores of whole spaces, no run is sampled."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence

import numpy as np
import pandas as pd

from analysis import regression, scores, statistics
from analysis.claims.finding import Finding, Verdict, describe
from analysis.runs import Runs, Setting
from analysis.scores import LABELS, MEASURES
from analysis.zero_cost import best_of_draws, resampled_means

SPACE = "nas-bench-201"
EXACT = "exact expectation over the space"
_NOT_SCORED = "not run: no {} scores of the whole space are held"


def zero_cost_beats_random(runs: Runs, *, proxy: str, draws: Sequence[int]) -> Finding:  # noqa: ARG001
    """Whether the best-scored of n draws is expected to gain more than the margin over one draw, every test column."""
    table = scores.complete(SPACE, proxy)
    if table is None:
        return Finding(Verdict.UNDECIDED, _NOT_SCORED.format(proxy))
    ground = regression.load(SPACE)
    random = [ground.population(**regression.keywords(SPACE, name)).mean for name in MEASURES]
    gains = np.array([np.subtract(best_of_draws(table.by_seed, table.accuracies, n).mean, random) for n in draws])
    verdict = Verdict.HOLDS if (gains > statistics.margin(SPACE)).all() else Verdict.DOES_NOT_HOLD
    effect = "; ".join(f"n = {n}: {_points(gain)}" for n, gain in zip(draws, gains, strict=True))
    return Finding(verdict, f"gain over one draw, {_columns()}: {effect}", len(table.positions), setting=EXACT)


def more_draws_zero_cost(runs: Runs, *, proxy: str, draws: Sequence[int]) -> Finding:  # noqa: ARG001
    """Whether the expected accuracy rises with n in every test column."""
    table = scores.complete(SPACE, proxy)
    if table is None:
        return Finding(Verdict.UNDECIDED, _NOT_SCORED.format(proxy))
    means = np.array([best_of_draws(table.by_seed, table.accuracies, n).mean for n in draws])
    evidence, falls = _rising(means, draws)
    verdict = Verdict.DOES_NOT_HOLD if falls else Verdict.HOLDS
    return Finding(verdict, evidence, len(table.positions), setting=EXACT)


def more_draws_posterior(runs: Runs, *, proxy: str, method: str, draws: Sequence[int]) -> Finding:
    """The same for draws of stored posteriors: the mean over searches of exact expectations."""
    table = scores.complete(SPACE, proxy)
    if table is None:
        return Finding(Verdict.UNDECIDED, _NOT_SCORED.format(proxy))
    for setting, posteriors in _posteriors(runs, method):
        by_seed = np.array(
            [[best_of_draws(table.by_seed, table.accuracies, n, p).mean for n in draws] for p in posteriors]
        )
        evidence, _ = _rising(by_seed.mean(axis=0), draws)
        steps = np.diff(by_seed, axis=1).reshape(len(posteriors), -1)
        rises = (steps > 0).sum(axis=0)
        evidence += f"; steps rise in {rises.min()} to {rises.max()} of {len(steps)} searches"
        found = Finding(_of_searches(steps.T), evidence, len(posteriors), setting=describe(setting))
        return _reduced(found, setting, len(posteriors))
    return Finding(Verdict.UNDECIDED, f"not run: no posterior of {method} is stored")


def best_proxy_zero_cost(runs: Runs, *, proxy: str, others: Sequence[str], draws: int) -> Finding:  # noqa: ARG001
    """Expected accuracy at equal n under each proxy, over the architectures that all of them have scored."""
    held = scores.held(SPACE)
    missing = [name for name in (proxy, *others) if name not in held]
    others = [name for name in others if name in held]
    if proxy in missing or not others:
        return Finding(Verdict.UNDECIDED, f"not run: no {missing[0]} scores are held")
    tables = {name: scores.load(SPACE, name) for name in (proxy, *others)}
    shared = tables[proxy].positions
    for table in tables.values():
        shared = np.intersect1d(shared, table.positions)
    sampled = len(shared) < 5**6
    means, resampled = {}, {}
    for name, table in tables.items():
        chosen = np.searchsorted(table.positions, shared)
        by_seed, accuracies = table.by_seed[:, chosen], table.accuracies[chosen]
        means[name] = np.asarray(best_of_draws(by_seed, accuracies, draws).mean)
        if sampled:
            # Equal seeds: all proxies see the same samples of architectures.
            resampled[name] = resampled_means(by_seed, accuracies, [draws], rng=np.random.default_rng(0))[:, 0]
    gains = {name: means[proxy] - means[name] for name in others}
    low = high = gains
    if sampled:
        ends = {name: np.percentile(resampled[proxy] - resampled[name], [2.5, 97.5], axis=0) for name in others}
        low, high = ({name: end[i] for name, end in ends.items()} for i in (0, 1))
    verdict = _of_gains(low.values(), high.values())
    if missing and verdict is Verdict.HOLDS:
        verdict = Verdict.UNDECIDED
    effect = _compared(means, gains, low if sampled else {}) + "".join(f"; not run: {name}" for name in missing)
    size = f"{len(shared):,} architectures" + (", a uniform sample; bootstrap over it" if sampled else "")
    setting = f"estimate from a uniform sample of {len(shared):,} architectures" if sampled else EXACT
    return Finding(verdict, f"{_columns()} at n = {draws} over {size}: {effect}", len(shared), setting=setting)


def best_proxy_posterior(runs: Runs, *, proxy: str, others: Sequence[str], method: str) -> Finding:
    """The same from searches that end in a selection by each proxy: paired by search, each the mean of its resamplings.

    ``method`` selects by ``proxy`` unless its name says ``@proxy=`` another.
    """
    names = {proxy: method} | {other: f"{method}@proxy={other}" for other in others}
    for setting in runs.settings_of(SPACE, method):
        tables = {name: _resampled(runs, setting, label) for name, label in names.items()}
        if missing := [name for name, table in tables.items() if table.empty]:
            return Finding(Verdict.UNDECIDED, f"not run: {', '.join(names[name] for name in missing)}")
        pairs = {other: (tables[proxy] - tables[other]).dropna() for other in others}
        low = {
            other: np.array([statistics.mean_interval(gains[name]).low for name in MEASURES])
            for other, gains in pairs.items()
        }
        verdict = _of_searches([gains[name].to_numpy() for gains in pairs.values() for name in MEASURES])
        means = {name: table.mean().to_numpy() for name, table in tables.items()}
        leads = {other: gains.mean().to_numpy() for other, gains in pairs.items()}
        n = min(map(len, pairs.values()))
        found = Finding(verdict, f"{_columns()}: {_compared(means, leads, low)}", n, setting=describe(setting))
        return _reduced(found, setting, n)
    return Finding(Verdict.UNDECIDED, f"not run: {', '.join(names.values())}")


def _resampled(runs: Runs, setting: Setting, label: str) -> pd.DataFrame:
    """Test accuracies by seed, averaged over the sets of draws that each search chose from; empty where not run."""
    frame = runs.of(setting, label)
    frame = frame.dropna(subset=["resampled"]) if "resampled" in frame else frame.head(0)
    rows = [
        scores.accuracies(SPACE, np.asarray(chosen, np.int64)).mean(axis=0) for chosen in frame.get("resampled", [])
    ]
    return pd.DataFrame(rows, index=frame["seed"].astype(int), columns=list(MEASURES))


def _compared(means: Mapping[str, np.ndarray], gains: Mapping[str, np.ndarray], low: Mapping[str, np.ndarray]) -> str:
    """Accuracies by proxy and the gains over the others, with their lower ends where there are any."""
    values = [f"{name} {' / '.join(f'{value:.2f}' for value in mean)}" for name, mean in means.items()]
    leads = [
        f"ahead of {name} by {_points(gain)}" + (f" (at least {_points(low[name])})" if name in low else "")
        for name, gain in gains.items()
    ]
    return "; ".join([*values, *leads])


def _of_gains(low: Iterable[np.ndarray], high: Iterable[np.ndarray]) -> Verdict:
    """Ahead of every rival in every column, behind one in one, or neither for certain."""
    if all((ends > 0).all() for ends in low):
        return Verdict.HOLDS
    return Verdict.DOES_NOT_HOLD if any((ends <= 0).any() for ends in high) else Verdict.UNDECIDED


def _of_searches(gains: Iterable[np.ndarray]) -> Verdict:
    """Several paired gains, ``[searches]`` each. All must be won; one that is lost for certain, by Holm, is enough.

    That all are won needs no correction: each p bounds that of the union of their null hypotheses.
    """
    tests = [statistics.paired(gain, np.zeros(len(gain))) for gain in gains]
    if all(test.p < statistics.ALPHA and test.direction > 0 for test in tests):
        return Verdict.HOLDS
    lost = zip(statistics.holm([test.p for test in tests]), tests, strict=True)
    is_lost = any(p < statistics.ALPHA and test.direction < 0 for p, test in lost)
    return Verdict.DOES_NOT_HOLD if is_lost else Verdict.UNDECIDED


def _rising(means: np.ndarray, draws: Sequence[int]) -> tuple[str, bool]:
    """Means ``[n, columns]`` at each n in words, and whether any column fails to rise from one n to the next."""
    steps = np.diff(means, axis=0)
    falls = [
        f"{LABELS[j]} from n = {draws[i]} to {draws[i + 1]}: {steps[i, j]:+.2f}" for i, j in np.argwhere(steps <= 0)
    ]
    table = "; ".join(f"n = {k}: {' / '.join(f'{m:.2f}' for m in row)}" for k, row in zip(draws, means, strict=True))
    return f"{_columns()}: {table}" + (f"; does not rise: {', '.join(falls)}" if falls else ""), bool(falls)


def _reduced(found: Finding, setting: Setting, n: int) -> Finding:
    """The finding, undecided where it rests on digits or on too few searches."""
    if setting.is_digits:
        why = "only digits were searched on, which test no claim"
    elif n < statistics.MINIMUM_PAIRS:
        why = f"n = {n} searches, at least {statistics.MINIMUM_PAIRS} are needed"
    else:
        return found
    return Finding(Verdict.UNDECIDED, f"{why}; {found.evidence}", n, found.effect, found.interval, found.setting)


def _posteriors(runs: Runs, method: str) -> list[tuple[Setting, list[np.ndarray]]]:
    """Probabilities of all architectures under each search's final posterior, by setting."""
    found = []
    for setting in runs.settings_of(SPACE):
        frame = runs.of(setting, method)
        if {"alpha", "sigma"} <= set(frame) and len(frame):
            rows = frame.dropna(subset=["alpha", "sigma"])
            if len(rows):
                found.append(
                    (
                        setting,
                        [
                            scores.posterior_probabilities(SPACE, *p)
                            for p in zip(rows["alpha"], rows["sigma"], strict=True)
                        ],
                    )
                )
    return found


def _points(values: Sequence[float] | np.ndarray) -> str:
    return " / ".join(f"{value:+.2f}" for value in values)


def _columns() -> str:
    return " / ".join(label.removesuffix(" test") for label in LABELS)


CHECKS: tuple[Callable[..., Finding], ...] = (
    zero_cost_beats_random,
    more_draws_zero_cost,
    more_draws_posterior,
    best_proxy_zero_cost,
    best_proxy_posterior,
)
