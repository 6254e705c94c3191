"""The one exception that a user's mistake raises."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping
from typing import Literal, get_args, get_origin, get_type_hints


class UserError(Exception):
    """A mistake in what the user gave: an argument, a file, a folder.

    The message is one line that names the mistake, the allowed values and the mend. Command lines print it without a
    traceback and exit with code 2; library callers catch it like any exception.
    """


def one_of(what: str, given: object, allowed: object) -> UserError:
    """Return the error for a value outside a closed set, e.g. ``unknown space 'x': choose from a, b``."""
    choices = ", ".join(str(value) for value in allowed)  # type: ignore[attr-defined]
    return UserError(f"unknown {what} {str(given)!r}: choose from {choices}")


def check_choices(config: object) -> None:
    """Raise ``UserError`` if a field of a config that is annotated as a ``Literal`` has a value outside it."""
    for name, hint in get_type_hints(type(config)).items():
        if get_origin(hint) is Literal and getattr(config, name) not in get_args(hint):
            raise one_of(name, getattr(config, name), get_args(hint))


def check_counts(**settings: int) -> None:
    """Raise ``UserError`` unless every setting is at least 1."""
    for name, value in settings.items():
        if value < 1:
            raise UserError(f"{name} is a count, got {value}: choose 1 or more")


def exit_code(work: Callable[[], int | None], codes: Mapping[type[UserError], int] | None = None) -> int:
    """Do the work of a command line.

    Args:
        work: returns an exit code, or None for 0.
        codes: exit codes of kinds of ``UserError``; 2 for the others.

    Returns:
        The exit code. A ``UserError``, or a path that may not be entered, is printed to stderr in one line.
    """
    try:
        return work() or 0
    except (UserError, PermissionError) as error:
        line = str(error)
        if isinstance(error, PermissionError) and error.filename is not None:
            line = f"no permission for {error.filename}: mend its permissions, or name another path"
        print(f"error: {line}", file=sys.stderr)
        return next((code for kind, code in (codes or {}).items() if isinstance(error, kind)), 2)
