"""``counterfoil records``: read, create and change records of every declared entity."""

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.files import read_text
from counterfoil.interfaces.cli.organisation import AsJson, opened_records
from counterfoil.interfaces.cli.output import print_properties, print_table
from counterfoil.platform.metadata import Entity, Field, FieldType, Record
from counterfoil.platform.metadata.entity import HEADER
from counterfoil.platform.records.exact_json import decode_json
from counterfoil.platform.records.pages import Filter
from counterfoil.platform.records.unit_of_work import UnitOfWork

_HELP = """
Records of every entity: sites, contacts, billing profiles, the seller and all others.

Fields are written field=value. A reference may be written by external id, without _id: \
account=ACME. field=@file takes the value from a file, field= empties the field.
"""

app = typer.Typer(no_args_is_help=True, help=_HELP)

EntityName = Annotated[str, typer.Argument(help="Name of the entity, e.g. site.")]
Which = Annotated[str, typer.Argument(help="External id, or id, of the record.")]
Values = Annotated[list[str], typer.Argument(help="field=value …")]


@app.command()
def entities(as_json: AsJson = False) -> None:
    """What kinds of records there are."""
    with opened_records() as uow:
        declared = uow.catalogue.entities.values()
    rows = [
        (entity.name, "commands only" if entity.created_by_command else "yes", entity.help)
        for entity in declared
    ]
    print_table("Entities", ("entity", "writable", "what_it_is"), rows, as_json=as_json)


@app.command()
def fields(entity: EntityName, as_json: AsJson = False) -> None:
    """The fields of an entity: type, whether a value is needed, allowed values."""
    with opened_records() as uow:
        declared = uow.catalogue.entity(entity)
    rows = [
        (
            field.name,
            field.type.value,
            field.required and field.default is None and not field.computed,
            ", ".join(field.choices) or field.target,
            field.help,
        )
        for field in declared.fields
        if not field.computed
    ]
    columns = ("field", "type", "required", "allowed", "help")
    print_table(f"Fields of {entity}", columns, rows, as_json=as_json)


@app.command("list")
def list_command(
    entity: EntityName,
    where: Annotated[list[str] | None, typer.Option(help="Only with field=value.")] = None,
    sort: Annotated[str, typer.Option(help="Field to sort by; -field descends.")] = "id",
    limit: Annotated[int, typer.Option(min=1, max=1000, help="Show at most so many.")] = 50,
    as_json: AsJson = False,
) -> None:
    """Records of an entity.

    Example: counterfoil records list site --where account=ACME
    """
    with opened_records() as uow:
        declared = uow.catalogue.entity(entity)
        wanted = read_values(uow, declared, where or [])
        page = uow.list(
            entity,
            filters=[Filter(name, "eq", value) for name, value in wanted.items()],
            sort=[sort],
            limit=limit,
        )
    bookkeeping = {field.name for field in HEADER[1:]}
    columns = [field.name for field in declared.readable if field.name not in bookkeeping]
    rows = [[record[name] for name in columns] for record in page.records]
    print_table(declared.plural.replace("_", " "), columns, rows, as_json=as_json)


@app.command()
def show(entity: EntityName, record: Which, as_json: AsJson = False) -> None:
    """One record."""
    with opened_records() as uow:
        found = uow.get(entity, _record_id(uow, uow.catalogue.entity(entity), record))
    print_properties(entity, found, as_json=as_json)


@app.command()
def create(entity: EntityName, values: Values, as_json: AsJson = False) -> None:
    """Create a record.

    Example: counterfoil records create site external_id=HQ account=ACME name=HQ country=US
    """
    with opened_records() as uow:
        declared = uow.catalogue.entity(entity)
        if declared.created_by_command:
            raise _made_by_command(entity)
        made = uow.create(entity, read_values(uow, declared, values))
    print_properties(f"Created {entity}", made, as_json=as_json)


