"""Saving a price book: an upsert by external id, all or nothing, in a fixed number of queries."""

from collections.abc import Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from difflib import get_close_matches

from counterfoil.business.accounts.rules import lock_layers
from counterfoil.business.products.assignments import save_assignments
from counterfoil.business.products.book_formulas import find_book_formula_problems
from counterfoil.business.products.drafts import make_way
from counterfoil.business.products.matrix import save_tiers_and_cells
from counterfoil.business.products.owners import OWNER_OF, OWNERS
from counterfoil.business.products.partials import find_misfit
from counterfoil.business.products.price_book_entries import (
    CatalogueEntry,
    Place,
    Placed,
    PriceBook,
    PriceEntry,
)
from counterfoil.business.products.queries import (
    PriceKey,
    StoredPrice,
    read_by_external_id,
    read_prices,
    read_used_prices,
)
from counterfoil.business.products.rules import used_price_problem
from counterfoil.core.periods.validity import Validity, describe_overlap, find_overlaps
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_ORDER = ("product", "meter", "rate_plan", "charge", "price_region", "pricing_template")
_BASE = "base_template_id"
_TARGETS = {
    "product_id": "product",
    "meter_id": "meter",
    "rate_plan_id": "rate_plan",
    _BASE: "pricing_template",
}
_OWNING = tuple(dict.fromkeys(owner.entity for owner in OWNERS if owner.entity))
_OPTIONAL = (("charge", "meter_id"), ("pricing_template", _BASE))
_DONE = ("created", "changed", "unchanged")
_LISTED_AT_MOST = 30

Change = tuple[PriceEntry, StoredPrice]


@dataclass(frozen=True, slots=True)
class _Stored:
    """What is stored under the names a book uses."""

    records: Mapping[str, dict[str, Record]]
    prices: Mapping[PriceKey, list[StoredPrice]]

    def twin(self, price: PriceEntry) -> StoredPrice | None:
        """The stored price for the same from the same day."""
        alike = self.prices.get(price.key, [])
        return next((stored for stored in alike if stored.valid_from == price.valid_from), None)


def save_price_book(uow: UnitOfWork, book: PriceBook) -> dict[str, int]:
    """Save a price book that was parsed without problems.

    Records are matched by external id, prices by charge, layer, owner, currency and valid_from.
    What the book does not mention stays; what is equal is not touched. A price that something
    was rated with keeps its terms, only its valid_to may change; one that was never used is
    replaced. Answers with counts such as ``prices_created``, ``prices_changed`` and
    ``prices_unchanged``. Refuses (422) with every problem, nothing saved.
    """
    lock_layers(uow)
    stored = _read_stored(uow, book)
    problems = _find_problems(uow, book, stored)
    if problems:
        raise Refused(problems)
    return _save(uow, book, stored)


def _save(uow: UnitOfWork, book: PriceBook, stored: _Stored) -> dict[str, int]:
    """Save all entries, then all prices; counts as ``save_price_book`` gives them."""
    counts: dict[str, int] = {}
    ids: dict[str, dict[str, int]] = {
        entity: {name: int(str(record["id"])) for name, record in records.items()}
        for entity, records in stored.records.items()
    }
    for entity in _ORDER:
        counts.update({f"{uow.catalogue.entity(entity).plural}_{did}": 0 for did in _DONE})
        for entries in _in_order(book.of_entity(entity)):
            _save_entries(uow, entries, entity, stored, ids, counts)
    _save_prices(uow, book, stored, ids, counts)
    with placed(book.assignments):
        counts.update(save_assignments(uow, book.assignments, ids))
    return counts


def lay_price_book_over(uow: UnitOfWork, book: PriceBook) -> None:
    """Let a price book hold within a rehearsal, over all that is stored.

    Its prices replace the stored ones for the same on their days, also used ones; its other
    entries are saved as usual. Refuses (422) references to what neither the book nor the store
    has, and changes of fields that never change.
    """
    if not uow.rehearsal:
        raise ValueError("a draft is laid over the stored prices in a rehearsal only")
    stored = _read_stored(uow, book)
    problems = [*_find_unknown_names(uow, book, stored), *_find_fixed_fields(uow, book, stored)]
    if not problems:
        problems = find_book_formula_problems(uow, book)
    if problems:
        raise Refused(sorted(problems, key=lambda problem: problem.line or 0))
    make_way(uow, stored.prices, book.prices)
    _save(uow, book, replace(stored, prices={}))


