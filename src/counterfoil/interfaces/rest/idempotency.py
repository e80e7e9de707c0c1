"""Every change at most once: the answer to an ``Idempotency-Key`` is kept and replayed.

The answer is stored in the transaction of the change itself where the change is one transaction.
Commands with transactions of their own are run while the key is held, and each of them is
harmless to repeat, should the process die between their commit and that of the answer.
"""

from collections.abc import Callable

from counterfoil.core.problems import Problem, Refused
from counterfoil.interfaces.rest.exchange import Answer, Call, Desk, Handler
from counterfoil.platform.records.statements import Answer as RememberedAnswer
from counterfoil.platform.records.unit_of_work import UnitOfWork

LONGEST_KEY = 200
REPEATED = ("location", "etag")
"""The headers that are kept with an answer: those that tell of what was made."""

RowAction = Callable[[UnitOfWork, Call], Answer]
"""An endpoint whose whole work is in the transaction it is given."""


def in_transaction(action: RowAction) -> Handler:
    """The handler that runs ``action`` in one transaction, once per key.

    When others were in its way it is run again, as nothing of it was kept.
    """

    def handle(desk: Desk, call: Call) -> Answer:
        organisation = desk.organisation
        return organisation.database.attempt(
            lambda uow: answered_once(uow, call, lambda: action(uow, call)),
            now=organisation.clock(),
            access=call.caller.access,
        )

    return handle


def once(action: Handler) -> Handler:
    """The handler that runs a command with its own transactions, once per key."""

    def handle(desk: Desk, call: Call) -> Answer:
        if idempotency_key(call) is None:
            return action(desk, call)
        organisation = desk.organisation
        with organisation.database.transaction(now=organisation.clock()) as uow:
            return answered_once(uow, call, lambda: action(desk, call))

    return handle


def repeatable(action: Handler) -> Handler:
    """The handler of a command that may as well run twice: the first answer stored is the answer.

    No connection is held while the command runs, so that many may wait for one commit.
    """

    def handle(desk: Desk, call: Call) -> Answer:
        key = idempotency_key(call)
        if key is None:
            return action(desk, call)
        organisation = desk.organisation
        fingerprint = call.fingerprint()
        with organisation.database.transaction(now=organisation.clock()) as uow:
            remembered = uow.remembered_answer(key, fingerprint)
        if remembered is not None:
            return replay(remembered)
        answer = action(desk, call)
        with organisation.database.transaction(now=organisation.clock()) as uow:
            return answered_once(uow, call, lambda: answer)

    return handle


def reading(action: RowAction, seconds: int | None = None) -> Handler:
    """The handler of an endpoint that only reads, in one transaction.

    With ``seconds`` a statement that takes longer is refused: callers say what it looks for.
    """

    def handle(desk: Desk, call: Call) -> Answer:
        organisation = desk.organisation
        with organisation.database.transaction(
            now=organisation.clock(), access=call.caller.access, seconds=seconds
        ) as uow:
            return action(uow, call)

    return handle


def answered_once(uow: UnitOfWork, call: Call, act: Callable[[], Answer]) -> Answer:
    """The remembered answer of the call's key, or the answer of ``act``, which is remembered."""
    key = idempotency_key(call)
    if key is None:
        return act()
    fingerprint = call.fingerprint()
    remembered = uow.remembered_answer(key, fingerprint)
    if remembered is not None:
        return replay(remembered)
    answer = act()
    headers = {name: answer.headers[name] for name in REPEATED if name in answer.headers}
    said = RememberedAnswer(answer.status, answer.body.decode(), answer.media_type, headers)
    uow.remember_answer(key, fingerprint, said)
    return answer


def replay(remembered: RememberedAnswer) -> Answer:
    """A stored answer as it was given the first time, marked as a repetition."""
    headers = {**remembered.headers, "idempotency-replayed": "true"}
    body = remembered.body.encode()
    return Answer(remembered.status, body, remembered.media_type, headers=headers)


def idempotency_key(call: Call) -> str | None:
    """The call's key, which is the caller's own; refuses (400) an empty or overlong one."""
    key = call.headers.get("idempotency-key")
    if key is None:
        return None
    if not key.strip() or len(key) > LONGEST_KEY or not key.isprintable():
        message = f"has to be 1 to {LONGEST_KEY} printable characters"
        raise Refused(Problem("invalid_idempotency_key", message, "Idempotency-Key"), status=400)
    caller = call.caller
    if caller.user_id is None:
        return key.strip()
    # Nobody is answered what was answered to somebody else, or to a key with other scopes.
    return f"{caller.user_id}/{caller.key_id or ''} {key.strip()}"
