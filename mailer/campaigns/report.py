"""What users are told: the report of an import, the progress of a campaign."""

from dataclasses import asdict, dataclass, field
from typing import Any

# Rows listed one by one; the counts are always complete. A file of the wrong kind can have a
# million bad rows, and nobody reads past the first few.
LISTED = 1000


@dataclass(frozen=True, slots=True)
class Rejected:
    """A row that made no delivery. ``line``: of the file, or the position in the iterable."""

    line: int
    email: str
    reason: str


@dataclass(slots=True)
class ImportReport:
    """What became of the recipients that were handed in.

    ``accepted`` rows made a delivery that will be sent; ``suppressed`` ones made a delivery that
    will not. ``invalid`` and ``duplicates`` list the first 1,000 of ``invalid_total`` and
    ``duplicate``.
    """

    accepted: int = 0
    duplicate: int = 0
    suppressed: int = 0
    invalid_total: int = 0
    invalid: list[Rejected] = field(default_factory=list)
    duplicates: list[Rejected] = field(default_factory=list)

    def reject(self, line: int, email: str, reason: str) -> None:
        """Count, and list while there is room, a row that cannot be used."""
        self.invalid_total += 1
        if len(self.invalid) < LISTED:
            self.invalid.append(Rejected(line, email, reason))

    def dump(self) -> dict[str, Any]:
        """As plain values, for the ledger and for JSON output."""
        return asdict(self)

    @classmethod
    def load(cls, values: dict[str, Any]) -> "ImportReport":
        """The inverse of ``dump``."""
        lists = {k: [Rejected(**row) for row in values[k]] for k in ("invalid", "duplicates")}
        return cls(**{**values, **lists})


@dataclass(frozen=True, slots=True)
class Progress:
    """Where a campaign stands. ``rate``: messages sent a second, over the last ten seconds while
    it runs, over its whole course when it has ended.
    """

    state: str
    total: int
    pending: int
    queued: int
    sending: int
    sent: int
    failed: int
    suppressed: int
    cancelled: int
    expired: int
    in_doubt: int
    rate: float

    @property
    def waiting(self) -> int:
        """Deliveries that have not come to an end."""
        return self.pending + self.queued + self.sending
