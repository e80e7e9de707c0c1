"""A PostgreSQL server of our own in a data folder, shared by every process that needs it.

Each process that uses the server holds a shared lock on a file; the last one to leave stops the
server. The operating system drops the lock of a process that dies, so that a killed process
leaves nothing behind but a running server, which the next process finds and uses. Starting and
stopping happen under a second, exclusive lock. The server listens on a Unix socket only, in a
folder that nobody else may enter, and asks for no password.
"""

import fcntl
import hashlib
import logging
import os
import shutil
import subprocess
import tempfile
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil
import psycopg
from sqlalchemy import URL

from counterfoil.platform.records.database_url import render_url
from counterfoil.platform.records.postgres_programs import Programs, find_programs, unavailable

_ROLE = "counterfoil"
_PORT = 5432
_LONGEST_SOCKET_PATH = 100
_START_SECONDS = 120
_LOG_BYTES = 8 * 1024 * 1024
_SETTINGS = {
    "listen_addresses": "",
    "port": str(_PORT),
    "unix_socket_permissions": "0700",
    "max_connections": "100",
    "shared_buffers": "256MB",
    "max_wal_size": "2GB",
    "fsync": "on",
    "synchronous_commit": "on",
    "jit": "off",
    "timezone": "UTC",
    "log_timezone": "UTC",
}
_log = logging.getLogger(__name__)


def embedded_server(home: Path) -> "ServerHandle":
    """Start the server of ``home`` or join the running one; its data lies in ``home/postgres``.

    The first start takes about a second, a later one 0.2 s. Use the handle as a context manager,
    or close it. Raises Refused (status 503) saying what is missing or what the server answered.
    """
    folder = _prepared_folder(home)
    programs = find_programs(folder.stat().st_uid)
    cluster = _Cluster(folder, programs)
    with _Lock(folder / "startup.lock"):
        presence = _Lock(folder / "users.lock", fcntl.LOCK_SH)
        try:
            cluster.ensure_running()
        except BaseException:
            presence.close()
            raise
    return ServerHandle(cluster, presence)


