"""Reading a price book from YAML; the notation is documented in ``docs/price-books.md``.

Everything that can be told from the text alone is checked here, with file and line; what depends
on what is stored is checked when the book is saved.
"""

from collections.abc import Hashable, Iterable
from dataclasses import replace
from datetime import date
from decimal import Decimal

import yaml

from counterfoil.business.accounts.entities import (
    PRICE_REGION,
    PRICING_TEMPLATE,
    TEMPLATE_ASSIGNMENT,
)
from counterfoil.business.products.cells import (
    Cell,
    find_cell_faults,
    find_matrix_faults,
    find_overlapping_cells,
    spread_days,
)
from counterfoil.business.products.charges import find_charge_problems
from counterfoil.business.products.entities import (
    CHARGE,
    METER,
    PRICE,
    PRICE_TIER,
    PRODUCT,
    RATE_PLAN,
)
from counterfoil.business.products.meters import find_meter_problems
from counterfoil.business.products.notation_rules import rules_of as _rules
from counterfoil.business.products.owners import OWNERS
from counterfoil.business.products.price_book_entries import (
    NOTATION,
    AssignmentEntry,
    CatalogueEntry,
    CellEntry,
    Place,
    PriceBook,
    PriceEntry,
)
from counterfoil.business.products.tiers import (
    EVENT_TERMS,
    WITHOUT_UNIT_AMOUNT,
    Tier,
    TierFault,
    below_minimum,
    find_event_faults,
    find_formula_faults,
    find_last_tier_faults,
    find_model_faults,
    find_partial_faults,
    find_tier_faults,
    find_tiers_of_model_faults,
)
from counterfoil.core.money.currencies import CURRENCIES, unknown_currency
from counterfoil.core.notation.located import Entry, Kind, Reader, Rule, Rules
from counterfoil.core.periods.validity import Validity, describe_overlap, find_overlaps
from counterfoil.core.problems import Problem
from counterfoil.platform.metadata import Entity, FieldType, Record

__all__ = ["PERIODS", "PriceBook", "parse_price_book"]

PERIODS = {
    "day": ("day", 1),
    "week": ("week", 1),
    "month": ("month", 1),
    "quarter": ("month", 3),
    "half_year": ("month", 6),
    "year": ("year", 1),
}
"""The periods of the notation as unit and count of a cycle."""

ZERO = Decimal(0)

_NAME = Rule(required=True, max_length=255)
_LIST = Rule(kind=Kind.NODE)
_BOOK: Rules = dict.fromkeys(
    (
        *("products", "meters", "rate_plans", "price_regions", "pricing_templates"),
        *("template_assignments", "prices"),
    ),
    _LIST,
)
_PRODUCT: Rules = _rules(PRODUCT, "external_id", "name")
_METER: Rules = {
    **_rules(METER, "external_id", "name", "unit", "aggregation"),
    **_rules(METER, "quantity_attribute", "property", "percentile", "carried_over"),
    "filter": Rule(kind=Kind.CONDITIONS),
}
_RATE_PLAN: Rules = {
    **_rules(RATE_PLAN, "external_id", "name", "trial_days"),
    "product": _NAME,
    "charges": _LIST,
}
_CHARGE_FIELDS = (
    *("external_id", "name", "kind", "timing", "periods_ahead", "alignment", "proration"),
    "in_trial",
    *("event_minimum", "event_increment", "unit", "unit_size", "unit_rounding", "pooled_over"),
    "group_by",
    *("condition", "quantity_formula"),
)
_CHARGE: Rules = {
    **_rules(CHARGE, *_CHARGE_FIELDS),
    "meter": Rule(max_length=255),
    "period": Rule(choices=tuple(PERIODS), default="month"),
    "every": Rule(kind=Kind.INTEGER, minimum=1, maximum=120, default=1),
    "prices": _LIST,
}
_REGION: Rules = {**_rules(PRICE_REGION, "external_id", "name"), "prices": _LIST}
_TEMPLATE: Rules = {
    **_rules(PRICING_TEMPLATE, "external_id", "name"),
    "base": Rule(max_length=255),
    "prices": _LIST,
}
_ASSIGNMENT: Rules = {
    "account": _NAME,
    "pricing_template": _NAME,
    **_rules(TEMPLATE_ASSIGNMENT, "valid_from", "valid_to"),
}
_AMOUNTS: Rules = {
    name: replace(rule, default=None)
    for name, rule in _rules(PRICE_TIER, "unit_amount", "flat_amount").items()
}
_TIER: Rules = {
    "from": replace(_rules(PRICE_TIER, "from_quantity")["from"], default=None),
    **_rules(PRICE_TIER, "up_to"),
    **_AMOUNTS,
}
_CELL: Rules = {
    "when": Rule(kind=Kind.CONDITIONS),
    "days": Rule(kind=Kind.TEXTS),
    "from": Rule(max_length=5),
    "to": Rule(max_length=5),
    "name": Rule(max_length=255),
    **_AMOUNTS,
    "tiers": _LIST,
}
_PRICE: Rules = {
    "currency": Rule(required=True),
    "partial": Rule(kind=Kind.BOOLEAN, default=False),
    **_rules(PRICE, "model", "valid_from", "valid_to"),
    **_rules(PRICE, "package_size", "included_quantity", "formula", "condition"),
    **_rules(PRICE, "minimum_amount", "maximum_amount", *EVENT_TERMS),
    **_AMOUNTS,
    "tiers": _LIST,
    "cells": _LIST,
}
_TERMS: Rules = {
    name: rule
    for name, rule in _PRICE.items()
    if name not in ("currency", "partial", "valid_from", "valid_to")
}
_CHARGE_PRICE: Rules = {"charge": _NAME, **_PRICE}
_OWNED_PRICE: Rules = {
    **{owner.key: Rule(max_length=255) for owner in OWNERS},
    **_CHARGE_PRICE,
}


