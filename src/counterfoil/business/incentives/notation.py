"""Reading an incentives file from YAML; the notation is documented in ``docs/incentives.md``.

Everything that can be told from the text alone is checked here, with file and line; what depends
on what is stored is checked when the file is saved. A section is its rules and its reader in
``_SECTIONS``.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace

import yaml

from counterfoil.business.incentives.entities import (
    COMMITMENT,
    DISCOUNT,
    DISCOUNT_TARGET,
    DISCOUNT_TIER,
    ENTITLEMENT,
    ENTITLEMENT_THRESHOLD,
    PREPAID_GRANT,
    SPENDING_THRESHOLD,
)
from counterfoil.business.incentives.entries import (
    IncentiveEntry,
    IncentivesFile,
    PartEntry,
    Reference,
)
from counterfoil.business.incentives.terms import (
    find_commitment_problems,
    find_discount_problems,
    find_entitlement_problems,
    find_grant_problems,
    find_spending_problems,
    find_target_problems,
    find_tier_problems,
)
from counterfoil.business.products.notation_rules import rules_of
from counterfoil.business.products.price_book import PERIODS
from counterfoil.business.products.price_book_entries import NOTATION, Place
from counterfoil.core.money.currencies import CURRENCIES
from counterfoil.core.money.rounding import round_half_up
from counterfoil.core.notation.located import Entry, Kind, Reader, Rule, Rules
from counterfoil.core.problems import Problem
from counterfoil.platform.metadata import Entity, Record

_LIST = Rule(kind=Kind.NODE)
_TEXTS = Rule(kind=Kind.TEXTS)
_NAME = Rule(max_length=255)

_DISCOUNT: Rules = {
    **rules_of(DISCOUNT, "external_id", "name", "percent", "amount", "currency", "scope", "code"),
    **rules_of(DISCOUNT, "priority", "valid_from", "valid_to", "cycles", "maximum_uses"),
    **rules_of(DISCOUNT, "holder_uses", "invoice_maximum", "holder_maximum", "basis"),
    **rules_of(DISCOUNT, "percent_formula", "condition"),
    "amount_per_unit": rules_of(DISCOUNT, "amount")["amount"],
    "tiers": _LIST,
    "accounts": _TEXTS,
    "products": _TEXTS,
    "rate_plans": _TEXTS,
    "charges": _TEXTS,
    "subscriptions": _TEXTS,
    "requires": _LIST,
}
_REQUIRED: Rules = {
    "product": _NAME,
    "rate_plan": _NAME,
    "charge": _NAME,
    **rules_of(DISCOUNT_TARGET, "minimum_quantity", "minimum_amount"),
}
_TIER: Rules = rules_of(DISCOUNT_TIER, "from_amount", "percent")
_AMOUNT = replace(rules_of(COMMITMENT, "amount")["amount"], required=False)
_COMMITMENT: Rules = {
    **rules_of(COMMITMENT, "external_id", "name", "currency", "alignment"),
    **rules_of(COMMITMENT, "subscription_external_id", "start_date", "end_date"),
    "minimum": _AMOUNT,
    "maximum": _AMOUNT,
    "scope": replace(rules_of(COMMITMENT, "scope")["scope"], required=False),
    "account": _NAME,
    "rate_plan": _NAME,
    "product": _NAME,
    "period": Rule(choices=tuple(PERIODS), default="month"),
    "every": Rule(kind=Kind.INTEGER, minimum=1, maximum=120, default=1),
}
_GRANT: Rules = {
    **rules_of(PREPAID_GRANT, "external_id", "name", "kind", "currency", "scope", "priority"),
    **rules_of(PREPAID_GRANT, "start_date", "expiry_date"),
    "account": Rule(required=True, max_length=255),
    # Read with all digits somebody may have computed; rounded once, below.
    "amount": Rule(kind=Kind.DECIMAL, required=True, minimum=0, places=22),
}
_ENTITLEMENT: Rules = {
    **rules_of(ENTITLEMENT, "external_id", "name", "quantity", "subscription_external_id"),
    **rules_of(ENTITLEMENT, "priority", "rollover_cycles", "proration", "overuse"),
    **rules_of(ENTITLEMENT, "valid_from", "valid_to"),
    "pooled_over": replace(rules_of(ENTITLEMENT, "pooled_over")["pooled_over"], default=None),
    "rate_plan": _NAME,
    "account": _NAME,
    "per": _NAME,
    "products": _TEXTS,
    "rate_plans": _TEXTS,
    "charges": _TEXTS,
    "thresholds": _TEXTS,
}
_SPENDING: Rules = {
    **rules_of(SPENDING_THRESHOLD, "external_id", "name", "scope", "amount", "currency"),
    **rules_of(SPENDING_THRESHOLD, "alignment", "start_date", "end_date"),
    "account": Rule(required=True, max_length=255),
    "period": Rule(choices=tuple(PERIODS), default="month"),
    "every": Rule(kind=Kind.INTEGER, minimum=1, maximum=120, default=1),
}
_PERCENT = rules_of(ENTITLEMENT_THRESHOLD, "percent")["percent"]
_TARGETS = {"products": "product", "rate_plans": "rate_plan", "charges": "charge"}
_VALUES = {
    "percent": "percentage",
    "percent_formula": "percentage",
    "amount": "fixed",
    "amount_per_unit": "per_unit",
    "tiers": "volume",
}


def parse_incentives(text: str, file: str) -> tuple[IncentivesFile, list[Problem]]:
    """The incentives a YAML text says, and everything that is wrong with it.

    ``file`` is the name problems are reported with. With problems the result is incomplete: it
    must not be saved.
    """
    reading = _Reading(file)
    root = reading.reader.document(text)
    if root is not None:
        reading.read(root)
    entries = tuple(reading.entries)
    problems = [*reading.reader.problems, *_find_doubles(entries)]
    return IncentivesFile(file, entries), sorted(problems, key=lambda problem: problem.line or 0)


class _Reading:
    """One pass over the nodes of a file; gathers entries and problems."""

    def __init__(self, file: str) -> None:
        self.reader = Reader(file)
        self.entries: list[IncentiveEntry] = []

    def read(self, root: yaml.Node) -> None:
        """Read every section."""
        sections = self.reader.entry(root, dict.fromkeys(_SECTIONS, _LIST), "")
        if sections is None:
            return
        for name, (rules, read) in _SECTIONS.items():
            for entry, path in self.each(sections[name], rules, name):
                before = len(self.reader.problems)
                made = read(self, entry, path)
                if made is not None and len(self.reader.problems) == before:
                    self.entries.append(made)

    def each(self, node: yaml.Node | None, rules: Rules, path: str) -> Iterable[tuple[Entry, str]]:
        """The mappings of a list that could be read in full, each with its path."""
        for index, item in enumerate(self.reader.items(node, path)):
            place = f"{path}[{index}]"
            before = len(self.reader.problems)
            entry = self.reader.entry(item, rules, place)
            if entry is not None and len(self.reader.problems) == before:
                yield entry, place

    def place(self, entry: Entry, path: str) -> Place:
        """Where an entry stands."""
        return Place(file=self.reader.file, path=path, line=entry.line, lines=entry.lines)

    def note(self, place: Place, problems: Iterable[Problem]) -> None:
        """Tell problems of an entry's fields by their lines."""
        self.reader.problems.extend(
            place.problem(one.code, one.message, one.field, one.allowed) for one in problems
        )


