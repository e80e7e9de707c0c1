"""``counterfoil usage``: collectors, imports, rejected records, compaction, current charges."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated

import typer
import yaml
from rich.console import Console
from rich.progress import (
    BarColumn,
    DownloadColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TransferSpeedColumn,
)

from counterfoil.bootstrap import USAGE_WATCHERS, Organisation
from counterfoil.business.usage import reading
from counterfoil.business.usage.collectors import load_collector, save_collectors
from counterfoil.business.usage.commands import dismiss_rejected, import_file, rerun_rejected
from counterfoil.business.usage.compaction import compact as compact_usage
from counterfoil.business.usage.intake import BatchSummary
from counterfoil.business.usage.presets import BUILT_IN
from counterfoil.business.usage.queries import list_batches, list_rejected
from counterfoil.business.usage.watching import watch_usage_by_all
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.corrections import correct_command, correct_file_command
from counterfoil.interfaces.cli.current import current_command, included_command, spending_command
from counterfoil.interfaces.cli.files import read_text
from counterfoil.interfaces.cli.organisation import AsJson, opened_organisation, opened_records
from counterfoil.interfaces.cli.output import print_json, print_properties, print_table

app = typer.Typer(no_args_is_help=True, help="Import usage; mend what was rejected; show it.")
collectors = typer.Typer(no_args_is_help=True, help="How the records of each source are read.")
rejected = typer.Typer(no_args_is_help=True, help="Records that could not be accepted.")
app.add_typer(collectors, name="collectors")
app.add_typer(rejected, name="rejected")
app.command("current")(current_command)
app.command("included")(included_command)
app.command("spending")(spending_command)

Ids = Annotated[list[int] | None, typer.Argument(help="Ids of rejected records.")]
Reason = Annotated[str | None, typer.Option(help="Only records rejected for this reason.")]
Limit = Annotated[int, typer.Option(min=1, max=100_000, help="Rows at most, newest first.")]


@contextmanager
def reading_bar(path: Path, *, as_json: bool) -> Iterator[reading.Progress]:
    """A progress bar of the bytes read of a file; none where there is no terminal."""
    console = Console(stderr=True)
    with Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeElapsedColumn(),
        console=console,
        transient=True,
        disable=as_json or not console.is_terminal,
    ) as bar:
        task = bar.add_task(path.name)
        yield lambda done, whole: bar.update(task, completed=done, total=whole)


@app.command("import")
def import_command(
    file: Annotated[Path, typer.Argument(help="A usage file; .gz is read as such.")],
    collector: Annotated[str, typer.Option(help="External id of the collector.")],
    as_json: AsJson = False,
) -> None:
    """Import a usage file; the same file a second time changes nothing.

    Example: counterfoil usage import calls-2026-11.csv --collector bridge
    """
    with (
        opened_organisation() as organisation,
        reading_bar(file, as_json=as_json) as progress,
    ):
        summary = import_file(
            organisation.database,
            organisation.usage_store,
            collector,
            file,
            now=organisation.clock(),
            progress=progress,
        )
        _watch(organisation)
    _print_summary(summary, as_json=as_json)


@app.command()
def batches(limit: Limit = 50, as_json: AsJson = False) -> None:
    """List what was imported and received."""
    with opened_records() as uow:
        rows = list_batches(uow, limit)
    columns = (
        *("id", "collector", "file_name", "created_at"),
        *("records_read", "accepted", "duplicate", "rejected"),
    )
    print_table(
        "Usage batches", columns, [[row[c] for c in columns] for row in rows], as_json=as_json
    )


@app.command()
def compact(as_json: AsJson = False) -> None:
    """File new usage by month and customer group, without its duplicates."""
    with opened_organisation() as organisation:
        summary = compact_usage(
            organisation.database, organisation.usage_store, now=organisation.clock()
        )
    properties = {
        "segments_compacted": summary.segments_compacted,
        "segments_written": summary.segments_written,
        "events": summary.events,
        "duplicates_removed": summary.duplicates_removed,
        "files_deleted": summary.files_deleted,
        "running_elsewhere": summary.running_elsewhere,
    }
    print_properties("Compaction", properties, as_json=as_json)


@collectors.command("list")
def list_collectors(as_json: AsJson = False) -> None:
    """List the collectors, built-in ones included."""
    with opened_records() as uow:
        rows = uow.query(
            "SELECT external_id, name, definition ->> 'format' AS format FROM collector ORDER BY 1"
        )
    listed = {str(row["external_id"]): list(row.values()) for row in rows}
    for name, (title, definition) in BUILT_IN.items():
        listed.setdefault(name, [name, title, definition["format"]])
    columns = ("id", "name", "format")
    print_table("Collectors", columns, [listed[n] for n in sorted(listed)], as_json=as_json)


@collectors.command("load")
def load_collectors(
    file: Annotated[Path, typer.Argument(help="YAML or JSON, see docs/usage.md.")],
    as_json: AsJson = False,
) -> None:
    """Save the collectors of a file: new ones are made, known ones changed."""
    text = read_text(file)
    with opened_records() as uow:
        saved = save_collectors(uow, text, str(file))
    print_table("Saved collectors", ("id",), [[name] for name in saved], as_json=as_json)


@collectors.command("show")
def show_collector(
    collector: Annotated[str, typer.Argument(help="External id of the collector.")],
    as_json: AsJson = False,
) -> None:
    """Print a collector's declaration, as YAML that can be loaded again."""
    with opened_records() as uow:
        record = uow.get("collector", load_collector(uow, collector).id)
    definition = record["definition"] if isinstance(record["definition"], dict) else {}
    document = {"id": record["external_id"], "name": record["name"], **definition}
    if as_json:
        print_json(document)
    else:
        typer.echo(yaml.safe_dump(document, sort_keys=False, allow_unicode=True), nl=False)


