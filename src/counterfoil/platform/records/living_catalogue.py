"""The catalogue of a running organisation: rebuilt when a change set has moved its version.

Every transaction compares the version that PostgreSQL holds with that of the catalogue at hand,
and keeps what it found until it ends. Who is behind for a moment is not wrong: change sets only
add, so that a column it does not know is none that it needs.
"""

from dataclasses import dataclass
from threading import Lock
from typing import cast

from sqlalchemy import Connection, MetaData, text

from counterfoil.platform.metadata import (
    Catalogue,
    CustomEntity,
    CustomerModel,
    CustomField,
    Record,
    build_catalogue,
)
from counterfoil.platform.metadata.rules import CustomRule
from counterfoil.platform.records.schema import build_tables

_VERSION = "SELECT version FROM catalogue_version"

# One statement, hence one moment.
_CUSTOMER = """
SELECT coalesce((SELECT version FROM catalogue_version), 0) AS version,
       (SELECT jsonb_agg(to_jsonb(e) ORDER BY e.id) FROM custom_entity e) AS entities,
       (SELECT jsonb_agg(to_jsonb(f) ORDER BY f.id) FROM custom_field f) AS fields,
       (SELECT jsonb_agg(to_jsonb(r) ORDER BY r.id) FROM rule r) AS rules
"""


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A catalogue and its tables."""

    catalogue: Catalogue
    tables: MetaData


class LivingCatalogue:
    """The catalogue of one database, for all threads of this process.

    ``system`` is the program's part, which never changes while it runs.
    """

    def __init__(self, system: Catalogue) -> None:
        self._system = system
        self._snapshot = Snapshot(system, build_tables(system))
        self._rebuilding = Lock()

    @property
    def catalogue(self) -> Catalogue:
        """The newest catalogue that this process has seen."""
        return self._snapshot.catalogue

    def at(self, connection: Connection) -> Snapshot:
        """What holds for a transaction that begins; one thread rebuilds, others wait for it."""
        version = connection.exec_driver_sql(_VERSION).scalar() or 0
        if version <= self._snapshot.catalogue.version:
            return self._snapshot
        with self._rebuilding:
            if version > self._snapshot.catalogue.version:
                self._snapshot = self._read(connection)
            return self._snapshot

    def _read(self, connection: Connection) -> Snapshot:
        number, customer = read_customer_model(connection)
        catalogue = build_catalogue(
            self._system.declared, customer, number, self._system.job_kinds.values()
        )
        return Snapshot(catalogue, build_tables(catalogue))


def read_customer_model(connection: Connection) -> tuple[int, CustomerModel]:
    """What the customer has added, and the version of it."""
    row = connection.execute(text(_CUSTOMER)).mappings().one()
    entities = cast("list[Record]", row["entities"] or [])
    fields = cast("list[Record]", row["fields"] or [])
    rules = cast("list[Record]", row["rules"] or [])
    return int(row["version"]), CustomerModel(
        tuple(map(CustomEntity.of, entities)),
        tuple(map(CustomField.of, fields)),
        tuple(map(CustomRule.of, rules)),
    )
