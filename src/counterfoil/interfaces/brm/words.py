"""What a caller may name: the entities and fields of the dialect over the catalogue he sees.

Pure; made anew for each catalogue. What he may not read is not in his catalogue, hence not here.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from dataclasses import field as declared
from functools import lru_cache

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.brm.entities import ENTITIES
from counterfoil.interfaces.brm.mapping import Joined, Mapped, Theirs
from counterfoil.platform.metadata import Catalogue, Entity, Field

NOT_FOUND = 404

_HEADER = {"id": "Id", "created_at": "Created", "updated_at": "Updated"}


@dataclass(frozen=True, slots=True)
class Word:
    """A field by its name in the dialect: where its value is, or the value it always has."""

    name: str
    field: Field
    join: str = ""
    values: Mapping[str, str] = declared(default_factory=dict)
    nothing: str = ""
    constant: str | None = None
    target: str = ""
    is_twin: bool = False
    """Whether it is our name of a field that has one of theirs: understood, and not told."""

    @property
    def is_own(self) -> bool:
        """Whether the value stands in the record itself."""
        return not self.join and self.constant is None

    def is_same(self, other: "Word | None") -> bool:
        """Whether another word means the same value."""
        return (
            other is not None
            and self.is_own
            and other.is_own
            and self.field.name == other.field.name
        )


@dataclass(frozen=True, slots=True)
class Wording:
    """An entity by its name in the dialect."""

    name: str
    entity: Entity
    mapped: Mapped
    joins: Mapping[str, Joined]
    words: Mapping[str, Word]

    def word(self, name: str) -> Word | None:
        """The field of that name, whatever its case and underscores."""
        return self.words.get(name.lower()) or self.words.get(plain_name(name))

    def leading(self, name: str) -> Word | None:
        """The reference that an object name such as ``AccountObj`` follows."""
        if not name.lower().endswith("obj"):
            return None
        start = name[:-3]
        found = self.word(start + "Id") or self.word(start)
        return found if found is not None and found.target else None

    def demand(self, name: str) -> Word:
        """The field of that name; refuses others."""
        found = self.word(name)
        if found is None:
            message = f"{self.name} has no such field"
            allowed = tuple(word.name for word in self.listed())
            raise Refused(Problem("unknown_field", message, name[:100], allowed), status=400)
        return found

    def listed(self) -> Iterator[Word]:
        """Every field once."""
        seen: set[str] = set()
        for word in self.words.values():
            if word.name not in seen and not word.is_twin:
                seen.add(word.name)
                yield word


class Dialect:
    """The entities a caller may name, over the catalogue he sees."""

    def __init__(self, catalogue: Catalogue) -> None:
        self._catalogue = catalogue
        self._mapped: dict[str, Mapped] = {}
        self._by_entity: dict[str, str] = {}
        for one in ENTITIES:
            if one.entity in catalogue.entities and self._shows(one):
                self._mapped[plain_name(one.name)] = one
                self._by_entity.setdefault(one.entity, one.name)
        for name in catalogue.entities:
            self._add_own(name)
        self._made: dict[str, Wording] = {}

    def _shows(self, mapped: Mapped) -> bool:
        """Whether what tells its records from others can be read."""
        entity = self._catalogue.entities[mapped.entity]
        return all(entity.field(name) is not None for name in mapped.fixed)

    def _add_own(self, name: str) -> None:
        """Our entity by its own name; with CF_ where a word of theirs means something else."""
        hidden = self._mapped.get(plain_name(name))
        if hidden is not None and hidden.entity == name:
            return
        shown = name.upper() if hidden is None else f"CF_{name.upper()}"
        self._mapped[plain_name(shown)] = Mapped(name=shown, entity=name)
        self._by_entity.setdefault(name, shown)

    @property
    def names(self) -> tuple[str, ...]:
        """Every entity's name."""
        return tuple(one.name for one in self._mapped.values())

    def entity(self, name: str, missing: int = NOT_FOUND) -> Wording:
        """The entity of that name, whatever its case; refuses others, with status ``missing``."""
        mapped = self._mapped.get(plain_name(name))
        if mapped is None:
            message = f"there is no entity {name[:100]!r}"
            raise Refused(Problem("unknown_entity", message, allowed=self.names), missing)
        if mapped.name not in self._made:
            self._made[mapped.name] = self._word(mapped)
        return self._made[mapped.name]

    def _word(self, mapped: Mapped) -> Wording:
        entity = self._catalogue.entities[mapped.entity]
        joins: dict[str, Joined] = {}
        for join in mapped.joins:
            if join.entity in self._catalogue.entities and self._field(mapped, join.source, joins):
                joins[join.name] = join
        words = [Word("Id", entity.readable[0])]
        for theirs in mapped.fields:
            found = self._field(mapped, theirs.source, joins)
            if found is not None:
                words.append(self._their_word(theirs, found))
        words += [
            Word(name, Field(name=name), constant=value) for name, value in mapped.constant.items()
        ]
        if mapped.own:
            told = {word.field.name for word in words if word.is_own}
            words += [self._own_word(one, is_twin=one.name in told) for one in entity.readable]
        return Wording(mapped.name, entity, mapped, joins, _named(words))

    def _field(self, mapped: Mapped, source: str, joins: Mapping[str, Joined]) -> Field | None:
        """The field a source means, as far as it can be read."""
        join, _, name = source.rpartition(".")
        if not join:
            entity = self._catalogue.entities[mapped.entity]
        elif join in joins:
            entity = self._catalogue.entities[joins[join].entity]
        else:
            return None
        return next((one for one in entity.readable if one.name == name), None)

    def _their_word(self, theirs: Theirs, found: Field) -> Word:
        return Word(
            theirs.name,
            found,
            theirs.source.rpartition(".")[0],
            theirs.values,
            theirs.nothing,
            target=theirs.target or self._by_entity.get(found.target, ""),
        )

    def _own_word(self, one: Field, *, is_twin: bool) -> Word:
        target = self._by_entity.get(one.target, "")
        return Word(shown_name(one.name), one, target=target, is_twin=is_twin)


@lru_cache(maxsize=64)
def dialect_of(catalogue: Catalogue) -> Dialect:
    """The dialect over a catalogue; kept for the catalogues used last."""
    return Dialect(catalogue)


def plain_name(name: str) -> str:
    """A name without case and underscores: how names are compared."""
    return name.replace("_", "").lower()


def shown_name(name: str) -> str:
    """A field of ours in their spelling: ``invoice_date`` as InvoiceDate, ``x_region`` as it is."""
    if name.startswith("x_"):
        return name
    return _HEADER.get(name) or "".join(part.capitalize() for part in name.split("_"))


def _named(words: list[Word]) -> dict[str, Word]:
    named: dict[str, Word] = {}
    for word in words:
        if word.name.lower() not in named:
            named[word.name.lower()] = word
    for word in words:
        for spelling in (plain_name(word.name), word.field.name if word.is_own else ""):
            if spelling:
                named.setdefault(spelling, word)
    return named
