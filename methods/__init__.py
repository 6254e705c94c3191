"""The methods by the names that the command line uses. A new method is one new file and one row here.

A user's own method needs neither: ``--methods mypackage.mymodule:MyMethod``. Hyper-parameters follow an at sign:
``--methods zero-cost@proxy=naswot,draws=500 balenas-2nd@samples=4``.
"""

from __future__ import annotations

import dataclasses
import importlib
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from benchmarks import assignments
from benchmarks.errors import UserError, one_of
from benchmarks.spec import Method


@dataclass(frozen=True)
class Entry:
    """Where a method lives and which settings its name stands for."""

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
    base, _, inline = name.partition("@")
    entry = METHODS.get(base) or (Entry(base) if ":" in base else None)
    if entry is None:
        raise one_of("method", base, [*METHODS, "package.module:Class"])
    module_name, _, class_name = entry.target.partition(":")
    try:
        method = getattr(importlib.import_module(module_name), class_name)
    except (ImportError, AttributeError) as error:
        raise UserError(f"cannot load method {name!r} ({error}): is the module on PYTHONPATH?") from None
    if not (isinstance(method, type) and issubclass(method, Method)):
        raise UserError(f"{name!r} is not a subclass of benchmarks.spec.Method: derive it from that class")
    defaults = {f.name: entry.settings.get(f.name, f.default) for f in dataclasses.fields(method.Config)}
    words = inline.split(",") if inline else []
    example = "zero-cost@proxy=naswot,draws=500"
    chosen = assignments.parse(words, defaults, what=f"hyper-parameter of {base}", example=example)
    if unknown := set(settings or {}) - set(defaults):
        raise one_of(f"hyper-parameter of {base}", ", ".join(sorted(unknown)), sorted(defaults) or ["(it has none)"])
    return method, method.Config(**{**entry.settings, **chosen, **(settings or {})})
