"""A real server on a free port with every interface."""

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
import uvicorn

from counterfoil.bootstrap import Organisation, Settings, scratch_organisation
from counterfoil.interfaces.cli.serve import DOORS, listening_socket
from counterfoil.interfaces.rest import build_app
from counterfoil.platform.access.users import make_administrator

TOKEN = "correct horse battery staple"
PASSWORD = "purple monkey dishwasher"


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
