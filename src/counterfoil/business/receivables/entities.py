"""Declarations of the receivables room. Rows are only added: a mistake is put right by another."""

from counterfoil.business.billing.entities import ASKED_FOR
from counterfoil.platform.metadata import Entity
from counterfoil.platform.metadata.fields import choice, date, decimal, reference, text

METHODS = ("transfer", "card", "direct_debit", "check", "cash", "other")

PAYMENT = Entity(
    name="payment",
    plural="payments",
    help="Money that came in from an account. What is not allocated is to the account's credit.",
    created_by_command=True,
    fields=(
        reference("account", required=True, indexed=True, immutable=True),
        date("received_on", required=True, immutable=True),
        decimal("amount", 20, 4, required=True, immutable=True),
        text("currency", required=True, max_length=3, immutable=True),
        choice("method", METHODS, required=True, default="transfer"),
        text("reference", help="What the bank or the payer calls it."),
        text("request_key", unique=True, max_length=200, immutable=True),
        ASKED_FOR,
    ),
)

ALLOCATION = Entity(
    name="allocation",
    plural="allocations",
    help="So much of a payment or credit note pays so much of an invoice or debit note; below 0 "
    "where that was undone.",
    created_by_command=True,
    history=False,
    fields=(
        reference("account", required=True, indexed=True),
        reference("invoice", required=True, indexed=True, help="What is paid."),
        reference("payment", indexed=True),
        reference("invoice", name="credit_note_id", indexed=True),
        decimal("amount", 20, 4, required=True),
        date("allocated_on", required=True),
    ),
)

REFUND = Entity(
    name="refund",
    plural="refunds",
    help="Money paid back to an account: of a payment or of a credit note.",
    created_by_command=True,
    fields=(
        reference("account", required=True, indexed=True, immutable=True),
        reference("payment", indexed=True, immutable=True),
        reference("invoice", name="credit_note_id", indexed=True, immutable=True),
        date("refunded_on", required=True, immutable=True),
        decimal("amount", 20, 4, required=True, immutable=True),
        text("currency", required=True, max_length=3, immutable=True),
        choice("method", METHODS, required=True, default="transfer"),
        text("reference"),
        text("reason", max_length=500),
        text("request_key", unique=True, max_length=200, immutable=True),
        ASKED_FOR,
    ),
)

WRITE_OFF = Entity(
    name="write_off",
    plural="write_offs",
    help="What is given up of an invoice or debit note: nobody expects it to be paid any more.",
    created_by_command=True,
    fields=(
        reference("account", required=True, indexed=True, immutable=True),
        reference("invoice", required=True, indexed=True, immutable=True),
        date("written_off_on", required=True, immutable=True),
        decimal("amount", 20, 4, required=True, immutable=True),
        text("reason", required=True, max_length=500),
        text("request_key", unique=True, max_length=200, immutable=True),
        ASKED_FOR,
    ),
)

SETTLEMENT_REVERSAL = Entity(
    name="settlement_reversal",
    plural="settlement_reversals",
    help="From its day on a payment, refund or write-off no longer counts: the bank took the money "
    "back, or it was a mistake.",
    created_by_command=True,
    fields=(
        reference("account", required=True, indexed=True, immutable=True),
        reference("payment", unique=True, immutable=True),
        reference("refund", unique=True, immutable=True),
        reference("write_off", unique=True, immutable=True),
        date("reversed_on", required=True, immutable=True),
        decimal("amount", 20, 4, required=True, immutable=True, help="All of it."),
        text("reason", required=True, max_length=500),
    ),
)

ENTITIES = (PAYMENT, ALLOCATION, REFUND, WRITE_OFF, SETTLEMENT_REVERSAL)
