"""In which order charges are computed that speak of each other's amounts."""

from collections.abc import Iterable, Mapping

from counterfoil.core.problems import Problem


def evaluation_levels(
    waits_for: Mapping[str, Iterable[str]], *, field: str = "formula"
) -> tuple[dict[str, int], list[Problem]]:
    """Level of every owner: 0 waits for nothing, n only for owners of levels below n.

    ``waits_for`` holds, by owner (a charge), the owners whose amounts its formulas read. A name
    that is read but owns nothing is of level 0. Owners on a cycle, or waiting for one, have no
    level; each cycle is one problem that names it (``a -> b -> a``).
    """
    edges = {owner: tuple(sorted(set(names))) for owner, names in waits_for.items()}
    waiting = {name: set(names) for name, names in edges.items()}
    for names in edges.values():
        for name in names:
            waiting.setdefault(name, set())
    readers: dict[str, list[str]] = {name: [] for name in waiting}
    for owner, names in edges.items():
        for name in names:
            readers[name].append(owner)
    levels: dict[str, int] = {}
    ready, level = sorted(name for name, names in waiting.items() if not names), 0
    while ready:
        levels |= dict.fromkeys(ready, level)
        freed = []
        for name in ready:
            for reader in readers[name]:
                waiting[reader].discard(name)
                if not waiting[reader]:
                    freed.append(reader)
        ready, level = sorted(freed), level + 1
    stuck = {name: sorted(names) for name, names in waiting.items() if name not in levels}
    return levels, [_problem(cycle, field) for cycle in _cycles(stuck)]


def _cycles(stuck: Mapping[str, list[str]]) -> list[tuple[str, ...]]:
    """A cycle from each walk along owners that wait; every stuck owner reaches one."""
    cycles: list[tuple[str, ...]] = []
    seen: set[str] = set()
    for start in sorted(stuck):
        path: dict[str, None] = {}
        name = start
        while name not in seen:
            seen.add(name)
            path[name] = None
            name = stuck[name][0]
        if name in path:
            walked = list(path)
            cycle = walked[walked.index(name) :]
            first = cycle.index(min(cycle))
            cycles.append((*cycle[first:], *cycle[: first + 1]))
    return cycles


def _problem(cycle: tuple[str, ...], field: str) -> Problem:
    chain = " -> ".join(cycle)
    message = f"these wait for each other's amounts and can never be computed: {chain}"
    return Problem("formula_cycle", message, field)