def parse_price_book(text: str, file: str) -> tuple[PriceBook, list[Problem]]:
    """The price book a YAML text says, and everything that is wrong with it.

    ``file`` is the name problems are reported with. With problems the book is incomplete: it
    must not be saved.
    """
    reading = _Reading(file)
    root = reading.reader.document(text)
    if root is not None:
        reading.read_book(root)
    book = PriceBook(
        file, tuple(reading.entries), tuple(reading.prices), tuple(reading.assignments)
    )
    problems = [*reading.problems, *_find_doubles(book), *_find_circles(book)]
    problems += _find_overlaps(book)
    return book, sorted(problems, key=lambda problem: problem.line or 0)


def read_price(node: yaml.Node) -> tuple[PriceEntry | None, list[Problem]]:
    """The price that a node says without its charge, owner, currency and days, which are left
    open, and everything that is wrong with it."""
    reading = _Reading("")
    entry = reading.reader.entry(node, _TERMS, "price")
    if entry is not None:
        left_open = {"currency": next(iter(CURRENCIES)), "partial": False}
        values = {**entry.values, **left_open, "valid_from": None, "valid_to": None}
        reading.read_price(Entry(entry.line, values, entry.lines), "price", "", "", "")
    return next(iter(reading.prices), None), reading.problems


