"""Outside systems are called to provision lines, and call back when they have done so.

A call back is let in by its link alone: the link names the task and the time until when it holds,
signed with a key that the task got when its turn came. It counts once.
"""

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime

from counterfoil.business.orders.commands import hold_orders
from counterfoil.business.orders.events import tell_failed_task
from counterfoil.business.orders.kinds import EXPIRE_CALL
from counterfoil.business.orders.provisioning import advance_orders
from counterfoil.business.subscriptions.invoicing import profiles_of_accounts
from counterfoil.core.periods.zones import local_date
from counterfoil.core.problems import Problem, Refused
from counterfoil.platform.jobs.enqueuing import enqueue
from counterfoil.platform.metadata import Record
from counterfoil.platform.metadata.entity import CUSTOM
from counterfoil.platform.records.unit_of_work import UnitOfWork

CALL_BACK_PATH = "/provisioning-callbacks"
LONGEST_ERROR = 2000

_TASK = """
SELECT t.id, t.order_id, t.order_line_id, t.position, t.name, t.state, t.attempts, t.call_back_key,
       t.call_back_until, st.url, st.secret, st.calls_back, st.external_id AS step,
       o.external_id AS "order", o.number, o.purchase_order, l.position AS line, l.kind,
       l.account_id, l.subscription_external_id AS subscription, l.quantities, l.quantity,
       l.effective_date, a.external_id AS account, p.external_id AS rate_plan,
       c.external_id AS charge, s.external_id AS site, s.name AS site_name, s.street, s.city,
       s.region, s.postal_code, s.country
FROM provisioning_task t
JOIN provisioning_step st ON st.id = t.provisioning_step_id
JOIN order_line l ON l.id = t.order_line_id
JOIN "order" o ON o.id = t.order_id
JOIN account a ON a.id = l.account_id
LEFT JOIN rate_plan p ON p.id = l.rate_plan_id
LEFT JOIN charge c ON c.id = l.charge_id
LEFT JOIN site s ON s.id = coalesce(l.to_site_id, l.site_id)
WHERE t.id = :id
"""


@dataclass(frozen=True, slots=True)
class OutsideCall:
    """A call to be made: where to, signed with what, and what it says."""

    url: str
    secret: str
    message_id: str
    subject: str
    data: Record
    key: str


@dataclass(frozen=True, slots=True)
class CallOutcome:
    """What came of a call: without an error it was taken; ``gone``: it never will be."""

    error: str = ""
    gone: bool = False


OutsideSystems = Callable[[OutsideCall, datetime], CallOutcome]
"""Makes calls; never raises for what the other side does."""


@dataclass(frozen=True, slots=True)
class CallBack:
    """What an outside system has to say of a task: it is done, or it failed."""

    done: bool
    message: str | None = None


def token_of(task_id: int, until: datetime, key: str) -> str:
    """The end of the link by which a task is called back."""
    named = f"{task_id}.{int(until.timestamp())}"
    digest = hmac.digest(key.encode(), named.encode(), hashlib.sha256)
    return f"{named}.{urlsafe_b64encode(digest).decode().rstrip('=')}"


def read_call(uow: UnitOfWork, task_id: int, public_url: str) -> OutsideCall | None:
    """The call of a task; None when it is not open any more. ``public_url`` is where we are."""
    rows = uow.query(_TASK, id=task_id)
    if not rows or rows[0]["state"] != "open":
        return None
    (row,) = rows
    key, until = str(row["call_back_key"]), row["call_back_until"].astimezone(UTC)
    data: Record = {
        "task": {name: row[name] for name in ("id", "name", "position", "step")},
        "order": {
            **{name: row[name] for name in ("number", "purchase_order", "account")},
            "external_id": row["order"],
            **_custom(uow.get("order", row["order_id"])),
        },
        "line": {
            **{name: row[name] for name in ("kind", "subscription", "rate_plan", "charge")},
            **{name: row[name] for name in ("quantity", "quantities", "effective_date")},
            "position": row["line"],
            **_custom(uow.get("order_line", row["order_line_id"])),
        },
    }
    if row["site"] is not None:
        places = ("street", "city", "region", "postal_code", "country")
        data["site"] = {
            "external_id": row["site"],
            "name": row["site_name"],
            **{name: row[name] for name in places},
        }
    if row["calls_back"]:
        link = f"{public_url}/api/v1{CALL_BACK_PATH}?token={token_of(task_id, until, key)}"
        data["call_back"] = {"url": link, "until": until}
    message_id = "prv_" + hashlib.sha256(key.encode()).hexdigest()[:32]
    subject = f"provisioning-tasks/{task_id}"
    return OutsideCall(str(row["url"]), str(row["secret"]), message_id, subject, data, key)


