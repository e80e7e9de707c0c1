"""Records in the dialect's words, written: create, change, delete; every record told on its own.

A request is first tried as a whole. Where it is refused, the records at fault are told apart and
the others are written; so one wrong record costs no other, and a right request is one write.
"""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

from sqlglot import exp

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.brm.reading import Query
from counterfoil.interfaces.brm.translating import translate
from counterfoil.interfaces.brm.values import taken, written
from counterfoil.interfaces.brm.words import Dialect, Word, Wording, dialect_of, plain_name
from counterfoil.interfaces.http.writable import refuse_made_by_command
from counterfoil.platform.metadata import Record
from counterfoil.platform.metadata.validation import read_value
from counterfoil.platform.records.unit_of_work import UnitOfWork

Row = Mapping[str, object]
"""A record as a caller has sent it."""

LONGEST_NUMBER = 18

HEADER = frozenset({"id", "created", "updated", "createduserid", "updateduserid", "fieldstonull"})
"""Names in a record that are not for its caller to write."""


@dataclass(frozen=True, slots=True)
class Change:
    """A record as it came, and what of it is ours to write."""

    row: Row
    values: Record


def read_rows(
    wording: Wording, rows: Sequence[Row], *, new: bool, asked: bool = False
) -> list[Change]:
    """The rows in our words; refuses all with a problem of each that is wrong, by its line.

    ``asked`` says that what only a new record takes may stand in them.
    """
    changes: list[Change] = []
    problems: list[Problem] = []
    for line, row in enumerate(rows, start=1):
        try:
            changes.append(_read_row(wording, row, new=new, asked=asked or new))
        except Refused as refused:
            # Of a record one problem is told.
            problems.append(replace(refused.problems[0], line=line))
    if problems:
        raise Refused(problems)
    return changes


def _read_row(wording: Wording, sent: Row, *, new: bool, asked: bool) -> Change:
    row, values, meant = _with_nulls(wording, sent), Record(), dict[str, tuple[str, object]]()
    for name, value in row.items():
        _refuse_otherwise(wording, name, value, meant)
        _read_one(wording, name, value, values, new=new, asked=asked)
    return Change(row, values)


def _with_nulls(wording: Wording, row: Row) -> Row:
    """The row with the fields that ``fieldsToNull`` names as empty ones."""
    key = next((name for name in row if name.lower() == "fieldstonull"), None)
    if key is None:
        return row
    names = row[key] or []
    if not isinstance(names, list) or not all(isinstance(one, str) for one in names):
        raise Refused(Problem("wrong_type", "has to be a list of names of fields", key))
    for name in names:
        word = wording.demand(name)
        if word.constant is not None:
            message = f"is always {word.constant} here"
            raise Refused(Problem("unknown_choice", message, word.name, (word.constant,)))
    return {**{name: value for name, value in row.items() if name != key}, **dict.fromkeys(names)}


def _refuse_otherwise(
    wording: Wording, name: str, value: object, meant: dict[str, tuple[str, object]]
) -> None:
    """Refuse a field that stands in the row under two names with two values."""
    word = wording.word(name)
    if word is None or word.constant is not None:
        return
    key = word.field.name if word.is_own else f"{word.join}.{word.field.name}"
    clean = taken(word, value)
    other, before = meant.setdefault(key, (name, clean))
    if written(before) != written(clean):
        message = f"says something else than {other}, which is the same field"
        raise Refused(Problem("double_field", message, name[:100]))


def _read_one(
    wording: Wording, name: str, value: object, values: Record, *, new: bool, asked: bool
) -> None:
    if plain_name(name) in HEADER:
        return
    word = wording.word(name)
    if word is None:
        mapped = wording.mapped
        ignored = {plain_name(one) for one in (*mapped.ignored, *(mapped.asked if asked else ()))}
        if plain_name(name) not in ignored and value not in (None, "", " "):
            wording.demand(name)
    elif word.constant is not None:
        if written(value).strip() and written(value).lower() != word.constant.lower():
            message = f"is always {word.constant} here"
            raise Refused(Problem("unknown_choice", message, word.name, (word.constant,)))
    elif word.is_own and (new or not word.field.computed):
        clean = taken(word, value)
        if clean is not None or not new:
            values[word.field.name] = clean


