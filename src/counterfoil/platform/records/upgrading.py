"""Migrations carried out by Alembic, which only a new or an old database needs."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.util import CommandError
from sqlalchemy import Connection

from counterfoil.core.problems import Problem, Refused


def upgrade(connection: Connection, migrations: Path) -> None:
    """Bring the database to the newest schema, in the connection's transaction.

    Refused: 409 when the database was made by a newer program.
    """
    config = Config()
    config.set_main_option("script_location", str(migrations).replace("%", "%%"))
    config.attributes["connection"] = connection
    try:
        command.upgrade(config, "head")
    except CommandError as error:
        message = f"the database was made by a newer version of this program: {error}"
        raise Refused(Problem("newer_schema", message), status=409) from error