class ServerHandle:
    """This process's use of a running server; closing it stops a server that nobody else uses."""

    def __init__(self, cluster: "_Cluster", presence: "_Lock") -> None:
        self._cluster = cluster
        self._presence = presence
        self._process_id = os.getpid()

    def url(self, database: str = "counterfoil") -> str:
        """The SQLAlchemy URL of a database on this server; the database may not exist yet."""
        return self._cluster.url(database)

    def close(self) -> None:
        """Leave; harmless when repeated, and in a forked child, whose parent still uses it."""
        if os.getpid() != self._process_id or self._presence.closed:
            return
        with _Lock(self._cluster.folder / "startup.lock"):
            self._presence.close()
            try:
                alone = _Lock(self._cluster.folder / "users.lock", fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                return
            with alone:
                self._cluster.stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Lock:
    """An advisory lock on a file, held until closed or until the process dies."""

    def __init__(self, path: Path, mode: int = fcntl.LOCK_EX) -> None:
        self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            if os.geteuid() == 0:
                # Root may have come first to a folder that belongs to an ordinary user.
                owner = path.parent.stat()
                os.fchown(self._descriptor, owner.st_uid, owner.st_gid)
            fcntl.flock(self._descriptor, mode)
        except BaseException:
            os.close(self._descriptor)
            raise
        self.closed = False

    def close(self) -> None:
        if not self.closed:
            self.closed = True
            # Unlocked by name: a forked child still holds a copy of the descriptor.
            fcntl.flock(self._descriptor, fcntl.LOCK_UN)
            os.close(self._descriptor)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


class _Cluster:
    """One data folder and the server process that may run on it.

    Everything but ``url`` must be called under the startup lock.
    """

    def __init__(self, folder: Path, programs: Programs) -> None:
        self.folder = folder
        self.data = folder / "data"
        self._log_file = folder / "server.log"
        self._programs = programs
        self._socket_folder = _socket_folder(folder)
        self._child: subprocess.Popen[bytes] | None = None

    def url(self, database: str) -> str:
        url = URL.create(
            "postgresql+psycopg",
            username=_ROLE,
            database=database,
            query={"host": str(self._socket_folder), "port": str(_PORT)},
        )
        return render_url(url)

    def ensure_running(self) -> None:
        if not self.data.exists():
            self._create_data()
        child: subprocess.Popen[bytes] | None = None
        give_up = time.monotonic() + _START_SECONDS
        while (refusal := self._connection_refusal()) is not None:
            if time.monotonic() > give_up:
                raise self._not_started(f"it runs, but answers: {refusal}")
            if child is not None and child.poll() is not None:
                # Backends of a killed server need a moment to notice that it is gone.
                if "is still in use" not in self._log_tail(3):
                    raise self._not_started(f"it ended with status {child.returncode}")
                child = None
            if child is None and self._postmaster() is None:
                child = self._start()
            time.sleep(0.02)
        if child is not None:
            self._child = child

    def stop(self) -> None:
        if self._postmaster() is None:
            return
        answer = self._programs.run(
            "pg_ctl", "stop", "-D", self.data.name, "-m", "fast", "-w", cwd=self.folder
        )
        if self._child is not None:
            self._child.poll()
        if answer.returncode != 0 and self._postmaster() is not None:
            _log.warning("PostgreSQL in %s did not stop: %s", self.data, answer.stdout.strip())
        elif self._socket_folder != self.folder:
            shutil.rmtree(self._socket_folder, ignore_errors=True)

    def _create_data(self) -> None:
        """Make the data beside its place and rename it, so that it is complete or absent."""
        fresh = Path(tempfile.mkdtemp(prefix="data.new-", dir=self.folder))
        _give_to(fresh, self._programs)
        locale = ["--locale=C", "--encoding=UTF8"]
        if self._programs.major_version(self.folder) >= 17:
            locale += ["--locale-provider=builtin", "--builtin-locale=C.UTF-8"]
        answer = self._programs.run(
            "initdb",
            f"--pgdata={fresh.name}",
            f"--username={_ROLE}",
            "--auth-local=trust",
            "--auth-host=reject",
            *locale,
            cwd=self.folder,
        )
        if answer.returncode != 0:
            raise unavailable(
                "postgres_not_started", f"initdb failed in {fresh}:\n{answer.stdout.strip()}"
            )
        fresh.rename(self.data)

    def _start(self) -> "subprocess.Popen[bytes]":
        """Begin the server process in a session of its own, out of reach of the terminal's keys."""
        self._forget_stranger()
        for leftover in self.folder.glob("data.new-*"):
            # An initdb whose parent was killed may still be writing there.
            shutil.rmtree(leftover, ignore_errors=True)
        _prepare_socket_folder(self._socket_folder, self._programs)
        if self._log_file.exists() and self._log_file.stat().st_size > _LOG_BYTES:
            self._log_file.replace(self._log_file.with_suffix(".log.1"))
        quoted = '"' + str(self._socket_folder).replace('"', '""') + '"'
        settings = {**_SETTINGS, "unix_socket_directories": quoted}
        with self._log_file.open("ab") as log:
            _give_to(self._log_file, self._programs)
            return self._programs.begin(
                "postgres",
                *("-D", self.data.name),
                *(f"--{name}={value}" for name, value in settings.items()),
                cwd=self.folder,
                log=log,
            )

    def _connection_refusal(self) -> str | None:
        """Why a connection fails just now; None when it succeeds."""
        try:
            psycopg.connect(
                host=str(self._socket_folder), port=_PORT, user=_ROLE, dbname="postgres"
            ).close()
        except psycopg.OperationalError as error:
            return str(error).strip()
        return None

    def _postmaster(self) -> psutil.Process | None:
        """The server process on this data, by its process id *and* its time of start."""
        recorded = self._recorded_postmaster()
        if recorded is None:
            return None
        process_id, started = recorded
        try:
            process = psutil.Process(process_id)
            ours = process.status() != psutil.STATUS_ZOMBIE and (
                process.name() == "postgres" and abs(process.create_time() - started) < 10
            )
        except psutil.NoSuchProcess:
            return None
        return process if ours else None

    def _recorded_postmaster(self) -> tuple[int, int] | None:
        """Process id and time of start (seconds since 1970) out of ``postmaster.pid``."""
        try:
            lines = (self.data / "postmaster.pid").read_text().splitlines()
            return int(lines[0]), int(lines[2])
        except (FileNotFoundError, IndexError, ValueError):
            return None

    def _forget_stranger(self) -> None:
        """Remove the records of a dead server whose process id now belongs to somebody else.

        PostgreSQL would take the stranger, or the dead process that nobody has waited for, for a
        running server and refuse to start. Should there be a server on this data after all, its
        shared memory still keeps a second one from starting.
        """
        recorded = self._recorded_postmaster()
        if recorded is not None and psutil.pid_exists(recorded[0]) and self._postmaster() is None:
            (self.data / "postmaster.pid").unlink(missing_ok=True)
            (self._socket_folder / f".s.PGSQL.{_PORT}.lock").unlink(missing_ok=True)

    def _log_tail(self, lines: int) -> str:
        try:
            return "\n".join(self._log_file.read_text(errors="replace").splitlines()[-lines:])
        except FileNotFoundError:
            return ""

    def _not_started(self, reason: str) -> Exception:
        return unavailable(
            "postgres_not_started",
            f"PostgreSQL on {self.data} did not start: {reason}\n"
            f"the end of {self._log_file}:\n{self._log_tail(12)}",
        )


def _prepared_folder(home: Path) -> Path:
    """``home/postgres``, made when absent, closed to others and owned by who runs the server."""
    home = Path(os.path.abspath(home))  # noqa: PTH100 - a link to another disk stays a link
    folder = home / "postgres"
    try:
        home.mkdir(mode=0o700, parents=True, exist_ok=True)
        with suppress(FileExistsError):
            folder.mkdir(mode=0o700)
        owner = folder.stat().st_uid
        if os.geteuid() == 0:
            if owner == 0:
                _give_to(folder, find_programs(None))
        elif owner != os.geteuid():
            raise unavailable(
                "foreign_data_folder",
                f"{folder} belongs to user id {owner}: run as that user or as root, "
                "or name another folder in COUNTERFOIL_HOME",
            )
    except OSError as error:
        raise unavailable("home_not_usable", f"{home} cannot be used: {error}") from error
    return folder


def _give_to(path: Path, programs: Programs) -> None:
    if os.geteuid() == 0:
        os.chown(path, programs.uid, programs.gid)


def _socket_folder(folder: Path) -> Path:
    """Where the socket lies: with the data, or in a short place when that path will not do.

    The system limits its length, and clients read a comma as the end of a host's name.
    """
    socket = folder / f".s.PGSQL.{_PORT}"
    if len(os.fsencode(socket)) <= _LONGEST_SOCKET_PATH and "," not in str(socket):
        return folder
    digest = hashlib.sha256(os.fsencode(folder)).hexdigest()[:16]
    return Path("/tmp") / f"counterfoil-{digest}"  # noqa: S108 - its owner is verified before use


def _prepare_socket_folder(folder: Path, programs: Programs) -> None:
    try:
        folder.mkdir(mode=0o700)
        _give_to(folder, programs)
    except FileExistsError:
        found = folder.lstat()
        if found.st_uid != programs.uid or found.st_mode & 0o077 or folder.is_symlink():
            raise unavailable(
                "foreign_socket_folder",
                f"{folder} was made by somebody else, or others may enter it: remove it",
            ) from None
