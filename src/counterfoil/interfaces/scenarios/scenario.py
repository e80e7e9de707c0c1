"""A scenario as a value: price book, accounts and a dated timeline of steps."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, date, datetime, time
from decimal import Decimal
from zoneinfo import ZoneInfo

from counterfoil.core.notation.located import Moment

NOON = time(12)


@dataclass(frozen=True, slots=True)
class LocatedText:
    """A part of a file as text, placed so that its line numbers are those of ``file``."""

    text: str
    file: str


@dataclass(frozen=True, slots=True)
class SiteEntry:
    """A site of an account."""

    external_id: str
    name: str
    country: str
    time_zone: str | None
    price_region: str | None
    line: int


@dataclass(frozen=True, slots=True)
class ContactEntry:
    """A contact of an account."""

    external_id: str
    name: str


@dataclass(frozen=True, slots=True)
class ContractEntry:
    """A contract of an account; ``end`` is the first day it no longer runs."""

    external_id: str
    name: str
    start: date
    end: date | None
    months: int | None


@dataclass(frozen=True, slots=True)
class AccountEntry:
    """An account; without a currency it is billed through its nearest ancestor that is invoiced."""

    line: int
    external_id: str
    name: str
    parent: str | None
    currency: str | None
    time_zone: str
    cycle_day: int
    payment_terms_days: int
    invoice_at_this_level: str
    purchase_order: str | None
    split_by: str
    zero_amount: str
    pricing_template: str | None
    pool_node: bool
    price_region: str | None
    sites: tuple[SiteEntry, ...]
    contacts: tuple[ContactEntry, ...]
    contracts: tuple[ContractEntry, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One dated line of the timeline. ``on`` is what the simulated clock shows."""

    line: int
    on: Moment


@dataclass(frozen=True, slots=True, kw_only=True)
class Subscribe(Step):
    """Activate a subscription of an account for a rate plan; dates are local."""

    external_id: str
    account: str
    plan: str
    site: str | None
    contact: str | None
    contract: str | None
    invoice_account: str | None
    purchase_order: str | None
    start: date
    end: date | None
    trial_end: date | None
    anchor: date | None
    quantities: Mapping[str, Decimal]
    identifiers: tuple[str, ...]
    terms: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class RenewDue(Step):
    """Renew or end the subscriptions whose term ends by the day."""

    day: date


@dataclass(frozen=True, slots=True, kw_only=True)
class ChangeQuantity(Step):
    """Another quantity of a charge; ``start`` is the first day of the new quantity."""

    subscription: str
    charge: str
    quantity: Decimal
    start: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Cancel(Step):
    """End a subscription; ``end`` is the first day no longer served."""

    subscription: str
    end: date


@dataclass(frozen=True, slots=True, kw_only=True)
class Amend(Step):
    """Any other change of a subscription, as ``Change`` says; ``day`` is its first day."""

    subscription: str
    kind: str
    day: date | None
    next_period: bool
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True, kw_only=True)
class UsageEvent:
    """One usage event as a source would report it; ``quantity`` in the meter's unit."""

    event_id: str
    identifier: str
    meter: str
    quantity: Decimal
    time: datetime
    attributes: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Usage(Step):
    """Usage events that arrive together at the instant of the step."""

    events: tuple[UsageEvent, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CorrectUsage(Step):
    """A usage event that was wrong: the right quantity in the meter's unit, or None: nothing."""

    event_id: str
    quantity: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadPrices(Step):
    """A further price book, loaded over what is there."""

    price_book: LocatedText


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadIncentives(Step):
    """Further discounts, commitments and grants, loaded over what is there."""

    incentives: LocatedText


@dataclass(frozen=True, slots=True)
class ExpectedLine:
    """Fields an invoice line must have."""

    line: int
    fields: Mapping[str, object]


@dataclass(frozen=True, slots=True)
class ExpectedInvoice:
    """Fields an invoice must have, and all of its lines (None: its lines are not compared)."""

    line: int
    fields: Mapping[str, object]
    lines: tuple[ExpectedLine, ...] | None


@dataclass(frozen=True, slots=True)
class Expected:
    """All invoices a bill run or preview must produce, and the accounts it must skip."""

    line: int
    invoices: tuple[ExpectedInvoice, ...]
    problems: tuple[ExpectedLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Bill(Step):
    """A bill run with the day of the step as its billing date; of one billed account or all."""

    account: str | None
    billing_date: date
    expected: Expected | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Rerate(Step):
    """Billed cycles of which a day lies in [first, end) rated again, and the difference adjusted;
    of one billed account or all."""

    account: str | None
    first: date
    end: date
    expected: Expected | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Credit(Step):
    """A credit note for an invoice (its number): all that is left, an amount, or a part of a line;
    or the invoice voided and billed again.

    ``refused`` is the code of the problem with which it has to be refused.
    """

    invoice: str
    position: int | None
    amount: Decimal | None
    quantity: Decimal | None
    first: date | None
    end: date | None
    void: bool
    reissue: str | None
    refused: str | None
    expected: Expected | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Pay(Step):
    """A payment of an account, for the oldest due first, or one of that amount that bounced;
    ``owes`` is what it owes afterwards."""

    account: str
    amount: Decimal
    bounced: bool
    owes: Decimal | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Spending(Step):
    """What counts for a threshold of an account, after the watchers have looked at usage: how much
    is ``spent`` in the running period, and whether that it is reached was ``told``."""

    account: str
    threshold: str
    spent: Decimal | None
    told: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Preview(Step):
    """The next invoice of one account, computed and thrown away."""

    account: str
    billing_date: date
    expected: Expected | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Scenario:
    """A whole scenario file."""

    file: str
    name: str
    source: str
    note: str
    price_book: LocatedText | None
    incentives: LocatedText | None
    accounts: tuple[AccountEntry, ...]
    timeline: tuple[Step, ...]


def instant_of(moment: Moment, zone: ZoneInfo) -> datetime:
    """The instant a moment of the file stands for: noon of a bare day in ``zone``."""
    if isinstance(moment, datetime):
        return moment
    return datetime.combine(moment, NOON, zone).astimezone(UTC)


def day_of(moment: Moment, zone: ZoneInfo) -> date:
    """The local day of a moment: a bare day is meant locally already."""
    if isinstance(moment, datetime):
        return moment.astimezone(zone).date()
    return moment