@app.command()
def update(entity: EntityName, record: Which, values: Values, as_json: AsJson = False) -> None:
    """Change fields of a record.

    Example: counterfoil records update seller 1 logo_svg=@logo.svg
    """
    with opened_records() as uow:
        declared = uow.catalogue.entity(entity)
        wanted = read_values(uow, declared, values)
        custom = {field.name for field in declared.changeable}
        if declared.created_by_command and (not custom or wanted.keys() - custom):
            raise _made_by_command(entity)
        changed = uow.update(entity, _record_id(uow, declared, record), wanted)
    print_properties(f"Changed {entity}", changed, as_json=as_json)


@app.command()
def delete(entity: EntityName, record: Which, as_json: AsJson = False) -> None:
    """Delete a record that nothing refers to; the history keeps what it was."""
    with opened_records() as uow:
        record_id = _record_id(uow, uow.catalogue.entity(entity), record)
        uow.delete_many(entity, [record_id])
    print_properties(f"Deleted {entity}", {"id": record_id}, as_json=as_json)


@app.command()
def undelete(
    entity: EntityName,
    record_id: Annotated[int, typer.Argument(metavar="ID", help="Id of the deleted record.")],
    as_json: AsJson = False,
) -> None:
    """Put a deleted record back as it was, with its details."""
    with opened_records() as uow:
        uow.undelete_many(entity, [record_id])
        back = uow.get(entity, record_id)
    print_properties(f"Put back {entity}", back, as_json=as_json)


def _made_by_command(entity: str) -> Refused:
    return Refused(Problem("made_by_command", f"{entity} records are made by commands only"))


def demand_choice(uow: UnitOfWork, entity: str, field: str, word: str | None) -> None:
    """Refuse a word that is none of the choices of a field."""
    declared = uow.catalogue.entity(entity).field(field)
    if word is not None and declared is not None and word not in declared.choices:
        problem = Problem("unknown_choice", f"{word!r} is not known", field, declared.choices)
        raise Refused(problem)


def read_values(uow: UnitOfWork, entity: Entity, pairs: Sequence[str]) -> Record:
    """Fields and their values as records take them; refuses what is no field=value."""
    values: Record = {}
    for pair in pairs:
        name, equals, text = pair.partition("=")
        if not equals:
            raise Refused(Problem("malformed_value", f"{pair!r} is not field=value"))
        reference = entity.field(f"{name}_id")
        if entity.field(name) is None and reference is not None and reference.target:
            values[reference.name] = _referred(uow, reference, text)
        else:
            values[name] = _value(entity.field(name), text)
    return values


def _value(field: Field | None, text: str) -> object:
    """The value a field is given in text; whether it fits is for the record's check."""
    if text.startswith("@"):
        text = read_text(Path(text[1:]))
    if text == "":
        return None
    kind = FieldType.TEXT if field is None else field.type
    if kind is FieldType.BOOLEAN and text in ("true", "false"):
        return text == "true"
    if kind is FieldType.DOCUMENT:
        return decode_json(text)
    if kind is FieldType.MULTI_CHOICE:
        return [word for word in text.split(",") if word]
    whole = kind in (FieldType.INTEGER, FieldType.REFERENCE)
    return int(text) if whole and text.removeprefix("-").isdecimal() else text


def _referred(uow: UnitOfWork, field: Field, external_id: str) -> int:
    found = uow.ids_by(field.target, "external_id", [external_id]).get(external_id)
    if found is None:
        message = f"there is no {field.target.replace('_', ' ')} {external_id!r}"
        raise Refused(Problem("unknown_record", message, field.name), status=404)
    return found


def _record_id(uow: UnitOfWork, entity: Entity, record: str) -> int:
    if entity.field("external_id") is not None:
        found = uow.ids_by(entity.name, "external_id", [record]).get(record)
        if found is not None:
            return found
    if not record.isdecimal():
        raise Refused(
            Problem("unknown_record", f"there is no {entity.name} {record!r}"), status=404
        )
    return int(record)
