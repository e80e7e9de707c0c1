"""Events received one by one or in batches, gathered into one segment per commit.

Many small requests share one commit: while one group is being committed the next one gathers.
A request is answered when its group is committed, so an accepted event is durable.
"""

import time
import uuid
from collections.abc import Callable, Sequence
from concurrent.futures import Future
from dataclasses import dataclass
from datetime import datetime
from itertools import accumulate
from queue import Empty, SimpleQueue
from threading import Lock, Thread
from typing import Self, cast

import msgspec
import pyarrow as pa
import pyarrow.compute as pc

from counterfoil.business.usage.collectors import Collector, load_collector
from counterfoil.business.usage.commands import create_batch, finish_batch, with_open_status
from counterfoil.business.usage.intake import BatchSummary, Intake, Taken
from counterfoil.business.usage.reading import records_of
from counterfoil.business.usage.routing import load_routing
from counterfoil.business.usage.store import UsageStore
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.engine.duck import Engine, open_engine
from counterfoil.platform.records.database import Database
from counterfoil.platform.records.unit_of_work import UnitOfWork

LARGEST_GROUP = 50_000
"""Events in one commit, about: a group takes no further request when it has so many."""

ENOUGH = 4_000
"""A group of so many events is committed without waiting for more."""

LONGEST_WAIT = 0.008
"""Seconds a small group waits for further requests."""

_ROUTING_AGE = 2.0
_REMEMBERED = 500_000
# Reasons that may be due to routes that have changed since they were read.
_ROUTE_REASONS = pa.array(
    ["unknown_subscriber", "unknown_service", "outside_subscription", "ambiguous_subscription"]
)


@dataclass(frozen=True, slots=True)
class RejectedEvent:
    """One event of a request that was not accepted; ``index`` counts from 0."""

    index: int
    reason: str
    message: str


@dataclass(frozen=True, slots=True)
class Receipt:
    """What became of one request; accepted, duplicate and rejected add up to its events.

    ``duplicate`` counts events that this process has seen lately. An older repetition counts as
    accepted here and is removed when usage is read: it is never billed twice.
    """

    batch_id: int
    accepted: int
    duplicate: int
    rejected: tuple[RejectedEvent, ...]


def decode_cloud_events(body: bytes) -> list[bytes]:
    """The events of a structured JSON body, single (an object) or batch (an array), unparsed.

    Refuses (400) a body that is not JSON in UTF-8.
    """
    try:
        body.decode()
        if body.lstrip()[:1] == b"[":
            return [bytes(event) for event in _BATCH.decode(body)]
        return [bytes(_SINGLE.decode(body))]
    except (UnicodeDecodeError, msgspec.DecodeError, RecursionError) as fault:
        problem = Problem("malformed_body", f"the body is not JSON: {fault}")
        raise Refused(problem, status=400) from fault


_BATCH = msgspec.json.Decoder(list[msgspec.Raw])
_SINGLE = msgspec.json.Decoder(msgspec.Raw)


def accept_cloud_events(
    database: Database,
    store: UsageStore,
    body: bytes,
    *,
    now: datetime,
    collector: str = "cloudevents",
) -> Receipt:
    """Accept the events of one body in a commit of their own."""
    with _Acceptance(database, store, collector) as acceptance:
        return acceptance.accept([decode_cloud_events(body)], now)[0]


@dataclass(frozen=True, slots=True)
class _Request:
    events: Sequence[bytes]
    answer: "Future[Receipt]"


class Gatherer:
    """Accepts events from any number of threads, one commit per group; close it at the end."""

    def __init__(
        self,
        database: Database,
        store: UsageStore,
        clock: Callable[[], datetime],
        *,
        collector: str = "cloudevents",
    ) -> None:
        self._acceptance = _Acceptance(database, store, collector)
        self._clock = clock
        self._queue: SimpleQueue[_Request | None] = SimpleQueue()
        self._open = True
        self._opening = Lock()
        self._thread = Thread(target=self._run, name="usage gatherer", daemon=True)
        self._thread.start()

    def submit(self, body: bytes) -> Receipt:
        """Accept the events of a body (see decode_cloud_events); returns when they are durable.

        Refused: 400 for a body that is not JSON, 503 when the gatherer is closed.
        """
        return self.submit_events(decode_cloud_events(body))

    def submit_events(self, events: Sequence[bytes]) -> Receipt:
        """Accept events that are JSON objects already taken apart."""
        return self.begin(events).result()

    def begin(self, events: Sequence[bytes]) -> "Future[Receipt]":
        """Hand over events without waiting; the future is done when they are durable."""
        answer: Future[Receipt] = Future()
        with self._opening:
            if not self._open:
                problem = Problem("shutting_down", "usage is no longer accepted here")
                raise Refused(problem, status=503)
            self._queue.put(_Request(events, answer))
        return answer

    def close(self) -> None:
        """Take no more events, commit those handed over, and end."""
        with self._opening:
            if not self._open:
                return
            self._open = False
            self._queue.put(None)
        self._thread.join()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_fault: object) -> None:
        self.close()

    def _run(self) -> None:
        with self._acceptance:
            last = False
            while not last:
                group, last = self._gather()
                if group:
                    self._answer(group)

    def _gather(self) -> tuple[list[_Request], bool]:
        """The next group, and whether it is the last one."""
        group: list[_Request] = []
        events = 0
        deadline = 0.0
        while events < LARGEST_GROUP:
            try:
                if not group:
                    request = self._queue.get()
                    deadline = time.monotonic() + LONGEST_WAIT
                elif events >= ENOUGH:
                    request = self._queue.get_nowait()
                else:
                    request = self._queue.get(timeout=max(deadline - time.monotonic(), 0.0))
            except Empty:
                break
            if request is None:
                return group, True
            group.append(request)
            events += len(request.events)
        return group, False

    def _answer(self, group: list[_Request]) -> None:
        try:
            receipts = self._acceptance.accept([r.events for r in group], self._clock())
        except Exception as fault:  # noqa: BLE001 - whatever it is, the requests must be answered
            if len(group) == 1:
                group[0].answer.set_exception(fault)
                return
            # One request must not spoil the others.
            for request in group:
                self._answer([request])
            return
        for request, receipt in zip(group, receipts, strict=True):
            request.answer.set_result(receipt)


