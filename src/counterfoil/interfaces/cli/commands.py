"""What ``counterfoil`` can be asked for: each command's name, its line of help and its module.

A command's module is imported when the command is asked for; see docs/decisions/0140-starting.md.
"""

import atexit
import gc
import sys
from dataclasses import dataclass
from importlib import import_module
from types import ModuleType
from typing import Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_group

from counterfoil.interfaces.cli.output import fail_on_refused


@dataclass(frozen=True, slots=True)
class Listed:
    """A command, or a group of them, as it stands in ``counterfoil --help``.

    ``place`` is where it is declared in this package, ``module:name``; ``help`` is the first
    paragraph of the help that it has there.
    """

    name: str
    place: str
    help: str
    hidden: bool = False

    def load(self) -> Any:
        """The command itself, with all that it needs to be imported."""
        module, name = self.place.split(":")
        declared = getattr(_imported(f"{__package__}.{module}"), name)
        holder = typer.Typer()
        if isinstance(declared, typer.Typer):
            holder.add_typer(declared, name=self.name)
        else:
            holder.command(self.name)(declared)
        return get_group(holder).commands[self.name]


def _imported(module: str) -> ModuleType:
    """The module; what comes with it stays, so the search for garbage leaves it alone."""
    if module not in sys.modules:
        gc.disable()
        try:
            import_module(module)
        finally:
            gc.freeze()
            gc.enable()
            # DuckDB tells on stderr what is still there at the very end.
            atexit.register(gc.unfreeze)
    return sys.modules[module]


COMMANDS: tuple[Listed, ...] = (
    Listed(
        "init",
        "organisation:init",
        "Make the organisation: its data folder, its database server and its tables.",
    ),
    Listed(
        "status",
        "organisation:status",
        "Show where the organisation lives and how much is in it.",
    ),
    Listed(
        "simulate",
        "simulate:simulate_command",
        "Rate past cycles with the present prices and with a draft, and show the change.",
    ),
    Listed(
        "statement",
        "receivables:statement_command",
        "The statement of an account: opening, documents, payments, closing.",
    ),
    Listed(
        "ageing",
        "receivables:ageing_command",
        "What accounts owe, by how long it is overdue.",
    ),
    Listed(
        "import",
        "transfer:import_command",
        "Import records from a file; the same file a second time changes nothing.",
    ),
    Listed(
        "export",
        "transfer:export_command",
        "Export records into a file that `counterfoil import` reads.",
    ),
    Listed(
        "demo",
        "demo:demo",
        "Make a demo company, import a month of its usage, bill it and print invoices.",
    ),
    Listed(
        "demo-real",
        "demo_real:demo_real",
        "Bill a file of real cloud usage by its own unit prices, and compare with its billed cost.",
    ),
    Listed(
        "serve",
        "serve:serve",
        "Answer requests over HTTP until interrupted: REST, SOAP and the BillingPlatform dialect.",
    ),
    Listed(
        "records",
        "records:app",
        "Records of every entity: sites, contacts, billing profiles, the seller and all others.",
    ),
    Listed(
        "model",
        "model:app",
        "Add custom fields and entities to the data model, while all work.",
    ),
    Listed("accounts", "accounts:app", "List, show and create accounts."),
    Listed("leads", "leads:app", "Leads: add, list, convert to accounts."),
    Listed("quotes", "quotes:app", "Quotes: make, show, approve, send, accept, convert to orders."),
    Listed("prices", "prices:app", "Load and check price books, list and explain prices."),
    Listed(
        "price", "prices:app", "Load and check price books, list and explain prices.", hidden=True
    ),
    Listed(
        "incentives",
        "incentives:app",
        "Load discounts, commitments and prepaid grants; redeem coupons.",
    ),
    Listed("balances", "balances:app", "Prepaid balances: show, movements, void."),
    Listed(
        "subscriptions", "subscriptions:app", "Activate, change, cancel and list subscriptions."
    ),
    Listed("orders", "orders:app", "Place, approve, provision and cancel orders."),
    Listed("usage", "usage:app", "Import usage; mend what was rejected; show it."),
    Listed("bills", "bills:app", "Bill what is due, preview, finalize, explain."),
    Listed("invoices", "invoices:app", "List, show, print and export invoices."),
    Listed(
        "payments",
        "receivables:app",
        "Payments: record, allocate, unallocate, refund; write-offs; what an account owes.",
    ),
    Listed("outbox", "outbox:app", "Webhooks and mails about what has happened."),
    Listed("jobs", "jobs:app", "Jobs: now, later, or at the times of a schedule."),
    Listed("users", "access:users", "Who may sign in."),
    Listed("roles", "access:roles", "What a role grants, and what it does not."),
    Listed("access", "access:access", "Why someone may or may not do something."),
    Listed("history", "history:app", "Every change of every record, and who made it."),
    Listed("scenario", "scenario:app", "Play scenario files: try prices on a history."),
)
"""In the order of ``counterfoil --help``: first single commands, then groups."""

_LISTED = {one.name: one for one in COMMANDS}


class Commands(TyperGroup):
    """The listed commands; their refusals and interruptions are printed, not thrown.

    Those in ``commands`` can only be listed; the one that is asked for takes its place.
    """

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for one in COMMANDS:
            self.add_command(TyperCommand(one.name, help=one.help, hidden=one.hidden))

    def resolve_command(self, ctx: Any, args: list[str]) -> tuple[str | None, Any, list[str]]:
        """The command that the arguments ask for, imported just now."""
        name, _, rest = super().resolve_command(ctx, args)
        return name, _LISTED[name].load() if name else None, rest

    def invoke(self, ctx: Any) -> object:
        """Run the named command; exit status 2 when its input is refused."""
        with fail_on_refused():
            return super().invoke(ctx)
