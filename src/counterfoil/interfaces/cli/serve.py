"""``counterfoil serve``: the interfaces over HTTP, on the loopback interface by default."""

import errno
import ipaddress
import os
import socket
from collections.abc import Sequence
from functools import partial
from typing import Annotated

import typer
import uvicorn
from rich.console import Console

from counterfoil.bootstrap import (
    USAGE_WATCHERS,
    Organisation,
    Settings,
    open_courier,
    open_organisation,
)
from counterfoil.business.automation.delivering import Courier, prune_events
from counterfoil.business.usage.compaction import compact_if_due
from counterfoil.business.usage.repeats import look_for_repeats
from counterfoil.business.usage.watching import UsageWatcher, watch_usage
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.acceptance.door import DOOR as ACCEPTANCE
from counterfoil.interfaces.brm.door import DOOR as BRM
from counterfoil.interfaces.http.authentication import load_admin_token
from counterfoil.interfaces.http.doors import Door
from counterfoil.interfaces.http.rate_limit import (
    OPEN_TO_OTHERS,
    VARIABLE,
    RateLimit,
    read_rate_limit,
)
from counterfoil.interfaces.rest.app import build_app
from counterfoil.interfaces.rest.exchange import API
from counterfoil.interfaces.soap.door import DOOR as SOAP
from counterfoil.interfaces.worker.background import Paced, Task, in_background
from counterfoil.interfaces.worker.jobs import working
from counterfoil.platform.access.openid import IdentityProvider
from counterfoil.platform.access.passwords import password_problems
from counterfoil.platform.access.tokens import AdminToken
from counterfoil.platform.access.users import ADMINISTRATOR, make_administrator
from counterfoil.platform.records.sealing import seal_history

DOORS: tuple[Door, ...] = (SOAP, BRM, ACCEPTANCE)
"""The interfaces beside REST."""

GRACE_SECONDS = 20
"""How long requests under way may take to finish when the server is asked to stop."""

DELIVERY_THREADS = 3
"""Attempts under way at the same time, each to another receiver; each holds a connection."""

console = Console(highlight=False, soft_wrap=True)


def serve(
    port: Annotated[int, typer.Option(min=0, max=65535, help="0 takes any free port.")] = 8000,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    new_token: Annotated[
        bool, typer.Option("--new-token", help="Make a new token; the old one ends.")
    ] = False,
) -> None:
    """Answer requests over HTTP until interrupted: REST, SOAP and the BillingPlatform dialect."""
    settings = Settings.from_environment(os.environ)
    try:
        with listening_socket(host, port) as listener, open_organisation(settings) as organisation:
            token, fresh = load_admin_token(settings.home, settings.admin_token, renew=new_token)
            announce(listener, fresh, first_password(organisation, settings))
            with (
                open_courier(organisation, settings) as courier,
                in_background(background_tasks(organisation, courier)),
            ):
                provider = IdentityProvider(settings.openid) if settings.openid else None
                answer_requests(organisation, token, listener, provider)
    except KeyboardInterrupt:
        console.print("Stopped.")


def background_tasks(
    organisation: Organisation,
    courier: Courier,
    watchers: Sequence[UsageWatcher] = USAGE_WATCHERS,
) -> list[Task]:
    """What a server does besides answering: watch and compact usage, deliver events and forget
    old ones, run jobs, seal the history."""
    database = organisation.database.acting(actor="system", source="job", request_id="")
    store = organisation.usage_store

    def watch(watcher: UsageWatcher) -> bool:
        return watch_usage(database, store, watcher, now=organisation.clock()) > 0

    def prune() -> bool:
        prune_events(database, organisation.clock())
        return False

    def seal() -> bool:
        with database.transaction(now=organisation.clock()) as uow:
            seal_history(uow)
        return False

    compaction = Paced(lambda: compact_if_due(database, store, now=organisation.clock()))
    repeats = Paced(lambda: look_for_repeats(database, store, now=organisation.clock()))

    return [
        Task("compaction of usage", compaction.step, interval=5.0),
        Task("repeats in usage", repeats.step),
        *(Task(f"usage watcher {one.name}", partial(watch, one)) for one in watchers),
        Task("delivery of events", courier.step, threads=DELIVERY_THREADS),
        *working(organisation),
        Task("pruning of events", prune, interval=3600.0),
        Task("sealing of the history", Paced(seal).step, interval=5.0),
    ]


