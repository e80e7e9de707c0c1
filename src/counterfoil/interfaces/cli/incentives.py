"""``counterfoil incentives``: load and check discounts, commitments and grants, redeem coupons."""

from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from counterfoil.business.incentives.commands import redeem_coupon, save_incentives
from counterfoil.business.incentives.entries import IncentivesFile
from counterfoil.business.incentives.notation import parse_incentives
from counterfoil.business.incentives.queries import list_incentives
from counterfoil.core.problems import Refused
from counterfoil.interfaces.cli.files import read_text
from counterfoil.interfaces.cli.organisation import AsJson, opened_records, rehearsed_records
from counterfoil.interfaces.cli.output import print_table, trimmed

app = typer.Typer(
    no_args_is_help=True, help="Load discounts, commitments and prepaid grants; redeem coupons."
)

File = Annotated[Path, typer.Argument(help="Incentives in YAML, see docs/incentives.md.")]


@app.command()
def load(file: File, as_json: AsJson = False) -> None:
    """Save incentives: new ones are made, known ones changed, the others stay."""
    incentives = _read(file)
    with opened_records() as uow:
        counts = save_incentives(uow, incentives)
    columns = ("records", "created", "changed", "unchanged")
    kinds = dict.fromkeys(name.rpartition("_")[0] for name in counts)
    rows = [[name, *(counts[f"{name}_{column}"] for column in columns[1:])] for name in kinds]
    print_table(f"Incentives {file.name}", columns, rows, as_json=as_json)


@app.command()
def check(file: File, as_json: AsJson = False) -> None:
    """Tell whether incentives could be saved, without saving them."""
    incentives = _read(file)
    with rehearsed_records() as uow:
        save_incentives(uow, incentives)
    counts = Counter(entry.entity for entry in incentives.entries)
    print_table(
        f"{file.name} can be saved", ("records", "entries"), counts.items(), as_json=as_json
    )


@app.command("list")
def list_command(as_json: AsJson = False) -> None:
    """All discounts, commitments and grants."""
    with opened_records() as uow:
        found = list_incentives(uow)
    columns = tuple(found[0]) if found else ("entity", "external_id", "name")
    rows = [[trimmed(one[column]) for column in columns] for one in found]
    print_table("Incentives", columns, rows, as_json=as_json)


@app.command()
def redeem(
    code: Annotated[str, typer.Argument(help="The coupon's code.")],
    account: Annotated[str, typer.Argument(help="External id of the account that redeems it.")],
) -> None:
    """Give an account the discount of a coupon; a second time changes nothing."""
    with opened_records() as uow:
        redeem_coupon(uow, code, account)
    typer.echo(f"{account} has the coupon {code}.")


def _read(path: Path) -> IncentivesFile:
    """The incentives of a file; refuses one that cannot be read or has problems."""
    incentives, problems = parse_incentives(read_text(path), str(path))
    if problems:
        raise Refused(problems)
    return incentives
