"""Events reach who wants to hear of them: once where all goes well, again where it does not."""

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from standardwebhooks import Webhook
from tests.business.automation.conftest import NOW, SECRET, Mailbox, Post, Receiver

from counterfoil.business.automation.delivering import (
    KEPT,
    Courier,
    prune_events,
    replay_delivery,
    route_events,
)
from counterfoil.business.billing.events import BILL_RUN_FINISHED, INVOICE_FINALIZED
from counterfoil.core.problems import Refused
from counterfoil.platform.jobs.retries import DELAYS
from counterfoil.platform.outbox.emitting import emit

PROPOSED = ("5s", "5m", "30m", "2h", "5h", "10h", "14h", "20h", "24h")


def test_an_event_is_posted_to_who_listens_to_it_and_to_nobody_else(
    post: Post, receiver: Receiver
) -> None:
    post.subscribe(receiver.url)
    post.subscribe(receiver.url + "/all", "ALL", "*")
    post.subscribe(receiver.url + "/runs", "RUNS", "bill_run.finished")
    post.tell("17")
    assert len(post.courier.deliver_due()) == 2
    assert [one.path for one in receiver.received] == ["/hooks", "/hooks/all"]
    one = receiver.received[0]
    assert one.headers["content-type"] == "application/json"
    assert one.headers["webhook-timestamp"] == str(int(NOW.timestamp()))
    assert json.loads(one.body) == {
        "type": "invoice.finalized",
        "timestamp": "2026-02-01T06:00:00Z",
        "subject": "invoices/17",
        "data": {"number": "INV-17"},
    }
    assert len(set(receiver.ids())) == 1, "one event has one id, whoever hears of it"
    assert post.deliveries() == [("delivered", 1, 204, None)] * 2
    assert post.courier.deliver_due() == []


def test_the_same_thing_is_told_once(post: Post, receiver: Receiver) -> None:
    post.subscribe(receiver.url)
    post.tell("17")
    post.tell("17", "18")
    post.courier.deliver_due()
    post.tell("17")
    post.courier.deliver_due()
    assert [json.loads(one.body)["subject"] for one in receiver.received] == [
        "invoices/17",
        "invoices/18",
    ]


def test_what_happened_before_one_subscribed_is_not_told(post: Post, receiver: Receiver) -> None:
    post.tell("17")
    post.wait(timedelta(minutes=1))
    post.subscribe(receiver.url)
    assert post.courier.deliver_due() == []
    assert post.rows("SELECT state FROM outgoing_event") == [("routed",)]


def test_nothing_is_told_of_what_was_rolled_back(post: Post, receiver: Receiver) -> None:
    post.subscribe(receiver.url)

    def fail_after_telling() -> None:
        with post.database.transaction(now=NOW) as uow:
            emit(uow, INVOICE_FINALIZED, key="1", subject="invoices/1", data={})
            raise KeyError

    with pytest.raises(KeyError):
        fail_after_telling()
    assert post.courier.deliver_due() == []


def test_the_independent_verifier_accepts_the_signature_and_no_other(
    post: Post, receiver: Receiver
) -> None:
    post.now = datetime.now(NOW.tzinfo)
    post.subscribe(receiver.url)
    post.tell("17")
    post.courier.deliver_due()
    one = receiver.received[0]
    assert Webhook(SECRET).verify(one.body, one.headers)["subject"] == "invoices/17"
    other = "whsec_" + "A" * 32
    for secret, body in ((other, one.body), (SECRET, one.body.replace(b"17", b"71"))):
        with pytest.raises(Exception, match="No matching signature"):
            Webhook(secret).verify(body, one.headers)