def answer_requests(
    organisation: Organisation,
    token: AdminToken,
    listener: socket.socket,
    provider: IdentityProvider | None = None,
) -> None:
    """Serve until a signal; requests under way are finished first."""
    limit = rate_limit(os.environ.get(VARIABLE), listener.getsockname()[0])
    config = uvicorn.Config(
        build_app(organisation, token, DOORS, provider, limit),
        log_level="warning",
        server_header=False,
        timeout_graceful_shutdown=GRACE_SECONDS,
    )
    uvicorn.Server(config).run(sockets=[listener])


def rate_limit(given: str | None, host: str) -> RateLimit | None:
    """How often a caller may ask: as given; else without limit where only this machine asks."""
    if given:
        return read_rate_limit(given)
    return None if ipaddress.ip_address(host).is_loopback else OPEN_TO_OTHERS


def listening_socket(host: str, port: int) -> socket.socket:
    """A socket bound to the address; refuses one that is taken or not of this machine."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    # With the protocol named, asyncio sends small packets at once (TCP_NODELAY); 40 ms less.
    listener = socket.socket(family, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((host, port))
        listener.listen(1024)
    except OSError as error:
        listener.close()
        message = f"cannot listen on {host} port {port}: {error.strerror or error}"
        if error.errno == errno.EADDRINUSE:
            message += "; is another server running there? --port takes another, 0 any free one"
        raise Refused(Problem("cannot_listen", message, "--host, --port")) from None
    return listener


def first_password(organisation: Organisation, settings: Settings) -> str | None:
    """The password of the user ``admin`` when it was made just now and has to be shown once."""
    given = settings.admin_password
    with organisation.database.transaction(now=organisation.clock()) as uow:
        is_first = uow.find("access_user", external_id=ADMINISTRATOR) is None
        made = make_administrator(uow, given)
    if is_first and given is not None and password_problems(given, ADMINISTRATOR):
        console.print(
            "[bold red]WARNING[/]: COUNTERFOIL_ADMIN_PASSWORD is easy to guess; make another with: "
            "counterfoil users password admin"
        )
    return made


def announce(
    listener: socket.socket, fresh_token: str | None, fresh_password: str | None = None
) -> None:
    """Say where the server answers, how to ask it, and what secrets were made just now."""
    host, port = listener.getsockname()[:2]
    url = f"http://{f'[{host}]' if ':' in host else host}:{port}"
    if not ipaddress.ip_address(host).is_loopback:
        console.print(
            f"[bold red]WARNING[/]: listening on {host}, reachable by other machines, without "
            "TLS. Put a TLS proxy in front, or leave --host at 127.0.0.1."
        )
    if fresh_token is not None:
        console.print("The administrator's token, shown this once and stored only as a hash:")
        console.print(f"  [bold]{fresh_token}[/]")
        console.print("Keep it in COUNTERFOIL_ADMIN_TOKEN, where the example below expects it.")
    if fresh_password is not None:
        console.print("The first password of the user [bold]admin[/], shown this once:")
        console.print(f"  [bold]{fresh_password}[/]")
    console.print(f"Counterfoil answers on {url} (OpenAPI: {url}{API}/openapi.json). Try:")
    header = '-H "Authorization: Bearer $COUNTERFOIL_ADMIN_TOKEN"'
    console.print(f"  curl {header} {url}{API}/accounts", markup=False)
    console.print(f"SOAP: {url}/soap?wsdl. Scripts for BillingPlatform: {url}/rest/2.0")
    console.print("Ctrl-C stops it.")
