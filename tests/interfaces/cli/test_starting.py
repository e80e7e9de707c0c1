"""A command imports what it needs and no more, and ends at once when it is done."""

import subprocess
import sys
from inspect import cleandoc
from pathlib import Path

import pytest

from counterfoil.bootstrap import Organisation
from counterfoil.interfaces.cli.commands import COMMANDS, Listed

WEB_SERVER = {"fastapi", "starlette", "uvicorn"}
NEEDED_BY_FEW = WEB_SERVER | {"alembic", "joserfc", "openpyxl"}


def python(program: str) -> subprocess.CompletedProcess[str]:
    """The program, run in a fresh process."""
    return subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=False
    )


@pytest.mark.parametrize("listed", COMMANDS, ids=lambda listed: listed.name)
def test_a_command_is_listed_with_the_words_of_its_own_help(listed: Listed) -> None:
    command = listed.load()
    first_paragraph = cleandoc(command.help).split("\n\n")[0]
    assert (listed.name, listed.help) == (command.name, " ".join(first_paragraph.split()))


def test_every_module_that_declares_a_group_is_listed() -> None:
    folder = Path(sys.modules[Listed.__module__].__file__ or "").parent
    declaring = {
        path.stem for path in folder.glob("*.py") if "\napp = typer.Typer(" in path.read_text()
    }
    assert declaring - {"main"} == {
        place for place, _, name in (one.place.partition(":") for one in COMMANDS) if name == "app"
    }


def test_only_serve_imports_the_web_server() -> None:
    done = python(
        "import sys\n"
        "from counterfoil.interfaces.cli.commands import COMMANDS\n"
        "loaded = [one.load() for one in COMMANDS if one.name != 'serve']\n"
        "print(len(loaded), *sys.modules)"
    )
    loaded, *modules = done.stdout.split()
    assert int(loaded) == len(COMMANDS) - 1
    assert WEB_SERVER & set(modules) == set()


def test_a_command_on_an_organisation_leaves_out_what_few_need(
    organisation: Organisation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERFOIL_HOME", str(organisation.home))
    monkeypatch.setenv("COUNTERFOIL_DATABASE_URL", organisation.database.url)
    done = python(
        "import sys\n"
        "from counterfoil.interfaces.cli.main import app\n"
        "app(['bills', 'run', '2026-01-01', '--json'], standalone_mode=False)\n"
        "print(*sys.modules)"
    )
    assert '"invoices": 0' in done.stdout
    assert NEEDED_BY_FEW & set(done.stdout.split()) == set()


def test_a_command_that_is_not_asked_for_is_not_imported() -> None:
    done = python(
        "import sys\n"
        "from counterfoil.interfaces.cli.main import command_line\n"
        "sys.argv = ['counterfoil', '--help']\n"
        "try:\n"
        "    command_line()\n"
        "finally:\n"
        "    print(*sys.modules)"
    )
    assert "Rate past cycles with the present prices" in done.stdout
    assert "counterfoil.bootstrap" not in done.stdout.split()


@pytest.mark.parametrize(("arguments", "status"), [(["--help"], 0), (["statsu"], 2)])
def test_all_is_written_and_the_status_told_before_a_process_ends(
    arguments: list[str], status: int
) -> None:
    done = python(
        "import sys\n"
        "from counterfoil.interfaces.cli.main import main\n"
        f"sys.argv = ['counterfoil', *{arguments!r}]\n"
        "sys.stdout.write('x' * 100_000)\n"
        "main()"
    )
    assert done.returncode == status
    assert done.stdout.startswith("x" * 100_000)
    assert ("Did you mean 'status'?" in done.stderr) == (status == 2)


def test_a_statement_under_way_in_the_background_does_not_abort_the_process() -> None:
    done = python(
        "import threading\n"
        "from counterfoil.interfaces.cli import main\n"
        "from counterfoil.interfaces.worker import background\n"
        "from counterfoil.platform.engine.duck import open_engine\n"
        "background.LONGEST_STEP = 0.1\n"
        "begun = threading.Event()\n"
        "def step():\n"
        "    with open_engine() as engine:\n"
        "        begun.set()\n"
        "        engine.rows('SELECT max(a.range + b.range) FROM range(1<<20) a, range(1<<20) b')\n"
        "def serve():\n"
        "    with background.in_background([background.Task('bill run', step)]):\n"
        "        begun.wait()\n"
        "    print('Stopped.')\n"
        "    raise SystemExit(0)\n"
        "main.app = serve\n"
        "main.main()"
    )
    assert (done.returncode, done.stdout) == (0, "Stopped.\n")
    assert done.stderr == "bill run is still under way; it ends with the process\n"