def _read_discount(reading: _Reading, entry: Entry, path: str) -> IncentiveEntry | None:
    place = reading.place(entry, path)
    kind = _one_of(reading, entry, place, tuple(_VALUES))
    if kind is None:
        return None
    values = _values(DISCOUNT, entry)
    values["kind"] = _VALUES[kind]
    values["amount"] = entry["amount"] if kind == "amount" else entry["amount_per_unit"]
    held = bool(entry["accounts"]) or entry["code"] is not None
    values["audience"] = "holders" if held else "everyone"
    reading.note(place, find_discount_problems(values))
    parts = [*_named_targets(entry, place), *_requirements(reading, entry, path)]
    parts += [
        _part("discount_holder", {}, {"account_id": ("account", name)}, place)
        for name in dict.fromkeys(entry["accounts"] or ())
    ]
    parts += _tiers(reading, entry, path)
    if "basis" in entry.lines and not (entry["tiers"] or entry["requires"]):
        message = "belongs to tiers and requires: nothing else is counted over it"
        reading.note(place, [Problem("not_for_this_kind", message, "basis")])
    return IncentiveEntry(
        entity="discount", values=values, references={}, place=place, parts=tuple(parts)
    )


def _named_targets(entry: Entry, place: Place) -> list[PartEntry]:
    named = [
        _part("discount_target", _target("target"), {f"{target}_id": (target, name)}, place)
        for field, target in _TARGETS.items()
        for name in dict.fromkeys(entry[field] or ())
    ]
    return named + [
        _part("discount_target", _target("target") | {"subscription_external_id": name}, {}, place)
        for name in dict.fromkeys(entry["subscriptions"] or ())
    ]


