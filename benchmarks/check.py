"""The contract that every method keeps, as checks: ``python -m benchmarks.check mypackage.mymodule:MyMethod``.

Each check builds the method anew at the smoke tier and raises ``Broken`` with one line. The suite's own tests run the
same checks over every registered method and space.
"""

from __future__ import annotations

import argparse
import os
import random
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
import torch
from rich.console import Console
from rich.markup import escape

from benchmarks import checkpoint, images, spaces, tiers
from benchmarks.errors import exit_code
from benchmarks.seeds import Seeds
from benchmarks.spec import Method, SearchProblem, Trace, check_trace, handed_on
from methods import resolve


class Broken(AssertionError):
    """A check that failed, in one line."""


@dataclass(frozen=True)
class Make:
    """Builds a method on a space at the smoke tier, with Hessians at both ends of the search if ``hessian``.

    Attributes:
        settings: hyper-parameters in place of the defaults.
    """

    name: str
    space: str
    hessian: bool = False
    settings: Mapping[str, Any] = field(default_factory=dict)

    def __call__(self, seed: int) -> Method:
        """The method at a seed. Where it has an upstream, that is searched first."""
        budget = tiers.budget("smoke", self.space)
        if self.hessian:
            budget = replace(budget, hessian_every=budget.epochs, hessian_images=4)
        method_class, config = resolve(self.name, self.settings)
        seeds = Seeds(seed, self.space, budget.data, self.name)
        split = images.search_split(
            images.load(budget.data),
            train=budget.train_images,
            valid=budget.valid_images,
            size=budget.image_size,
            generator=seeds.generator("split"),
        )
        upstream = None
        if method_class.upstream is not None:
            upstream = handed_on(run_through(Make(method_class.upstream, self.space)(seed))[-1])
        method = method_class(SearchProblem(spaces.get(self.space), split, budget, seeds, upstream), config)
        if not method.has_an_end:
            raise Broken(f"epochs is {method.epochs}: it must be a whole number, 0 or more")
        return method


def run_through(method: Method, first: int = 0) -> list[Trace]:
    """Run from epoch ``first`` to the end; what it measured and picked, without seconds, which are never the same."""
    rows: list[Trace] = []
    for epoch in range(first, method.epochs + 1):
        trace = method.train_epoch(epoch) if epoch else {}
        trace |= method.measure(epoch)
        check_trace(trace, rows)
        row: Trace = {"epoch": epoch, "architecture": method.problem.space.encode(method.architecture())}
        rows.append(row | {key: value for key, value in trace.items() if not key.startswith("seconds")})
    return rows


def _state(method: Method) -> str:
    """The state as text with every digit, seconds left out."""
    torch.set_printoptions(threshold=sys.maxsize, precision=17)
    try:
        return repr({key: value for key, value in method.state_dict().items() if key != "seconds"})
    finally:
        torch.set_printoptions(profile="default")


def picks_valid_architectures(make: Make) -> None:
    """An architecture of the space at every epoch, the same when asked twice, through its string and back."""
    method = make(0)
    space = method.problem.space
    for epoch in range(method.epochs + 1):
        if epoch:
            method.train_epoch(epoch)
        architecture = method.architecture()
        space.check(architecture)
        if method.architecture() != architecture:
            raise Broken(f"epoch {epoch}: architecture() gives another answer when called again")
        if space.decode(space.encode(architecture)) != architecture:
            raise Broken(f"epoch {epoch}: {architecture} does not survive its string")


def is_deterministic(make: Make) -> None:
    """Two runs at a seed are equal."""
    if repr(run_through(make(0))) != repr(run_through(make(0))):
        raise Broken("two runs at the same seed differ: draw only from problem.seeds")


def continues_bit_for_bit(make: Make) -> None:
    """Stopped after any epoch, saved to a file and loaded into a new instance, it ends in the same bits."""
    whole = make(0)
    expected = run_through(whole)
    for stop in range(whole.epochs):
        first = make(0)
        for epoch in range(stop + 1):
            if epoch:
                first.train_epoch(epoch)
            first.measure(epoch)
        second = make(0)
        second.load_state_dict(_through_a_checkpoint(first.state_dict()))
        if repr(run_through(second, stop + 1)) != repr(expected[stop + 1 :]):
            raise Broken(f"stopped after epoch {stop} and continued from state_dict(), it ends elsewhere")
        if _state(second) != _state(whole):
            raise Broken(f"stopped after epoch {stop} and continued, its final state differs")


