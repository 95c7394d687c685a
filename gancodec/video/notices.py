"""What a reader or writer had to change, as sentences for a human, each said once."""

from __future__ import annotations


class Notices:
    """Collects sentences; ``{n}`` in a sentence becomes how often it happened."""

    def __init__(self) -> None:
        self._counts: dict[str, int] = {}

    def add(self, sentence: str) -> int:
        """Note that it happened (again) and give how often it has."""
        self._counts[sentence] = self._counts.get(sentence, 0) + 1
        return self._counts[sentence]

    def sentences(self) -> list[str]:
        """All notices so far, in the order they first came up."""
        return [s.replace("{n}", str(count)) for s, count in self._counts.items()]
