"""JSON as records keep it, and as other programs get it: numbers stay exact in both directions.

Records keep decimals as JSON numbers. Other programs, many of which read those as floats, get
them as text (:func:`plain`).
"""

from collections.abc import Mapping
from dataclasses import fields, is_dataclass
from decimal import Decimal

import msgspec

_ENCODER = msgspec.json.Encoder(decimal_format="number")
_DECODER = msgspec.json.Decoder(float_hook=Decimal)


def encode_json(value: object) -> str:
    """Compact JSON; decimals are written as exact numbers, dates and instants as ISO text."""
    return _ENCODER.encode(value).decode()


def decode_json(text: str | bytes) -> object:
    """Plain values; a number with a point or an exponent becomes a Decimal, never a float."""
    return _DECODER.decode(text)


def plain(value: object) -> object:
    """The value with every decimal inside as plain text, ready for the JSON encoder."""
    if isinstance(value, Decimal):
        return plain_decimal(value)
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value)}
    if isinstance(value, Mapping):
        return {key: plain(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [plain(part) for part in value]
    return value


def plain_decimal(number: Decimal) -> str:
    """``Decimal('0.2200')`` as ``"0.22"``, ``Decimal('1E+2')`` as ``"100"``, zero as ``"0"``."""
    text = format(number, "f")
    if "." in text:
        text = text.rstrip("0").rstrip(".")
    return "0" if text in {"-0", ""} else text
