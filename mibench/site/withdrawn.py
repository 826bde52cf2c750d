"""What was withdrawn from boards, for pages: nothing that was published vanishes without its reason."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from mibench.leaderboard.rows import make_rows
from mibench.leaderboard.slug import row_slug
from mibench.leaderboard.withdrawals import Withdrawal
from mibench.protocol.load import LoadedProtocol
from mibench.results.display import printable, with_interval


@dataclass(frozen=True)
class Gone:
    """Records of one row that were withdrawn together.

    Attributes:
        board: ``name@version``.
        slug: the row's name in addresses.
        name: its name for people.
        date: of the withdrawal.
        by: who withdrew them.
        reason: why.
        leakage: what the withdrawn records say of the row.
        records: attack, seed and digest of each.
        id: of the withdrawal.
    """

    board: str
    slug: str
    name: str
    date: str
    by: str
    reason: str
    leakage: str
    records: tuple[tuple[str, int, str], ...]
    id: str

    @property
    def text(self) -> str:
        """One sentence."""
        many = f"{len(self.records)} record{'s' * (len(self.records) > 1)}"
        return f"{self.name}: {many} withdrawn on {self.date} by {self.by}: {self.reason}"


def gone_rows(found: Sequence[Withdrawal], loaded: LoadedProtocol) -> Iterator[Gone]:
    """Yield each row of each withdrawal of a board, newest first.

    Raises:
        RecordError: for a damaged record.
    """
    for one in reversed(found):
        for row in make_rows(one.records, loaded.protocol):
            yield Gone(
                board=loaded.id,
                slug=row_slug(row),
                name=printable(f"{row.defense} ({row.note})" if row.note else row.defense, 120),
                date=one.notice.date,
                by=printable(one.notice.by, 200),
                reason=printable(one.notice.reason, 2000),
                leakage=with_interval(*row.leakage),
                records=tuple((record.cell.attack_label, record.cell.seed, record.digest) for record in row.records),
                id=one.notice.id,
            )
