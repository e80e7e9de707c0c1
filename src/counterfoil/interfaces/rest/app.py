"""The REST application: routes, the way of a request through them, and every error as a problem.

FastAPI carries the routes, but each is a plain function on values: which fields there are, what
they may hold and how they are described follows from the catalogue, not from function signatures.
"""

import logging
from collections.abc import AsyncIterator, Callable, Coroutine, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from functools import lru_cache, partial
from hashlib import sha256
from http import HTTPStatus
from time import monotonic

import msgspec
from anyio import CapacityLimiter, to_thread
from fastapi import FastAPI
from starlette.exceptions import HTTPException
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import Response
from starlette.routing import BaseRoute, Route

from counterfoil.bootstrap import Organisation
from counterfoil.business.usage.gathering import Gatherer
from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.http.asgi import read_call, read_upload, remove_upload, response_of
from counterfoil.interfaces.http.doors import (
    FAULT,
    LIMIT_OF_STRANGERS,
    THREADS_OF_STRANGERS,
    Door,
    Doors,
    too_deep,
)
from counterfoil.interfaces.http.exchange import SECONDS_OF_A_QUERY
from counterfoil.interfaces.http.gate import CallerGate
from counterfoil.interfaces.http.notation import json_answer
from counterfoil.interfaces.http.problem_answers import problem_answer, refusal_answer
from counterfoil.interfaces.http.rate_limit import Buckets, RateGate, RateLimit
from counterfoil.interfaces.rest import (
    access,
    amendments,
    approvals,
    bills,
    bulk,
    corrections,
    credit_notes,
    deliveries,
    describing,
    drafts,
    files,
    history,
    incentives,
    jobs,
    leads,
    model,
    one_off,
    openid,
    orders,
    price_books,
    queries,
    quotes,
    receivables,
    records,
    reratings,
    simulations,
    subscriptions,
    transfers,
    usage,
)
from counterfoil.interfaces.rest.exchange import (
    API,
    MEGABYTE,
    Answer,
    Call,
    Desk,
    Endpoint,
    Handler,
)
from counterfoil.interfaces.rest.idempotency import in_transaction, reading
from counterfoil.interfaces.rest.openapi import describe_api
from counterfoil.interfaces.rest.permitting import permitted
from counterfoil.platform.access.callers import Entrance
from counterfoil.platform.access.openid import IdentityProvider
from counterfoil.platform.access.tokens import AdminToken
from counterfoil.platform.metadata import Access, Catalogue
from counterfoil.platform.records.unit_of_work import UnitOfWork

ENDPOINTS: tuple[Endpoint, ...] = (
    *price_books.ENDPOINTS,
    *incentives.ENDPOINTS,
    *subscriptions.ENDPOINTS,
    *amendments.ENDPOINTS,
    *usage.ENDPOINTS,
    *bills.ENDPOINTS,
    *credit_notes.ENDPOINTS,
    *drafts.ENDPOINTS,
    *one_off.ENDPOINTS,
    *receivables.ENDPOINTS,
    *orders.ENDPOINTS,
    *leads.ENDPOINTS,
    *quotes.ENDPOINTS,
    *corrections.ENDPOINTS,
    *reratings.ENDPOINTS,
    *simulations.ENDPOINTS,
    *deliveries.ENDPOINTS,
    *jobs.ENDPOINTS,
    *model.ENDPOINTS,
    *files.ENDPOINTS,
    *access.ENDPOINTS,
    *describing.ENDPOINTS,
    *history.ENDPOINTS,
    *openid.ENDPOINTS,
    *approvals.ENDPOINTS,
)

OPEN_PATHS = frozenset(
    {
        ("GET", "/healthz"),
        *((one.method, API + one.path) for one in ENDPOINTS if one.audience == "anyone"),
    }
)
"""What is answered to everybody; all else needs a caller who is known."""

ENTITY_BODY_LIMIT = 32 * MEGABYTE

THREADS = 12
"""Requests worked on at the same time, of at most two connections to the database each."""

PATIENT_THREADS = 64
"""Requests that wait for a shared commit at the same time; they hold no connection."""

log = logging.getLogger(__name__)

RequestHandler = Callable[[Request], Coroutine[None, None, Response]]


