"""What a part of the torture run counted and found."""

from __future__ import annotations

from dataclasses import dataclass, field

from tests.torture.checker import describe
from tests.torture.ledger import Violation


@dataclass(slots=True)
class Outcome:
    """`skipped` says why a part could not run here; it has then shown nothing."""

    name: str
    violations: list[Violation] = field(default_factory=list)
    counts: dict[str, int] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)
    seconds: float = 0.0
    skipped: str = ""

    def add(self, what: str, count: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + count

    def count(self, what: str) -> int:
        return self.counts.get(what, 0)

    def require(self, condition: bool, kind: str, evidence: str) -> None:
        if not condition:
            self.violations.append(Violation(kind, evidence))

    def __str__(self) -> str:
        if self.skipped:
            return f"{self.name}: skipped: {self.skipped}"
        figures = [f"{count} {what}" for what, count in self.counts.items()]
        line = ", ".join([*figures, f"{self.seconds:.0f} s", f"violations {len(self.violations)}"])
        parts = [f"{self.name}: {line}", *(f"  {note}" for note in self.notes)]
        if self.violations:
            parts.append(describe(self.violations))
        return "\n".join(parts)
