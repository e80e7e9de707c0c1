"""A real server on a free port, and clients with and without the token."""

import itertools
import threading
from collections.abc import Iterator
from dataclasses import dataclass

import httpx
import pytest
import uvicorn

from counterfoil.bootstrap import Organisation, Settings, scratch_organisation
from counterfoil.interfaces.cli.serve import listening_socket
from counterfoil.interfaces.rest.app import build_app

TOKEN = "correct horse battery staple"


@dataclass(frozen=True)
class Served:
    """A running server: where it is, and the organisation behind it."""

    url: str
    organisation: Organisation

    def client(self, token: str | None = TOKEN) -> httpx.Client:
        """A client of this server; without a token when None."""
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        return httpx.Client(base_url=self.url + "/api/v1", headers=headers, timeout=60)

    def count(self, entity: str) -> int:
        """Records of an entity, counted behind the interface's back."""
        database = self.organisation.database
        with database.transaction(now=self.organisation.clock()) as uow:
            return int(str(uow.query(f"SELECT count(*) AS n FROM {entity}")[0]["n"]))


NUMBERS = itertools.count(1)


@pytest.fixture(scope="module")
def served(server: Settings) -> Iterator[Served]:
    """A server of an organisation that the tests of a module share."""
    with scratch_organisation(server) as organisation, listening_socket("127.0.0.1", 0) as listener:
        config = uvicorn.Config(build_app(organisation, TOKEN), log_level="error")
        running = uvicorn.Server(config)
        thread = threading.Thread(target=running.run, kwargs={"sockets": [listener]})
        thread.start()
        host, port = listener.getsockname()
        yield Served(f"http://{host}:{port}", organisation)
        running.should_exit = True
        thread.join()


@pytest.fixture
def api(served: Served) -> Iterator[httpx.Client]:
    """A client with the token."""
    with served.client() as client:
        yield client


@pytest.fixture
def acme() -> dict[str, object]:
    """The values of an account there is none of yet."""
    return {"external_id": f"ACME-{next(NUMBERS):04}", "name": "Acme"}


@pytest.fixture
def key() -> dict[str, str]:
    """A header with an Idempotency-Key not used before."""
    return {"Idempotency-Key": f"order-{next(NUMBERS)}"}
