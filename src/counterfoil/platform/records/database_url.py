"""The address of a PostgreSQL database, in the one notation that the driver wants."""

from sqlalchemy import URL, make_url
from sqlalchemy.exc import ArgumentError

from counterfoil.core.problems import Problem, Refused


def read_database_url(url: str, field: str) -> str:
    """The URL for SQLAlchemy with psycopg, whichever PostgreSQL scheme it was given in.

    Raises Refused, naming ``field``, when it is no URL of a PostgreSQL database.
    """
    try:
        parsed = make_url(url)
    except ArgumentError:
        parsed = None
    if parsed is None or parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise Refused(
            Problem(
                "bad_database_url",
                "must be like postgresql://user:password@host:5432/database",
                field,
            )
        )
    return render_url(parsed.set(drivername="postgresql+psycopg"))


def render_url(url: URL) -> str:
    """The URL as text, password included, that SQLAlchemy and PostgreSQL's own library both read.

    In the query SQLAlchemy writes a space as "+", which the library takes for itself.
    """
    address, mark, query = url.render_as_string(hide_password=False).partition("?")
    return address + mark + query.replace("+", "%20")