@rejected.command("list")
def list_command(
    reason: Reason = None,
    status: Annotated[str, typer.Option(help="open, accepted or dismissed.")] = "open",
    batch: Annotated[int | None, typer.Option(help="Only records of this batch.")] = None,
    limit: Limit = 50,
    as_json: AsJson = False,
) -> None:
    """List rejected records with the reason why."""
    with opened_records() as uow:
        rows = list_rejected(uow, status=status, reason=reason, batch_id=batch, limit=limit)
    columns = ("id", "file_name", "line", "reason", "message", "record")
    print_table(
        "Rejected usage", columns, [[row[c] for c in columns] for row in rows], as_json=as_json
    )


@rejected.command()
def mend(
    record_id: Annotated[int, typer.Argument(metavar="ID", help="Id of a rejected record.")],
    changes: Annotated[
        list[str], typer.Argument(metavar="FIELD=VALUE...", help="New values by name.")
    ],
    as_json: AsJson = False,
) -> None:
    """Give fields of a rejected record new values and take it in again.

    Example: counterfoil usage rejected mend 12 Duration=61
    """
    mended: dict[str, object] = {}
    for change in changes:
        name, equals, value = change.partition("=")
        if not equals or not name:
            raise Refused(Problem("wrong_value", f"must be FIELD=VALUE, not {change!r}", "changes"))
        mended[name] = value
    with opened_organisation() as organisation:
        summary = rerun_rejected(
            organisation.database,
            organisation.usage_store,
            now=organisation.clock(),
            mended={record_id: mended},
        )
        _watch(organisation)
    _print_summary(summary, as_json=as_json)


@rejected.command()
def rerun(ids: Ids = None, reason: Reason = None, as_json: AsJson = False) -> None:
    """Take rejected records in again: those named, or all open ones (of a reason)."""
    with opened_organisation() as organisation:
        summary = rerun_rejected(
            organisation.database,
            organisation.usage_store,
            now=organisation.clock(),
            ids=ids or None,
            reason=reason,
        )
        _watch(organisation)
    _print_summary(summary, as_json=as_json)


@rejected.command()
def dismiss(ids: Ids = None, reason: Reason = None, as_json: AsJson = False) -> None:
    """Give up rejected records; they stay listed as dismissed."""
    with opened_organisation() as organisation:
        number = dismiss_rejected(
            organisation.database, now=organisation.clock(), ids=ids or None, reason=reason
        )
    print_properties("Rejected usage", {"dismissed": number}, as_json=as_json)


def _watch(organisation: Organisation) -> None:
    """Let the watchers look at usage that has just been accepted."""
    watch_usage_by_all(
        organisation.database,
        organisation.usage_store,
        USAGE_WATCHERS,
        now=organisation.clock(),
    )


def _print_summary(summary: BatchSummary, *, as_json: bool) -> None:
    counts: dict[str, object] = {
        "batch": summary.batch_id,
        "file": summary.file_name,
        "already_imported": summary.already_imported,
        "records_read": summary.records_read,
        "accepted": summary.accepted,
        "duplicate": summary.duplicate,
        "skipped": summary.skipped,
        "rejected": summary.rejected,
    }
    if as_json:
        print_json({**counts, "rejected_by_reason": summary.rejected_by_reason})
        return
    for reason, number in summary.rejected_by_reason.items():
        counts[f"rejected: {reason}"] = number
    title = "Already imported; nothing was changed" if summary.already_imported else "Usage"
    print_properties(title, counts, as_json=False)


app.command("correct")(correct_command)
app.command("correct-file")(correct_file_command)
