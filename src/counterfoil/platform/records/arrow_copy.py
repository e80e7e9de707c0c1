"""Bulk in and out of PostgreSQL as Arrow, through COPY and CSV.

CSV is the one format both PostgreSQL and Arrow read and write in compiled code with exact
decimals. An empty string is written in quotes and NULL as nothing, so the two stay distinct.
Few rows are not copied: PostgreSQL plans a COPY each time, which takes longer than they do.
"""

import io
from codecs import BOM_UTF8
from collections.abc import Iterable, Mapping, Sequence

import psycopg
import pyarrow as pa
from psycopg import sql as pgsql
from psycopg.rows import tuple_row
from psycopg.types.string import TextLoader
from pyarrow import compute, csv

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Entity, Field, FieldType, Record
from counterfoil.platform.metadata.entity import HEADER
from counterfoil.platform.records.exact_json import encode_json

ROWS_PER_BLOCK = 20_000
_READ_BLOCK_BYTES = 1 << 20

_ARROW_OF_OID: dict[int, pa.DataType] = {
    16: pa.bool_(),
    18: pa.string(),
    19: pa.string(),
    20: pa.int64(),
    21: pa.int64(),
    23: pa.int64(),
    25: pa.string(),
    114: pa.string(),
    1009: pa.string(),
    1042: pa.string(),
    1043: pa.string(),
    1082: pa.date32(),
    1184: pa.timestamp("us", "UTC"),
    2950: pa.string(),
    3802: pa.string(),
}
_NUMERIC_OID = 1700
_TRAVEL_AS_TEXT = (18, 114, 1009, 2950, 3802)

_ARROW_OF_TYPE: dict[FieldType, pa.DataType] = {
    FieldType.TEXT: pa.string(),
    FieldType.INTEGER: pa.int64(),
    FieldType.BOOLEAN: pa.bool_(),
    FieldType.DATE: pa.date32(),
    FieldType.INSTANT: pa.timestamp("us", "UTC"),
    FieldType.CHOICE: pa.string(),
    FieldType.REFERENCE: pa.int64(),
    FieldType.DOCUMENT: pa.string(),
    FieldType.MULTI_CHOICE: pa.string(),
}


def arrow_type(field: Field) -> pa.DataType:
    """The Arrow type in which a field's values travel.

    Documents travel as JSON text, lists of words as PostgreSQL writes arrays.
    """
    if field.type is FieldType.DECIMAL:
        return pa.decimal128(field.precision, field.scale)
    return _ARROW_OF_TYPE[field.type]


