"""``counterfoil model``: custom fields and entities, by change sets in text files."""

from pathlib import Path
from typing import Annotated

import typer

from counterfoil.interfaces.cli.files import read_text, write_file
from counterfoil.interfaces.cli.organisation import AsJson, opened_organisation, opened_records
from counterfoil.interfaces.cli.output import print_json, print_properties, print_table
from counterfoil.platform.metadata import CustomField
from counterfoil.platform.model.applying import (
    Plan,
    apply_change_set,
    export_model,
    plan_change_set,
    retiring,
)

app = typer.Typer(
    no_args_is_help=True, help="Add custom fields and entities to the data model, while all work."
)

File = Annotated[Path, typer.Argument(help="A change set in YAML, see docs/custom-fields.md.")]


@app.command("plan")
def plan_command(file: File, as_json: AsJson = False) -> None:
    """Tell what a change set would do, in words and in SQL; nothing is changed."""
    with opened_records() as uow:
        plan = plan_change_set(uow, read_text(file), str(file))
    if as_json:
        print_json({"name": plan.name, "steps": plan.steps, "sql": plan.sql})
        return
    typer.echo(_told(plan))


@app.command("apply")
def apply_command(file: File, as_json: AsJson = False) -> None:
    """Apply a change set, all of it or nothing; a second time changes nothing."""
    _apply(read_text(file), str(file), as_json=as_json)


@app.command("import")
def import_command(file: File, as_json: AsJson = False) -> None:
    """Apply what another organisation has exported."""
    _apply(read_text(file), str(file), as_json=as_json)


@app.command("export")
def export_command(
    file: Annotated[Path | None, typer.Argument(help="Where to; else it is printed.")] = None,
    name: Annotated[str, typer.Option(help="Name of the change set.")] = "Exported",
) -> None:
    """Write everything added to the data model as one change set."""
    with opened_records() as uow:
        text = export_model(uow, name)
    if file is None:
        typer.echo(text, nl=False)
    else:
        write_file(file, text.encode())


@app.command()
def describe(as_json: AsJson = False) -> None:
    """What was added to the data model."""
    with opened_records() as uow:
        model = uow.customer_model()[1]
    rows = [(one.name, "", "entity", one.label, one.retired, one.help) for one in model.entities]
    rows += [
        (one.entity, one.name, f"rule: {one.effect}", one.condition, one.retired, one.help)
        for one in model.rules
    ]
    rows += [
        (one.entity, one.name, _kind(one), one.label, one.retired, one.help) for one in model.fields
    ]
    columns = ("entity", "field", "kind", "label", "retired", "help")
    print_table("Added to the data model", columns, rows, as_json=as_json)


@app.command()
def retire(
    entity: Annotated[str, typer.Argument(help="The entity, that of the field, or: rule.")],
    field: Annotated[
        str | None, typer.Argument(help="The custom field, or the name of the rule.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Hide a custom field or entity everywhere, its values are kept; or end a rule."""
    with opened_records() as uow:
        content = retiring(uow, entity, field)
    _apply(content, "", as_json=as_json)


def _apply(content: str, file: str, *, as_json: bool) -> None:
    with opened_organisation() as organisation:
        done = apply_change_set(
            organisation.database, content, now=organisation.clock(), source="cli", file=file
        )
    if as_json:
        print_properties("Applied", {"version": done.version, "steps": done.steps}, as_json=True)
        return
    for step in done.steps or ("nothing to do: all of it is there already",):
        typer.echo(step)


def _kind(field: CustomField) -> str:
    return f"{field.kind} to {field.target}" if field.target else field.kind


def _told(plan: Plan) -> str:
    steps = [f"  {number}. {words}" for number, words in enumerate(plan.steps, start=1)]
    if not steps:
        return f"{plan.name}: nothing to do, all of it is there already"
    return "\n".join([f"{plan.name}:", *steps, "", *(f"{statement};" for statement in plan.sql)])
