"""JSON as records keep it: numbers stay exact in both directions."""

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
