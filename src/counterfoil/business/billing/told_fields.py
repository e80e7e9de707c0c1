"""Custom fields told on invoices, as they were when the invoice was made.

Those of the billed account stand once in the snapshot of the invoice, those of sites and
subscriptions at each line: they differ from line to line.
"""

from collections.abc import Mapping, Sequence

import pyarrow as pa

from counterfoil.platform.metadata import Catalogue, Entity, FieldType, Record
from counterfoil.platform.metadata.entity import Field
from counterfoil.platform.records.columns import field_sql
from counterfoil.platform.records.exact_json import decode_json, encode_json, plain
from counterfoil.platform.records.unit_of_work import UnitOfWork

_OF_LINES = """
SELECT subscription_charge.id{columns}
FROM subscription_charge
JOIN subscription ON subscription.id = subscription_charge.subscription_id
LEFT JOIN site ON site.id = subscription.site_id
WHERE subscription_charge.id = ANY(:ids)
"""


def tell_custom_fields(
    uow: UnitOfWork, invoices: pa.Table, lines: pa.Table, charges: pa.Table
) -> tuple[pa.Table, pa.Table]:
    """Invoices and lines (as in ``Bills``) with the custom fields that are told on invoices.

    Without any such field both are as they were. ``charges`` are the rated charges of the lines.
    """
    of_account = told_fields(uow.catalogue, "account")
    of_lines = {owner: told_fields(uow.catalogue, owner) for owner in ("site", "subscription")}
    if of_account and invoices.num_rows:
        invoices = _with_account(uow, invoices, of_account)
    if any(of_lines.values()) and lines.num_rows:
        lines = _with_owners(uow, lines, charges, of_lines)
    return invoices, lines


def told_fields(catalogue: Catalogue, owner: str) -> tuple[Field, ...]:
    """The fields of an entity that invoices tell; a currency is told with its amount."""
    entity: Entity | None = catalogue.entities.get(owner)
    fields = [field for field in entity.fields if field.on_invoice] if entity else []
    currencies = {field.currency_field for field in fields}
    return tuple(field for field in fields if field.name not in currencies)


def _with_account(uow: UnitOfWork, invoices: pa.Table, fields: Sequence[Field]) -> pa.Table:
    columns = _columns({"account": fields})
    ids = invoices.column("account_id").to_pylist()
    rows = {
        row["id"]: row
        for row in uow.query(
            f"SELECT account.id{columns} FROM account WHERE account.id = ANY(:ids)", ids=ids
        )
    }
    snapshots = []
    for account, text in zip(ids, invoices.column("snapshot").to_pylist(), strict=True):
        told = _told("account", rows[account], fields)
        snapshot = decode_json(text)
        if told and isinstance(snapshot, dict):
            snapshot["custom_fields"] = told
        snapshots.append(encode_json(snapshot))
    place = invoices.column_names.index("snapshot")
    return invoices.set_column(place, "snapshot", pa.array(snapshots, pa.string()))


def _with_owners(
    uow: UnitOfWork, lines: pa.Table, charges: pa.Table, owners: Mapping[str, Sequence[Field]]
) -> pa.Table:
    subscription_charge = dict(
        zip(
            charges.column("charge_no").to_pylist(),
            charges.column("subscription_charge_id").to_pylist(),
            strict=True,
        )
    )
    sql = _OF_LINES.format(columns=_columns(owners))
    told: dict[object, str | None] = {}
    for row in uow.query(sql, ids=list(set(subscription_charge.values()))):
        found = [one for owner, fields in owners.items() for one in _told(owner, row, fields)]
        told[row["id"]] = encode_json(found) if found else None
    numbers = lines.column("charge_no").to_pylist()
    texts = [told.get(subscription_charge[number]) for number in numbers]
    return lines.append_column("custom_fields", pa.array(texts, pa.string()))


def _columns(owners: Mapping[str, Sequence[Field]]) -> str:
    columns: list[str] = []
    for owner, fields in owners.items():
        for field in fields:
            columns.append(f'{field_sql(owner, field)} AS "{owner}.{field.name}"')
            if field.currency_field:
                name = field.currency_field
                columns.append(f'{owner}."{name}" AS "{owner}.{name}"')
    return "".join(f", {column}" for column in columns)


def _told(owner: str, row: Record, fields: Sequence[Field]) -> list[Record]:
    """The fields with a value: whose they are, name, label, type and value as plain JSON."""
    return [
        {
            "of": owner,
            "name": field.name,
            "label": field.label or field.name.removeprefix("x_").replace("_", " ").capitalize(),
            "type": "money" if field.currency_field else _TYPE_NAMES.get(field.type, "text"),
            "value": plain(row[f"{owner}.{field.name}"]),
            **(
                {"currency": row[f"{owner}.{field.currency_field}"]} if field.currency_field else {}
            ),
        }
        for field in fields
        if row[f"{owner}.{field.name}"] is not None
    ]


_TYPE_NAMES = {
    FieldType.DECIMAL: "number",
    FieldType.INTEGER: "number",
    FieldType.DATE: "date",
    FieldType.BOOLEAN: "boolean",
}