def test_a_failed_delivery_is_tried_ten_times_at_the_proposed_times_and_then_given_up(
    post: Post, receiver: Receiver
) -> None:
    post.subscribe(receiver.url)
    post.tell("17")
    receiver.answers = [(500, b"no")] * 20
    for delay in (*DELAYS, timedelta(days=9)):
        assert len(post.courier.deliver_due()) == 1
        assert post.courier.deliver_due() == []
        post.wait(delay - timedelta(microseconds=1))
        assert post.courier.deliver_due() == []
        post.wait(timedelta(microseconds=1))
    assert post.courier.deliver_due() == []
    assert post.deliveries() == [("failed", 10, 500, "answered 500 Internal Server Error")]
    assert len(set(receiver.ids())) == 1
    log = post.rows(
        "SELECT attempt, attempted_at, next_attempt_at, status_code, response"
        " FROM delivery_attempt ORDER BY id"
    )
    assert [row[0] for row in log] == list(range(1, 11))
    spans = [later[1] - earlier[1] for earlier, later in pairwise(log)]  # type: ignore[operator]
    units = {"s": "seconds", "m": "minutes", "h": "hours"}
    assert spans == [timedelta(**{units[p[-1]]: int(p[:-1])}) for p in PROPOSED]
    assert [row[2] for row in log] == [*(row[1] for row in log[1:]), None]
    assert {row[3:] for row in log} == {(500, "no")}


def test_a_delivery_is_replayed_under_its_id(post: Post, receiver: Receiver) -> None:
    post.subscribe(receiver.url)
    post.tell("17")
    post.courier.deliver_due()
    with post.database.transaction(now=post.now) as uow:
        again = replay_delivery(uow, 1)
    assert (again["state"], again["failures"], again["next_attempt_at"]) == ("pending", 0, NOW)
    post.courier.deliver_due()
    assert len(receiver.received) == 2
    assert len(set(receiver.ids())) == 1
    assert post.deliveries() == [("delivered", 2, 204, None)]
    with (
        pytest.raises(Refused) as refused,
        post.database.transaction(now=post.now) as uow,
    ):
        replay_delivery(uow, 99)
    assert refused.value.status == 404


def test_redirects_are_not_followed(post: Post, receiver: Receiver) -> None:
    post.subscribe(receiver.url)
    receiver.headers = {"location": "/elsewhere"}
    receiver.answers = [(307, b"")]
    post.tell("17")
    post.courier.deliver_due()
    assert [one.path for one in receiver.received] == ["/hooks"]
    error = "answered 307 Temporary Redirect; redirects are not followed"
    assert post.deliveries() == [("pending", 1, 307, error)]


def test_of_a_long_answer_only_the_beginning_is_kept(post: Post, receiver: Receiver) -> None:
    post.subscribe(receiver.url)
    receiver.answers = [(200, b"\x00\xffabc" * 1_000_000)]
    post.tell("17")
    post.courier.deliver_due()
    assert post.deliveries() == [("delivered", 1, 200, None)]
    ((response,),) = post.rows("SELECT response FROM delivery_attempt")
    assert str(response).startswith("\ufffdabc\ufffdabc")
    assert len(str(response)) == 1000


def test_a_receiver_that_is_gone_gets_nothing_more(post: Post, receiver: Receiver) -> None:
    post.subscribe(receiver.url)
    receiver.answers = [(410, b"")]
    post.tell("17", "18")
    post.courier.deliver_due()
    post.wait(timedelta(days=2))
    post.courier.deliver_due()
    assert len(receiver.received) == 1
    assert post.rows("SELECT active FROM webhook") == [(False,)]
    assert [row[0] for row in post.deliveries()] == ["failed", "pending"]


def test_a_receiver_that_fails_holds_up_nobody_else(post: Post, receiver: Receiver) -> None:
    # Nothing listens on the port of a server that has ended.
    post.subscribe("http://127.0.0.1:1/", "DEAD")
    post.subscribe(receiver.url)
    post.tell("1", "2", "3")
    made = post.courier.deliver_due()
    assert [attempt.subscriber for attempt in made].count("webhooks/1") == 1
    assert [json.loads(one.body)["subject"] for one in receiver.received] == [
        f"invoices/{n}" for n in (1, 2, 3)
    ]
    errors = {str(row[3]).partition(":")[0] for row in post.deliveries() if row[1] and row[3]}
    assert errors == {"could not be reached"}


def test_workers_at_once_make_each_attempt_once(post: Post, receiver: Receiver) -> None:
    for number in range(4):
        post.subscribe(f"{receiver.url}/{number}", f"H{number}")
    post.tell(*map(str, range(20)))
    couriers = [Courier(post.database, post.courier._channels, lambda: post.now) for _ in range(3)]
    with ThreadPoolExecutor(6) as pool:
        made = pool.map(lambda n: len(couriers[n % 3].deliver_due()), range(6))
    assert sum(made) == 80
    told = [(one.path, one.headers["webhook-id"]) for one in receiver.received]
    assert (len(told), len(set(told))) == (80, 80)
    assert post.rows(
        "SELECT count(*), count(DISTINCT delivery_id) AS different FROM delivery_attempt"
    ) == [(80, 80)]


