"""The one exception that a user's mistake raises."""

from __future__ import annotations


class UserError(Exception):
    """A mistake in what the user gave: an argument, a file, a folder.

    The message is one line that names the mistake, the allowed values and the mend. Command lines print it without a
    traceback and exit with code 2; library callers catch it like any exception.
    """


def one_of(what: str, given: object, allowed: object) -> UserError:
    """Return the error for a value outside a closed set, e.g. ``unknown space 'x': choose from a, b``."""
    choices = ", ".join(str(value) for value in allowed)  # type: ignore[attr-defined]
    return UserError(f"unknown {what} {str(given)!r}: choose from {choices}")