def _read_stored(uow: UnitOfWork, book: PriceBook) -> _Stored:
    names: dict[str, set[str]] = {entity: set() for entity in (*_ORDER, *_OWNING)}
    for entry in book.entries:
        names[entry.entity].add(entry.external_id)
        for field, name in entry.references.items():
            names[_TARGETS[field]].add(name)
    for price in book.prices:
        names["charge"].add(price.charge)
        if owner := _owner_entity(price):
            names[owner].add(price.owner)
    for assignment in book.assignments:
        names["account"].add(assignment.account)
        names["pricing_template"].add(assignment.template)
    records = {entity: read_by_external_id(uow, entity, wanted) for entity, wanted in names.items()}
    owners = {price.owner for price in book.prices}
    prices = read_prices(uow, names["charge"], owners)
    return _Stored(records, prices)


def _find_problems(uow: UnitOfWork, book: PriceBook, stored: _Stored) -> list[Problem]:
    problems = [
        *_find_unknown_names(uow, book, stored),
        *_find_fixed_fields(uow, book, stored),
        *_find_used_prices(uow, book, stored),
        *_find_rivals(book, stored),
        *_find_misfits(uow, book),
    ]
    if not problems:
        problems = find_book_formula_problems(uow, book)
    return sorted(problems, key=lambda problem: problem.line or 0)


def _find_unknown_names(uow: UnitOfWork, book: PriceBook, stored: _Stored) -> list[Problem]:
    """References to what neither the book nor the store has."""
    known: dict[str, set[str]] = {name: set(records) for name, records in stored.records.items()}
    for entry in book.entries:
        known[entry.entity].add(entry.external_id)
    problems: list[Problem] = []
    for entry in book.entries:
        named = [(_TARGETS[field], field, name) for field, name in entry.references.items()]
        problems += _find_unknown(uow, entry.place, named, known)
    for price in book.prices:
        named = [("charge", "charge_id", price.charge)]
        if owner := _owner_entity(price):
            named.append((owner, OWNER_OF[price.layer].field, price.owner))
        problems += _find_unknown(uow, price.place, named, known)
    for assignment in book.assignments:
        named = [
            ("account", "account_id", assignment.account),
            ("pricing_template", "pricing_template_id", assignment.template),
        ]
        problems += _find_unknown(uow, assignment.place, named, known)
    return problems


def _find_unknown(
    uow: UnitOfWork,
    place: Place,
    named: list[tuple[str, str, str]],
    known: Mapping[str, Collection[str]],
) -> list[Problem]:
    """Those of the names (entity, field, external id) that are not known."""
    problems: list[Problem] = []
    for target, field, name in named:
        if name not in known[target]:
            message, allowed = describe_unknown(uow, target, name, known[target])
            problems.append(place.problem(f"unknown_{target}", message, field, allowed))
    return problems


def _owner_entity(price: PriceEntry) -> str:
    """The entity of a price's owner; "" where it has none, or one of a room above."""
    return OWNER_OF[price.layer].entity if price.layer in OWNER_OF else ""


def describe_unknown(
    uow: UnitOfWork, target: str, name: str, known: Collection[str]
) -> tuple[str, tuple[str, ...]]:
    """What is said of an unknown name, and all names that would do when they are few."""
    rows = uow.query(
        f'SELECT external_id FROM "{uow.catalogue.entity(target).name}"'
        " ORDER BY external_id LIMIT :most",
        most=_LISTED_AT_MOST + 1,
    )
    names = sorted({*known, *(str(row["external_id"]) for row in rows)})
    message = f"there is no {target.replace('_', ' ')} {name!r}"
    if len(names) <= _LISTED_AT_MOST:
        return message, tuple(names)
    near = get_close_matches(name, names, n=3)
    return (f"{message}; did you mean {' or '.join(near)}?" if near else message), ()


