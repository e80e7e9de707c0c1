"""The command line, as somebody types it in a folder that is kept with an organisation."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager

import pytest
from click.testing import Result
from typer.testing import CliRunner

from counterfoil.bootstrap import Organisation
from counterfoil.interfaces.cli.main import app

Run = Callable[..., Result]


@contextmanager
def at_the_desk_of(organisation: Organisation) -> Iterator[Run]:
    """Runs commands on the organisation, in the folder ``desk`` of its home."""
    desk = organisation.home / "desk"
    desk.mkdir(exist_ok=True)
    with pytest.MonkeyPatch.context() as patch:
        patch.chdir(desk)
        patch.setenv("COUNTERFOIL_HOME", str(organisation.home))
        patch.setenv("COUNTERFOIL_DATABASE_URL", organisation.database.url)
        yield lambda *arguments: CliRunner().invoke(app, list(arguments))


def run_all(run: Run, *commands: tuple[str, ...]) -> None:
    for command in commands:
        answer = run(*command)
        assert answer.exit_code == 0, answer.output
