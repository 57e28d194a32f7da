"""Regular expressions and replacements as Java has them, in Python's."""

from __future__ import annotations

import re
from typing import Final

_GROUP: Final = re.compile(r"\(\?<(?=[A-Za-z])")
_REFERENCE: Final = re.compile(r"\\(.)|\$(?:\{([A-Za-z][A-Za-z0-9]*)\}|(\d+))|([\\$])", re.DOTALL)


class JavaRegex:
    """A pattern that must match a whole text, and what to replace it with.

    Raises ValueError for a pattern or replacement that means nothing.
    """

    def __init__(self, pattern: str, replacement: str) -> None:
        try:
            self._pattern = re.compile(_GROUP.sub("(?P<", pattern))
        except re.error as error:
            raise ValueError(f"{pattern!r} is no regular expression: {error}") from error
        self._parts: list[str | int] = []
        end = 0
        for match in _REFERENCE.finditer(replacement):
            self._parts.append(replacement[end : match.start()])
            self._parts.append(self._part(match, replacement))
            end = match.end()
        self._parts.append(replacement[end:])

    def replace(self, text: str) -> str | None:
        """The replacement; None where the text does not match."""
        match = self._pattern.fullmatch(text)
        if match is None:
            return None
        return "".join(
            part if isinstance(part, str) else match.group(part) or "" for part in self._parts
        )

    def _part(self, match: re.Match[str], replacement: str) -> str | int:
        escaped, name, number, stray = match.groups()
        if escaped is not None:
            return str(escaped)
        if stray is not None:
            raise ValueError(f"{replacement!r}: {stray} at its place stands for nothing")
        if name is not None:
            if name not in self._pattern.groupindex:
                raise ValueError(f"{replacement!r}: the pattern has no group {name!r}")
            return self._pattern.groupindex[name]
        # As many digits as name a group: $12 is group 1 and a 2 where there is no group 12.
        taken = next((n for n in range(len(number), 0, -1) if self._has(number[:n])), 0)
        if not taken:
            raise ValueError(f"{replacement!r}: the pattern has no group {number}")
        self._parts.append(int(number[:taken]))
        return str(number[taken:])

    def _has(self, number: str) -> bool:
        return int(number) <= self._pattern.groups
