"""``counterfoil usage correct`` and ``correct-file``."""

import json
from pathlib import Path

from tests.interfaces.cli.test_simulate import Run, run

__all__ = ["run"]


def test_an_event_and_a_file_of_events(run: Run) -> None:
    one = run("usage", "correct", "s", "1", "--quantity", "90", "--json")
    assert json.loads(one.stdout)["replaced"] == 1, one.output
    Path("c.csv").write_text(
        "source,event_id,quantity,reason\ns,1,90,\ns,2,withdraw,a test\n", encoding="utf-8"
    )
    many = json.loads(run("usage", "correct-file", "c.csv", "--json").stdout)
    assert (many["withdrawn"], many["replaced"], many["unchanged"]) == (1, 0, 1)
    made = run("bills", "run", "2026-09-01", "--json")
    # 10 calls less in July and 60 less in August, at 0.05.
    assert json.loads(made.stdout)["totals"] == {"USD": "-3.50"}


def test_what_cannot_be_corrected(run: Run) -> None:
    Path("c.csv").write_text("source,quantity\ns,1\n", encoding="utf-8")
    Path("d.csv").write_text("source,event_id,quantity\ns,1,many\n", encoding="utf-8")
    for arguments, said in (
        (("correct", "s", "1"), "give either --quantity or --withdraw"),
        (("correct", "s", "1", "--quantity", "NaN"), "'NaN' is not a number"),
        (("correct", "s", "9", "--withdraw"), "there is no event '9' of 's'"),
        (("correct-file", "c.csv"), "has no column 'event_id'"),
        (("correct-file", "d.csv"), "'many' is not a number"),
        (("correct-file", "missing.csv"), "cannot be read"),
    ):
        answer = run("usage", *arguments)
        assert answer.exit_code == 2, answer.output
        assert said in answer.output
