"""A draft of a price book laid over the stored prices, in a unit of work that is rolled back.

On the days of a price of the draft, the stored prices for the same (charge, layer, owner and
currency) do not hold; on all other days they stay. So a draft may also replace prices that
something was rated with, which a price book that is saved may not.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import date

from counterfoil.business.products.price_book_entries import PriceEntry
from counterfoil.business.products.queries import PriceKey, StoredPrice
from counterfoil.platform.metadata import Entity
from counterfoil.platform.records.unit_of_work import UnitOfWork

NEVER = (date.min, date.min)
"""A validity without a day."""


@dataclass(frozen=True, slots=True)
class Days:
    """The days [valid_from, valid_to); None means without that bound."""

    valid_from: date | None
    valid_to: date | None

    def without(self, other: "Days") -> tuple["Days", ...]:
        """What is left of these days when the other ones are taken out."""
        first, end = self.valid_from or date.min, self.valid_to or date.max
        taken_first, taken_end = other.valid_from or date.min, other.valid_to or date.max
        if taken_first >= end or taken_end <= first:
            return (self,)
        left = (Days(self.valid_from, other.valid_from),) if first < taken_first else ()
        right = (Days(other.valid_to, self.valid_to),) if taken_end < end else ()
        return (*left, *right)


def remaining_days(stored: StoredPrice, prices: Iterable[PriceEntry]) -> tuple[Days, ...]:
    """The days on which a stored price still holds when these prices take precedence."""
    rest: tuple[Days, ...] = (Days(stored.valid_from, stored.valid_to),)
    for price in prices:
        taken = Days(price.valid_from, price.valid_to)
        rest = tuple(left for days in rest for left in days.without(taken))
    return rest


def make_way(
    uow: UnitOfWork, stored: Mapping[PriceKey, Sequence[StoredPrice]], prices: Sequence[PriceEntry]
) -> None:
    """Take the days of the prices of a draft out of the stored prices for the same.

    A stored price that holds before and after becomes two. For rehearsals only: neither rules nor
    history apply, and the rows are not locked against being referred to.
    """
    changed: list[tuple[int, date | None, date | None]] = []
    copies: list[tuple[int, Days]] = []
    for key, alike in stored.items():
        own = [price for price in prices if price.key == key]
        for price in alike:
            days = Days(price.valid_from, price.valid_to)
            rest = remaining_days(price, own)
            if rest == (days,):
                continue
            first = (rest[0].valid_from, rest[0].valid_to) if rest else NEVER
            changed.append((price.id, *first))
            copies += [(price.id, later) for later in rest[1:]]
    _copy_prices(uow, copies)
    if changed:
        ids, starts, ends = zip(*changed, strict=True)
        uow.execute(
            "UPDATE price SET valid_from = v.valid_from, valid_to = v.valid_to "
            "FROM unnest(CAST(:ids AS bigint[]), CAST(:starts AS date[]), CAST(:ends AS date[])) "
            "AS v(id, valid_from, valid_to) WHERE price.id = v.id",
            ids=list(ids),
            starts=list(starts),
            ends=list(ends),
        )


def _copy_prices(uow: UnitOfWork, copies: Sequence[tuple[int, Days]]) -> None:
    """Further rows like stored prices, with all that belongs to them, for other days."""
    if not copies:
        return
    ids = uow.allocate_ids("price", len(copies))
    copied: dict[str, object] = {
        "new": ids,
        "old": [price_id for price_id, _ in copies],
        "starts": [days.valid_from for _, days in copies],
        "ends": [days.valid_to for _, days in copies],
    }
    source = (
        "unnest(CAST(:new AS bigint[]), CAST(:old AS bigint[]), CAST(:starts AS date[]), "
        "CAST(:ends AS date[])) AS v(new_id, old_id, valid_from, valid_to)"
    )
    new_values = {"valid_from": "v.valid_from", "valid_to": "v.valid_to"}
    columns, values = _copied(uow.catalogue.entity("price"), new_values)
    uow.execute(
        f"INSERT INTO price (id, {columns}) SELECT v.new_id, {values} "
        f"FROM price AS r JOIN {source} ON v.old_id = r.id",
        **copied,
    )
    for part, field in _parts_of_prices(uow):
        columns, values = _copied(part, {field: "v.new_id"})
        uow.execute(
            f'INSERT INTO "{part.name}" ({columns}) SELECT {values} '
            f'FROM "{part.name}" AS r JOIN {source} ON v.old_id = r."{field}"',
            **copied,
        )


def _copied(entity: Entity, new_values: Mapping[str, str]) -> tuple[str, str]:
    """Columns of an entity besides the id, and what a copy of a row ``r`` has in them."""
    header = ("created_at", "updated_at", "row_version")
    names = [*header, *(field.name for field in entity.stored)]
    columns = ", ".join(f'"{name}"' for name in names)
    return columns, ", ".join(new_values.get(name, f'r."{name}"') for name in names)


def _parts_of_prices(uow: UnitOfWork) -> list[tuple[Entity, str]]:
    """The entities whose records are part of a price, such as its tiers, with the field.

    Details that a customer has added to a price are about that one and not copied.
    """
    return [
        (entity, field.name)
        for entity in uow.catalogue.entities.values()
        for field in entity.fields
        if field.target == "price" and field.on_delete == "cascade" and not entity.custom
    ]
