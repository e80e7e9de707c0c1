"""The words in which it is declared how entities of BillingPlatform stand on ours: frozen values.

What is declared is in ``entities``; every entity of ours is there by its own name as well.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field


@dataclass(frozen=True, slots=True)
class Theirs:
    """A field by their name.

    ``source`` is a field of ours, or ``join.field`` for one of a joined record (which is read, and
    on a write has to agree). ``values`` are their words for a choice of ours. ``nothing`` is their
    word for no value. ``target`` names the entity of theirs a reference leads to, where ours does
    not tell.
    """

    name: str
    source: str
    values: Mapping[str, str] = field(default_factory=dict)
    nothing: str = ""
    target: str = ""


@dataclass(frozen=True, slots=True)
class Joined:
    """A record that is read along: of ``entity``, whose ``key`` has the value of ``source``.

    ``source`` is a field of ours, or ``join.field`` of an earlier join.
    """

    name: str
    entity: str
    key: str
    source: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """An entity of theirs over one of ours.

    ``fixed`` are values that its records have (and no others are shown); ``constant`` are fields
    that always have the same value there and take no other; ``ignored`` are fields that are taken
    and not kept, for we have nothing that they could mean; ``asked`` are fields that only a new
    record takes. ``defaults`` give a field of ours that
    was not named the value of another one. ``own`` says that our fields are there as well. What is
    ``derived`` only shows records of ours that are written under another name.
    """

    name: str
    entity: str
    fields: tuple[Theirs, ...] = ()
    joins: tuple[Joined, ...] = ()
    fixed: Mapping[str, str] = field(default_factory=dict)
    constant: Mapping[str, str] = field(default_factory=dict)
    ignored: tuple[str, ...] = ()
    asked: tuple[str, ...] = ()
    defaults: Mapping[str, str] = field(default_factory=dict)
    own: bool = True
    derived: bool = False