class _Reading:
    """One pass over the nodes of a price book; gathers entries, prices and problems."""

    def __init__(self, file: str) -> None:
        self.reader = Reader(file)
        self.problems: list[Problem] = self.reader.problems
        self.entries: list[CatalogueEntry] = []
        self.prices: list[PriceEntry] = []
        self.assignments: list[AssignmentEntry] = []

    def read_book(self, root: yaml.Node) -> None:
        """Read every section, in the order in which later ones refer to earlier ones."""
        book = self.reader.entry(root, _BOOK, "")
        if book is None:
            return
        for entity, section, rules in ((PRODUCT, "products", _PRODUCT), (METER, "meters", _METER)):
            for entry, path in self._entries(book[section], rules, section):
                self._add(entity, entry, path)
                if entity is METER:
                    self._check_meter(entry, path)
        for plan, path in self._entries(book["rate_plans"], _RATE_PLAN, "rate_plans"):
            self._read_rate_plan(plan, path)
        for section, rules, entity, layer in (
            ("price_regions", _REGION, PRICE_REGION, "region"),
            ("pricing_templates", _TEMPLATE, PRICING_TEMPLATE, "template"),
        ):
            for owner, path in self._entries(book[section], rules, section):
                self._add(entity, owner, path, base_template_id=owner.values.get("base"))
                for price, place in self._entries(owner["prices"], _CHARGE_PRICE, f"{path}.prices"):
                    self.read_price(price, place, price["charge"], layer, owner["id"])
        for price, place in self._entries(book["prices"], _OWNED_PRICE, "prices"):
            self._read_owned_price(price, place)
        for assignment, place in self._entries(
            book["template_assignments"], _ASSIGNMENT, "template_assignments"
        ):
            self._read_assignment(assignment, place)

    def _entries(
        self, node: yaml.Node | None, rules: Rules, path: str
    ) -> Iterable[tuple[Entry, str]]:
        """The mappings of a list that have all required fields, each with its path."""
        for index, item in enumerate(self.reader.items(node, path)):
            place = f"{path}[{index}]"
            entry = self.reader.entry(item, rules, place)
            if entry is not None:
                yield entry, place

    def _place(self, entry: Entry, path: str) -> Place:
        return Place(file=self.reader.file, path=path, line=entry.line, lines=entry.lines)

    def _add(self, entity: Entity, entry: Entry, path: str, **references: str | None) -> None:
        """Note a catalogue entry; one without its required fields has been refused already."""
        values: Record = {}
        for field in entity.fields:
            key = NOTATION.get(field.name, field.name)
            if key in entry.values and field.type is not FieldType.REFERENCE:
                values[field.name] = entry[key]
        named = {name: target for name, target in references.items() if target is not None}
        place = self._place(entry, path)
        if entry["id"] is not None:
            self.entries.append(
                CatalogueEntry(entity=entity.name, values=values, references=named, place=place)
            )

    def _read_rate_plan(self, plan: Entry, path: str) -> None:
        self._add(RATE_PLAN, plan, path, product_id=plan["product"])
        for charge, place in self._entries(plan["charges"], _CHARGE, f"{path}.charges"):
            unit, count = PERIODS[charge["period"]]
            cycle = {"period": unit, "every": count * charge["every"]}
            entry = Entry(charge.line, {**charge.values, **cycle}, charge.lines)
            self._add(CHARGE, entry, place, rate_plan_id=plan["id"], meter_id=charge["meter"])
            self._check_charge(entry, place)
            for price, price_path in self._entries(charge["prices"], _PRICE, f"{place}.prices"):
                self.read_price(price, price_path, charge["id"], "list", "")

    def _check_charge(self, charge: Entry, path: str) -> None:
        place = self._place(charge, path)
        if charge["kind"] is None:
            return
        values = {**charge.values, "meter_id": charge["meter"]}
        for problem in find_charge_problems(values):
            self.problems.append(place.problem(problem.code, problem.message, problem.field))
        if charge["every"] > 120:
            message = f"{charge['every']} {charge['period']}s are more than 120"
            self.problems.append(place.problem("too_large", message, "period_count"))

    def _check_meter(self, meter: Entry, path: str) -> None:
        place = self._place(meter, path)
        if meter["aggregation"] is None:
            return
        for problem in find_meter_problems(meter.values):
            self.problems.append(place.problem(problem.code, problem.message, problem.field))

    def _read_owned_price(self, price: Entry, path: str) -> None:
        named = [owner for owner in OWNERS if price[owner.key] is not None]
        if len(named) != 1:
            *others, last = (owner.key for owner in OWNERS)
            message = f"needs one of {', '.join(others)} and {last}"
            self.problems.append(self._place(price, path).problem("wrong_owner", message))
            return
        owner = named[0]
        self.read_price(price, path, price["charge"], owner.layer, price[owner.key])

    def _read_assignment(self, assignment: Entry, path: str) -> None:
        place = self._place(assignment, path)
        starts, ends = assignment["valid_from"], assignment["valid_to"]
        self._check_period(starts, ends, place)
        if assignment["account"] is None or assignment["pricing_template"] is None:
            return
        self.assignments.append(
            AssignmentEntry(
                account=assignment["account"],
                template=assignment["pricing_template"],
                valid_from=starts,
                valid_to=ends,
                place=place,
            )
        )

    def _check_period(self, starts: date | None, ends: date | None, place: Place) -> None:
        if starts is not None and ends is not None and ends <= starts:
            message = f"{ends} is not after valid_from, {starts}"
            self.problems.append(place.problem("ends_before_start", message, "valid_to"))

    def read_price(
        self, price: Entry, path: str, charge: str | None, layer: str, owner: str | None
    ) -> None:
        """Note a price, or what is wrong with it."""
        place = self._place(price, path)
        currency, model = price["currency"], price["model"]
        known = len(self.problems)
        if currency is not None and currency not in CURRENCIES:
            unknown = unknown_currency(currency)
            self.problems.append(
                place.problem(unknown.code, unknown.message, "currency", unknown.allowed)
            )
        starts, ends = price["valid_from"], price["valid_to"]
        self._check_period(starts, ends, place)
        least, most = price["minimum_amount"], price["maximum_amount"]
        if least is not None and most is not None and most < least:
            message = below_minimum(most, least)
            self.problems.append(place.problem("below_minimum", message, "maximum_amount"))
        self._note(find_partial_faults(price.values), place, ())
        if model is None:
            return
        tiers: tuple[Tier, ...] = ()
        tier_places: tuple[Place, ...] = ()
        if model == "formula":
            self._check_formula_price(price, place)
        elif price["cells"] is None or price["tiers"] is not None or _amounts_of(price):
            tiers, tier_places = self._read_tiers(price, path, place)
            self._check_tiers(price, place, tiers, tier_places)
        cells = self._read_cells(price, path, place)
        self._note(find_formula_faults(model, price["formula"]), place, ())
        self._note(find_event_faults(model, price.values), place, ())
        if len(self.problems) > known or None in (charge, owner, currency):
            return
        self.prices.append(
            PriceEntry(
                charge=str(charge),
                layer=layer,
                owner=str(owner),
                currency=currency,
                valid_from=starts,
                valid_to=ends,
                partial=price["partial"],
                model=model,
                package_size=price["package_size"],
                included_quantity=price["included"],
                formula=price["formula"],
                condition=price["condition"],
                minimum_amount=price["minimum_amount"],
                maximum_amount=price["maximum_amount"],
                event_amount=price["event_amount"],
                event_amount_minimum=price["event_amount_minimum"],
                event_amount_maximum=price["event_amount_maximum"],
                free_events=price["free_events"],
                tiers=tiers,
                cells=cells,
                place=place,
                tier_places=tier_places,
            )
        )

    def _read_cells(self, price: Entry, path: str, place: Place) -> tuple[CellEntry, ...]:
        """The cells of a matrix price, each with tiers of its own."""
        if price["cells"] is None:
            return ()
        asked = {"model": price["model"], "included_quantity": price["included"]}
        self._note(find_matrix_faults(asked), place, ())
        if price["tiers"] is None and not _amounts_of(price) and "package_size" in price.lines:
            size, included = price["package_size"], price["included"]
            self._note(find_model_faults(price["model"], size, included, ()), place, ())
        cells: list[CellEntry] = []
        for entry, cell_path in self._entries(price["cells"], _CELL, f"{path}.cells"):
            cell_place = self._place(entry, cell_path)
            with_model = Entry(entry.line, {**entry.values, "model": price["model"]}, entry.lines)
            tiers, tier_places = self._read_tiers(with_model, cell_path, cell_place)
            cell = Cell(
                conditions=entry["when"] or {},
                days=spread_days(entry["days"] or ()),
                from_time=entry["from"],
                to_time=entry["to"],
                name=entry["name"],
                tiers=tiers,
            )
            if price["model"] != "formula" and tiers:
                partial = bool(price["partial"])
                faults = find_tiers_of_model_faults(price["model"], tiers)
                faults += find_tier_faults(tiers, partial=partial)
                faults += [] if partial else find_last_tier_faults(tiers)
                self._note(faults, cell_place, tier_places)
            self._note(find_cell_faults(cell), cell_place, ())
            cells.append(CellEntry(cell=cell, place=cell_place, tier_places=tier_places))
        for earlier, later in find_overlapping_cells([each.cell for each in cells]):
            message = f"holds the same as the cell in line {cells[earlier].place.line}"
            self.problems.append(
                cells[later].place.problem("overlapping_cells", message, "conditions")
            )
        if not cells:
            self.problems.append(place.problem("missing_cells", "is empty", "cells"))
        return tuple(cells)

    def _check_formula_price(self, price: Entry, place: Place) -> None:
        """A formula stands in place of tiers and amounts."""
        for name in (*_AMOUNTS, "tiers"):
            if name in price.lines:
                message = "stands beside a formula, which is the whole price"
                self.problems.append(place.problem("amount_beside_formula", message, name))
        size, included = price["package_size"], price["included"]
        self._note(find_model_faults("formula", size, included, ()), place, ())

    def _read_tiers(
        self, price: Entry, path: str, place: Place
    ) -> tuple[tuple[Tier, ...], tuple[Place, ...]]:
        given = _amounts_of(price)
        if price["tiers"] is None:
            if not given:
                message = "needs an amount, a flat amount or tiers"
                self.problems.append(place.problem("missing_amount", message))
                return (), ()
            return (self._tier(price, place, price["model"], ZERO),), (place,)
        if given:
            message = "stands beside tiers; give the amounts in the tiers"
            self.problems.append(place.problem("amount_beside_tiers", message, given[0]))
        tiers: list[Tier] = []
        places: list[Place] = []
        reached: Decimal | None = ZERO
        readable = True
        for entry, tier_path in self._entries(price["tiers"], _TIER, f"{path}.tiers"):
            tier_place = self._place(entry, tier_path)
            if not any(name in entry.lines for name in _AMOUNTS):
                message = "needs an amount or a flat amount"
                self.problems.append(tier_place.problem("missing_amount", message))
            begins = reached if entry["from"] is None else entry["from"]
            tiers.append(self._tier(entry, tier_place, price["model"], begins or ZERO))
            places.append(tier_place)
            reached = entry["up_to"]
            bounds = [name for name in ("from", "up_to") if name in entry.lines]
            readable = readable and all(entry[name] is not None for name in bounds)
        if not tiers:
            self.problems.append(place.problem("missing_tiers", "is empty", "tiers"))
        # A bound that could not be read has been refused; it says nothing about its neighbours.
        return (tuple(tiers), tuple(places)) if readable else ((), ())

    def _tier(self, entry: Entry, place: Place, model: str, begins: Decimal) -> Tier:
        """One tier; the amount of a flat or stairstep price is its flat amount."""
        amount, flat = entry["amount"], entry["flat"]
        if model in WITHOUT_UNIT_AMOUNT:
            if amount is not None and flat is not None:
                message = f"stands beside flat; a {model} price has one amount"
                self.problems.append(place.problem("two_amounts", message, "unit_amount"))
            amount, flat = None, flat if amount is None else amount
        return Tier(
            from_quantity=begins,
            up_to=entry.values.get("up_to"),
            unit_amount=amount or ZERO,
            flat_amount=flat or ZERO,
        )

    def _check_tiers(
        self, price: Entry, place: Place, tiers: tuple[Tier, ...], tier_places: tuple[Place, ...]
    ) -> None:
        size, included, partial = price["package_size"], price["included"], price["partial"]
        if "package_size" not in price.lines or size is not None:
            faults = find_model_faults(price["model"], size, included, tiers, partial=partial)
            self._note(faults, place, tier_places)
        if tiers:
            self._note(find_tier_faults(tiers, partial=partial), place, tier_places)
        if tiers and not partial:
            self._note(find_last_tier_faults(tiers), place, tier_places)

    def _note(
        self, faults: Iterable[TierFault], place: Place, tier_places: tuple[Place, ...]
    ) -> None:
        for fault in faults:
            at = place if fault.place is None else tier_places[fault.place]
            self.problems.append(at.problem(fault.code, fault.message, fault.field))


