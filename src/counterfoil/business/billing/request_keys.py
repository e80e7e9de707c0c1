"""What was asked for under a request key: asked again alike, the first answer stands."""

from collections.abc import Iterator, Mapping, Sequence
from typing import cast

from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.metadata import Record
from counterfoil.platform.records.exact_json import decode_json, encode_json, plain
from counterfoil.platform.records.unit_of_work import UnitOfWork


def kept_of_request(key: str | None, **asked: object) -> Record:
    """What a record keeps of the request that made it: its key, and beside one what it said."""
    if key is None:
        return {"request_key": None, "asked_for": None}
    said = {name: plain(value) for name, value in asked.items() if value is not None}
    # As it is read again, so that dates and lists compare with what is stored.
    return {"request_key": key, "asked_for": decode_json(encode_json(said))}


def find_made(uow: UnitOfWork, entity: str, kept: Record) -> Record | None:
    """The record that an earlier request with the key made.

    Refuses (409) a key under which something else was asked for, with each thing that differs.
    """
    key = kept["request_key"]
    earlier = None if key is None else uow.find(entity, request_key=key)
    if earlier is None:
        return None
    problems = [
        Problem("request_key_reused", f"{key!r} was used already, {difference}", "request_key")
        for difference in _differences(
            cast("Record", earlier["asked_for"] or {}), cast("Record", kept["asked_for"])
        )
    ]
    if problems:
        raise Refused(problems, 409)
    return earlier


def _differences(before: Mapping[str, object], now: Mapping[str, object]) -> Iterator[str]:
    for name in sorted({*now, *before}):
        then, asked = before.get(name), now.get(name)
        noun = name.replace("_", " ")
        if then == asked:
            continue
        if isinstance(then, Sequence | Mapping) and not isinstance(then, str):
            yield f"for other {noun}"
        elif isinstance(asked, Sequence | Mapping) and not isinstance(asked, str):
            yield f"for no {noun}"
        else:
            yield f"for {_told(noun, then)}: now it asks for {_told(noun, asked)}"


def _told(noun: str, value: object) -> str:
    return f"no {noun}" if value is None else f"{noun} {value}"