def test_one_courier_keeps_the_order_of_each_receiver(post: Post, receiver: Receiver) -> None:
    post.subscribe(receiver.url)
    for number in range(12):
        post.tell(str(number))
        post.wait(timedelta(seconds=1))
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: post.courier.deliver_due(), range(4)))
    post.courier.deliver_due()
    assert [json.loads(one.body)["subject"] for one in receiver.received] == [
        f"invoices/{n}" for n in range(12)
    ]


def test_what_is_not_active_gets_nothing(post: Post, receiver: Receiver) -> None:
    webhook = post.subscribe(receiver.url)
    post.tell("17")
    route_events(post.database, post.now)
    with post.database.transaction(now=post.now) as uow:
        uow.update("webhook", webhook, {"active": False})
    assert post.courier.deliver_due() == []
    with post.database.transaction(now=post.now) as uow:
        uow.update("webhook", webhook, {"active": True})
    assert len(post.courier.deliver_due()) == 1


def test_a_fault_within_is_an_error_of_the_attempt(
    post: Post, receiver: Receiver, caplog: pytest.LogCaptureFixture
) -> None:
    post.subscribe(receiver.url)
    post.tell("17")

    def fail(*_arguments: object) -> None:
        raise LookupError(SECRET)

    post.courier._channels.webhooks.post = fail  # type: ignore[method-assign, assignment]
    post.courier.deliver_due()
    assert post.deliveries() == [("pending", 1, None, "failed here by LookupError")]
    assert "LookupError" in caplog.text
    assert SECRET not in caplog.text


def test_old_events_go_with_their_deliveries_but_none_that_is_still_to_be_told(
    post: Post, receiver: Receiver
) -> None:
    post.subscribe(receiver.url)
    post.tell("17")
    post.courier.deliver_due()
    post.tell("18")
    route_events(post.database, post.now)
    post.wait(KEPT)
    assert prune_events(post.database, post.now) == 0
    post.wait(timedelta(seconds=1))
    assert prune_events(post.database, post.now) == 1
    assert post.rows("SELECT key FROM outgoing_event") == [("18",)]
    assert post.rows("SELECT count(*) FROM delivery_attempt") == [(0,)]


def test_an_event_is_mailed_in_plain_text(post: Post, mailbox: Mailbox) -> None:
    rule = {
        "external_id": "CLERK",
        "email": "clerk@seller.example",
        "event_types": ["bill_run.finished"],
    }
    with post.database.transaction(now=post.now) as uow:
        uow.create("mail_rule", rule)
    post.tell("3", event_type=BILL_RUN_FINISHED)
    post.tell("17")
    post.courier.deliver_due()
    assert mailbox.recipients == ["clerk@seller.example"]
    (mail,) = mailbox.mails
    ((message_id,),) = post.rows(
        "SELECT message_id FROM outgoing_event WHERE type = 'bill_run.finished'"
    )
    assert dict(mail.items()) | {"From": "billing@seller.example"} == dict(mail.items())
    assert mail["Subject"] == "bill_run.finished: invoices/3"
    assert mail["Message-ID"] == f"<{message_id}@seller.example>"
    assert mail["Date"] == "Sun, 01 Feb 2026 06:00:00 +0000"
    assert mail.get_content_type() == "text/plain"
    assert "number: INV-3\r\n" in str(mail.get_payload())
    assert post.deliveries() == [("delivered", 1, 250, None)]


def test_a_mail_that_is_refused_is_tried_again(post: Post, mailbox: Mailbox) -> None:
    rule = {"external_id": "CLERK", "email": "clerk@seller.example", "event_types": ["*"]}
    with post.database.transaction(now=post.now) as uow:
        uow.create("mail_rule", rule)
    post.tell("17")
    mailbox.answer = "451 try later"
    post.courier.deliver_due()
    error = "the mail server answered 451 try later"
    assert post.deliveries() == [("pending", 1, 451, error)]
    mailbox.answer = "250 OK"
    post.wait(timedelta(seconds=5))
    post.courier.deliver_due()
    assert post.deliveries() == [("delivered", 2, 250, None)]
