"""How numbers and dates are written in the reader's language: exact, from Decimal to text."""

from dataclasses import dataclass
from datetime import date, timedelta
from decimal import Decimal
from functools import lru_cache

from babel import Locale, UnknownLocaleError
from babel.dates import format_date, format_interval

MINUS = "−"


@dataclass(frozen=True, slots=True)
class Notation:
    """The number signs of one locale. ``grouping`` is (last group, groups before it)."""

    locale: Locale
    group_sign: str
    decimal_sign: str
    grouping: tuple[int, int]

    def amount(self, value: Decimal, places: int) -> str:
        """An amount with at least ``places`` decimals; further digits are shown, never cut."""
        return self._signed(value, places)

    def quantity(self, value: Decimal) -> str:
        """A quantity in full, without trailing zeros."""
        return self._signed(value, 0)

    def day(self, day: date) -> str:
        """A date with the month in words, so that no reader takes day for month."""
        return _day(day, self.locale)

    def period(self, start: date, end: date) -> str:
        """A half-open period as its first and last day; an empty one or one day as that day."""
        last = end - timedelta(days=1)
        return self.day(start) if last <= start else _interval(start, last, self.locale)

    def country(self, code: str) -> str:
        """The country's name in this language; the code itself when it is unknown."""
        return str(self.locale.territories.get(code.upper(), code))

    def _signed(self, value: Decimal, places: int) -> str:
        whole, _, fraction = f"{value.copy_abs():f}".partition(".")
        fraction = fraction.rstrip("0").ljust(places, "0")
        text = self._grouped(whole.lstrip("0") or "0")
        if fraction:
            text += self.decimal_sign + fraction
        return MINUS + text if value < 0 else text

    def _grouped(self, digits: str) -> str:
        last, before = self.grouping
        if len(digits) <= last:
            return digits
        head, parts = digits[:-last], [digits[-last:]]
        while head:
            parts.append(head[-before:])
            head = head[:-before]
        return self.group_sign.join(reversed(parts))


@lru_cache(maxsize=64)
def notation_of(language: str) -> Notation:
    """The notation of a language tag (``en``, ``de-CH``); English when CLDR does not know it."""
    try:
        locale = Locale.parse(language.replace("-", "_"))
    except (ValueError, UnknownLocaleError):
        locale = Locale.parse("en")
    signs = locale.number_symbols["latn"]
    last, before = locale.decimal_formats[None].grouping
    return Notation(locale, signs["group"], signs["decimal"], (last, before))


@lru_cache(maxsize=4096)
def _day(day: date, locale: Locale) -> str:
    if locale.language == "de":  # CLDR's medium form is 01.06.2026: digits only
        return format_date(day, "d. MMM y", locale=locale)
    return format_date(day, "medium", locale=locale)


@lru_cache(maxsize=4096)
def _interval(first: date, last: date, locale: Locale) -> str:
    return format_interval(first, last, "yMMMd", locale=locale)