def create_records(uow: UnitOfWork, wording: Wording, changes: Sequence[Change]) -> list[int]:
    """New records; their ids."""
    mapped = wording.mapped
    refuse_made_by_command(wording.entity, shown=wording.name)
    refuse_derived(wording)
    rows: list[Record] = []
    for change in changes:
        row = {**mapped.fixed, **_initial(wording), **change.values}
        for name, source in mapped.defaults.items():
            if row.get(name) is None:
                row[name] = row.get(source)
        rows.append(row)
    _point(uow, wording, changes, rows)
    return uow.create_many(wording.entity.name, rows)


def update_records(
    uow: UnitOfWork, wording: Wording, changes: Sequence[Change], ids: Sequence[int]
) -> None:
    """Change records. What never changes may be sent as it is."""
    kept: list[tuple[int, Record]] = []
    fixed = {one.name for one in wording.entity.fields if one.immutable}
    if wording.entity.created_by_command:
        fixed = {one.name for one in wording.entity.fields if not one.name.startswith("x_")}
        problems = disagreements(uow, wording, changes, ids, lambda word: word.field.name in fixed)
        written_to = [one.line for one in problems if one.code != "unknown_record"]
        if written_to:
            _refuse_made_by_command(wording, written_to)
    for record_id, change in zip(ids, changes, strict=True):
        kept.append((record_id, {n: v for n, v in change.values.items() if n not in fixed}))
    changed = [(record_id, values) for record_id, values in kept if values]
    uow.update_many(wording.entity.name, changed, expected_versions=_versions(changes, ids))


def _refuse_made_by_command(wording: Wording, lines: Sequence[int | None]) -> None:
    try:
        refuse_made_by_command(wording.entity, shown=wording.name)
    except Refused as refused:
        first = refused.problems[0]
        raise Refused([replace(first, line=line) for line in lines], refused.status) from None


def _versions(changes: Sequence[Change], ids: Sequence[int]) -> dict[int, int]:
    """Of which version the records have to be, where the caller has sent it."""
    versions: dict[int, int] = {}
    for record_id, change in zip(ids, changes, strict=True):
        sent = (value for name, value in change.row.items() if plain_name(name) == "rowversion")
        text = written(next(sent, None)).strip()
        if text.isascii() and text.isdigit() and len(text) <= LONGEST_NUMBER:
            versions[record_id] = int(text)
    return versions


def refuse_derived(wording: Wording) -> None:
    """Refuse to write through what only shows records of another entity."""
    if wording.mapped.derived:
        message = f"{wording.name} only shows what stands elsewhere; nothing is written there"
        raise Refused(Problem("only_shown", message), status=405)


def demand_shown(uow: UnitOfWork, wording: Wording, ids: Sequence[int]) -> None:
    """Refuse (404) records of ours that the entity does not show."""
    if not wording.mapped.fixed:
        return
    shown = {row[0] for row in _read_back(uow, wording, ["Id"], ids)}
    missing = [
        Problem("unknown_record", f"there is no {wording.name} {one}", "Id", line=line)
        for line, one in enumerate(ids, start=1)
        if one not in shown
    ]
    if missing:
        raise Refused(missing, status=404)


def _initial(wording: Wording) -> Record:
    """A name of its own for a record of which others know no name."""
    named = wording.entity.field("external_id")
    if named is None or not named.required:
        return {}
    return {"external_id": f"brm-{secrets.token_hex(8)}"}


def _point(
    uow: UnitOfWork, wording: Wording, changes: Sequence[Change], rows: Sequence[Record]
) -> None:
    """References that ours keeps by another key than the id: the key of the record meant."""
    for word in wording.listed():
        join = wording.joins.get(word.join)
        if join is None or word.field.name != "id" or join.key == "id" or "." in join.source:
            continue
        asked = [_sent(change.row, word) for change in changes]
        ids = sorted({one for one in asked if isinstance(one, int)})
        known = keys_of(uow, join.entity, join.key, ids)
        for row, record_id in zip(rows, asked, strict=True):
            if isinstance(record_id, int):
                row[join.source] = known.get(record_id)


