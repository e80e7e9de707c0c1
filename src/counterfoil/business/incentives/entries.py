"""The entries of an incentives file as values, each knowing where in the file it stands."""

from collections.abc import Mapping
from dataclasses import dataclass

from counterfoil.business.products.price_book_entries import Place
from counterfoil.platform.metadata import Record

Reference = tuple[str, str]
"""The entity referred to, and the external id of the record."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PartEntry:
    """A record that belongs to another one of the file: a target, a tier, a holder."""

    entity: str
    values: Record
    references: Mapping[str, Reference]
    place: Place


@dataclass(frozen=True, slots=True, kw_only=True)
class IncentiveEntry:
    """A discount, commitment or grant with its parts.

    ``values`` are the entity's fields without references; ``references`` say by field what is
    referred to. ``parts`` replace what is stored of their kind.
    """

    entity: str
    values: Record
    references: Mapping[str, Reference]
    place: Place
    parts: tuple[PartEntry, ...] = ()

    @property
    def external_id(self) -> str:
        """The id the file gives it."""
        return str(self.values["external_id"])

    @property
    def whole(self) -> tuple["IncentiveEntry | PartEntry", ...]:
        """The entry itself and its parts."""
        return (self, *self.parts)


@dataclass(frozen=True, slots=True)
class IncentivesFile:
    """Everything an incentives file says, in its order."""

    file: str
    entries: tuple[IncentiveEntry, ...]

    def of_entity(self, entity: str) -> list[IncentiveEntry]:
        """The entries of one entity."""
        return [entry for entry in self.entries if entry.entity == entity]