def read_few(
    connection: psycopg.Connection[object],
    statement: str,
    parameters: Mapping[str, object],
    schema: pa.Schema,
) -> pa.Table:
    """The rows of a SELECT of this schema, whose plan PostgreSQL keeps while it is asked again."""
    with connection.cursor(row_factory=tuple_row) as cursor:
        for oid in _TRAVEL_AS_TEXT:
            cursor.adapters.register_loader(oid, TextLoader)
        rows = cursor.execute(statement.encode(), parameters).fetchall()
    if not rows:
        return schema.empty_table()
    columns = zip(*rows, strict=True)
    arrays = [pa.array(values, kind) for values, kind in zip(columns, schema.types, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def read_table(
    connection: psycopg.Connection[object], statement: str, schema: pa.Schema
) -> pa.Table:
    """The rows of a SELECT of this schema whose parameters are already written into it."""
    # Arrow takes a mark of byte order from the beginning, which may be a text's own: it gets one.
    buffer = io.BytesIO(BOM_UTF8)
    buffer.seek(0, io.SEEK_END)
    longest = 0
    with connection.cursor() as cursor, cursor.copy(_copy_out(statement)) as copy:
        for row in copy:
            longest = max(longest, len(row))
            buffer.write(row)
    if not longest:
        return schema.empty_table()
    return csv.read_csv(
        pa.py_buffer(buffer.getbuffer()),
        read_options=csv.ReadOptions(
            column_names=schema.names,
            # A row must fit into one block.
            block_size=max(_READ_BLOCK_BYTES, 2 * longest),
            use_threads=False,
        ),
        parse_options=csv.ParseOptions(newlines_in_values=True, ignore_empty_lines=False),
        convert_options=csv.ConvertOptions(
            column_types=schema,
            null_values=[""],
            true_values=["t"],
            false_values=["f"],
            strings_can_be_null=True,
            quoted_strings_can_be_null=False,
        ),
    )


def _copy_out(statement: str) -> bytes:
    return f"COPY ({statement}) TO STDOUT (FORMAT csv)".encode()


def schema_of(connection: psycopg.Connection[object], statement: str) -> pa.Schema:
    """The Arrow schema of a SELECT, from the types PostgreSQL plans it with."""
    prepared = connection.pgconn.prepare(b"", statement.encode())
    if prepared.status != psycopg.pq.ExecStatus.COMMAND_OK:
        raise psycopg.errors.error_from_result(prepared, encoding="utf-8")
    described = connection.pgconn.describe_prepared(b"")
    problems: list[Problem] = []
    columns: list[pa.Field] = []
    for index in range(described.nfields):
        name = (described.fname(index) or b"").decode()
        oid = described.ftype(index)
        modifier = described.fmod(index)
        if oid == _NUMERIC_OID and modifier >= 0:
            precision, scale = (modifier - 4) >> 16 & 0xFFFF, (modifier - 4) & 0x7FF
            columns.append(pa.field(name, pa.decimal128(precision, scale)))
        elif oid in _ARROW_OF_OID:
            columns.append(pa.field(name, _ARROW_OF_OID[oid]))
        else:
            problems.append(Problem("untyped_column", "cast it to a declared type", name))
    names = [column.name for column in columns]
    if len(set(names)) != len(names):
        problems.append(Problem("double_column", "two columns have the same name"))
    if problems:
        raise Refused(problems)
    return pa.schema(columns)


def records_to_arrow(entity: Entity, records: Sequence[Record]) -> pa.Table:
    """Checked records with header and all declared fields, as one table."""
    fields = (*HEADER, *entity.stored)
    arrays = []
    for field in fields:
        values: Iterable[object] = (record[field.name] for record in records)
        if field.type is FieldType.DOCUMENT:
            values = (None if value is None else encode_json(value) for value in values)
        elif field.type is FieldType.MULTI_CHOICE:
            values = (None if value is None else _array_text(value) for value in values)
        arrays.append(pa.array(list(values), arrow_type(field)))
    return pa.Table.from_arrays(arrays, names=[field.name for field in fields])


def _array_text(words: object) -> str:
    """``{"one","two"}``: an array as PostgreSQL reads it, which is JSON but for the brackets."""
    return "{" + encode_json(words)[1:-1] + "}"


def fitted_table(entity: Entity, table: pa.Table, header: Record) -> pa.Table:
    """The table with its columns brought to the fields' types, without any loss.

    Refuses unknown columns, floats, instants without a zone and decimals that would have to be
    rounded. ``header`` gives the values of header columns the table does not have.
    """
    problems: list[Problem] = []
    arrays: list[pa.ChunkedArray] = []
    names: list[str] = []
    for name in table.column_names:
        field = entity.field(name)
        if field is None or not field.stored:
            known = tuple(known.name for known in (*HEADER, *entity.stored))
            problems.append(
                Problem("unknown_field", f"{entity.name} has no such field", name, allowed=known)
            )
            continue
        try:
            arrays.append(_fitted(field, table.column(name)))
            names.append(name)
        except (pa.ArrowException, ValueError) as error:
            problems.append(Problem("wrong_type", str(error), name))
    if problems:
        raise Refused(problems)
    for name, value in header.items():
        if name not in names:
            kind = pa.int64() if isinstance(value, int) else pa.timestamp("us", "UTC")
            arrays.append(pa.repeat(pa.scalar(value, kind), table.num_rows))
            names.append(name)
    return pa.Table.from_arrays(arrays, names=names)


def _fitted(field: Field, column: pa.ChunkedArray) -> pa.ChunkedArray:
    given, wanted = column.type, arrow_type(field)
    if given == wanted or pa.types.is_null(given):
        return column
    if pa.types.is_floating(given):
        raise ValueError("must not be a float")
    if field.type is FieldType.DECIMAL and pa.types.is_decimal(given):
        # Only the scale may lose something; PostgreSQL itself refuses too many digits.
        return column if given.scale <= field.scale else compute.cast(column, wanted)
    if field.type is FieldType.DECIMAL and pa.types.is_integer(given):
        return column
    if field.type is FieldType.INSTANT and (not pa.types.is_timestamp(given) or given.tz is None):
        raise ValueError(f"must be an instant with a zone, not {given}")
    return compute.cast(column, wanted)


def copy_table(
    connection: psycopg.Connection[object],
    name: str,
    table: pa.Table,
) -> int:
    """COPY a table's columns by name into a table of the database; the number of rows."""
    columns = pgsql.SQL(", ").join(map(pgsql.Identifier, table.column_names))
    statement = pgsql.SQL("COPY {} ({}) FROM STDIN (FORMAT csv)").format(
        pgsql.Identifier(name), columns
    )
    options = csv.WriteOptions(include_header=False, quoting_style="needed")
    with connection.cursor() as cursor, cursor.copy(statement) as copy:
        for block in table.to_batches(max_chunksize=ROWS_PER_BLOCK):
            sink = pa.BufferOutputStream()
            csv.write_csv(block, sink, write_options=options)
            copy.write(memoryview(sink.getvalue()))
    return int(table.num_rows)