def keys_of(uow: UnitOfWork, entity: str, key: str, ids: Sequence[int]) -> dict[int, object]:
    """Id to the value of another field, of the records that are there."""
    if not ids:
        return {}
    names = ("id", key)
    tree = exp.Select(expressions=[exp.column(exp.to_identifier(n, quoted=True)) for n in names])
    tree.set("from_", exp.From(this=exp.Table(this=exp.to_identifier(entity))))
    numbers = [exp.Literal.number(one) for one in ids]
    condition = exp.In(this=exp.column(exp.to_identifier("id", quoted=True)), expressions=numbers)
    tree.set("where", exp.Where(this=condition))
    return {int(str(found)): value for found, value in uow.select(tree).rows}


def _sent(row: Row, word: Word) -> object:
    for name, value in row.items():
        if plain_name(name) in (plain_name(word.name), word.name.lower()):
            return taken(word, value)
    return None


def disagreements(
    uow: UnitOfWork,
    wording: Wording,
    changes: Sequence[Change],
    ids: Sequence[int],
    of: Callable[[Word], bool],
    *,
    new: bool = False,
) -> list[Problem]:
    """Values that were sent for fields ``of`` a kind, and differ from what stands there.

    Of a new record an empty value says nothing.
    """
    sent: list[dict[str, tuple[Word, object]]] = []
    for change in changes:
        stated = {name: wording.word(name) for name in change.row if plain_name(name) not in HEADER}
        sent.append(
            {
                word.name: (word, value)
                for name, word in stated.items()
                if word is not None
                and word.constant is None
                and of(word)
                and ((value := taken(word, change.row[name])) is not None or not new)
            }
        )
    words = {name: word for one in sent for name, (word, _) in one.items()}
    if not words:
        return []
    names = ["Id", *words]
    found = {
        int(str(row[0])): dict(zip(names, row, strict=True))
        for row in _read_back(uow, wording, names, ids)
    }
    problems: list[Problem] = []
    for line, (record_id, one) in enumerate(zip(ids, sent, strict=True), start=1):
        if one and record_id not in found:
            message = f"there is no {wording.name} {record_id}"
            problems.append(Problem("unknown_record", message, "Id", line=line))
            continue
        for name, (word, value) in one.items():
            kept = found[record_id][name]
            if not _agrees(word, value, kept):
                problems.append(_differs(word, kept, line))
    return problems


def _differs(word: Word, kept: object, line: int) -> Problem:
    if word.field.name == "row_version":
        message = f"has changed meanwhile: its version is {written(kept)}"
        return Problem("version_conflict", message, word.name, line=line)
    message = f"is {written(kept) or 'nothing'} there and cannot be set here"
    return Problem("not_kept_here", message, word.name, line=line)


def _agrees(word: Word, value: object, kept: object) -> bool:
    if word.values:
        value = next((theirs for theirs, ours in word.values.items() if ours == value), value)
    if value is None and word.nothing:
        value = word.nothing
    if written(value) == written(kept):
        return True
    try:
        return bool(read_value(word.field, value) == kept)
    except ValueError:
        return False


def _read_back(
    uow: UnitOfWork, wording: Wording, names: Sequence[str], ids: Sequence[int]
) -> list[tuple[object, ...]]:
    tree = exp.Select(expressions=[exp.column(exp.to_identifier(n, quoted=True)) for n in names])
    tree.set("from_", exp.From(this=exp.Table(this=exp.to_identifier(wording.name))))
    numbers = [exp.Literal.number(one) for one in ids]
    condition = exp.In(this=exp.column("Id"), expressions=numbers)
    tree.set("where", exp.Where(this=condition))
    dialect: Dialect = dialect_of(uow.catalogue)
    made = translate(Query(tree, tuple(names)), dialect, uow.now)
    return uow.select(made.statement).rows


def told_in_words(wording: Wording, refused: Refused) -> Refused:
    """The refusal with the dialect's names of the fields."""
    names: dict[str, str] = {}
    for word in wording.listed():
        if word.is_own:
            names.setdefault(word.field.name, word.name)
    problems = [
        replace(
            one,
            field=", ".join(names.get(part.strip(), part.strip()) for part in one.field.split(",")),
            allowed=tuple(names.get(word, word) for word in one.allowed),
        )
        for one in refused.problems
    ]
    return Refused(problems, refused.status)
