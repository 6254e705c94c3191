"""From command-line words to runs: which specs, in which order, what is done, what it will cost."""

from __future__ import annotations

import statistics
from collections import defaultdict
from collections.abc import Iterable, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from benchmarks import environment, ground_truth, images, spaces, tiers
from benchmarks.errors import UserError
from benchmarks.spec import NUMERICS, ON_CPU, Budget, Compute, RunRecord, RunSpec, Status
from benchmarks.store import DamagedFile, Store
from benchmarks.studies import Study
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

    @property
    def together(self) -> list[list[Job]]:
        """The jobs that are to be trained in one batched supernet, which differ in nothing but their seeds."""
        found: defaultdict[str, list[Job]] = defaultdict(list)
        for job in self.jobs:
            if job.spec.compute.together:
                found[replace(job.spec, seed=0).hash].append(job)
        return list(found.values())


def seeds(text: str) -> list[int]:
    """``4`` means seeds 0 to 3; ``3,5,8`` and ``3,`` name them. Raises ``UserError`` for anything else."""
    mend = "give a count such as 4, or names such as 3,5,8"
    try:
        numbers = [int(part) for part in text.removesuffix(",").split(",")]
    except ValueError:
        raise UserError(f"seeds {text!r} are not numbers: {mend}") from None
    if min(numbers) < 0 or ("," not in text and numbers[0] == 0):
        raise UserError(f"seeds {text!r}: a count is at least 1 and a seed at least 0, {mend}")
    if len(set(numbers)) != len(numbers):
        raise UserError(f"seeds {text!r} name one twice: {mend}")
    return numbers if "," in text else list(range(numbers[0]))


@dataclass(frozen=True)
class Group:
    """Methods that share a space and a budget."""

    methods: tuple[str, ...]
    space: str
    budget: Budget


def make(
    *,
    methods: Sequence[str],
    space_names: Sequence[str],
    seed_list: Sequence[int],
    tier: str,
    data: str | None = None,
    data_dir: Path | None = None,
    compute: Compute = ON_CPU,
    changes: Sequence[str] = (),
) -> Plan:
    """Every method on every space at every seed; what a method builds on is added in front of it.

    Seeds vary slowest, so that a plan cut short has all methods at the first seeds. ``changes`` replace numbers of the
    tier (``tiers.changed``).
    """
    groups = [
        Group(tuple(methods), space, tiers.changed(tiers.budget(tier, space, data=data), changes))
        for space in dict.fromkeys(space_names)
    ]
    _check_distinct(methods)
    return _planned(groups, seed_list, data_dir, compute)


def of_study(study: Study, *, data_dir: Path | None = None, compute: Compute = ON_CPU) -> Plan:
    """All rows of a study at all its seeds. Seeds vary slowest here too."""
    groups = [Group(row.methods, study.space, study.budget(row)) for row in study.rows]
    return _planned(groups, study.seeds, data_dir, compute)


def lineage(
    method: str, space: str, seed: int, budget: Budget, images_digest: str, compute: Compute = ON_CPU
) -> tuple[Job, ...]:
    """The jobs of a method at a seed: what it builds on first, itself last. Raises ``UserError`` for an unknown one."""
    kind, config = resolve(method)
    before: tuple[Job, ...] = ()
    if kind.upstream is not None:
        before = lineage(kind.upstream, space, seed, budget, images_digest, compute)
    upstream = before[-1].spec if before else None
    arithmetic = compute if kind.computes else ON_CPU
    spec = RunSpec(
        method,
        space,
        seed,
        budget,
        asdict(config),
        images_digest,
        upstream.hash if upstream else None,
        numerics=NUMERICS[arithmetic.precision],
        compute=arithmetic,
    )
    return (*before, Job(spec, upstream))


def _check_distinct(methods: Sequence[str]) -> None:
    """Raise ``UserError`` where two names stand for one search."""
    known: dict[str, str] = {}
    for method in methods:
        kind, config = resolve(method)
        other = known.setdefault(f"{kind.__module__}.{kind.__qualname__} {config!r}", method)
        if other != method:
            raise UserError(f"{other} and {method} are the same search: name it once")


def _planned(groups: Sequence[Group], seed_list: Sequence[int], data_dir: Path | None, compute: Compute) -> Plan:
    for group in groups:
        spaces.get(group.space)
    found = {name: images.load(name, data_dir) for name in dict.fromkeys(group.budget.data for group in groups)}
    for budget in {group.budget for group in groups}:
        sizes = {"train": budget.train_images, "valid": budget.valid_images, "size": budget.image_size}
        images.check_split(found[budget.data], **sizes)
    chains: list[tuple[Job, ...]] = []
    for seed in seed_list:
        for group in groups:
            by_root: dict[str, dict[str, Job]] = defaultdict(dict)
            for method in group.methods:
                jobs = lineage(method, group.space, seed, group.budget, found[group.budget.data].sha256, compute)
                for job in jobs:
                    by_root[jobs[0].spec.method].setdefault(job.spec.method, job)
            chains += [tuple(chain.values()) for chain in by_root.values()]
    return Plan(tuple(chains))


def done(the_plan: Plan, store: Store) -> dict[str, RunRecord]:
    """The finished runs that the store holds, by spec hash. A damaged file holds none: it will be done again."""
    found: dict[str, RunRecord] = {}
    for job in the_plan.jobs:
        with suppress(DamagedFile):
            record = store.get(job.spec)
            if record is not None and record.status is Status.DONE:
                found[record.spec.hash] = record
    return found


def check_tables(the_plan: Plan, store: Store, kept: Iterable[RunRecord], tables: Path | None) -> None:
    """Raise ``UserError`` for a table that is missing or lacks an accuracy, and for a kept run of another table."""
    digests: dict[str, str] = {}
    for space in dict.fromkeys(job.spec.space for job in the_plan.jobs):
        table = ground_truth.load(space, tables=tables)
        table.accuracies(spaces.get(space).at(0))
        digests[space] = table.digest
    for record in kept:
        usual = digests[record.spec.space]
        if record.facts.get("ground_truth_digest", usual) != usual:
            which = f"{store.folder} has {record.spec.label}"
            raise UserError(f"{which} with accuracies of other tables than these: name another --output")


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
    of the same method and tier on any space; then of the same method with whatever hyper-parameters; then all of these
    on any processor.
    """
    here = environment.processor()
    prices: defaultdict[tuple[object, ...], list[float]] = defaultdict(list)
    for _, record in store.scan():
        if isinstance(record, RunRecord) and record.status is Status.DONE and not record.facts.get("resumed"):
            spec = record.spec
            for place in {"anywhere", "here"} if record.facts.get("processor") == here else {"anywhere"}:
                for kind in _kinds(spec):
                    prices[place, *kind].append(float(record.facts["seconds_total"]))
    total, elsewhere, unknown = 0.0, 0, 0
    for job in jobs:
        keys = [(place, *kind) for place in ("here", "anywhere") for kind in _kinds(job.spec)]
        key = next((key for key in keys if key in prices), None)
        if key is None:
            unknown += 1
        else:
            total += statistics.median(prices[key])
            elsewhere += key[0] == "anywhere"
    return Estimate(total, elsewhere, unknown)


def _kinds(spec: RunSpec) -> list[tuple[object, ...]]:
    """What runs of about the same cost have in common, the closest first."""
    base = spec.method.partition("@")[0]
    places: list[tuple[object, ...]] = [(spec.space, spec.budget), (spec.budget.tier,)]
    return [(name, *place) for name in (spec.method, (base,)) for place in places]
