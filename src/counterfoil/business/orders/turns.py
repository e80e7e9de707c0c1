"""Whose turn it is among the tasks of a line: computation only, nothing read or stored.

Tasks are done in the order of their positions, those of one position side by side.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta

FINISHED = ("done", "skipped")


@dataclass(frozen=True, slots=True)
class Task:
    """A task as it stands; ``days`` are those of a wait."""

    id: int
    position: int
    kind: str
    state: str
    due_on: date | None
    done_on: date | None
    days: int


@dataclass(frozen=True, slots=True)
class Turn:
    """What becomes of a task now."""

    task: Task
    state: str
    due_on: date | None = None
    done_on: date | None = None


@dataclass(slots=True)
class Turns:
    """What becomes of the tasks of a line; once it is ``finished``, ``done`` is the day on which
    the last one was done, None where there was none."""

    changes: list[Turn] = field(default_factory=list)
    finished: bool = False
    done: date | None = None


def take_turns(tasks: Sequence[Task], effective: date | None, today: date) -> Turns:
    """Open what is next, finish the waits that are over, and so on until somebody has to act."""
    turns = Turns()
    days: list[date] = []
    for position in sorted({task.position for task in tasks}):
        here = [task for task in tasks if task.position == position]
        before = max(days, default=None)
        days += [task.done_on or today for task in here if task.state in FINISHED]
        left = [task for task in here if task.state not in FINISHED]
        blocked = False
        for task in left:
            day = _wait_over(task, effective, today, before) if task.kind == "wait" else None
            if task.kind == "wait" and task.state in ("waiting", "open"):
                due = task.due_on or (effective or today) + timedelta(days=task.days)
                if day is not None:
                    turns.changes.append(Turn(task, "done", due, day))
                    days.append(day)
                    continue
                if task.state == "waiting":
                    turns.changes.append(Turn(task, "open", due))
            elif task.state == "waiting":
                turns.changes.append(Turn(task, "open"))
            blocked = True
        if blocked:
            return turns
    turns.finished = True
    turns.done = max(days, default=None)
    return turns


def _wait_over(task: Task, effective: date | None, today: date, before: date | None) -> date | None:
    """The day on which a wait was over, None while it is not; never before what it came after."""
    due = task.due_on or (effective or today) + timedelta(days=task.days)
    if due > today:
        return None
    return max(due, before or due)
