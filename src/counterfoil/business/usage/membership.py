"""Whose events a segment holds: a small filter for its manifest row.

Segments that are not compacted hold everybody's events, so that their statistics exclude nobody.
The filter is a set of bits, six in a character; every subscription has one of them. It may say that
a segment holds events of a subscription when it does not, never the opposite.
"""

import string
from collections.abc import Sequence

import pyarrow as pa

from counterfoil.platform.metadata import Record

LONGEST_FILTER = 1800
"""Characters of a filter, at most; with more PostgreSQL would keep it beside the row."""

MANY = 5_000
"""Subscriptions of which a segment has no filter when it has more: it would exclude hardly any."""

_BITS = 6
_CHARACTERS_EACH = 2
_ALPHABET = string.ascii_uppercase + string.ascii_lowercase + string.digits + "+/"
_VALUES = {character: value for value, character in enumerate(_ALPHABET)}
# Ids that follow each other are spread evenly by the golden ratio (2**64 / 1.618...).
_SPREAD = 0x9E37_79B9_7F4A_7C15
_WORD = (1 << 64) - 1


class Members:
    """Collects the subscriptions of a segment that is being written."""

    def __init__(self) -> None:
        self._spread: set[int] = set()

    def add(self, subscriptions: pa.ChunkedArray) -> None:
        """Add those of some events."""
        if len(self._spread) > MANY:
            return
        distinct = subscriptions.unique().drop_null()
        # Past the limit it does not matter which they are.
        self._spread.update(map(_spread, distinct.slice(0, MANY + 1).to_pylist()))

    def filter(self) -> str | None:
        """The filter of all that were added; None when they are many."""
        if len(self._spread) > MANY:
            return None
        length = min(LONGEST_FILTER, max(1, len(self._spread) * _CHARACTERS_EACH))
        values = [0] * length
        for spread in self._spread:
            index, bit = _place(spread, length)
            values[index] |= bit
        return "".join(_ALPHABET[value] for value in values)


def holding(segments: Sequence[Record], subscriptions: Sequence[int]) -> list[Record]:
    """Those of the segments that may hold events of one of these subscriptions."""
    wanted = [_spread(subscription) for subscription in subscriptions]
    return [row for row in segments if _may_hold(row["subscription_filter"], wanted)]


def _may_hold(members: object, wanted: Sequence[int]) -> bool:
    if not isinstance(members, str):
        return True
    for spread in wanted:
        index, bit = _place(spread, len(members))
        if _VALUES[members[index]] & bit:
            return True
    return False


def _spread(subscription: int) -> int:
    return subscription * _SPREAD & _WORD


def _place(spread: int, length: int) -> tuple[int, int]:
    """Which of so many characters has the bit of a subscription, and the bit."""
    index, bit = divmod(spread * length * _BITS >> 64, _BITS)
    return index, 1 << bit