def _through_a_checkpoint(state: Mapping[str, Any]) -> dict[str, Any]:
    """A state as it comes back from a checkpoint."""
    try:
        return dict(checkpoint.unpack(checkpoint.pack(state)))
    except Exception as error:
        raise Broken(
            f"a checkpoint cannot hold its state_dict() ({type(error).__name__}): give tensors, numbers, texts, and "
            "lists and dicts of these"
        ) from None


def measuring_changes_nothing(make: Make) -> None:
    """``measure`` leaves state, training mode and gradients' switches as they were."""
    method = replace(make, hessian=True)(0)
    for epoch in range(method.epochs + 1):
        if epoch:
            method.train_epoch(epoch)
        before, modes = _state(method), _modes(method)
        method.measure(epoch)
        if _state(method) != before:
            raise Broken(f"epoch {epoch}: measure() changes the state")
        if _modes(method) != modes:
            raise Broken(f"epoch {epoch}: measure() leaves a module in another mode (training or requires_grad)")


def _modes(method: Method) -> list[tuple[bool, ...]]:
    return [
        (*(m.training for m in module.modules()), *(p.requires_grad for p in module.parameters()))
        for module in _modules(method)
    ]


def _modules(method: Method) -> Iterator[torch.nn.Module]:
    """The method's own modules, also those in containers and in objects of its own."""
    seen: set[int] = set()
    left = [value for name, value in vars(method).items() if name not in ("problem", "config")]
    while left:
        value = left.pop()
        if id(value) in seen or isinstance(value, type):
            continue
        seen.add(id(value))
        if isinstance(value, torch.nn.Module):
            yield value
        elif isinstance(value, Mapping):
            left += value.values()
        elif isinstance(value, list | tuple | set):
            left += value
        else:
            left += getattr(value, "__dict__", {}).values()


def leaves_global_randomness_alone(make: Make) -> None:
    """torch's, numpy's and Python's global generators are neither read (the run is deterministic) nor moved."""

    def states() -> str:
        return repr((torch.random.get_rng_state().tolist(), np.random.get_state(), random.getstate()))  # noqa: NPY002

    before = states()
    run_through(make(0))
    if states() != before:
        raise Broken("a global random generator moved: use problem.seeds.generator(...) or problem.seeds.scope(...)")


def never_touches_ground_truth(make: Make) -> None:
    """In an interpreter that cannot import the accuracy tables, the method still runs."""
    code = (
        "import sys; sys.modules['benchmarks.ground_truth'] = None\n"
        "from benchmarks.check import Make, run_through\n"
        f"run_through(Make({make.name!r}, {make.space!r}, settings={dict(make.settings)!r})(0))"
    )
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(path for path in sys.path if path)}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, check=False)
    if done.returncode:
        last = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        raise Broken(f"without the accuracy tables it fails: {last}")


CHECKS: tuple[Callable[[Make], None], ...] = (
    picks_valid_architectures,
    is_deterministic,
    continues_bit_for_bit,
    measuring_changes_nothing,
    leaves_global_randomness_alone,
    never_touches_ground_truth,
)


def main(arguments: Sequence[str] | None = None) -> int:
    """Check a method on all spaces. Exit code 0: keeps the contract, 1: breaks it, 2: no such method or space."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.check", description=main.__doc__)
    parser.add_argument("method", help="package.module:Class, or a built-in name")
    parser.add_argument("--spaces", nargs="+", default=list(spaces.SPACES), metavar="S")
    options = parser.parse_args(arguments)
    console = Console()
    torch.set_num_threads(1)

    def work() -> int:
        broken = 0
        resolve(options.method)
        for space in options.spaces:
            spaces.get(space)
            for check in CHECKS:
                try:
                    check(Make(options.method, space))
                    console.print(
                        f"[green]ok[/green]      {space}  {check.__name__.replace('_', ' ')}", highlight=False
                    )
                except Exception as error:  # whatever the method raises is a broken contract
                    broken += 1
                    line = f"{type(error).__name__}: {error}" if not isinstance(error, Broken) else str(error)
                    said = escape(f"{space}  {check.__name__.replace('_', ' ')}: {line}")
                    console.print(f"[red]broken[/red]  {said}", highlight=False)
        return 1 if broken else 0

    return exit_code(work)


if __name__ == "__main__":
    sys.exit(main())