def build_app(
    organisation: Organisation,
    token: AdminToken | str,
    doors: Sequence[Door] = (),
    provider: IdentityProvider | None = None,
    rate_limit: RateLimit | None = None,
) -> FastAPI:
    """The application of an open organisation; ``token`` is the administrator's.

    ``doors`` are interfaces beside this one, each with paths and a gate of its own; ``provider`` is
    where users may sign in elsewhere. ``rate_limit`` holds for each caller.
    """
    admin = AdminToken.of(token) if isinstance(token, str) else token
    entrance = Entrance(organisation.database, admin, provider)
    gatherer = Gatherer(organisation.database, organisation.usage_store, organisation.clock)
    buckets = None if rate_limit is None else Buckets(rate_limit, monotonic)
    desk = Desk(organisation, gatherer, entrance)
    if buckets is not None:
        desk = replace(desk, pace=buckets.demand)
    limiter, patient = CapacityLimiter(THREADS), CapacityLimiter(PATIENT_THREADS)
    strangers = CapacityLimiter(THREADS_OF_STRANGERS)

    def limiter_of(endpoint: Endpoint) -> CapacityLimiter:
        if endpoint.audience == "anyone":
            return strangers
        return patient if endpoint.patient else limiter

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        await to_thread.run_sync(gatherer.close)

    endpoints = (*ENDPOINTS, openapi_endpoint())
    routes: list[BaseRoute] = [
        Route("/healthz", healthz, methods=["GET"]),
        *(endpoint_route(one, desk, limiter_of(one)) for one in endpoints),
        *entity_routes(desk, limiter),
    ]
    return FastAPI(
        routes=routes,
        middleware=[
            Middleware(Doors, doors=doors, desk=desk, limiter=limiter),
            Middleware(
                CallerGate,
                entrance=entrance,
                clock=organisation.clock,
                open_paths=OPEN_PATHS,
            ),
            Middleware(RateGate, limit=buckets),
        ],
        exception_handlers={HTTPException: http_problem, Exception: unexpected_problem},
        openapi_url=None,
        docs_url=None,
        redoc_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
    )


def entity_routes(desk: Desk, limiter: CapacityLimiter) -> list[Route]:
    """The generic routes; they look entities up in the catalogue at each request."""
    commands = {
        entity: f"{endpoint.method} {API}{endpoint.path}"
        for endpoint in ENDPOINTS
        for entity in endpoint.makes
    }
    create = in_transaction(partial(records.create_records, commands=commands))
    update = in_transaction(partial(records.update_record, commands=commands))
    looking_for = partial(reading, seconds=SECONDS_OF_A_QUERY)
    delete = in_transaction(partial(records.delete_record, commands=commands))
    read, listing = reading(records.read_record), looking_for(records.list_records)
    generic: tuple[tuple[str, dict[str, Handler]], ...] = (
        ("/{collection}/query", {"POST": looking_for(queries.query_records)}),
        ("/{collection}/export", {"GET": transfers.get_export}),
        ("/{collection}/bulk", {"POST": in_transaction(bulk.write_bulk)}),
        ("/{collection}", {"GET": listing, "HEAD": listing, "POST": create}),
        (
            "/{collection}/{id}",
            {"GET": read, "HEAD": read, "PATCH": update, "DELETE": delete},
        ),
    )
    return [
        Route(
            f"{API}/{{collection}}/import",
            streamed_body(acting(transfers.post_import), desk, limiter, transfers.LARGEST_FILE),
            methods=["POST"],
        ),
        *(
            Route(
                API + path,
                whole_body(acting(by_method(handlers)), desk, limiter, ENTITY_BODY_LIMIT),
                methods=list(handlers),
            )
            for path, handlers in generic
        ),
    ]


def acting(handler: Handler) -> Handler:
    """The handler, working in the name of the caller."""
    return lambda desk, call: handler(desk.acting(call, "rest"), call)


def by_method(handlers: Mapping[str, Handler]) -> Handler:
    """One handler for a path with several methods."""
    return lambda desk, call: handlers[call.method](desk, call)