class _Acceptance:
    """Maps and commits groups on an engine of its own; used by one thread."""

    def __init__(self, database: Database, store: UsageStore, collector: str) -> None:
        self._database = database
        self._store = store
        self._collector_id = collector
        self._engine: Engine | None = None
        self._intake: Intake | None = None
        self._collector: Collector | None = None
        self._read_at = 0.0
        self._recent: set[int] = set()
        self._older: set[int] = set()

    def __enter__(self) -> Self:
        self._engine = open_engine(threads=2)
        return self

    def __exit__(self, *_fault: object) -> None:
        if self._engine is not None:
            self._engine.close()

    def accept(self, requests: Sequence[Sequence[bytes]], now: datetime) -> list[Receipt]:
        """Accept the events of all requests in one transaction; one receipt each, in order."""
        texts = [event for request in requests for event in request]
        records = records_of(
            pa.array(texts, pa.binary()).cast(pa.string()), pa.arange(0, len(texts))
        )
        with self._database.transaction(now=now, source="http") as uow:
            fresh = self._refresh(uow, older_than=_ROUTING_AGE)
            intake, collector = cast("Intake", self._intake), cast("Collector", self._collector)
            batch_id = create_batch(uow, collector, f"events:{uuid.uuid4()}")
            taken = intake.take(records, (), batch_id)
            if not fresh and _route_rejections(taken):
                self._refresh(uow, older_than=0.0)
                taken = cast("Intake", self._intake).take(records, (), batch_id)
            keys = _key_hashes(taken.events)
            duplicate = self._known(keys)
            with self._store.writing() as writer:
                writer.append(taken.events)
                writer.finish()
                if taken.rejected.num_rows:
                    uow.copy_in("rejected_usage", with_open_status(taken.rejected))
                summary = BatchSummary(batch_id).plus(taken).without_duplicates(sum(duplicate))
                finish_batch(uow, summary)
                self._store.publish(uow, writer.files, batch_id=batch_id)
        self._remember(keys)
        return _receipts(requests, taken, duplicate, batch_id)

    def _refresh(self, uow: UnitOfWork, *, older_than: float) -> bool:
        """Read collector and routes again when they are old; whether that was done."""
        age = time.monotonic() - self._read_at
        if self._intake is not None and age < older_than:
            return False
        self._collector = load_collector(uow, self._collector_id)
        self._intake = Intake(cast("Engine", self._engine), self._collector, (), load_routing(uow))
        self._read_at = time.monotonic()
        return True

    def _known(self, keys: list[int]) -> list[bool]:
        """Of each event whether it came before: in this group or lately."""
        found: set[int] = set()
        known = []
        for key in keys:
            known.append(key in found or key in self._recent or key in self._older)
            found.add(key)
        return known

    def _remember(self, keys: list[int]) -> None:
        self._recent.update(keys)
        if len(self._recent) > _REMEMBERED:
            self._recent, self._older = set(), self._recent


def _route_rejections(taken: Taken) -> bool:
    found = pc.is_in(taken.rejected["reason"], _ROUTE_REASONS)
    return bool(pc.any(found).as_py())


def _key_hashes(events: pa.Table) -> list[int]:
    pairs = zip(events["source"].to_pylist(), events["event_id"].to_pylist(), strict=True)
    return [hash(pair) for pair in pairs]


def _receipts(
    requests: Sequence[Sequence[bytes]], taken: Taken, duplicate: list[bool], batch_id: int
) -> list[Receipt]:
    owner = [number for number, request in enumerate(requests) for _ in request]
    starts = [0, *accumulate(len(request) for request in requests)]
    accepted, repeated = [0] * len(requests), [0] * len(requests)
    for line, known in zip(taken.events["line"].to_pylist(), duplicate, strict=True):
        (repeated if known else accepted)[owner[line]] += 1
    rejected: list[list[RejectedEvent]] = [[] for _ in requests]
    for bad in taken.rejected.select(["line", "reason", "message"]).to_pylist():
        number = owner[bad["line"]]
        index = bad["line"] - starts[number]
        rejected[number].append(RejectedEvent(index, bad["reason"], bad["message"]))
    return [
        Receipt(batch_id, accepted[number], repeated[number], tuple(rejected[number]))
        for number in range(len(requests))
    ]
