"""The commands that run the searches of the stores again: each plans, hash by hash, the runs that it stands for."""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import fields
from typing import Any

from analysis import regression
from analysis.runs import Runs, Setting, changes_of_tier
from benchmarks import tiers
from benchmarks.errors import UserError
from benchmarks.plan import lineage
from benchmarks.spec import ON_CPU, Compute
from benchmarks.studies import STUDIES, Study

Held = list[tuple[Setting, Mapping[Any, Any]]]


def commands(runs: Runs) -> list[str]:
    """One for methods with equal seeds at a tier, one for each study of further runs, then those of changed tiers."""
    computes = _computes(runs)
    held: Held = [
        (setting, run)
        for setting in runs.settings
        for label in runs.labels(setting)
        for run in runs.of(setting, label).to_dict("records")
    ]
    lines, held = _by_method(runs, computes, held, lambda _: ())
    if held:
        left = {run["spec_hash"]: _tables(run, setting.space) for setting, run in held}
        lines += _of_studies(runs, computes, left)  # takes out of it what they plan
        further, held = _by_method(runs, computes, [one for one in held if one[1]["spec_hash"] in left], _changes)
        lines += further
    if held:
        lines.append(f"# left: {len(held)} that no tier or study with today's methods plans; their files hold how")
    return lines


def _by_method(
    runs: Runs, computes: Sequence[Compute], held: Held, changes: Callable[[Mapping[Any, Any]], Sequence[str]]
) -> tuple[list[str], Held]:
    """Commands for runs at their tiers with some numbers replaced, and the runs that these do not plan."""
    seeds: defaultdict[tuple[str, str, str], list[int]] = defaultdict(list)  # by the words around them, and the method
    left: Held = []
    for setting, run in held:
        words = changes(run)
        compute = next((c for c in computes if _hash_at_tier(setting, run, c, words) == run["spec_hash"]), None)
        if compute is None:
            left.append((setting, run))
            continue
        replaced = f" --budget {' '.join(words)}" if words else ""
        options = replaced + _options(compute) + _tables(run, setting.space) + _remark(setting, runs.settings)
        seeds[_where(setting), options, run["method"]].append(int(run["seed"]))
    methods: defaultdict[tuple[str, str, str], list[str]] = defaultdict(list)
    for (where, options, method), numbers in seeds.items():
        methods[where, options, _seeds(sorted(numbers))].append(method)
    lines = [
        f"python -m benchmarks.run --methods {' '.join(names)} {where.format(numbers)}{options}"
        for (where, options, numbers), names in methods.items()
    ]
    return lines, left


def _of_studies(runs: Runs, computes: Sequence[Compute], left: dict[str, str]) -> list[str]:
    """Commands of the studies that plan some of the runs in ``left``, which are taken out of it."""
    held, lines = set(runs.finals["spec_hash"]), []
    for study, compute, images in itertools.product(STUDIES.values(), computes, sorted(set(runs.finals["images"]))):
        planned = _hashes(study, compute, images)
        for tables in sorted({left[one] for one in planned & left.keys()}):
            line = f"python -m benchmarks.run --study {study.name} --data-dir DIR{_options(compute)}{tables}"
            lines.append(f"{line}  # {len(planned & held)} of its {len(planned)} runs are here")
        for one in planned & left.keys():
            del left[one]
    return lines


def _hashes(study: Study, compute: Compute, images: str) -> set[str]:
    return {
        lineage(method, study.space, seed, study.budget(row), images, compute)[-1].spec.hash
        for row in study.rows
        for method in row.methods
        for seed in study.seeds
    }


def _changes(run: Mapping[Any, Any]) -> list[str]:
    """The numbers of a run that are not its tier's, as the command line takes them."""
    return [f"{name}={value}" for name, value in changes_of_tier(run).items()]


def _hash_at_tier(setting: Setting, run: Mapping[Any, Any], compute: Compute, words: Sequence[str]) -> str | None:
    """Of the run that the command line would plan; None where tier or method are not here."""
    try:
        budget = tiers.changed(tiers.budget(setting.tier, setting.space, data=setting.data), words)
        jobs = lineage(run["method"], setting.space, int(run["seed"]), budget, setting.images, compute)
    except UserError:
        return None
    return jobs[-1].spec.hash


def _computes(runs: Runs) -> list[Compute]:
    """The ways of computing that were used, the default first: a method without it may build on one with it."""
    names = [field.name for field in fields(Compute)]
    used = runs.finals[[f"compute.{name}" for name in names]].drop_duplicates()
    found = [Compute(**dict(zip(names, row, strict=True))) for row in used.itertuples(index=False)]
    return [ON_CPU, *(compute for compute in found if compute != ON_CPU)]


def _options(compute: Compute) -> str:
    words = [
        *([f"--device {compute.device}"] if compute.device != ON_CPU.device else []),
        *([f"--precision {compute.precision}"] if compute.precision != ON_CPU.precision else []),
        *(f"--{name}" for name in ("compile", "together") if getattr(compute, name)),
    ]
    return "".join(f" {word}" for word in words)


def _tables(run: Mapping[Any, Any], space: str) -> str:
    """Where a run was looked up in other tables than those that ship."""
    digest = run.get("facts.ground_truth_digest")
    return " --tables TABLES" if isinstance(digest, str) and digest != regression.load(space).digest else ""


def _where(setting: Setting) -> str:
    """Space, seeds (to be filled in), tier and images."""
    data_dir = " --data-dir DIR" if setting.data == "cifar10" else ""
    return f"--spaces {setting.space} --seeds {{}} --tier {setting.tier} --data {setting.data}{data_dir}"


def _remark(setting: Setting, others: Sequence[Setting]) -> str:
    """Which copy of the images, where there are several."""
    copies = {one.images for one in others if one.data == setting.data}
    return f"  # images {setting.images[:12]}" if len(copies) > 1 else ""


def _seeds(numbers: Sequence[int]) -> str:
    """As the command line takes them: '4' means 0 to 3, and the comma at the end of '3,' makes one number a name."""
    if list(numbers) == list(range(len(numbers))):
        return str(len(numbers))
    return ",".join(map(str, numbers)) + "," * (len(numbers) == 1)
