"""The embedded server survives what happens to processes: they share, stop and get killed."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import psutil
import psycopg
import pytest
from tests.memory import quick_folder

from counterfoil.core.problems import Refused
from counterfoil.platform.records import postgres_programs
from counterfoil.platform.records.postgres import ServerHandle, embedded_server

ROOT = os.geteuid() == 0
NOBODY = 65534
HOLDER = """
import sys
from pathlib import Path
from counterfoil.platform.records.postgres import embedded_server
with embedded_server(Path(sys.argv[1])) as server:
    print(server.url(), flush=True)
    sys.stdin.read()
"""


@dataclass
class Owner:
    """A home folder and the kind of user whose commands work on it."""

    home: Path
    prefix: tuple[str, ...]

    def begin(self, script: str = HOLDER) -> "subprocess.Popen[str]":
        """Begin a command in a process of its own, which may be killed."""
        return subprocess.Popen(
            [*self.prefix, sys.executable, "-c", script, str(self.home)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    @contextmanager
    def holder(self) -> Iterator["subprocess.Popen[str]"]:
        """A process that holds the server until it is told to end."""
        process = self.begin()
        assert process.stdout is not None
        assert process.stdout.readline().startswith("postgresql+psycopg://")
        try:
            yield process
        finally:
            process.kill()
            process.communicate()

    def postmaster(self) -> psutil.Process | None:
        """The running server process of this home."""
        try:
            recorded = (self.home / "postgres/data/postmaster.pid").read_text()
            process = psutil.Process(int(recorded.splitlines()[0]))
        except (FileNotFoundError, psutil.NoSuchProcess, IndexError, ValueError):
            return None
        return process if runs(process) else None


def runs(process: psutil.Process) -> bool:
    try:
        return process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def eventually(condition: Callable[[], object]) -> None:
    give_up = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < give_up, "it did not happen within 30 seconds"


def answer(server: ServerHandle, statement: str) -> object:
    plain = server.url("postgres").replace("+psycopg", "")
    with psycopg.connect(plain, autocommit=True) as connection:
        cursor = connection.execute(statement)
        row = cursor.fetchone() if cursor.description else None
        return row[0] if row else None


@contextmanager
def made_owner(*, ordinary: bool, home: Path | None = None) -> Iterator[Owner]:
    """Without a home, or with a copy of one, which is as good as one that was made here."""
    with quick_folder() as top:
        if ordinary:
            os.chown(top, NOBODY, NOBODY)
        owner = Owner(top / "home", postgres_programs._setpriv(NOBODY, NOBODY) if ordinary else ())
        if home is not None:
            subprocess.run(["cp", "-a", str(home), str(owner.home)], check=True)
        yield owner
        left = owner.postmaster()
        if left is not None:
            left.send_signal(signal.SIGQUIT)
            eventually(lambda: not runs(left))


WHO = ["as this user", *(["as an ordinary user"] if ROOT else [])]


@pytest.fixture(params=WHO)
def newcomer(request: pytest.FixtureRequest) -> Iterator[Owner]:
    """This user and, when this user is root, somebody else; nothing is made yet."""
    with made_owner(ordinary=request.param == "as an ordinary user") as made:
        yield made


@pytest.fixture(scope="module")
def homes() -> Iterator[Callable[[bool], Path]]:
    """Homes in which a server has run, of an ordinary user or not: it took a second to make each
    of them."""
    with ExitStack() as made:

        @cache
        def home(ordinary: bool) -> Path:
            owner = made.enter_context(made_owner(ordinary=ordinary))
            with owner.holder() as holder:
                holder.communicate(timeout=60)
                assert holder.returncode == 0
            return owner.home

        yield home


@pytest.fixture(params=WHO)
def owner(request: pytest.FixtureRequest, homes: Callable[[bool], Path]) -> Iterator[Owner]:
    """A home of this user and, when this user is root, one of somebody else."""
    ordinary = request.param == "as an ordinary user"
    with made_owner(ordinary=ordinary, home=homes(ordinary)) as made:
        yield made


@pytest.fixture
def own(homes: Callable[[bool], Path]) -> Iterator[Owner]:
    """A home of this user."""
    with made_owner(ordinary=False, home=homes(False)) as made:
        yield made


@pytest.fixture
def home(own: Owner) -> Path:
    return own.home


def test_the_last_command_stops_the_server(owner: Owner) -> None:
    with owner.holder() as holder:
        postmaster = owner.postmaster()
        assert postmaster is not None
        assert postmaster.uids().real != 0
        holder.communicate(timeout=60)
        assert holder.returncode == 0
    assert not runs(postmaster)


def test_nobody_else_may_enter_the_data_folder(newcomer: Owner) -> None:
    with newcomer.holder():
        assert newcomer.home.stat().st_mode & 0o077 == 0
        assert (newcomer.home / "postgres").stat().st_mode & 0o077 == 0


def test_a_killed_command_leaves_a_server_that_the_next_command_joins_and_stops(
    owner: Owner,
) -> None:
    with owner.holder() as killed:
        postmaster = owner.postmaster()
        killed.kill()
        killed.wait()
    assert postmaster is not None
    assert runs(postmaster)
    with owner.holder() as holder:
        assert owner.postmaster() == postmaster
        holder.communicate(timeout=60)
    assert not runs(postmaster)


def test_a_killed_server_is_started_again_on_its_data(owner: Owner) -> None:
    with owner.holder() as holder:
        postmaster = owner.postmaster()
        assert postmaster is not None
        postmaster.kill()
        eventually(lambda: not runs(postmaster))
        with owner.holder():
            successor = owner.postmaster()
            assert successor is not None
            assert successor != postmaster
        holder.communicate(timeout=60)
        assert holder.returncode == 0


def test_a_command_killed_while_it_creates_the_data_is_made_good_by_the_next(
    newcomer: Owner,
) -> None:
    killed = newcomer.begin()
    eventually(lambda: list(newcomer.home.glob("postgres/data.new-*/base")))
    killed.kill()
    killed.communicate()
    assert not (newcomer.home / "postgres/data").exists()
    with newcomer.holder():
        assert newcomer.postmaster() is not None


def test_two_commands_share_one_server_until_the_second_ends(owner: Owner) -> None:
    with owner.holder() as first, owner.holder() as second:
        postmaster = owner.postmaster()
        assert postmaster is not None
        first.communicate(timeout=60)
        assert runs(postmaster)
        second.communicate(timeout=60)
        assert not runs(postmaster)


def test_two_commands_that_begin_at_once_make_one_server(newcomer: Owner) -> None:
    both = [newcomer.begin(), newcomer.begin()]
    urls = {process.stdout.readline() for process in both if process.stdout}
    assert len(urls) == 1
    for process in both:
        process.communicate(timeout=60)
        assert process.returncode == 0
    assert newcomer.postmaster() is None


@pytest.mark.skipif(not ROOT, reason="only root can act for somebody else")
def test_root_runs_the_server_as_the_owner_of_existing_data() -> None:
    with made_owner(ordinary=True) as owner:
        check_shared_with_root(owner)


def check_shared_with_root(owner: Owner) -> None:
    with owner.holder() as holder:
        holder.communicate(timeout=60)
    with embedded_server(owner.home) as server:
        assert answer(server, "select 1") == 1
        postmaster = owner.postmaster()
        assert postmaster is not None
        assert postmaster.uids().real == NOBODY
    with owner.holder() as holder:
        holder.communicate(timeout=60)
        assert holder.returncode == 0


def test_committed_rows_outlive_a_killed_server(home: Path, own: Owner) -> None:
    with embedded_server(home) as server:
        answer(server, "create table invoice (total numeric)")
        answer(server, "insert into invoice values (12.34)")
        postmaster = own.postmaster()
        assert postmaster is not None
        postmaster.kill()
        with embedded_server(home) as again:
            assert answer(again, "select total::text from invoice") == "12.34"


def test_the_server_is_durable_silent_on_the_network_and_of_known_size(home: Path) -> None:
    with embedded_server(home) as server:
        shown = {
            name: answer(server, f"show {name}")
            for name in ("fsync", "synchronous_commit", "listen_addresses", "shared_buffers")
        }
        assert answer(server, "select upper('é')") == "É"
    assert shown == {
        "fsync": "on",
        "synchronous_commit": "on",
        "listen_addresses": "",
        "shared_buffers": "256MB",
    }


def test_a_process_id_that_now_belongs_to_a_stranger_does_not_keep_the_server_down(
    home: Path, own: Owner
) -> None:
    with embedded_server(home) as server:
        answer(server, "select 1")
        postmaster = own.postmaster()
        assert postmaster is not None
        record = home / "postgres/data/postmaster.pid"
        lines = record.read_text().splitlines()
        postmaster.kill()
        eventually(lambda: not runs(postmaster))
    as_server = () if not ROOT else ("setpriv", f"--reuid={record.stat().st_uid}", "--clear-groups")
    stranger = subprocess.Popen([*as_server, "cat"], stdin=subprocess.PIPE)
    record.write_text("\n".join([str(stranger.pid), *lines[1:]]) + "\n")
    try:
        with embedded_server(home) as server:
            assert answer(server, "select 1") == 1
    finally:
        stranger.communicate()


def test_a_path_too_long_for_a_socket_gets_a_short_one() -> None:
    with quick_folder() as folder, embedded_server(folder / ("deep/" * 20)) as server:
        assert answer(server, "select 1") == 1


@pytest.mark.parametrize("name", ["with,comma", "with'quote and\"double ümlaut%"])
def test_unusual_folder_names_work(name: str) -> None:
    with quick_folder() as folder, embedded_server(folder / name) as server:
        assert answer(server, "select 1") == 1


def test_closing_twice_is_harmless(home: Path) -> None:
    server = embedded_server(home)
    server.close()
    server.close()


def test_a_forked_child_does_not_stop_the_server_of_its_parent(home: Path) -> None:
    with embedded_server(home) as server:
        child = os.fork()
        if child == 0:
            server.close()
            os._exit(0)
        os.waitpid(child, 0)
        assert answer(server, "select 1") == 1


def test_a_folder_of_programs_without_postgres_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COUNTERFOIL_PG_BIN", str(tmp_path))
    with pytest.raises(Refused, match="COUNTERFOIL_PG_BIN names"):
        embedded_server(tmp_path / "home")


@pytest.mark.skipif(not ROOT, reason="only root needs setpriv")
def test_root_without_setpriv_is_told_what_to_install(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(postgres_programs.shutil, "which", lambda _: None)
    with pytest.raises(Refused, match="setpriv"):
        embedded_server(tmp_path / "home")


def test_a_home_that_is_a_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "home").write_text("not a folder")
    with pytest.raises(Refused, match="cannot be used"):
        embedded_server(tmp_path / "home")


@pytest.mark.skipif(not ROOT, reason="only root can close folders to root's own server")
def test_root_uses_programs_that_nobody_else_may_reach(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    script = f"""
import os, shutil
from pathlib import Path
from tests.memory import quick_folder
from counterfoil.platform.records.postgres import embedded_server
from counterfoil.platform.records.postgres_programs import find_programs
folder = find_programs(None).folder
top = folder.parents[1]
shutil.copytree(top, {str(closed)!r} + "/" + top.name)
if (libraries := top.with_name(top.name + ".libs")).exists():
    shutil.copytree(libraries, {str(closed)!r} + "/" + libraries.name)
for program in Path({str(closed)!r}).rglob("bin/*"):
    program.chmod(0o711)
os.environ["COUNTERFOIL_PG_BIN"] = {str(closed)!r} + f"/{{top.name}}/{{folder.parent.name}}/bin"
with quick_folder() as home, embedded_server(home) as server:
    print(server.url())
"""
    run = subprocess.run(
        [sys.executable, "-c", script], capture_output=True, text=True, check=False
    )
    assert run.stdout.startswith("postgresql+psycopg://"), run.stderr


def test_containers_without_the_weak_capability_use_the_one_they_have(tmp_path: Path) -> None:
    status = tmp_path / "status"
    options = postgres_programs._capability_options
    status.write_text("CapPrm:\t00000000a80425fb\n")
    assert "--ambient-caps=+dac_override" in options(status)
    status.write_text("CapPrm:\t0000000000000006\n")
    assert "--ambient-caps=+dac_read_search" in options(status)
    status.write_text("CapPrm:\t0000000000000000\n")
    assert options(status) == ()
