"""``draws=500`` on a command line: a setting, its name checked and its value of the default's kind."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from benchmarks.errors import UserError, one_of


def parse(words: Iterable[str], defaults: Mapping[str, object], *, what: str, example: str) -> dict[str, object]:
    """Settings by name.

    Args:
        words: of the form ``name=value``.
        defaults: what may be set, with values whose kinds the texts become.
        what: a setting's name in messages.
        example: what would have been right, for messages.

    Raises:
        UserError: a word of another form, an unknown name, one given twice, or a value that is none of its kind.
    """
    found: dict[str, object] = {}
    for word in words:
        key, equals, text = word.partition("=")
        if not (key and equals and text):
            raise UserError(f"{what} {key!r} has no value: write for example {example}")
        if key not in defaults:
            raise one_of(what, key, sorted(defaults) or ["(it has none)"])
        if key in found:
            raise UserError(f"{what} {key!r} is given twice: give it once")
        found[key] = _typed(key, text, defaults[key])
    return found


def _typed(key: str, text: str, default: object) -> object:
    """Text as a value of the default's kind."""
    if isinstance(default, bool):
        if text.lower() not in ("true", "false"):
            raise UserError(f"{key}={text} is neither true nor false: write for example {key}={str(default).lower()}")
        return text.lower() == "true"
    if isinstance(default, int | float):
        try:
            return type(default)(text)
        except ValueError:
            kind = "whole number" if isinstance(default, int) else "number"
            raise UserError(f"{key}={text} is no {kind}: write for example {key}={default}") from None
    return text
