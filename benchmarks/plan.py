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
from benchmarks.spec import RunRecord, RunSpec, Status
from benchmarks.store import DamagedFile, Store
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
    """Whether the store holds the finished run. A damaged file holds nothing: the run will be done again."""
    try:
        record = store.get(job.spec)
    except DamagedFile:
        return False
    return record is not None and record.status is Status.DONE


@dataclass(frozen=True)
class Estimate:
    """What jobs will cost.

    Attributes:
        seconds: of one core, over the jobs that could be priced.
        elsewhere: how many of these were priced by runs of other processors, for want of runs of this one.
        unknown: how many jobs could not be priced and are left out.
    """

    seconds: float
    elsewhere: int
    unknown: int


def estimate(jobs: Iterable[Job], store: Store) -> Estimate:
    """Price jobs at the median of earlier runs in the store, failed and continued ones left out.

    The first that has examples counts: runs on this processor of the same method, space and budget; on this processor
    of the same method and tier on any space; then the same two on any processor.
    """
    here = environment.processor()
    prices: defaultdict[tuple[object, ...], list[float]] = defaultdict(list)
    for _, record in store.scan():
        if isinstance(record, RunRecord) and record.status is Status.DONE and not record.facts.get("resumed"):
            spec = record.spec
            for place in {"anywhere", "here"} if record.facts.get("processor") == here else {"anywhere"}:
                for kind in ((spec.space, spec.budget), (spec.budget.tier,)):
                    prices[place, spec.method, kind].append(float(record.facts["seconds_total"]))
    total, elsewhere, unknown = 0.0, 0, 0
    for job in jobs:
        spec = job.spec
        kinds: tuple[tuple[object, ...], ...] = ((spec.space, spec.budget), (spec.budget.tier,))
        keys = [(place, spec.method, kind) for place in ("here", "anywhere") for kind in kinds]
        key = next((key for key in keys if key in prices), None)
        if key is None:
            unknown += 1
        else:
            total += statistics.median(prices[key])
            elsewhere += key[0] == "anywhere"
    return Estimate(total, elsewhere, unknown)
