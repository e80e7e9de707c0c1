"""Orders on the command line, from a file to the first invoice."""

import json
from pathlib import Path

from tests.interfaces.cli.test_simulate import Run, run

__all__ = ["run"]

ORDERS = """\
orders:
  - external_id: A-1
    account: ACME
    purchase_order: PO-1
    lines:
      - {rate_plan: plan, subscription: S-2, effective_date: 2026-09-01}
      - {rate_plan: plan, effective_date: 2026-09-01}
      - {kind: cancel, subscription: S-1, effective_date: 2026-09-15}
"""


def printed(run: Run, *arguments: str) -> list[dict[str, object]]:
    answer = run("orders", *arguments, "--json")
    assert answer.exit_code == 0, answer.output
    return list(json.loads(answer.stdout))


def test_an_order_goes_its_path(run: Run) -> None:
    step = ("external_id=survey", "name=Survey", "position=1", "kind=checklist", "product=conf")
    made = run("records", "create", "provisioning_step", *step)
    assert made.exit_code == 0, made.output
    Path("orders.yaml").write_text(ORDERS)
    placed = [printed(run, "place", "orders.yaml")[0] for _ in range(2)]
    assert [one["created"] for one in placed] == [True, False]
    assert printed(run, "list", "--status", "submitted")[0]["lines"] == 3
    assert printed(run, "approve", "A-1", "--comment", "fine")[0]["status"] == "approved"
    released = printed(run, "release", placed[0]["number"])[0]
    assert released["lines"] == {"activated": 1, "provisioning": 2}
    assert [row["name"] for row in printed(run, "tasks")] == ["Survey", "Survey"]
    done = printed(run, "done", "A-1", "--line", "1", "--on", "2026-09-03", "--note", "ok")[0]
    assert done["lines"] == {"activated": 2, "provisioning": 1}
    groups = printed(run, "show", "A-1", "--by", "country")
    assert (groups[0]["country"], groups[0]["lines"]) == ("none", 3)
    shown = run("orders", "show", "A-1")
    assert "2026-09-03" in shown.stdout
    ended = printed(run, "skip", "A-1", "--reason", "known")[0]
    assert (ended["status"], ended["problems"]) == ("completed", None)
    assert {row["state"] for row in printed(run, "tasks", "A-1", "--all")} == {"done", "skipped"}


def test_what_is_wrong_is_refused(run: Run) -> None:
    Path("bad.yaml").write_text(ORDERS.replace("S-1,", "S-9,").replace("plan: plan", "plan: x", 1))
    for arguments, said in (
        (("place", "none.yaml"), "cannot be read"),
        (("place", "bad.yaml"), "bad.yaml:6: lines.rate_plan: order A-1, line 1: there is no"),
        (("place", "bad.yaml"), "bad.yaml:8: lines.subscription: order A-1, line 3: there is no"),
        (("approve", "A-9"), "there is no order 'A-9'"),
        (("list", "--status", "late"), "allowed: draft, submitted"),
    ):
        answer = run("orders", *arguments)
        assert answer.exit_code == 2, answer.output
        assert said in answer.output
    Path("orders.yaml").write_text(ORDERS.replace("PO-1", "PO-1\n    draft: true"))
    assert printed(run, "place", "orders.yaml")[0]["status"] == "draft"
    assert "cannot be released" in run("orders", "release", "A-1").output
    assert printed(run, "submit", "A-1")[0]["status"] == "submitted"
    assert printed(run, "cancel", "A-1", "--reason", "no")[0]["status"] == "cancelled"
