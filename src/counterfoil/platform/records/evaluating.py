"""Formulas over records that are being written, computed by PostgreSQL for many rows at once."""

from collections.abc import Sequence

from counterfoil.core.formulas.vocabulary import Reference
from counterfoil.platform.metadata import Entity, Record
from counterfoil.platform.metadata.entity import HEADER, Computation, Read
from counterfoil.platform.records.exact_json import encode_json
from counterfoil.platform.records.statements import Statements
from counterfoil.platform.records.writing import sql_type_of


def evaluate(
    statements: Statements,
    entity: Entity,
    computations: Sequence[Computation],
    rows: Sequence[Record],
    old_rows: Sequence[Record | None],
) -> list[list[object]]:
    """For every row the values of all formulas; one query, however many rows there are.

    A formula reads the row, ``old.…`` of the row as it was, and records that the row points to.
    """
    if not computations or not rows:
        return [[] for _ in rows]
    reads = [read for one in computations for read in one.reads]
    today = f"DATE '{statements.now.date().isoformat()}'"
    values = ", ".join(
        f"{_sql(computation, today)} AS value_{number}"
        for number, computation in enumerate(computations)
    )
    new, old = _shape(entity, reads, old=False), _shape(entity, reads, old=True)
    found = statements.query(
        f"SELECT {values.replace(':', chr(92) + ':')}"
        f" FROM jsonb_to_recordset(CAST(:new AS jsonb)) AS record({new})"
        f" LEFT JOIN jsonb_to_recordset(CAST(:old AS jsonb)) AS old({old})"
        " ON old.line_no = record.line_no ORDER BY record.line_no",
        new=encode_json([_picked(row, reads, line) for line, row in enumerate(rows)]),
        old=encode_json(
            [_picked(row, reads, line) for line, row in enumerate(old_rows) if row is not None]
        ),
    )
    return [list(row.values()) for row in found]


def _sql(computation: Computation, today: str) -> str:
    reads = {read.name: read for read in computation.reads}

    def column_of(reference: Reference) -> str:
        read = reads[reference.name]
        if not read.field:
            return today
        own = f'{"old" if read.old else "record"}."{read.field}"'
        if not read.target:
            return own
        return f'(SELECT far."{read.far}" FROM "{read.target}" AS far WHERE far.id = {own})'

    return computation.formula.postgres_sql(column_of)


def _shape(entity: Entity, reads: Sequence[Read], *, old: bool) -> str:
    names = {read.field for read in reads if read.field and read.old is old}
    columns = [
        f'"{field.name}" {sql_type_of(field)}'
        for field in (*HEADER, *entity.stored)
        if field.name in names
    ]
    return ", ".join(["line_no bigint", *columns])


def _picked(row: Record, reads: Sequence[Read], line: int) -> Record:
    return {"line_no": line} | {read.field: row.get(read.field) for read in reads if read.field}
