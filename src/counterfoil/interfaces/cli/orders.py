"""``counterfoil orders``: placed, shown, approved, released, provisioned, cancelled."""

from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from counterfoil.business.orders.commands import (
    Progress,
    approve_orders,
    cancel_orders,
    find_orders,
    release_orders,
    submit_orders,
)
from counterfoil.business.orders.order_files import parse_orders
from counterfoil.business.orders.placing import place_orders
from counterfoil.business.orders.queries import GROUPINGS, list_orders, list_tasks, show_order
from counterfoil.business.orders.tasks import (
    complete_tasks,
    find_open_tasks,
    retry_orders,
    skip_tasks,
)
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.files import read_text
from counterfoil.interfaces.cli.organisation import AsJson, day_of, opened_records
from counterfoil.interfaces.cli.output import print_json, print_table, trimmed
from counterfoil.platform.records.unit_of_work import UnitOfWork

app = typer.Typer(no_args_is_help=True, help="Place, approve, provision and cancel orders.")

File = Annotated[Path, typer.Argument(help="Orders in YAML, see docs/orders.md.")]
Orders = Annotated[list[str], typer.Argument(help="External ids or numbers of orders.")]
Order = Annotated[str, typer.Argument(help="External id or number of the order.")]
Lines = Annotated[
    list[int] | None, typer.Option("--line", help="Only this line; may be given several times.")
]
Task = Annotated[str | None, typer.Option("--task", help="Only tasks of this name.")]

LISTED = (
    *("external_id", "number", "account", "status", "order_date", "purchase_order"),
    *("amount", "currency", "lines", "activated", "failed"),
)
LINES = (
    *("country", "region", "site", "position", "kind", "subscription", "rate_plan"),
    *("status", "tasks_left", "billing_start", "activated_on", "billed_from", "problem"),
)
GROUPS = ("country", "region", "site", "lines", "by_status")
TASKS = (
    *("id", "order", "line", "subscription", "site", "kind", "name", "state", "due_on"),
    *("done_on", "done_by", "note", "attempts", "error"),
)


@app.command()
def place(file: File, as_json: AsJson = False) -> None:
    """Place the orders of a file, all or none; again it adds nothing."""
    text = read_text(file)
    with opened_records() as uow:
        placed = place_orders(uow, parse_orders(text, str(file), uow.catalogue))
    rows = [[one.external_id, one.number, one.status, one.created] for one in placed]
    print_table("Orders", ("external_id", "number", "status", "created"), rows, as_json=as_json)


@app.command("list")
def list_command(
    status: Annotated[str | None, typer.Option(help="Only orders of this status.")] = None,
    account: Annotated[str | None, typer.Option(help="External id of the account.")] = None,
    as_json: AsJson = False,
) -> None:
    """The newest orders."""
    with opened_records() as uow:
        found = list_orders(uow, status=status, account=account)
    rows = [[trimmed(row[name]) for name in LISTED] for row in found]
    print_table("Orders", LISTED, rows, as_json=as_json)


@app.command()
def show(
    order: Order,
    by: Annotated[
        str | None, typer.Option(help="Only how many lines, by site, region or country.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """An order and its lines, by place."""
    if by is not None and by not in GROUPINGS:
        raise Refused(Problem("unknown_choice", f"{by!r} is not known", "--by", GROUPINGS))
    with opened_records() as uow:
        shown = show_order(uow, find_orders(uow, [order])[0])
    if as_json and by is None:
        print_json({"order": shown.order, "lines": shown.lines})
        return
    title = f"{shown.order['number']} {shown.order['external_id']}: {shown.order['status']}"
    if by is not None:
        groups = [[getattr(group, name) for name in GROUPS] for group in shown.groups[by]]
        print_table(title, GROUPS, groups, as_json=as_json)
        return
    rows = [[trimmed(row[name]) for name in LINES] for row in shown.lines]
    print_table(title, LINES, rows, as_json=as_json)


@app.command()
def submit(orders: Orders, as_json: AsJson = False) -> None:
    """Submit drafts; up to the limit of their currency they are approved thereby."""
    with opened_records() as uow:
        made = submit_orders(uow, find_orders(uow, orders))
    _print_progress(made, as_json=as_json)


@app.command()
def approve(
    orders: Orders,
    comment: Annotated[str | None, typer.Option(help="Kept with the orders.")] = None,
    as_json: AsJson = False,
) -> None:
    """Approve orders."""
    with opened_records() as uow:
        made = approve_orders(uow, find_orders(uow, orders), comment=comment)
    _print_progress(made, as_json=as_json)


@app.command()
def release(orders: Orders, as_json: AsJson = False) -> None:
    """Begin to provision approved orders."""
    with opened_records() as uow:
        made = release_orders(uow, find_orders(uow, orders))
    _print_progress(made, as_json=as_json)


@app.command()
def tasks(
    order: Annotated[str | None, typer.Argument(help="External id or number; or all.")] = None,
    everything: Annotated[
        bool, typer.Option("--all", help="Finished and waiting tasks too.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """What somebody has to do."""
    with opened_records() as uow:
        one = None if order is None else find_orders(uow, [order])[0]
        found = list_tasks(uow, order_id=one, everything=everything)
    rows = [[row[name] for name in TASKS] for row in found]
    print_table("Provisioning tasks", TASKS, rows, as_json=as_json)


@app.command()
def done(
    order: Order,
    line: Lines = None,
    task: Task = None,
    on: Annotated[
        datetime | None, typer.Option(formats=["%Y-%m-%d"], help="When; default today.")
    ] = None,
    note: Annotated[str | None, typer.Option(help="Kept with the tasks.")] = None,
    as_json: AsJson = False,
) -> None:
    """Say that the open tasks of an order are done: all, of a line, or of a name.

    Example: counterfoil orders done O-17 --line 2 --task "install bridge" --on 2026-11-20
    """
    with opened_records() as uow:
        ids = _open(uow, order, line, task)
        made = complete_tasks(uow, ids, on=day_of(on), note=note)
    _print_progress(made, as_json=as_json)


@app.command()
def skip(
    order: Order,
    reason: Annotated[str, typer.Option(help="Why; kept with the tasks.")],
    line: Lines = None,
    task: Task = None,
    as_json: AsJson = False,
) -> None:
    """Let the open tasks of an order be: all, of a line, or of a name."""
    with opened_records() as uow:
        made = skip_tasks(uow, _open(uow, order, line, task), reason=reason)
    _print_progress(made, as_json=as_json)


@app.command()
def retry(orders: Orders, as_json: AsJson = False) -> None:
    """Try again what of orders has failed."""
    with opened_records() as uow:
        made = retry_orders(uow, find_orders(uow, orders))
    _print_progress(made, as_json=as_json)


@app.command()
def cancel(
    orders: Orders,
    reason: Annotated[str, typer.Option(help="Why; kept with the orders.")],
    line: Lines = None,
    as_json: AsJson = False,
) -> None:
    """Cancel what of orders is not activated."""
    with opened_records() as uow:
        made = cancel_orders(uow, find_orders(uow, orders), reason=reason, positions=line)
    _print_progress(made, as_json=as_json)


def _open(uow: UnitOfWork, order: str, lines: list[int] | None, name: str | None) -> list[int]:
    (found,) = find_orders(uow, [order])
    return find_open_tasks(uow, found, lines=lines, name=name)


def _print_progress(made: list[Progress], *, as_json: bool) -> None:
    columns = ("order", "status", "lines", "problems")
    rows = [[one.order, one.status, one.lines, one.problems or None] for one in made]
    print_table("Orders", columns, rows, as_json=as_json)
