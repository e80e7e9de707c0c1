"""Validity: of two things for the same, such as prices, no day has both."""

from collections import defaultdict
from collections.abc import Hashable, Iterable
from dataclasses import dataclass
from datetime import date
from itertools import pairwise


@dataclass(frozen=True, slots=True)
class Validity:
    """The days [valid_from, valid_to) of something; None means without that bound.

    ``key`` is what it is for (of a price: charge, layer, owner, currency); ``place`` is what the
    caller knows it by.
    """

    key: Hashable
    valid_from: date | None
    valid_to: date | None
    place: int

    def begins(self) -> date:
        """First day; the first of the calendar when there is no bound."""
        return self.valid_from or date.min


def find_overlaps(validities: Iterable[Validity]) -> list[tuple[Validity, Validity]]:
    """Pairs (earlier, later) for the same key that have a day in common."""
    by_key: dict[Hashable, list[Validity]] = defaultdict(list)
    for validity in validities:
        by_key[validity.key].append(validity)
    overlaps: list[tuple[Validity, Validity]] = []
    for alike in by_key.values():
        alike.sort(key=lambda validity: (validity.begins(), validity.place))
        overlaps.extend(
            (earlier, later)
            for earlier, later in pairwise(alike)
            if earlier.valid_to is None or later.begins() < earlier.valid_to
        )
    return overlaps


def describe_overlap(earlier: Validity, later: Validity, noun: str = "price") -> str:
    """Why two of them cannot both be, and what mends it."""
    since = f"from {earlier.valid_from}" if earlier.valid_from else "from the beginning"
    until = f"to {earlier.valid_to}" if earlier.valid_to else "without end"
    said = f"is valid on days on which another {noun} for the same is valid ({since} {until})"
    if later.valid_from is not None and later.begins() > earlier.begins():
        said += f"; give the earlier one valid_to: {later.valid_from}"
    return said
