"""From command-line words to runs: which specs, in which order, what is done, what it will cost."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from benchmarks import environment, images, spaces, tiers
from benchmarks.errors import UserError
from benchmarks.spec import RunSpec, Status
from benchmarks.store import Store
from methods import resolve


@dataclass(frozen=True)
class Job:
    """A run and, where its method builds on another run, that run's spec."""

    spec: RunSpec
    upstream: RunSpec | None = None


@dataclass(frozen=True)
class Plan:
    """Chains of jobs. Within a chain a job may need the ones before it; chains are independent."""

    chains: tuple[tuple[Job, ...], ...]

    @property
    def jobs(self) -> list[Job]:
        """All jobs, chain after chain."""
        return [job for chain in self.chains for job in chain]


def seeds(text: str) -> list[int]:
    """``4`` means seeds 0 to 3; ``3,5,8`` and ``3,`` name them. Raises ``UserError`` for anything else."""
    mistake = UserError(f"seeds {text!r} are not numbers: give a count such as 4, or names such as 3,5,8")
    try:
        numbers = [int(part) for part in text.removesuffix(",").split(",")]
    except ValueError:
        raise mistake from None
    if "," not in text:
        numbers = list(range(numbers[0]))
    if not numbers or min(numbers) < 0 or len(set(numbers)) != len(numbers):
        raise mistake
    return numbers


def make(
    *,
    methods: Sequence[str],
    space_names: Sequence[str],
    seed_list: Sequence[int],
    tier: str,
    data: str | None = None,
    data_dir: Path | None = None,
) -> Plan:
    """Every method on every space at every seed; what a method builds on is added in front of it.

    Seeds vary slowest, so that a plan cut short has all methods at the first seeds.
    """
    digests: dict[str, str] = {}

    def spec(method: str, space: str, seed: int, upstream: RunSpec | None) -> RunSpec:
        budget = tiers.budget(tier, space, data=data)
        if budget.data not in digests:
            digests[budget.data] = images.load(budget.data, data_dir).sha256
        _, config = resolve(method)
        settings: dict[str, Any] = asdict(config)
        return RunSpec(method, space, seed, budget, settings, digests[budget.data], upstream.hash if upstream else None)

    for name in space_names:
        spaces.get(name)
    chains: list[tuple[Job, ...]] = []
    for seed in seed_list:
        for space in space_names:
            by_root: dict[str, dict[str, Job]] = defaultdict(dict)
            for method in methods:
                lineage = [method]
                while (parent := resolve(lineage[0])[0].upstream) is not None:
                    lineage.insert(0, parent)
                chain = by_root[lineage[0]]
                before: RunSpec | None = None
                for ancestor in lineage:
                    if ancestor not in chain:
                        chain[ancestor] = Job(spec(ancestor, space, seed, before), before)
                    before = chain[ancestor].spec
            chains += [tuple(chain.values()) for chain in by_root.values()]
    return Plan(tuple(chains))


def is_done(job: Job, store: Store) -> bool:
    """Whether the store holds the finished run. A damaged file raises ``store.DamagedFile``."""
    record = store.get(job.spec)
    return record is not None and record.status is Status.DONE


def estimate(jobs: Iterable[Job], store: Store) -> tuple[float, int]:
    """Seconds of one core that the jobs will take, from earlier runs of this processor in the store.

    A job is priced at the median of runs of the same method, space and budget, else of the same method and tier on any
    space.

    Returns:
        (seconds, how many jobs could not be priced and are left out).
    """
    exact: defaultdict[tuple[object, ...], list[float]] = defaultdict(list)
    near: defaultdict[tuple[str, str], list[float]] = defaultdict(list)
    here = environment.processor()
    for record in store.records():
        if record.status is Status.DONE and record.facts.get("processor") == here and not record.facts.get("resumed"):
            seconds = float(record.facts["seconds_total"])
            exact[record.spec.method, record.spec.space, record.spec.budget].append(seconds)
            near[record.spec.method, record.spec.budget.tier].append(seconds)
    total, unknown = 0.0, 0
    for job in jobs:
        spec = job.spec
        known = exact.get((spec.method, spec.space, spec.budget)) or near.get((spec.method, spec.budget.tier))
        if known:
            total += statistics.median(known)
        else:
            unknown += 1
    return total, unknown