def record_call(
    uow: UnitOfWork, task_id: int, call: OutsideCall, outcome: CallOutcome, *, last: bool
) -> bool:
    """Keep what came of a call: a task that is not called back is done, one whose ``last`` call
    failed has failed. Whether it is given up; what was done meanwhile stays."""
    row = _held(uow, task_id)
    if row is None or row["call_back_key"] != call.key:
        return True
    change: Record = {"attempts": row["attempts"] + 1}
    if row["state"] != "open":
        # It was called back while the call was under way, or finished by hand.
        uow.update_many("provisioning_task", [(task_id, change)], by_command=True)
        return True
    given_up = bool(outcome.error) and (last or outcome.gone)
    change["error"] = outcome.error[:LONGEST_ERROR] or None
    if given_up:
        change["state"] = "failed"
    elif not outcome.error and not row["calls_back"]:
        change |= _done(uow, row, None)
    uow.update_many("provisioning_task", [(task_id, change)], by_command=True)
    if not outcome.error and row["calls_back"]:
        until = row["call_back_until"].astimezone(UTC)
        key = f"{task_id}/{until.isoformat()}"
        enqueue(uow, EXPIRE_CALL, {"task": task_id}, key=key, not_before=until)
    if given_up:
        tell_failed_task(uow, task_id)
    elif change.get("state") == "done":
        advance_orders(uow, [row["order_id"]])
    return given_up


def expire_call(uow: UnitOfWork, task_id: int) -> bool:
    """Give up a task that was not called back in time; whether it was."""
    row = _held(uow, task_id)
    if row is None or row["state"] != "open" or uow.now < row["call_back_until"]:
        return False
    change = {"state": "failed", "error": "the outside system did not call back in time"}
    uow.update_many("provisioning_task", [(task_id, change)], by_command=True)
    tell_failed_task(uow, task_id)
    return True


def take_call_back(uow: UnitOfWork, token: str, call_back: CallBack) -> Record:
    """Take what an outside system says of a task; the task's state then.

    Refused, and nothing changed: 403 a link that we did not make, 410 one whose time is over,
    409 one that was used, or whose task somebody else has finished.
    """
    number = token.partition(".")[0]
    told = number.isascii() and number.isdigit() and len(number) <= 18
    # Whoever has no link of ours takes no lock.
    seen = uow.query(_TASK, id=int(number)) if told else []
    if not seen or not _is_ours(token, seen[0]):
        raise _not_ours()
    row = _held(uow, int(number))
    if row is None or not _is_ours(token, row):
        raise _not_ours()
    until = row["call_back_until"].astimezone(UTC)
    if row["state"] != "open":
        raise Refused(Problem("used_already", f"the task is {row['state']} already", "link"), 409)
    if uow.now >= until:
        raise Refused(Problem("expired", f"the link held until {until.isoformat()}", "link"), 410)
    if call_back.done:
        change = _done(uow, row, call_back.message)
    else:
        change = {"state": "failed", "error": call_back.message or "the outside system failed"}
    uow.update_many("provisioning_task", [(row["id"], change)], by_command=True)
    if call_back.done:
        advance_orders(uow, [row["order_id"]])
    else:
        tell_failed_task(uow, row["id"])
    return {"task": row["id"], "state": change["state"]}


def _held(uow: UnitOfWork, task_id: int) -> Record | None:
    """A task with what belongs to it, read under the lock of its order."""
    rows = uow.query("SELECT order_id FROM provisioning_task WHERE id = :id", id=task_id)
    if not rows:
        return None
    hold_orders(uow, [rows[0]["order_id"]])
    return uow.query(_TASK, id=task_id)[0]


def _done(uow: UnitOfWork, row: Record, note: str | None) -> Record:
    profile = profiles_of_accounts(uow, [row["account_id"]]).get(row["account_id"], {})
    return {
        "state": "done",
        "done_on": local_date(uow.now, str(profile.get("time_zone", "UTC"))),
        "done_by": f"step {row['step']}"[:255],
        "note": note,
        "error": None,
    }


def _is_ours(token: str, row: Record) -> bool:
    """Whether a link was made for the task as it is now."""
    key, until = row["call_back_key"], row["call_back_until"]
    if key is None or until is None:
        return False
    expected = token_of(row["id"], until.astimezone(UTC), str(key))
    return hmac.compare_digest(expected.encode(), token.encode())


def _not_ours() -> Refused:
    return Refused(Problem("bad_link", "is no link of ours, or not any more", "link"), 403)


def _custom(record: Record) -> Record:
    return {name: value for name, value in record.items() if name.startswith(CUSTOM)}
