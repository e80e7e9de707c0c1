"""The timeline of a scenario file: what happens on which day, and what is expected of it."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import yaml

from counterfoil.business.products.notation_rules import rules_of
from counterfoil.business.products.price_book import read_price
from counterfoil.business.products.price_terms import terms_of
from counterfoil.business.subscriptions.commands import TERMS
from counterfoil.business.subscriptions.entities import KINDS as CHANGES
from counterfoil.business.subscriptions.entities import PRORATIONS, SUBSCRIPTION
from counterfoil.core.notation.located import (
    Entry,
    Kind,
    Moment,
    Reader,
    Rule,
    Rules,
    line_of,
)
from counterfoil.interfaces.scenarios.expectations import read_expected
from counterfoil.interfaces.scenarios.order_steps import ORDER_STEPS, read_order_step
from counterfoil.interfaces.scenarios.price_books import INCENTIVES, PRICE_BOOK, read_part
from counterfoil.interfaces.scenarios.scenario import (
    AccountEntry,
    Amend,
    Bill,
    Cancel,
    ChangeQuantity,
    CorrectUsage,
    Credit,
    Expected,
    LoadIncentives,
    LoadPrices,
    LocatedText,
    Pay,
    Preview,
    RenewDue,
    Rerate,
    Spending,
    Step,
    Subscribe,
    Usage,
    UsageEvent,
    day_of,
    instant_of,
)

UTC_ZONE = ZoneInfo("UTC")
ON = {"on": Rule(kind=Kind.MOMENT, required=True), "do": Rule(required=True)}
ON_DAY = {"on": Rule(kind=Kind.DATE, required=True), "do": Rule(required=True)}
EVENT: Rules = {
    "id": Rule(),
    "at": Rule(kind=Kind.MOMENT),
    "subscription": Rule(),
    "identifier": Rule(),
    "meter": Rule(),
    "quantity": Rule(kind=Kind.DECIMAL),
    "attributes": Rule(kind=Kind.NAMED),
    "count": Rule(kind=Kind.INTEGER, default=1, minimum=1, maximum=100_000),
}
STEPS: Mapping[str, Rules] = {
    "subscribe": {
        **ON,
        "id": Rule(required=True),
        "account": Rule(required=True),
        "plan": Rule(required=True),
        "site": Rule(),
        "contact": Rule(),
        "contract": Rule(),
        "invoice_account": Rule(),
        "purchase_order": Rule(),
        "start": Rule(kind=Kind.DATE),
        "end": Rule(kind=Kind.DATE),
        "trial_end": Rule(kind=Kind.DATE),
        "anchor": Rule(kind=Kind.DATE),
        "quantities": Rule(kind=Kind.DECIMALS),
        "identifiers": Rule(kind=Kind.TEXTS),
        **rules_of(SUBSCRIPTION, "term_end", "term_months", "renewal"),
        **rules_of(SUBSCRIPTION, "renewal_uplift_percent", "renewal_uplift_of"),
    },
    "renew_due": ON_DAY,
    "change_quantity": {
        **ON,
        "subscription": Rule(required=True),
        "charge": Rule(required=True),
        "quantity": Rule(kind=Kind.DECIMAL, required=True, minimum=0),
        "start": Rule(kind=Kind.DATE),
    },
    "cancel": {
        **ON,
        "subscription": Rule(required=True),
        "end": Rule(kind=Kind.DATE),
    },
    "amend": {
        **ON,
        "subscription": Rule(required=True),
        "change": Rule(required=True, choices=CHANGES),
        "start": Rule(kind=Kind.DATE),
        "when": Rule(choices=("now", "next_period")),
        "proration": Rule(choices=PRORATIONS),
        "plan": Rule(),
        "charge": Rule(),
        "quantity": Rule(kind=Kind.DECIMAL, minimum=0),
        "quantities": Rule(kind=Kind.DECIMALS),
        "amount": Rule(kind=Kind.DECIMAL, minimum=0),
        "price": Rule(kind=Kind.NODE),
        "uplift_percent": Rule(kind=Kind.DECIMAL, minimum=0),
        "fee_percent": Rule(kind=Kind.DECIMAL, minimum=0),
        "charged": Rule(choices=("yes", "no")),
        "until": Rule(kind=Kind.DATE),
        "account": Rule(),
        "site": Rule(),
        "successor": Rule(),
    },
    "usage": {**ON, **EVENT, "events": Rule(kind=Kind.NODE)},
    "correct_usage": {
        **ON,
        "event": Rule(required=True),
        "quantity": Rule(kind=Kind.DECIMAL, minimum=0),
    },
    "load_prices": {**ON, **PRICE_BOOK},
    "load_incentives": {**ON, **INCENTIVES},
    "bill": {**ON_DAY, "account": Rule(), "expect": Rule(kind=Kind.NODE)},
    "rerate": {
        **ON_DAY,
        "from": Rule(kind=Kind.DATE, required=True),
        "to": Rule(kind=Kind.DATE, required=True),
        "account": Rule(),
        "expect": Rule(kind=Kind.NODE),
    },
    "credit": {
        **ON_DAY,
        "invoice": Rule(required=True),
        "line": Rule(kind=Kind.INTEGER, minimum=1),
        "amount": Rule(kind=Kind.DECIMAL),
        "quantity": Rule(kind=Kind.DECIMAL),
        "from": Rule(kind=Kind.DATE),
        "to": Rule(kind=Kind.DATE),
        "void": Rule(kind=Kind.BOOLEAN, default=False),
        "reissue": Rule(choices=("as_billed", "rated_again")),
        "refused": Rule(),
        "expect": Rule(kind=Kind.NODE),
    },
    "pay": {
        **ON_DAY,
        "account": Rule(required=True),
        "amount": Rule(kind=Kind.DECIMAL, required=True),
        "bounced": Rule(kind=Kind.BOOLEAN, default=False),
        "owes": Rule(kind=Kind.DECIMAL),
    },
    "spending": {
        **ON,
        "account": Rule(required=True),
        "threshold": Rule(required=True),
        "spent": Rule(kind=Kind.DECIMAL),
        "told": Rule(kind=Kind.BOOLEAN),
    },
    "preview": {**ON_DAY, "account": Rule(required=True), "expect": Rule(kind=Kind.NODE)},
    **{name: {**ON, **rules} for name, rules in ORDER_STEPS.items()},
}
AMENDED = (
    *("proration", "plan", "charge", "quantity", "quantities", "amount", "charged", "until"),
    *("account", "site", "successor", "uplift_percent", "fee_percent"),
)


@dataclass(frozen=True, slots=True)
class KnownSubscription:
    """What later steps need to know of a subscription: whose days it goes by."""

    zone: ZoneInfo
    identifier: str


class TimelineReader:
    """Reads the steps in order; a step may name only what stands before it."""

    def __init__(
        self,
        reader: Reader,
        text: str,
        folder: Path | None,
        accounts: Sequence[AccountEntry],
        zones: Mapping[str, ZoneInfo],
    ) -> None:
        self.reader = reader
        self.text = text
        self.folder = folder
        self.zones = zones
        self.own_zones = {account.external_id: ZoneInfo(account.time_zone) for account in accounts}
        self.sites = {
            site.external_id: account.external_id for account in accounts for site in account.sites
        }
        self.contacts = {
            contact.external_id: account.external_id
            for account in accounts
            for contact in account.contacts
        }
        self.contracts = {
            contract.external_id: account.external_id
            for account in accounts
            for contract in account.contracts
        }
        self.subscriptions: dict[str, KnownSubscription] = {}
        self.identifiers: dict[str, ZoneInfo] = {}
        self.today = date.min

    def read(self, node: yaml.Node | None) -> tuple[Step, ...]:
        """All steps; problems are noted in the reader."""
        steps = []
        for position, item in enumerate(self.reader.items(node, "timeline")):
            step = self._read_step(item, f"timeline[{position}]")
            if step is not None:
                steps.append(step)
        return tuple(steps)

    def _read_step(self, node: yaml.Node, place: str) -> Step | None:
        action = _action_of(node)
        rules = STEPS.get(action or "")
        if rules is None:
            message = f"unknown action {action!r}" if action else "is missing"
            self.reader.refuse(
                "unknown_action", message, line_of(node), f"{place}.do", tuple(STEPS)
            )
            return None
        before = len(self.reader.problems)
        entry = self.reader.entry(node, rules, place)
        if entry is None or len(self.reader.problems) > before:
            self._remember_refused(entry)
            return None
        day = day_of(entry["on"], UTC_ZONE)
        if day < self.today:
            message = f"{day} is before {self.today}: the steps must stand in order of time"
            self.reader.refuse("out_of_order", message, entry.line_of("on"), f"{place}.on")
        self.today = max(self.today, day)
        readers: dict[str, Callable[[Entry, str], Step | None]] = {
            "subscribe": self._subscribe,
            "change_quantity": self._change_quantity,
            "cancel": self._cancel,
            "renew_due": self._renew_due,
            "amend": self._amend,
            "usage": self._usage,
            "correct_usage": self._correct_usage,
            "load_prices": self._load_prices,
            "load_incentives": self._load_incentives,
            "bill": self._bill,
            "rerate": self._rerate,
            "credit": self._credit,
            "pay": self._pay,
            "spending": self._spending,
            "preview": self._preview,
            **dict.fromkeys(ORDER_STEPS, self._of_orders),
        }
        return readers[action or ""](entry, place)

    def _remember_refused(self, entry: Entry | None) -> None:
        """Spare later steps the complaint that a subscription refused here does not exist."""
        values = entry.values if entry else {}
        if values.get("do") == "subscribe" and values["id"] and values["account"] in self.zones:
            name = values["id"]
            zone = self.zones[values["account"]]
            self.subscriptions.setdefault(name, KnownSubscription(zone, name))

    def _subscribe(self, entry: Entry, place: str) -> Step | None:
        account, name = entry["account"], entry["id"]
        if not self._known("account", account, self.zones, entry, place):
            return None
        if name in self.subscriptions:
            self._refuse("double_subscription", f"{name} exists already", entry, place, "id")
        for field, among in (
            ("site", self.sites),
            ("contact", self.contacts),
            ("contract", self.contracts),
            ("invoice_account", self.own_zones),
        ):
            if entry[field] is not None:
                self._known(field, entry[field], among, entry, place)
        zone = self.own_zones.get(entry["invoice_account"] or "", self.zones[account])
        start = entry["start"] or day_of(entry["on"], zone)
        identifiers = entry["identifiers"] or (name,)
        self.subscriptions[name] = KnownSubscription(zone, identifiers[0])
        self.identifiers.update(dict.fromkeys(identifiers, zone))
        return Subscribe(
            line=entry.line,
            on=entry["on"],
            external_id=name,
            account=account,
            plan=entry["plan"],
            site=entry["site"],
            contact=entry["contact"],
            contract=entry["contract"],
            invoice_account=entry["invoice_account"],
            purchase_order=entry["purchase_order"],
            start=start,
            end=entry["end"],
            trial_end=entry["trial_end"],
            anchor=entry["anchor"],
            quantities=entry["quantities"] or {},
            identifiers=identifiers,
            terms={field: entry[field] for field in TERMS},
        )

    def _renew_due(self, entry: Entry, place: str) -> Step | None:
        del place
        return RenewDue(line=entry.line, on=entry["on"], day=entry["on"])

    def _change_quantity(self, entry: Entry, place: str) -> Step | None:
        name = entry["subscription"]
        if not self._known("subscription", name, self.subscriptions, entry, place):
            return None
        return ChangeQuantity(
            line=entry.line,
            on=entry["on"],
            subscription=name,
            charge=entry["charge"],
            quantity=entry["quantity"],
            start=entry["start"] or self._local_day(name, entry["on"]),
        )

    def _cancel(self, entry: Entry, place: str) -> Step | None:
        name = entry["subscription"]
        if not self._known("subscription", name, self.subscriptions, entry, place):
            return None
        end = entry["end"] or self._local_day(name, entry["on"])
        return Cancel(line=entry.line, on=entry["on"], subscription=name, end=end)

    def _amend(self, entry: Entry, place: str) -> Step | None:
        name = entry["subscription"]
        if not self._known("subscription", name, self.subscriptions, entry, place):
            return None
        for field, among in (("account", self.zones), ("site", self.sites)):
            if entry[field] is not None:
                self._known(field, entry[field], among, entry, place)
        known = self.subscriptions[name]
        if entry["change"] == "transfer":
            zone = self.zones.get(entry["account"] or "", known.zone)
            successor = entry["successor"] or f"{name}-2"
            self.subscriptions[successor] = KnownSubscription(zone, known.identifier)
        given = {field: entry[field] for field in AMENDED if entry[field] is not None}
        if "plan" in given:
            given["rate_plan"] = given.pop("plan")
        if entry["price"] is not None:
            price, problems = read_price(entry["price"])
            self.reader.problems += [replace(one, file=self.reader.file) for one in problems]
            given["price"] = None if price is None else terms_of(price)
        day = entry["start"]
        if given.get("proration") == "by_second":
            given["at"] = instant_of(entry["on"], known.zone)
        elif day is None and entry["when"] is None and entry["change"] != "renew":
            day = self._local_day(name, entry["on"])
        return Amend(
            line=entry.line,
            on=entry["on"],
            subscription=name,
            kind=entry["change"],
            day=day,
            next_period=entry["when"] == "next_period",
            fields={**given, "charged": given.get("charged") == "yes"},
        )

    def _usage(self, entry: Entry, place: str) -> Step | None:
        rows = [(entry, place)]
        if entry["events"] is not None:
            nodes = self.reader.items(entry["events"], f"{place}.events")
            read = [
                (self.reader.entry(node, EVENT, f"{place}.events[{position}]"), position)
                for position, node in enumerate(nodes)
            ]
            rows = [(row, f"{place}.events[{position}]") for row, position in read if row]
        events: list[UsageEvent] = []
        for position, (row, row_place) in enumerate(rows):
            events.extend(self._usage_events(row, entry, row_place, position))
        return Usage(line=entry.line, on=entry["on"], events=tuple(events))

    def _usage_events(
        self, row: Entry, step: Entry, place: str, position: int
    ) -> Sequence[UsageEvent]:
        """The events of one row; what the row leaves out it takes from its step."""
        meter, quantity = row["meter"] or step["meter"], row["quantity"]
        identifier, zone = self._routing(row, step, place)
        if quantity is None:
            quantity = step["quantity"] if step["quantity"] is not None else Decimal(1)
        if meter is None:
            self._refuse("missing", "is missing", row, place, "meter")
        if identifier is None or meter is None:
            return ()
        attributes = {**(step["attributes"] or {}), **(row["attributes"] or {})}
        at: Moment = row["at"] or step["at"] or step["on"]
        time = instant_of(at, zone or UTC_ZONE)
        name = row["id"] or f"{step.line}-{position + 1}"
        count = row["count"]
        names = [name] if count == 1 else [f"{name}-{number}" for number in range(1, count + 1)]
        return [
            UsageEvent(
                event_id=event_id,
                identifier=identifier,
                meter=meter,
                quantity=quantity,
                time=time,
                attributes=attributes,
            )
            for event_id in names
        ]

    def _routing(self, row: Entry, step: Entry, place: str) -> tuple[str | None, ZoneInfo | None]:
        """The identifier an event bears and the zone its days go by, if the file tells."""
        source = row if row["subscription"] or row["identifier"] else step
        name, identifier = source["subscription"], source["identifier"]
        if name is not None and identifier is None:
            if not self._known("subscription", name, self.subscriptions, row, place):
                return None, None
            known = self.subscriptions[name]
            return known.identifier, known.zone
        if identifier is None:
            message = "is missing: name a subscription or an identifier"
            self._refuse("missing", message, row, place, "subscription")
            return None, None
        return identifier, self.identifiers.get(identifier)

    def _correct_usage(self, entry: Entry, _place: str) -> Step | None:
        return CorrectUsage(
            line=entry.line, on=entry["on"], event_id=entry["event"], quantity=entry["quantity"]
        )

    def _load_prices(self, entry: Entry, place: str) -> Step | None:
        book = self._part(entry, place, "price_book")
        if book is None:
            return None
        return LoadPrices(line=entry.line, on=entry["on"], price_book=book)

    def _load_incentives(self, entry: Entry, place: str) -> Step | None:
        found = self._part(entry, place, "incentives")
        if found is None:
            return None
        return LoadIncentives(line=entry.line, on=entry["on"], incentives=found)

    def _part(self, entry: Entry, place: str, name: str) -> LocatedText | None:
        """The price book or incentives of a step, which must have one."""
        before = len(self.reader.problems)
        part = read_part(self.reader, entry, self.text, self.folder, name)
        if part is None and len(self.reader.problems) == before:
            message = f"is missing: give {name} or {name}_file"
            self._refuse("missing", message, entry, place, name)
        return part

    def _bill(self, entry: Entry, place: str) -> Step | None:
        if entry["account"] is not None:
            self._known("account", entry["account"], self.zones, entry, place)
        return Bill(
            line=entry.line,
            on=entry["on"],
            account=entry["account"],
            billing_date=entry["on"],
            expected=self._expected(entry["expect"], f"{place}.expect"),
        )

    def _rerate(self, entry: Entry, place: str) -> Step | None:
        if entry["account"] is not None:
            self._known("account", entry["account"], self.zones, entry, place)
        return Rerate(
            line=entry.line,
            on=entry["on"],
            account=entry["account"],
            first=entry["from"],
            end=entry["to"],
            expected=self._expected(entry["expect"], f"{place}.expect"),
        )

    def _credit(self, entry: Entry, place: str) -> Step | None:
        return Credit(
            line=entry.line,
            on=entry["on"],
            invoice=entry["invoice"],
            position=entry["line"],
            amount=entry["amount"],
            quantity=entry["quantity"],
            first=entry["from"],
            end=entry["to"],
            void=entry["void"],
            reissue=entry["reissue"],
            refused=entry["refused"],
            expected=self._expected(entry["expect"], f"{place}.expect"),
        )

    def _pay(self, entry: Entry, place: str) -> Step | None:
        self._known("account", entry["account"], self.zones, entry, place)
        return Pay(
            line=entry.line,
            on=entry["on"],
            account=entry["account"],
            amount=entry["amount"],
            bounced=entry["bounced"],
            owes=entry["owes"],
        )

    def _spending(self, entry: Entry, place: str) -> Step | None:
        self._known("account", entry["account"], self.zones, entry, place)
        fields = ("on", "account", "threshold", "spent", "told")
        return Spending(line=entry.line, **{field: entry[field] for field in fields})

    def _preview(self, entry: Entry, place: str) -> Step | None:
        self._known("account", entry["account"], self.zones, entry, place)
        return Preview(
            line=entry.line,
            on=entry["on"],
            account=entry["account"],
            billing_date=entry["on"],
            expected=self._expected(entry["expect"], f"{place}.expect"),
        )

    def _of_orders(self, entry: Entry, place: str) -> Step | None:
        read = read_order_step(self.reader, entry, place)
        for name, account, tokens in read.subscriptions:
            if account is None or self._known("account", account, self.zones, entry, place):
                zone = UTC_ZONE if account is None else self.zones[account]
                self.subscriptions[name] = KnownSubscription(zone, (*tokens, name)[0])
                self.identifiers.update(dict.fromkeys(tokens or (name,), zone))
        return read.step

    def _expected(self, node: yaml.Node | None, place: str) -> Expected | None:
        return read_expected(self.reader, node, place, self.zones)

    def _known(
        self, field: str, name: str, among: Mapping[str, object], entry: Entry, place: str
    ) -> bool:
        if name in among:
            return True
        message = f"there is no {field} {name!r} here yet"
        self.reader.refuse(
            f"unknown_{field}", message, entry.line_of(field), f"{place}.{field}", tuple(among)
        )
        return False

    def _refuse(self, code: str, message: str, entry: Entry, place: str, field: str) -> None:
        self.reader.refuse(code, message, entry.line_of(field), f"{place}.{field}")

    def _local_day(self, subscription: str, on: Moment) -> date:
        return day_of(on, self.subscriptions[subscription].zone)


def _action_of(node: yaml.Node) -> str | None:
    """The ``do`` of a step."""
    if not isinstance(node, yaml.MappingNode):
        return None
    for key, value in node.value:
        if isinstance(value, yaml.ScalarNode) and key.value == "do":
            return str(value.value)
    return None