def _find_fixed_fields(uow: UnitOfWork, book: PriceBook, stored: _Stored) -> list[Problem]:
    """Changes to fields that are set when a record is created and never change."""
    problems: list[Problem] = []
    for entry in book.entries:
        record = stored.records[entry.entity].get(entry.external_id)
        if record is None:
            continue
        entity = uow.catalogue.entity(entry.entity)
        values = _values(entry, stored.records)
        for field in entity.fields:
            if (
                field.immutable
                and field.name in values
                and values[field.name] != record[field.name]
            ):
                message = f"of {entry.external_id!r} is stored otherwise and cannot change"
                problems.append(entry.place.problem("immutable_field", message, field.name))
    return problems


def _values(entry: CatalogueEntry, records: Mapping[str, Mapping[str, Record]]) -> Record:
    """An entry's fields, references as stored ids (None where the target is not stored yet)."""
    values = dict(entry.values)
    for field, target in _TARGETS.items():
        if field in entry.references:
            found = records[target].get(entry.references[field])
            values[field] = None if found is None else found["id"]
    return {**dict.fromkeys(_unnamed(entry)), **values}


def _unnamed(entry: CatalogueEntry) -> list[str]:
    """The references an entry could have and has not."""
    return [
        field
        for entity, field in _OPTIONAL
        if entity == entry.entity and field not in entry.references
    ]


def _find_used_prices(uow: UnitOfWork, book: PriceBook, stored: _Stored) -> list[Problem]:
    """Changes to the terms of prices that something was rated with."""
    changes = [(price, twin) for price, twin in _changes(book, stored) if not _terms(price, twin)]
    used = read_used_prices(uow, [twin.id for _, twin in changes])
    said = used_price_problem("", None)
    return [
        price.place.problem(said.code, said.message) for price, twin in changes if twin.id in used
    ]


def _changes(book: PriceBook, stored: _Stored) -> list[Change]:
    """The prices of the book that differ from their stored twin."""
    twins = [(price, stored.twin(price)) for price in book.prices]
    return [
        (price, twin)
        for price, twin in twins
        if twin is not None and not (_terms(price, twin) and price.valid_to == twin.valid_to)
    ]


def _terms(price: PriceEntry, twin: StoredPrice) -> bool:
    """Whether two prices have the same terms."""
    cells = sorted((entry.cell for entry in price.cells), key=lambda cell: cell.key)
    stored = sorted(twin.cells, key=lambda cell: cell.key)
    return (
        price.tiers == twin.tiers
        and cells == stored
        and all(
            value == getattr(twin, name)
            for name, value in _price_terms(price).items()
            if name != "valid_to"
        )
    )


def _find_rivals(book: PriceBook, stored: _Stored) -> list[Problem]:
    """Prices of the book that share a day with a stored price that stays."""
    validities: list[Validity] = []
    replaced: set[int] = set()
    for place, price in enumerate(book.prices):
        twin = stored.twin(price)
        if twin is not None:
            replaced.add(twin.id)
        validities.append(Validity(price.key, price.valid_from, price.valid_to, place))
    validities.extend(
        Validity(key, kept.valid_from, kept.valid_to, -1)
        for key in {price.key for price in book.prices}
        for kept in stored.prices.get(key, [])
        if kept.id not in replaced
    )
    return [
        book.prices[max(earlier.place, later.place)].place.problem(
            "overlapping_validity", describe_overlap(earlier, later), "valid_from"
        )
        for earlier, later in find_overlaps(validities)
        if max(earlier.place, later.place) >= 0
    ]


def _in_order(entries: list[CatalogueEntry]) -> Iterator[list[CatalogueEntry]]:
    """The entries of one entity in parts, those that others of them build on first."""
    waiting = entries
    while waiting:
        names = {entry.external_id for entry in waiting}
        yield [entry for entry in waiting if entry.references.get(_BASE) not in names]
        waiting = [entry for entry in waiting if entry.references.get(_BASE) in names]


def _find_misfits(uow: UnitOfWork, book: PriceBook) -> list[Problem]:
    """Partial prices of the book that fit no price, of the book or stored, they can lie over."""
    partial = [price for price in book.prices if price.partial]
    if not partial:
        return []
    twins = {(price.key, price.valid_from) for price in book.prices}
    stored = read_prices(uow, {price.charge for price in partial}, None)
    kept = [
        price
        for alike in stored.values()
        for price in alike
        if (price.key, price.valid_from) not in twins
    ]
    found = ((price, find_misfit(price, [*book.prices, *kept])) for price in partial)
    return [
        price.place.problem("conflicting_layers", message, "tiers")
        for price, message in found
        if message is not None
    ]


