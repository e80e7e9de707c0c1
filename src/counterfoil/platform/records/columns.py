"""A field as SQL: its column, or the expression of one that is computed when it is read."""

from typing import Any

from sqlalchemy import ColumnElement, Table, literal_column

from counterfoil.core.formulas.vocabulary import Reference
from counterfoil.platform.metadata.entity import Computation, Field, FieldType
from counterfoil.platform.records.schema import column_type


def field_column(table: Table, field: Field) -> ColumnElement[Any]:
    """What a statement that reads from the table writes for the field, anywhere but in FROM."""
    if field.computation is None:
        return table.c[field.name]
    sql = formula_sql(field.computation, f'"{table.name}"')
    return literal_column(f"({sql})", column_type(field))


def field_sql(row: str, field: Field) -> str:
    """The same for SQL that is written as text, where ``row`` names the record."""
    if field.computation is None:
        return f'{row}."{field.name}"'
    sql = formula_sql(field.computation, row)
    if field.type is FieldType.DECIMAL:
        # PostgreSQL forgets the digits of an expression.
        sql = f"CAST({sql} AS NUMERIC({field.precision},{field.scale}))"
    # A colon would be read as the name of a parameter.
    return f"({sql})".replace(":", "\\:")


def formula_sql(computation: Computation, row: str) -> str:
    """A formula over the record that ``row`` names in the statement, as SQL."""
    reads = {read.name: read for read in computation.reads}

    def column_of(reference: Reference) -> str:
        read = reads[reference.name]
        own = f'{row}."{read.field}"'
        if not read.target:
            return own
        return f'(SELECT far."{read.far}" FROM "{read.target}" AS far WHERE far.id = {own})'

    return computation.formula.postgres_sql(column_of)