def openapi_endpoint() -> Endpoint:
    """Where the description of all this is."""
    documents = OpenApiDocuments()
    return Endpoint(
        method="GET",
        path="/openapi.json",
        handler=reading(documents.answer),
        summary="The OpenAPI description",
        audience="signed_in",
    )


class OpenApiDocuments:
    """The descriptions asked for last, each made once for a catalogue and an access."""

    def __init__(self) -> None:
        self._describe = lru_cache(maxsize=8)(self._described)

    @staticmethod
    def _described(catalogue: Catalogue, access: Access) -> tuple[bytes, str]:
        document = msgspec.json.encode(describe_api(catalogue, ENDPOINTS, access))
        return document, f'"{sha256(document).hexdigest()[:20]}"'

    def answer(self, uow: UnitOfWork, call: Call) -> Answer:
        """The description, or 304 when the caller has it already."""
        document, tag = self._describe(uow.catalogue, uow.access)
        if call.headers.get("if-none-match") == tag:
            return Answer(HTTPStatus.NOT_MODIFIED, headers={"etag": tag})
        return Answer(HTTPStatus.OK, document, headers={"etag": tag})


def endpoint_route(endpoint: Endpoint, desk: Desk, limiter: CapacityLimiter) -> Route:
    """The route of one endpoint."""
    if endpoint.streamed:
        handler = streamed_body(permitted(endpoint), desk, limiter, endpoint.largest)
    else:
        is_open = endpoint.audience == "anyone"
        limit = LIMIT_OF_STRANGERS if is_open else endpoint.limit
        handler = whole_body(permitted(endpoint), desk, limiter, limit)
    return Route(API + endpoint.path, handler, methods=[endpoint.method])


def whole_body(
    handler: Handler, desk: Desk, limiter: CapacityLimiter, limit: int
) -> RequestHandler:
    """Read the body, then work in a thread, so that the event loop stays free."""

    async def handle(request: Request) -> Response:
        try:
            call = await read_call(request, limit)
            answer = await to_thread.run_sync(handler, desk, call, limiter=limiter)
        except Refused as refused:
            answer = refusal_answer(refused, request.url.path)
        except RecursionError:
            answer = refusal_answer(too_deep(), request.url.path)
        except ClientDisconnect:
            answer = Answer(HTTPStatus.BAD_REQUEST)
        return response_of(answer)

    return handle


def streamed_body(
    handler: Handler, desk: Desk, limiter: CapacityLimiter, largest: int | None
) -> RequestHandler:
    """Write the body to a file, then work on that in a thread."""

    async def handle(request: Request) -> Response:
        call: Call | None = None
        try:
            call = await read_upload(request, desk.organisation.home, largest)
            answer = await to_thread.run_sync(handler, desk, call, limiter=limiter)
        except Refused as refused:
            answer = refusal_answer(refused, request.url.path)
        except ClientDisconnect:
            answer = Answer(HTTPStatus.BAD_REQUEST)
        finally:
            if call is not None and call.upload is not None:
                remove_upload(call.upload)
        return response_of(answer)

    return handle


async def healthz(_request: Request) -> Response:
    """Whether the process answers; says nothing else, and is the only thing open to all."""
    return response_of(json_answer({"status": "ok"}))


async def http_problem(request: Request, error: Exception) -> Response:
    """404 and 405 of the router as problem documents."""
    status = error.status_code if isinstance(error, HTTPException) else 500
    headers = dict(error.headers or {}) if isinstance(error, HTTPException) else {}
    if status == HTTPStatus.NOT_FOUND:
        problem = Problem("not_found", f"there is nothing at {request.url.path}")
    elif status == HTTPStatus.METHOD_NOT_ALLOWED:
        allowed = tuple(headers.get("Allow", "").split(", "))
        message = f"{request.method} is not possible here"
        problem = Problem("method_not_allowed", message, allowed=allowed)
    else:
        problem = Problem("http_error", HTTPStatus(status).phrase)
    return response_of(problem_answer([problem], status, request.url.path, headers))


async def unexpected_problem(request: Request, error: Exception) -> Response:
    """A fault of the program: told without its inside; the log has it."""
    log.error("%s %s failed", request.method, request.url.path, exc_info=error)
    return response_of(problem_answer([FAULT], 500, request.url.path))
