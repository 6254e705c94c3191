"""The commands that run the searches of the stores again."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields

import pandas as pd

from analysis.runs import Runs, Setting, method_of
from benchmarks import tiers
from benchmarks.spec import ON_CPU, Budget
from benchmarks.studies import STUDIES


def commands(runs: Runs) -> list[str]:
    """A command for methods with equal seeds, one for each study that changed a tier's numbers, then what is left."""
    seeds: defaultdict[tuple[Setting, str, str], list[int]] = defaultdict(list)
    changed = set()
    for setting in runs.settings:
        usual = tiers.budget(setting.tier, setting.space, data=setting.data)
        for label in runs.labels(setting):
            for _, run in runs.of(setting, label).iterrows():
                method, seed = method_of(label), int(run["seed"])
                if _budget(run) == usual:
                    seeds[setting, _options(run), method].append(seed)
                else:
                    changed.add((method, setting.space, seed, _budget(run)))
    methods: defaultdict[tuple[Setting, str, str], list[str]] = defaultdict(list)
    for (setting, options, method), numbers in seeds.items():
        methods[setting, options, _seeds(sorted(numbers))].append(method)
    lines = [
        f"python -m benchmarks.run --methods {' '.join(names)} --spaces {setting.space} --seeds {numbers} "
        f"--tier {setting.tier} --data {setting.data}{' --data-dir DIR' * (setting.data == 'cifar10')}{options}"
        for (setting, options, numbers), names in methods.items()
    ]
    for study in STUDIES.values():
        planned = {
            (method, study.space, seed, study.budget(row))
            for row in study.rows
            for method in row.methods
            for seed in study.seeds
        }
        if changed & planned:
            lines.append(f"python -m benchmarks.run --study {study.name} --data-dir DIR")
            changed -= planned
    if changed:
        lines.append(f"# without a command: {len(changed)} of a budget that no tier or study has; their files hold it")
    return lines


def _budget(run: pd.Series) -> Budget:
    return Budget(**{field.name: run[f"budget.{field.name}"] for field in fields(Budget)})


def _options(run: pd.Series) -> str:
    """How it was computed, where that is not the default."""
    device, precision = run["compute.device"], run["compute.precision"]
    words = [
        *([f"--device {device}"] if device != ON_CPU.device else []),
        *([f"--precision {precision}"] if precision != ON_CPU.precision else []),
        *(f"--{name}" for name in ("compile", "together") if run[f"compute.{name}"]),
    ]
    return "".join(f" {word}" for word in words)


def _seeds(numbers: Sequence[int]) -> str:
    """As the command line takes them: '4' means 0 to 3, and the comma at the end of '3,' makes one number a name."""
    if list(numbers) == list(range(len(numbers))):
        return str(len(numbers))
    return ",".join(map(str, numbers)) + "," * (len(numbers) == 1)