def _requirements(reading: _Reading, entry: Entry, path: str) -> list[PartEntry]:
    parts: list[PartEntry] = []
    for required, where in reading.each(entry["requires"], _REQUIRED, f"{path}.requires"):
        place = reading.place(required, where)
        references = _references(required, "product", "rate_plan", "charge")
        values = {**_target("required"), **_values(DISCOUNT_TARGET, required)}
        reading.note(place, find_target_problems({**values, **references}))
        parts.append(_part("discount_target", values, references, place))
    return parts


def _tiers(reading: _Reading, entry: Entry, path: str) -> list[PartEntry]:
    parts = [
        _part("discount_tier", _values(DISCOUNT_TIER, tier), {}, reading.place(tier, where))
        for tier, where in reading.each(entry["tiers"], _TIER, f"{path}.tiers")
    ]
    for position, problem in find_tier_problems([part.values for part in parts]):
        reading.note(parts[position].place, [problem])
    return parts


def _read_commitment(reading: _Reading, entry: Entry, path: str) -> IncentiveEntry | None:
    place = reading.place(entry, path)
    kind = _one_of(reading, entry, place, ("minimum", "maximum"))
    if kind is None:
        return None
    one = entry["subscription"] is not None or entry["account"] is None
    values = {
        **_values(COMMITMENT, entry),
        "kind": kind,
        "amount": entry[kind],
        "scope": entry["scope"] or ("subscription" if one else "subtree"),
        **_period(reading, entry, place),
    }
    references = _references(entry, "account", "rate_plan", "product")
    absent = dict.fromkeys(("account_id", "rate_plan_id", "product_id"))
    reading.note(place, find_commitment_problems({**values, **absent, **references}))
    return IncentiveEntry(entity="commitment", values=values, references=references, place=place)


def _period(reading: _Reading, entry: Entry, place: Place) -> Record:
    """How long the periods of a commitment or threshold are."""
    unit, count = PERIODS[entry["period"]]
    count *= entry["every"]
    if count > 120:
        message = f"{entry['every']} {entry['period']}s are more than 120"
        reading.note(place, [Problem("too_large", message, "period_count")])
    return {"period_unit": unit, "period_count": count}


def _read_spending(reading: _Reading, entry: Entry, path: str) -> IncentiveEntry | None:
    place = reading.place(entry, path)
    values = {**_values(SPENDING_THRESHOLD, entry), **_period(reading, entry, place)}
    reading.note(place, find_spending_problems(values))
    references = _references(entry, "account")
    return IncentiveEntry(
        entity="spending_threshold", values=values, references=references, place=place
    )


def _read_grant(reading: _Reading, entry: Entry, path: str) -> IncentiveEntry | None:
    place = reading.place(entry, path)
    values = _values(PREPAID_GRANT, entry)
    if entry["currency"] in CURRENCIES:
        values["amount"] = round_half_up(entry["amount"], CURRENCIES[entry["currency"]])
    reading.note(place, find_grant_problems(values))
    return IncentiveEntry(
        entity="prepaid_grant",
        values=values,
        references=_references(entry, "account"),
        place=place,
    )


