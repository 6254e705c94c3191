"""The one exception that a user's mistake raises."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping


class UserError(Exception):
    """A mistake in what the user gave: an argument, a file, a folder.

    The message is one line that names the mistake, the allowed values and the mend. Command lines print it without a
    traceback and exit with code 2; library callers catch it like any exception.
    """


def one_of(what: str, given: object, allowed: object) -> UserError:
    """Return the error for a value outside a closed set, e.g. ``unknown space 'x': choose from a, b``."""
    choices = ", ".join(str(value) for value in allowed)  # type: ignore[attr-defined]
    return UserError(f"unknown {what} {str(given)!r}: choose from {choices}")


def exit_code(work: Callable[[], int | None], codes: Mapping[type[UserError], int] | None = None) -> int:
    """Do the work of a command line.

    Args:
        work: returns an exit code, or None for 0.
        codes: exit codes of kinds of ``UserError``; 2 for the others.

    Returns:
        The exit code. A ``UserError`` is printed to stderr in one line.
    """
    try:
        return work() or 0
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return next((code for kind, code in (codes or {}).items() if isinstance(error, kind)), 2)
