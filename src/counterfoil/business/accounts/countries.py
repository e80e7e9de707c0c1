"""The countries of ISO 3166-1."""

from functools import cache

import pycountry

from counterfoil.core.problems import Problem


@cache
def country_codes() -> tuple[str, ...]:
    """All alpha-2 codes, sorted."""
    return tuple(sorted(country.alpha_2 for country in pycountry.countries))


def unknown_country(code: object, line: int | None) -> Problem:
    """What is said of a code that is no country."""
    message = f"{code!r} is not an ISO 3166-1 alpha-2 country code"
    return Problem("unknown_country", message, "country", country_codes(), line=line)
