"""``counterfoil import`` and ``counterfoil export``: records out of and into table files."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.files import read_text, writing_to
from counterfoil.interfaces.cli.organisation import AsJson, opened_organisation
from counterfoil.interfaces.cli.output import REFUSED, print_json, print_properties
from counterfoil.interfaces.cli.usage import reading_bar
from counterfoil.interfaces.rest.list_queries import parse_list_query
from counterfoil.platform.metadata import Catalogue, Entity
from counterfoil.platform.records.exact_json import plain
from counterfoil.platform.records.paths import All
from counterfoil.platform.transfer.exporting import Export, export_records
from counterfoil.platform.transfer.importing import Import, Imported, import_records

MOST_TOLD = 50
NOWHERE = ("", "null", "~")

File = Annotated[Path, typer.Argument(help="CSV or XLSX; the first line names the columns.")]
Into = Annotated[str, typer.Option(help="The kind of record: accounts, sites …")]
MappingFile = Annotated[
    Path | None,
    typer.Option(help="YAML: column: field, or column: account.external_id, or column: null."),
]
By = Annotated[str, typer.Option(help="The unique field that tells records apart.")]


def import_command(
    file: File,
    into: Into,
    mapping: MappingFile = None,
    by: By = "",
    delimiter: Annotated[str, typer.Option(help="Found out when not told.")] = "",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Save nothing, tell all.")] = False,
    all_or_nothing: Annotated[
        bool, typer.Option("--all-or-nothing", help="Save nothing when a row is wrong.")
    ] = False,
    clear_empty: Annotated[
        bool, typer.Option("--clear-empty", help="An empty cell empties the field.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Import records from a file; the same file a second time changes nothing.

    Example: counterfoil import accounts.xlsx --into accounts --by external_id --dry-run
    """
    with (
        opened_organisation() as organisation,
        reading_bar(file, as_json=as_json) as progress,
    ):
        entity = entity_named(organisation.database.catalogue, into)
        wanted = Import(
            entity=entity.name,
            by=by,
            mapping=read_mapping(mapping),
            delimiter=delimiter,
            all_or_nothing=all_or_nothing,
            dry_run=dry_run,
            clear_empty=clear_empty,
            name=str(file),
        )
        done = import_records(
            organisation.database, file, wanted, now=organisation.clock(), progress=progress
        )
    print_imported(done, as_json=as_json)
    if done.refused:
        raise typer.Exit(REFUSED)


def export_command(
    collection: Annotated[str, typer.Argument(help="The kind of record: accounts, sites …")],
    to: Annotated[Path, typer.Option(help="The file to write: .csv or .xlsx.")],
    only: Annotated[
        list[str] | None,
        typer.Option("--filter", help="field=value, account.name__contains=value …"),
    ] = None,
    fields: Annotated[str, typer.Option(help="Fields and paths, comma-separated.")] = "",
    as_json: AsJson = False,
) -> None:
    """Export records into a file that `counterfoil import` reads.

    Example: counterfoil export sites --to sites.xlsx --filter account.external_id=ACME
    """
    kind = to.suffix.removeprefix(".").lower()
    asked = parse_list_query([*pairs(only or ()), ("fields", fields)])
    draft = to.with_name(f".{to.name}.part")
    with opened_organisation() as organisation, counting_bar(as_json=as_json) as count:
        entity = entity_named(organisation.database.catalogue, collection)
        wanted = Export(
            entity=entity.name, fields=asked.fields, where=All(asked.filters), sort=asked.sort
        )
        with writing_to(to):
            try:
                with organisation.database.rehearsal(now=organisation.clock()) as uow:
                    written = export_records(uow, wanted, draft, kind, count)
                draft.replace(to)
            finally:
                draft.unlink(missing_ok=True)
    print_properties("Export", {"file": str(to), "records": written}, as_json=as_json)


def entity_named(catalogue: Catalogue, name: str) -> Entity:
    """The entity of that plural or singular name, hyphens or not."""
    plain_name = name.replace("-", "_")
    return catalogue.entities.get(plain_name) or catalogue.by_plural(plain_name)


def pairs(given: Sequence[str]) -> list[tuple[str, str]]:
    """``field=value`` as pairs; refuses what is none."""
    for one in given:
        if "=" not in one:
            raise Refused(Problem("malformed_value", f"{one!r} is not field=value", "--filter"))
    return [(name, value) for name, _, value in (one.partition("=") for one in given)]


def read_mapping(path: Path | None) -> dict[str, str | None]:
    """The columns of a mapping file and the fields they go into."""
    if path is None:
        return {}
    try:
        # All is text: a column may well be called No.
        read = yaml.load(read_text(path), Loader=yaml.BaseLoader)  # noqa: S506
    except yaml.YAMLError as fault:
        raise Refused(Problem("unreadable_file", str(fault), file=str(path))) from fault
    if not isinstance(read, dict) or not all(isinstance(field, str) for field in read.values()):
        message = "has to be lines of column: field"
        raise Refused(Problem("malformed_mapping", message, file=str(path)))
    return {column: None if field in NOWHERE else field for column, field in read.items()}


def print_imported(done: Imported, *, as_json: bool) -> None:
    """What became of the rows, and on stderr what was wrong with which."""
    counts: dict[str, object] = {
        "file": done.file,
        "dry_run": done.dry_run,
        "read": done.read,
        "created": done.created,
        "updated": done.updated,
        "unchanged": done.unchanged,
        "refused": done.refused,
        "ignored_columns": ", ".join(done.ignored_columns),
    }
    if as_json:
        print_json({**counts, "problems": plain(done.problems)})
        return
    for problem in done.problems[:MOST_TOLD]:
        typer.echo(f"refused: {problem}", err=True)
    if len(done.problems) > MOST_TOLD:
        typer.echo(f"and {len(done.problems) - MOST_TOLD} more; --json has them", err=True)
    print_properties("Would be imported" if done.dry_run else "Imported", counts, as_json=False)


@contextmanager
def counting_bar(*, as_json: bool) -> Iterator["Counter"]:
    """A bar of the records written; none where there is no terminal."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.completed:,} records"),
        BarColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=as_json or not console.is_terminal,
    ) as bar:
        yield Counter(bar)


class Counter:
    """Shows how many records were written so far."""

    def __init__(self, bar: Progress) -> None:
        self._bar = bar
        self._task = bar.add_task("export", total=None)

    def __call__(self, written: int) -> None:
        self._bar.update(self._task, completed=written)