def _save_entries(
    uow: UnitOfWork,
    entries: list[CatalogueEntry],
    entity: str,
    stored: _Stored,
    ids: dict[str, dict[str, int]],
    counts: dict[str, int],
) -> None:
    """Create or change the records of one entity; adds their ids and counts."""
    fresh: list[CatalogueEntry] = []
    rows: list[Record] = []
    changes: list[tuple[int, Record]] = []
    changed: list[CatalogueEntry] = []
    for entry in entries:
        references = {field: ids[_TARGETS[field]][name] for field, name in entry.references.items()}
        values = {**dict.fromkeys(_unnamed(entry)), **entry.values, **references}
        record = stored.records[entity].get(entry.external_id)
        if record is None:
            fresh.append(entry)
            rows.append(values)
            continue
        differing = {name: value for name, value in values.items() if value != record[name]}
        if differing:
            changes.append((ids[entity][entry.external_id], differing))
            changed.append(entry)
    with placed(fresh):
        created = uow.create_many(entity, rows)
    with placed(changed):
        uow.update_many(entity, changes)
    ids[entity].update(
        (entry.external_id, record_id) for entry, record_id in zip(fresh, created, strict=True)
    )
    plural = uow.catalogue.entity(entity).plural
    done = (len(rows), len(changes), len(entries) - len(rows) - len(changes))
    for did, count in zip(_DONE, done, strict=True):
        counts[f"{plural}_{did}"] += count


def _save_prices(
    uow: UnitOfWork,
    book: PriceBook,
    stored: _Stored,
    ids: dict[str, dict[str, int]],
    counts: dict[str, int],
) -> None:
    changes = _changes(book, stored)
    replaced = [(price, twin) for price, twin in changes if not _terms(price, twin)]
    for part in ("price_tier", "price_cell"):
        if replaced:
            uow.execute(
                f"DELETE FROM {part} WHERE price_id = ANY(:prices)",
                prices=[twin.id for _, twin in replaced],
            )
    with placed([price for price, _ in changes]):
        uow.update_many("price", [(twin.id, _price_terms(price)) for price, twin in changes])
    fresh = [price for price in book.prices if stored.twin(price) is None]
    with placed(fresh):
        created = uow.create_many("price", [_price_record(price, ids) for price in fresh])
    written = [*zip(fresh, created, strict=True), *((price, twin.id) for price, twin in replaced)]
    save_tiers_and_cells(uow, written, ids["charge"])
    counts["prices_created"] = len(fresh)
    counts["prices_changed"] = len(changes)
    counts["prices_unchanged"] = len(book.prices) - len(fresh) - len(changes)


def _price_terms(price: PriceEntry) -> Record:
    return {
        "valid_to": price.valid_to,
        "model": price.model,
        "package_size": price.package_size,
        "included_quantity": price.included_quantity,
        "formula": price.formula,
        "condition": price.condition,
        "minimum_amount": price.minimum_amount,
        "maximum_amount": price.maximum_amount,
        "event_amount": price.event_amount,
        "event_amount_minimum": price.event_amount_minimum,
        "event_amount_maximum": price.event_amount_maximum,
        "free_events": price.free_events,
    }


def _price_record(price: PriceEntry, ids: Mapping[str, Mapping[str, int]]) -> Record:
    record: Record = {
        **_price_terms(price),
        "charge_id": ids["charge"][price.charge],
        "layer": price.layer,
        "partial": price.partial,
        "currency": price.currency,
        "valid_from": price.valid_from,
    }
    if price.layer in OWNER_OF:
        owner = OWNER_OF[price.layer]
        record[owner.field] = ids[owner.entity][price.owner] if owner.entity else price.owner
    return record


@contextmanager
def placed(entries: Collection[Placed]) -> Iterator[None]:
    """Tell problems of rows by the places of the entries they were made from."""
    try:
        yield
    except Refused as refused:
        by_position = dict(enumerate(entries, start=1))
        problems = []
        for problem in refused.problems:
            entry = by_position.get(problem.line or (1 if len(by_position) == 1 else 0))
            if entry is None:
                problems.append(problem)
            else:
                problems.append(
                    entry.place.problem(
                        problem.code, problem.message, problem.field, problem.allowed
                    )
                )
        raise Refused(problems, refused.status) from refused
