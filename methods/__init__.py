"""The methods by the names that the command line uses. A new method is one new file and one row here.

A user's own method needs neither: ``--methods mypackage.mymodule:MyMethod``. Hyper-parameters follow an at sign:
``--methods zero-cost@proxy=naswot,draws=500 balenas-2nd@samples=4``.
"""

from __future__ import annotations

import dataclasses
import importlib
import json
import traceback
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks import assignments
from benchmarks.errors import UserError, one_of
from benchmarks.spec import Method


@dataclass(frozen=True)
class Entry:
    """Where a method lives and which settings its name stands for; what follows an at sign does not replace these."""

    target: str
    settings: Mapping[str, Any] = field(default_factory=dict)


METHODS: dict[str, Entry] = {
    "random": Entry("methods.random_search:Random"),
    "zero-cost": Entry("methods.zero_cost:ZeroCost"),
    "darts-1st": Entry("methods.darts:DARTS", {"order": 1}),
    "darts-2nd": Entry("methods.darts:DARTS", {"order": 2}),
    "balenas-1st": Entry("methods.balenas:BaLeNAS", {"order": 1}),
    "balenas-2nd": Entry("methods.balenas:BaLeNAS", {"order": 2}),
    "balenas-tf-1st": Entry("methods.balenas_tf:BaLeNASTFFirst"),
    "balenas-tf-2nd": Entry("methods.balenas_tf:BaLeNASTFSecond"),
    # What of the choice is the proxy's, the posterior's, or mere size: the controls of selection.
    "zero-cost-params": Entry("methods.zero_cost:ZeroCost", {"proxy": "params"}),
    "balenas-draw-1st": Entry("methods.balenas_tf:BaLeNASTFFirst", {"proxy": "none"}),
    "even-noise-tf-1st": Entry("methods.fixed_noise:EvenNoise"),
    "fixed-noise-tf-1st": Entry("methods.fixed_noise:FixedNoise"),
}


def resolve(name: str, settings: Mapping[str, Any] | None = None) -> tuple[type[Method], Any]:
    """The class and the config that a name stands for.

    Args:
        name: a key of ``METHODS``, or ``package.module:Class`` of a user's own method; hyper-parameters may follow, as
            in ``zero-cost@proxy=naswot,draws=500``.
        settings: hyper-parameters that replace the defaults and those in the name.

    Raises:
        UserError: unknown name, a module that does not import, a class that is no method, an unknown hyper-parameter
            or a value that is none of its kind.
    """
    base, at, inline = name.partition("@")
    entry = METHODS.get(base) or (Entry(base) if ":" in base else None)
    if entry is None:
        raise one_of("method", base, [*METHODS, "package.module:Class"])
    module_name, _, class_name = entry.target.partition(":")
    method = _load(module_name, class_name)
    defaults = {f.name: f.default for f in dataclasses.fields(method.Config)}
    words = inline.split(",") if at else []
    for key in (word.partition("=")[0] for word in words):
        if key in entry.settings:  # a table would show the one setting under the name of the other
            raise UserError(f"{base} stands for {key}={entry.settings[key]}: choose the method that stands for another")
    example = "zero-cost@proxy=naswot,draws=500"
    free = {key: value for key, value in defaults.items() if key not in entry.settings}
    chosen = assignments.parse(words, free, what=f"hyper-parameter of {base}", example=example)
    if unknown := set(settings or {}) - set(defaults):
        raise one_of(f"hyper-parameter of {base}", ", ".join(sorted(unknown)), sorted(defaults) or ["(it has none)"])
    config = method.Config(**{**entry.settings, **chosen, **(settings or {})})
    try:
        json.dumps(dataclasses.asdict(config))
    except (TypeError, ValueError) as error:
        raise UserError(f"Config of {base} has a value that a spec cannot hold ({error}): use those of JSON") from None
    return method, config


def _load(module_name: str, class_name: str) -> type[Method]:
    """A method's class. Raises ``UserError`` with what is wrong with the module or the class, in one line."""
    if not all(part.isidentifier() for part in module_name.split(".")):
        raise UserError(f"{module_name!r} is no module: write package.module:Class, its folder being on PYTHONPATH")
    try:
        module = importlib.import_module(module_name)
    except Exception as error:
        if isinstance(error, ModuleNotFoundError) and f"{module_name}.".startswith(f"{error.name}."):
            raise UserError(f"no module {module_name}: is its folder on PYTHONPATH?") from None
        last = traceback.extract_tb(error.__traceback__)[-1]
        place = "" if isinstance(error, SyntaxError) else f" ({Path(last.filename).name}, line {last.lineno})"
        raise UserError(f"{module_name} does not import, {type(error).__name__}: {error}{place}") from None
    found = getattr(module, class_name, None)
    if not (isinstance(found, type) and issubclass(found, Method)):
        own = [k for k, v in vars(module).items() if isinstance(v, type) and issubclass(v, Method) and v is not Method]
        what = "no subclass of benchmarks.spec.Method" if hasattr(module, class_name) else "not there"
        raise UserError(f"{class_name!r} of {module_name} is {what}: choose from {', '.join(own) or '(it has none)'}")
    config = found.Config
    fields = dataclasses.fields(config) if isinstance(config, type) and dataclasses.is_dataclass(config) else None
    if fields is None or any(f.default is f.default_factory is dataclasses.MISSING for f in fields):
        raise UserError(f"{class_name}.Config must be a frozen dataclass in which every field has a default")
    return found
