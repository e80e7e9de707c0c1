"""What goes in and out of each operation: data, from which the descriptions are made and by which
messages are checked."""

from collections.abc import Mapping, Sequence

from lxml import etree

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.soap.envelope import Element

MOST_PROBLEMS = 100
"""Of one element at most."""

Part = tuple[str, str, str]
"""An element of a message: name, type, and how often (``1``, ``?``, ``*``, ``+``)."""

MESSAGES: Mapping[str, tuple[Sequence[Part], Sequence[Part]]] = {
    "login": (
        [
            ("username", "xsd:string", "1"),
            ("password", "xsd:string", "1"),
            ("code", "xsd:string", "?"),
        ],
        [("sessionId", "xsd:string", "1"), ("expiresAt", "xsd:dateTime", "1")],
    ),
    "logout": ([], []),
    "describe": (
        [("entity", "xsd:string", "?")],
        [("entity", "tns:EntityDescription", "*")],
    ),
    "query": (
        [
            ("entity", "xsd:string", "1"),
            ("filter", "tns:Filter", "*"),
            ("sort", "xsd:string", "*"),
            ("limit", "xsd:int", "?"),
            ("cursor", "xsd:string", "?"),
        ],
        [("record", "tns:Record", "*"), ("nextCursor", "xsd:string", "?")],
    ),
    "retrieve": (
        [("entity", "xsd:string", "1"), ("id", "xsd:long", "+")],
        [("record", "tns:Record", "*")],
    ),
    "create": ([("record", "tns:Record", "+")], [("id", "xsd:long", "*")]),
    "update": ([("record", "tns:Record", "+")], [("id", "xsd:long", "*")]),
    "upsert": (
        [("key", "xsd:string", "1"), ("record", "tns:Record", "+")],
        [("result", "tns:Result", "*")],
    ),
    "delete": (
        [("entity", "xsd:string", "1"), ("id", "xsd:long", "+")],
        [("id", "xsd:long", "*")],
    ),
}
"""What goes in and out of each operation."""

SHARED: Mapping[str, Sequence[Part]] = {
    "Filter": [
        ("field", "xsd:string", "1"),
        ("operator", "tns:Operator", "?"),
        ("value", "xsd:string", "*"),
    ],
    "Result": [("id", "xsd:long", "1"), ("action", "xsd:string", "1")],
    "EntityDescription": [
        ("name", "xsd:string", "1"),
        ("plural", "xsd:string", "1"),
        ("label", "xsd:string", "1"),
        ("help", "xsd:string", "1"),
        ("createdByCommand", "xsd:boolean", "1"),
        ("field", "tns:FieldDescription", "*"),
    ],
    "FieldDescription": [
        *((name, "xsd:string", "1") for name in ("name", "type", "label", "help")),
        *(
            (name, "xsd:boolean", "1")
            for name in ("required", "unique", "immutable", "computed", "secret")
        ),
        ("target", "xsd:string", "?"),
        ("choice", "xsd:string", "*"),
    ],
    "Problem": [
        ("code", "xsd:string", "1"),
        ("message", "xsd:string", "1"),
        ("field", "xsd:string", "?"),
        ("line", "xsd:int", "?"),
        ("allowed", "xsd:string", "*"),
    ],
}
"""Types that both flavours have."""

RECORD: Sequence[Part] = (
    ("entity", "xsd:string", "1"),
    ("id", "xsd:long", "?"),
    ("field", "tns:FieldValue", "*"),
)
"""A record of the generic flavour."""

FIELD_VALUE: Sequence[Part] = (("name", "xsd:string", "1"), ("value", "xsd:string", "1"))
"""One field of it."""


def refuse_other_parts(element: Element, parts: Sequence[Part], line: int | None = None) -> None:
    """Refuse (400) children that are none of the parts, or that stand there twice: what is
    misspelt would be left aside."""
    often = {name: how for name, _, how in parts}
    seen: set[str] = set()
    problems: list[Problem] = []
    for child in element:
        name = etree.QName(child).localname
        if name not in often:
            message = f"is no part of {etree.QName(element).localname}"
            allowed = tuple(often)
            problems.append(Problem("malformed_message", message, name[:60], allowed, line=line))
        elif name in seen and often[name] in ("1", "?"):
            problems.append(Problem("malformed_message", "is there twice", name, line=line))
        seen.add(name)
        if len(problems) >= MOST_PROBLEMS:
            break
    if problems:
        raise Refused(problems, status=400)
