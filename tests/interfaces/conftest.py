"""A real server on a free port with every interface."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

import httpx
import pytest
import uvicorn

from counterfoil.bootstrap import Organisation, Settings, scratch_organisation
from counterfoil.interfaces.cli.serve import DOORS, listening_socket
from counterfoil.interfaces.rest.app import build_app
from counterfoil.platform.access.users import create_user, make_administrator

TOKEN = "correct horse battery staple"
PASSWORD = "purple monkey dishwasher"
PASSWORD_OF_OTHERS = "battery staple horse correct"


@dataclass(frozen=True)
class Place:
    """Where a server with every interface answers, and the organisation behind it."""

    url: str
    organisation: Organisation
    token: str = TOKEN
    password: str = PASSWORD

    def client(self, **headers: str) -> httpx.Client:
        """A client without credentials but the given headers."""
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def count(self, entity: str) -> int:
        """Records of an entity, counted behind the interfaces' backs."""
        database = self.organisation.database
        with database.transaction(now=self.organisation.clock()) as uow:
            return int(str(uow.query(f"SELECT count(*) AS n FROM {entity}")[0]["n"]))


@pytest.fixture(scope="module")
def place(server: Settings) -> Iterator[Place]:
    """A server of an organisation that the tests of a module share."""
    with scratch_organisation(server) as organisation, listening_socket("127.0.0.1", 0) as listener:
        with organisation.database.transaction(now=organisation.clock()) as uow:
            make_administrator(uow, PASSWORD)
        app = build_app(organisation, TOKEN, DOORS)
        running = uvicorn.Server(uvicorn.Config(app, log_level="error"))
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        host, port = listener.getsockname()
        yield Place(f"http://{host}:{port}", organisation)
        running.should_exit = True
        thread.join()


def make_user(
    place: Place,
    name: str,
    grants: Mapping[str, Sequence[str]],
    *,
    unreadable: Mapping[str, Sequence[str]] | None = None,
    rows: Mapping[str, object] | None = None,
    commands: Sequence[str] = (),
) -> None:
    """A user with one role: operations by entity, restrictions by entity, commands."""
    organisation = place.organisation
    with organisation.database.transaction(now=organisation.clock()) as uow:
        known = {"external_id": name, "commands": list(commands) or None}
        role = uow.create("access_role", known)["id"]
        for entity, operations in grants.items():
            grant = {"access_role_id": role, "entity": entity}
            grant["row_filter"] = (rows or {}).get(entity)
            uow.create("access_grant", {**grant, **{f"may_{one}": True for one in operations}})
        for entity, fields in (unreadable or {}).items():
            rules = [
                {"access_role_id": role, "entity": entity, "field": field, "denies": "read"}
                for field in fields
            ]
            uow.create_many("field_rule", rules)
        create_user(uow, name, password=PASSWORD_OF_OTHERS, roles=[name])