def _amounts_of(price: Entry) -> list[str]:
    """The amounts that stand in a price itself."""
    return [name for name in _AMOUNTS if name in price.lines]


def _find_doubles(book: PriceBook) -> list[Problem]:
    """Ids given twice to one kind of entry, and charge names used twice in a rate plan."""
    problems: list[Problem] = []
    lines: dict[tuple[str, ...], int] = {}
    for entry in book.entries:
        first = lines.setdefault((entry.entity, entry.external_id), entry.place.line)
        if first != entry.place.line:
            message = f"{entry.external_id!r} already stands in line {first}"
            problems.append(entry.place.problem("double_id", message, "external_id"))
        plan = entry.references.get("rate_plan_id")
        if plan is None or entry.values["name"] is None:
            continue
        first = lines.setdefault(("name", plan, str(entry.values["name"])), entry.place.line)
        if first != entry.place.line:
            message = f"the charge in line {first} of the same rate plan has this name"
            problems.append(entry.place.problem("double_name", message, "name"))
    return problems


def _find_circles(book: PriceBook) -> list[Problem]:
    """Pricing templates of the book that build on themselves."""
    entries = book.of_entity("pricing_template")
    bases = {entry.external_id: entry.references.get("base_template_id") for entry in entries}
    problems: list[Problem] = []
    for entry in entries:
        name, path = bases[entry.external_id], [entry.external_id]
        while name is not None and name not in path:
            path.append(name)
            name = bases.get(name)
        if name == entry.external_id:
            message = f"makes the template build on itself: {' on '.join([*path, name])}"
            problems.append(entry.place.problem("template_circle", message, "base_template_id"))
    return problems


def _find_overlaps(book: PriceBook) -> list[Problem]:
    """Prices and assignments of the book that are valid on the same days for the same."""
    problems: list[Problem] = []
    noted: tuple[tuple[str, list[tuple[Hashable, PriceEntry | AssignmentEntry]]], ...] = (
        ("price", [(each.key, each) for each in book.prices]),
        ("template assignment", [(each.account, each) for each in book.assignments]),
    )
    for noun, entries in noted:
        validities = [
            Validity(key, entry.valid_from, entry.valid_to, place)
            for place, (key, entry) in enumerate(entries)
        ]
        for earlier, later in find_overlaps(validities):
            line = entries[earlier.place][1].place.line
            said = f"{describe_overlap(earlier, later, noun)} (line {line})"
            at = entries[later.place][1].place
            problems.append(at.problem("overlapping_validity", said, "valid_from"))
    return problems
