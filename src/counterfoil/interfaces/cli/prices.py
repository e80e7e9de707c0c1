"""``counterfoil prices``: load and check price books, list prices, explain which one holds."""

from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Annotated

import typer

from counterfoil.business.billing.price_explanation import (
    PriceExplanation,
    PriceQuestion,
    explain_price,
)
from counterfoil.business.products.commands import save_price_book
from counterfoil.business.products.price_book import PriceBook, parse_price_book
from counterfoil.business.products.queries import list_prices
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.cli.files import read_text
from counterfoil.interfaces.cli.organisation import AsJson, opened_records, rehearsed_records
from counterfoil.interfaces.cli.output import print_json, print_table, trimmed

app = typer.Typer(no_args_is_help=True, help="Load and check price books, list and explain prices.")

File = Annotated[Path, typer.Argument(help="A price book in YAML, see docs/price-books.md.")]

LISTED = (
    *("charge", "layer", "owner", "currency", "valid_from", "valid_to", "partial", "model"),
    *("package_size", "included_quantity", "cell", "from_quantity", "up_to", "unit_amount"),
    *("flat_amount", "formula"),
)
COUNTED = (
    *("products", "meters", "rate_plans", "charges", "price_regions", "pricing_templates"),
    *("prices", "template_assignments"),
)


@app.command()
def load(file: File, as_json: AsJson = False) -> None:
    """Save a price book: new records are made, known ones changed, the others stay.

    Example: counterfoil prices load price-book.yaml
    """
    book = read_book(file)
    with opened_records() as uow:
        counts = save_price_book(uow, book)
    columns = ("records", "created", "changed", "unchanged")
    rows = [[name, *(counts[f"{name}_{column}"] for column in columns[1:])] for name in COUNTED]
    print_table(f"Price book {file.name}", columns, rows, as_json=as_json)


@app.command()
def check(file: File, as_json: AsJson = False) -> None:
    """Tell whether a price book could be saved, without saving it."""
    book = read_book(file)
    with rehearsed_records() as uow:
        save_price_book(uow, book)
        plurals = [uow.catalogue.entity(entry.entity).plural for entry in book.entries]
    counts = {name: plurals.count(name) for name in COUNTED}
    counts.update(prices=len(book.prices), template_assignments=len(book.assignments))
    print_table(
        f"{file.name} can be saved", ("records", "entries"), counts.items(), as_json=as_json
    )


@app.command("list")
def list_command(
    charge: Annotated[str | None, typer.Option(help="External id of a charge.")] = None,
    as_json: AsJson = False,
) -> None:
    """All prices, one row per tier."""
    with opened_records() as uow:
        if charge is not None and uow.find("charge", external_id=charge) is None:
            message = f"there is no charge {charge!r}"
            raise Refused(Problem("unknown_record", message, "--charge"), status=404)
        prices = list_prices(uow, charge=charge)
    rows = [[trimmed(price[name]) for name in LISTED] for price in prices]
    print_table("Prices", LISTED, rows, as_json=as_json)


@app.command()
def explain(
    account: Annotated[str, typer.Argument(help="External id of the account.")],
    charge: Annotated[str, typer.Argument(help="External id of the charge.")],
    site: Annotated[str | None, typer.Option(help="External id of a site.")] = None,
    contact: Annotated[str | None, typer.Option(help="External id of a contact.")] = None,
    contract: Annotated[str | None, typer.Option(help="External id of a contract.")] = None,
    subscription: Annotated[
        str | None, typer.Option(help="External id; its site, contact and contract count.")
    ] = None,
    day: Annotated[
        datetime | None, typer.Option("--date", formats=["%Y-%m-%d"], help="Default: today.")
    ] = None,
    currency: Annotated[
        str | None, typer.Option(help="ISO 4217 code; default: whoever bills the account's.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Which price holds on a day: every layer that is asked, which one won, and why.

    Example: counterfoil prices explain ACME premier-dial-out --date 2026-03-01
    """
    with opened_records() as uow:
        question = PriceQuestion(
            account=account,
            charge=charge,
            day=day.date() if day else uow.now.date(),
            site=site,
            contact=contact,
            contract=contract,
            subscription=subscription,
            currency=currency,
        )
        explanation = explain_price(uow, question)
    if as_json:
        print_json(asdict(explanation))
    else:
        _print_explanation(explanation)


LAYER_COLUMNS = (
    *("layer", "owner", "price_id", "model", "partial", "valid_from", "valid_to", "verdict"),
)
TIER_COLUMNS = ("cell", "from_quantity", "up_to", "unit_amount", "flat_amount", "price_id")
FURTHER_TERMS = (
    *("package_size", "included_quantity", "minimum_amount", "maximum_amount", "event_amount"),
    *("event_amount_minimum", "event_amount_maximum", "free_events"),
)


def _print_explanation(explanation: PriceExplanation) -> None:
    asked = explanation.asked
    typer.echo(f"{asked['charge']} for {asked['account']} in {asked['currency']}, {asked['day']}")
    for sentence in explanation.sentences:
        typer.echo(f"  {sentence}")
    rows = [[row[name] for name in LAYER_COLUMNS] for row in explanation.layers]
    print_table("Layers, most specific first", LAYER_COLUMNS, rows, as_json=False)
    if explanation.price is not None:
        further = {name: explanation.price[name] for name in FURTHER_TERMS}
        for name, value in further.items():
            if value:
                typer.echo(f"{name.replace('_', ' ')}: {trimmed(value)}")
        if explanation.price["formula"] is not None:
            typer.echo(f"formula: {explanation.price['formula']}")
            return
        tiers = [[trimmed(row[name]) for name in TIER_COLUMNS] for row in explanation.tiers]
        print_table("Terms in force", TIER_COLUMNS, tiers, as_json=False)


def read_book(path: Path) -> PriceBook:
    """The price book of a file; refuses one that cannot be read or has problems."""
    book, problems = parse_price_book(read_text(path), str(path))
    if problems:
        raise Refused(problems)
    return book
