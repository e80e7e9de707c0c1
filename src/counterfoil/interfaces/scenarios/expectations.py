"""What a step of a scenario file expects: invoices, their lines, and problems."""

from collections.abc import Mapping

import yaml

from counterfoil.business.billing.entities import APPLIED_KINDS, KINDS, MANUAL_KINDS
from counterfoil.core.notation.located import Kind, Reader, Rule, Rules
from counterfoil.core.rating.layers import LAYER_NAMES
from counterfoil.interfaces.scenarios.scenario import Expected, ExpectedInvoice, ExpectedLine

EXPECT: Rules = {"invoices": Rule(kind=Kind.NODE), "problems": Rule(kind=Kind.NODE)}
INVOICE: Rules = {
    "account": Rule(required=True),
    "kind": Rule(choices=("invoice", "credit_note", "debit_note")),
    "currency": Rule(),
    "total": Rule(kind=Kind.DECIMAL),
    "number": Rule(),
    "purchase_order": Rule(),
    "date": Rule(kind=Kind.DATE),
    "due": Rule(kind=Kind.DATE),
    "lines": Rule(kind=Kind.NODE),
}
LINE: Rules = {
    "times": Rule(kind=Kind.INTEGER, default=1, minimum=1, maximum=10_000),
    "charge": Rule(),
    "subscription": Rule(),
    "kind": Rule(choices=(*KINDS, *APPLIED_KINDS, *MANUAL_KINDS)),
    "incentive": Rule(),
    "site": Rule(),
    "description": Rule(),
    "from": Rule(kind=Kind.DATE),
    "to": Rule(kind=Kind.DATE),
    "quantity": Rule(kind=Kind.DECIMAL),
    "included": Rule(kind=Kind.DECIMAL),
    "unit": Rule(),
    "unit_amount": Rule(kind=Kind.DECIMAL),
    "layer": Rule(choices=LAYER_NAMES),
    "events": Rule(kind=Kind.DECIMAL),
    "exact_amount": Rule(kind=Kind.DECIMAL),
    "amount": Rule(kind=Kind.DECIMAL, required=True),
}
PROBLEM: Rules = {"account": Rule(required=True), "code": Rule()}


def read_expected(
    reader: Reader, node: yaml.Node | None, place: str, accounts: Mapping[str, object]
) -> Expected | None:
    """The expectation of a node, None when there is none; problems are noted in the reader."""
    entry = None if node is None else reader.entry(node, EXPECT, place)
    if entry is None:
        return None
    invoices = []
    for position, item in enumerate(reader.items(entry["invoices"], f"{place}.invoices")):
        invoice = _read_invoice(reader, item, f"{place}.invoices[{position}]", accounts)
        if invoice is not None:
            invoices.append(invoice)
    problems = _read_rows(reader, entry["problems"], PROBLEM, f"{place}.problems")
    return Expected(entry.line, tuple(invoices), problems)


def _read_invoice(
    reader: Reader, node: yaml.Node, place: str, accounts: Mapping[str, object]
) -> ExpectedInvoice | None:
    entry = reader.entry(node, INVOICE, place)
    if entry is None:
        return None
    account = entry["account"]
    if account is not None and account not in accounts:
        message = f"there is no account {account!r} here yet"
        line = entry.line_of("account")
        reader.refuse("unknown_account", message, line, f"{place}.account", tuple(accounts))
    fields = {name: value for name, value in entry.values.items() if value is not None}
    lines_node = fields.pop("lines", None)
    lines = None
    if lines_node is not None:
        lines = _read_rows(reader, lines_node, LINE, f"{place}.lines")
    return ExpectedInvoice(entry.line, fields, lines)


def _read_rows(
    reader: Reader, node: yaml.Node | None, rules: Rules, place: str
) -> tuple[ExpectedLine, ...]:
    rows = []
    for position, item in enumerate(reader.items(node, place)):
        entry = reader.entry(item, rules, f"{place}[{position}]")
        if entry is not None:
            fields = {name: value for name, value in entry.values.items() if value is not None}
            times = fields.pop("times", 1)
            rows.extend([ExpectedLine(entry.line, fields)] * times)
    return tuple(rows)
