"""The accounts that a command bills, rates again or simulates: which, and how many are done."""

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

from counterfoil.bootstrap import Organisation
from counterfoil.business.subscriptions.invoicing import billed_account


def billed_ids(organisation: Organisation, accounts: list[str]) -> list[int]:
    """The accounts that are billed for these ones (external ids)."""
    with organisation.database.transaction(now=organisation.clock()) as uow:
        return sorted({billed_account(uow, account) for account in accounts})


def accounts_bar(*, shown: bool) -> Progress:
    """A bar on stderr that counts accounts."""
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=Console(stderr=True),
        disable=not shown,
    )
