"""Collectors as records: saved with a checked declaration, found by their external id."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import cast

import yaml

from counterfoil.business.usage.declaration import Declaration, parse_declaration
from counterfoil.business.usage.presets import BUILT_IN
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.unit_of_work import UnitOfWork

_OWN_KEYS = ("id", "name")


@dataclass(frozen=True, slots=True)
class Collector:
    """A saved collector with its checked declaration."""

    id: int
    external_id: str
    declaration: Declaration


def check_collectors(
    _uow: UnitOfWork, rows: list[Record], _old_rows: list[Record | None]
) -> list[Problem]:
    """The room's rule for the entity ``collector``: its definition must be a whole declaration."""
    return [
        replace(
            problem,
            field=f"definition.{problem.field}".rstrip("."),
            line=index if len(rows) > 1 else None,
        )
        for index, row in enumerate(rows, start=1)
        for problem in parse_declaration(row["definition"])[1]
    ]


def load_collector(uow: UnitOfWork, external_id: str) -> Collector:
    """The collector of that external id; built-in ones are saved when first asked for.

    Refuses (404) an unknown one, naming those there are.
    """
    record = uow.find("collector", external_id=external_id)
    if record is None and external_id in BUILT_IN:
        record = _save_built_in(uow, external_id)
    if record is None:
        rows = uow.query("SELECT external_id FROM collector ORDER BY 1 LIMIT 50")
        known = {*BUILT_IN, *(str(row["external_id"]) for row in rows)}
        message = f"there is no collector {external_id!r}"
        problem = Problem("unknown_collector", message, "collector", tuple(sorted(known)))
        raise Refused(problem, status=404)
    return collector_of(record)


def collector_of(record: Record) -> Collector:
    """A collector's record with its declaration; refuses (422) one that is not valid (any more)."""
    declaration, problems = parse_declaration(record["definition"])
    if problems:
        raise Refused(problems)
    return Collector(cast("int", record["id"]), str(record["external_id"]), declaration)


def _save_built_in(uow: UnitOfWork, external_id: str) -> Record:
    uow.query("SELECT pg_advisory_xact_lock(hashtextextended('built-in collectors', 0))")
    found = uow.find("collector", external_id=external_id)
    if found is not None:
        return found
    name, definition = BUILT_IN[external_id]
    values: Record = {"external_id": external_id, "name": name, "definition": dict(definition)}
    return uow.create("collector", values)


def save_collectors(uow: UnitOfWork, text: str, file: str = "") -> list[str]:
    """Create or change the collectors of a YAML or JSON document; their external ids.

    The document is one collector (``id``, ``name`` and the keys of a declaration) or a list of
    them under ``collectors``. Refuses (422) all problems at once, with the line each stands on.
    """
    documents, lines = _read_document(text, file)
    records: list[Record] = []
    problems: list[Problem] = []
    for path, document in documents:
        definition = {key: value for key, value in document.items() if key not in _OWN_KEYS}
        found = list(parse_declaration(definition)[1])
        if not isinstance(document.get("id"), str) or not document["id"]:
            found.append(Problem("missing_field", "a collector needs an id", "id"))
        for problem in found:
            place = f"{path}.{problem.field}".strip(".")
            line = _nearest_line(lines, place)
            problems.append(replace(problem, field=place, file=file, line=line))
        name = str(document.get("name") or document.get("id"))
        records.append({"external_id": document.get("id"), "name": name, "definition": definition})
    if problems:
        raise Refused(problems)
    known = uow.ids_by("collector", "external_id", [row["external_id"] for row in records])
    new = [row for row in records if row["external_id"] not in known]
    changed = [
        (known[row["external_id"]], {"name": row["name"], "definition": row["definition"]})
        for row in records
        if row["external_id"] in known
    ]
    uow.create_many("collector", new)
    uow.update_many("collector", cast("Sequence[tuple[int, Record]]", changed))
    return [str(row["external_id"]) for row in records]


def _read_document(
    text: str, file: str
) -> tuple[list[tuple[str, dict[str, object]]], dict[str, int]]:
    """The collectors with their paths in the document, and the line of every path."""
    try:
        document = yaml.safe_load(text)
        lines = _lines(yaml.compose(text, Loader=yaml.SafeLoader), "")
    except yaml.YAMLError as fault:
        mark = getattr(fault, "problem_mark", None)
        message = str(getattr(fault, "problem", None) or fault)
        line = mark.line + 1 if mark is not None else None
        raise Refused(Problem("malformed_document", message, file=file, line=line)) from fault
    listed = document.get("collectors") if isinstance(document, dict) else None
    if isinstance(listed, list) and all(isinstance(item, dict) for item in listed):
        return [(f"collectors.{index}", item) for index, item in enumerate(listed)], lines
    if isinstance(document, dict) and listed is None:
        return [("", document)], lines
    message = "must be a collector or a list of them under collectors"
    raise Refused(Problem("wrong_type", message, file=file, line=1))


def _lines(node: yaml.Node | None, path: str) -> dict[str, int]:
    if node is None:
        return {}
    found = {path: node.start_mark.line + 1}
    children: list[tuple[str, yaml.Node]] = []
    if isinstance(node, yaml.MappingNode):
        children = [(str(key.value), value) for key, value in node.value]
        starts = {str(key.value): key.start_mark.line + 1 for key, _ in node.value}
    elif isinstance(node, yaml.SequenceNode):
        children = [(str(index), value) for index, value in enumerate(node.value)]
        starts = {}
    for name, child in children:
        place = f"{path}.{name}".strip(".")
        found |= _lines(child, place)
        found[place] = starts.get(name, found[place])
    return found


def _nearest_line(lines: Mapping[str, int], path: str) -> int | None:
    """The line of the path, or of the nearest part of it that stands in the document."""
    while path and path not in lines:
        path = path.rpartition(".")[0]
    return lines.get(path)
