"""JSON in and out without loss: numbers are read as exact decimals and written as text.

Instants are RFC 3339 in UTC (``2026-02-01T00:00:00Z``), dates ISO 8601, decimals strings in plain
notation without trailing zeros (``"0.22"``).
"""

import re
from collections.abc import Mapping
from decimal import Decimal

import msgspec

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.exchange import Answer
from counterfoil.platform.records.exact_json import plain

MOST_DIGITS = 100
"""No number that means anything here is longer; ``1e999999999`` would fill the memory."""

BYTE_OFFSET = re.compile(r"^(?P<reason>.*) \(byte (?P<offset>\d+)\)$", re.DOTALL)


def exact_number(text: str) -> Decimal:
    """A JSON number with a fraction or exponent as the decimal it says, never as a float."""
    number = Decimal(text)
    if abs(number.adjusted()) > MOST_DIGITS or len(text) > MOST_DIGITS:
        raise ValueError(f"the number {text[:20]}… has more than {MOST_DIGITS} digits")
    return number


DECODER = msgspec.json.Decoder(float_hook=exact_number)


def decode_json(body: bytes) -> object:
    """The value of a JSON text; refuses (400) a malformed one, naming line and column."""
    if not body.strip():
        raise Refused(Problem("empty_body", "a JSON body is expected, none was sent"), status=400)
    try:
        return DECODER.decode(body)
    except UnicodeDecodeError as error:
        offset, reason = error.start, "is not UTF-8"
    except RecursionError:
        offset, reason = 0, "is nested too deeply"
    except ValueError as error:
        found = BYTE_OFFSET.match(str(error))
        offset = int(found["offset"]) if found else len(body)
        reason = found["reason"] if found else str(error)
    line = body.count(b"\n", 0, offset) + 1
    column = offset - body.rfind(b"\n", 0, offset)
    message = f"malformed JSON at line {line}, column {column}: {reason}"
    raise Refused(Problem("malformed_json", message, line=line), status=400)


def json_answer(
    value: object, status: int = 200, headers: Mapping[str, str] | None = None
) -> Answer:
    """An answer with that value as JSON."""
    return Answer(status, msgspec.json.encode(plain(value)), headers=dict(headers or {}))
