"""Finding a COMMIT in what a client of Postgres says, so that a connection can be broken exactly there.

The product speaks the simple query protocol: a statement travels as text, a COMMIT as a message of its own.
"""

from dataclasses import dataclass

_COMMIT = b"Q\x00\x00\x00\x0bCOMMIT\x00"
_BEGINNINGS = (b"Q\x00\x00\x00\x0aBEGIN\x00", b"Q\x00\x00\x00\x0dROLLBACK\x00")


@dataclass(slots=True)
class Transaction:
    """What has been heard on one connection: whether the wanted statement was in this transaction, and its fate."""

    heard: bool = False
    is_cut: bool = False
    tail: bytes = b""


class CommitCut:
    """Picks the COMMITs of the next `times` transactions that hold `containing`."""

    def __init__(self, times: int, containing: bytes = b"", delivered: bool = True) -> None:
        self.delivered = delivered
        self._left = times
        self._containing = containing

    def begins(self, transaction: Transaction, piece: bytes) -> bool:
        """Whether this piece holds the COMMIT of a transaction that was picked; from now on `is_cut` says so."""
        if any(beginning in piece for beginning in _BEGINNINGS):
            transaction.heard, transaction.tail = False, b""
        text = transaction.tail + piece
        transaction.tail = text[-max(len(_COMMIT), len(self._containing)) :]
        transaction.heard = transaction.heard or self._containing in text
        if _COMMIT not in text:
            return False
        picked = transaction.heard and self._left > 0
        transaction.heard, transaction.tail = False, b""
        if picked:
            self._left -= 1
            transaction.is_cut = True
        return picked