def _read_entitlement(reading: _Reading, entry: Entry, path: str) -> IncentiveEntry | None:
    place = reading.place(entry, path)
    references = _references(entry, "account", "rate_plan")
    if entry["per"] is not None:
        references["per_charge_id"] = ("charge", entry["per"])
    whole = "subtree" if entry["account"] is not None else "subscription"
    values = {**_values(ENTITLEMENT, entry), "pooled_over": entry["pooled_over"] or whole}
    absent = dict.fromkeys(("account_id", "rate_plan_id", "per_charge_id"))
    reading.note(place, find_entitlement_problems({**values, **absent, **references}))
    parts = [
        _part("entitlement_target", {}, {f"{target}_id": (target, name)}, place)
        for field, target in _TARGETS.items()
        for name in dict.fromkeys(entry[field] or ())
    ]
    if not parts:
        message = "name charges, rate plans or products whose usage draws on it"
        reading.note(place, [Problem("missing_target", message, "charges")])
    for text in dict.fromkeys(entry["thresholds"] or ()):
        percent = reading.reader.scalar(text, _PERCENT, entry.line_of("thresholds"), path)
        if percent is not None:
            parts.append(_part("entitlement_threshold", {"percent": percent}, {}, place))
    return IncentiveEntry(
        entity="entitlement", values=values, references=references, place=place, parts=tuple(parts)
    )


_Read = Callable[[_Reading, Entry, str], IncentiveEntry | None]

_SECTIONS: Mapping[str, tuple[Rules, _Read]] = {
    "discounts": (_DISCOUNT, _read_discount),
    "commitments": (_COMMITMENT, _read_commitment),
    "grants": (_GRANT, _read_grant),
    "entitlements": (_ENTITLEMENT, _read_entitlement),
    "spending_thresholds": (_SPENDING, _read_spending),
}


def _part(
    entity: str, values: Record, references: Mapping[str, Reference], place: Place
) -> PartEntry:
    return PartEntry(entity=entity, values=values, references=references, place=place)


def _target(role: str) -> Record:
    return {"role": role, "minimum_quantity": None, "minimum_amount": None}


def _values(entity: Entity, entry: Entry) -> Record:
    """The entity's own fields that the entry has under their name or that of the notation."""
    values: Record = {}
    for field in entity.fields:
        key = NOTATION.get(field.name, field.name)
        if key in entry.values and not field.target:
            values[field.name] = entry[key]
    return values


def _references(entry: Entry, *targets: str) -> dict[str, Reference]:
    return {f"{name}_id": (name, entry[name]) for name in targets if entry[name] is not None}


def _one_of(reading: _Reading, entry: Entry, place: Place, fields: tuple[str, ...]) -> str | None:
    """The one of these fields that is given; none or several are a problem."""
    given = [field for field in fields if field in entry.lines]
    if len(given) == 1:
        return given[0]
    said = " and ".join(given) if given else "none of them"
    message = f"give one of {', '.join(fields)}: here {'are ' if given else 'is '}{said}"
    field = given[1] if given else ""
    reading.note(place, [Problem("one_value", message, field, fields)])
    return None


def _find_doubles(entries: tuple[IncentiveEntry, ...]) -> list[Problem]:
    """Ids and coupon codes given twice."""
    problems: list[Problem] = []
    lines: dict[tuple[str, str], int] = {}
    for entry in entries:
        keys = [("id", entry.entity, entry.external_id)]
        if entry.values.get("code") is not None:
            keys.append(("code", "code", str(entry.values["code"])))
        for field, kind, name in keys:
            first = lines.setdefault((kind, name), entry.place.line)
            if first != entry.place.line:
                message = f"{name!r} already stands in line {first}"
                problems.append(
                    entry.place.problem(
                        f"double_{field}", message, "external_id" if field == "id" else field
                    )
                )
    return problems
