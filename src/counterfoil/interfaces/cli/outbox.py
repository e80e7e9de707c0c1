"""``counterfoil outbox``: who hears of what, and what became of it."""

import os
import secrets
from typing import Annotated

import typer

from counterfoil.bootstrap import Settings, open_courier, open_organisation
from counterfoil.business.automation.delivering import (
    list_deliveries,
    prune_events,
    replay_delivery,
)
from counterfoil.business.automation.signing import secret_of
from counterfoil.interfaces.cli.organisation import AsJson, opened_records
from counterfoil.interfaces.cli.output import print_properties, print_table

app = typer.Typer(no_args_is_help=True, help="Webhooks and mails about what has happened.")

State = Annotated[str | None, typer.Option(help="pending, delivered or failed.")]
COLUMNS = ("id", "state", "type", "subject", "subscriber", "attempts", "status_code", "error")


@app.command()
def subscribe(
    webhook: Annotated[str, typer.Argument(help="External id of the new webhook.")],
    url: Annotated[str, typer.Argument(help="https://…")],
    event: Annotated[list[str], typer.Option(help="Event type; * means all. May be repeated.")],
    as_json: AsJson = False,
) -> None:
    """Make a webhook with a new secret, which is shown this once.

    Example: counterfoil outbox subscribe CRM https://crm.example/hooks --event invoice.finalized
    """
    secret = secret_of(secrets.token_bytes(32))
    values = {"external_id": webhook, "url": url, "event_types": event, "secret": secret}
    with opened_records() as uow:
        made = uow.create("webhook", values)
    print_properties("Created webhook", {**made, "secret": secret}, as_json=as_json)


@app.command("list")
def list_command(
    state: State = None,
    limit: Annotated[int, typer.Option(min=1, max=100_000, help="Rows at most.")] = 50,
    as_json: AsJson = False,
) -> None:
    """List deliveries, newest first."""
    with opened_records() as uow:
        rows = list_deliveries(uow, state=state, limit=limit)
    columns = (*COLUMNS, "next_attempt_at", "message_id")
    print_table("Deliveries", columns, [[row[c] for c in columns] for row in rows], as_json=as_json)


@app.command()
def deliver(as_json: AsJson = False) -> None:
    """Deliver what is due, once; `counterfoil serve` does so all the time."""
    settings = Settings.from_environment(os.environ)
    with (
        open_organisation(settings) as organisation,
        open_courier(organisation, settings) as courier,
    ):
        made = courier.deliver_due()
        pruned = prune_events(organisation.database, organisation.clock())
    failed = sum(bool(attempt.outcome.error) for attempt in made)
    counts = {"delivered": len(made) - failed, "failed": failed, "old_events_deleted": pruned}
    print_properties("Outbox", counts, as_json=as_json)


@app.command()
def replay(
    deliveries: Annotated[list[int], typer.Argument(help="Ids of deliveries.")],
    as_json: AsJson = False,
) -> None:
    """Make deliveries due again, under the same webhook-id."""
    with opened_records() as uow:
        rows = [replay_delivery(uow, delivery) for delivery in deliveries]
    columns = ("id", "state", "attempts", "next_attempt_at")
    print_table("Due again", columns, [[row[c] for c in columns] for row in rows], as_json=as_json)
