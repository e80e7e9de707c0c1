"""The rules of this house that ruff does not know, checked on the syntax tree.

Run as ``python tools/lints.py [FOLDER]``: prints ``file:line: rule: message`` for each violation
and exits with 1 when there is one. ``make check`` runs it on the repository.
"""

import ast
import re
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

LONGEST_FUNCTION = 60
LONGEST_FILE = 600
EMPTY_NAMES = frozenset({"utils", "helpers", "manager", "service", "common"})
CHECKED = ("src", "tools", "bench", "tests")
MONEY = (
    "src/counterfoil/core/",
    "src/counterfoil/business/billing/",
    "src/counterfoil/business/incentives/",
    "src/counterfoil/business/products/",
    "src/counterfoil/business/receivables/",
    "src/counterfoil/business/sales/",
)
CLOCK_READERS = ("src/counterfoil/bootstrap.py", "src/counterfoil/interfaces/", "bench/", "tests/")
LATE_IMPORT = re.compile(r"# noqa: PLC0415 - \w")
CLOCK_CALLS = frozenset(
    {
        "datetime.now",
        "datetime.utcnow",
        "datetime.today",
        "datetime.datetime.now",
        "datetime.datetime.utcnow",
        "datetime.datetime.today",
        "date.today",
        "datetime.date.today",
        "time.time",
        "time.time_ns",
    }
)


@dataclass(frozen=True, slots=True)
class Source:
    """One Python file: its path from the repository's root, its text and its syntax tree."""

    path: str
    text: str
    tree: ast.Module

    def within(self, places: tuple[str, ...]) -> bool:
        """Whether the file is, or lies under, one of the places."""
        return self.path.startswith(places)


Violation = tuple[int, str]
Rule = Callable[[Source], Iterator[Violation]]


def money_is_exact(source: Source) -> Iterator[Violation]:
    """Money rooms know no float: no literal, no annotation, no conversion, no builtin round."""
    if not source.within(MONEY):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Constant) and isinstance(node.value, float):
            yield node.lineno, f"float literal {node.value!r}: write Decimal"
        elif isinstance(node, ast.Name) and node.id == "float":
            yield node.lineno, "float: use Decimal"
        elif isinstance(node, ast.Call) and _called(node) == "round":
            yield node.lineno, "builtin round(): use counterfoil.core.money.rounding"


def clock_is_an_argument(source: Source) -> Iterator[Violation]:
    """Only the edge reads the clock; everything else is told what time it is."""
    if source.within(CLOCK_READERS):
        return
    for node in ast.walk(source.tree):
        if isinstance(node, ast.Call) and _called(node) in CLOCK_CALLS:
            yield node.lineno, f"{_called(node)}(): take the time as an argument"


def imports_stand_at_the_top(source: Source) -> Iterator[Violation]:
    """An import inside a function hides a dependency, and often a cycle.

    A heavy library that few need may be imported late where the line says so, with the reason.
    """
    lines = source.text.splitlines()
    found = {
        node.lineno
        for function in _functions(source.tree)
        for node in ast.walk(function)
        if isinstance(node, ast.Import | ast.ImportFrom)
        and not LATE_IMPORT.search(lines[node.lineno - 1])
    }
    for line in sorted(found):
        yield line, "import inside a function: move it to the top"


def functions_are_short(source: Source) -> Iterator[Violation]:
    """A function of the program fits on a screen, from ``def`` to its last line."""
    if not source.within(("src/", "tools/")):
        return
    for function in _functions(source.tree):
        length = (function.end_lineno or function.lineno) - function.lineno + 1
        if length > LONGEST_FUNCTION:
            yield (
                function.lineno,
                f"{function.name} has {length} lines, the most is {LONGEST_FUNCTION}",
            )


def files_are_short(source: Source) -> Iterator[Violation]:
    """A file is about one thing."""
    length = len(source.text.splitlines())
    if length > LONGEST_FILE:
        yield length, f"the file has {length} lines, the most is {LONGEST_FILE}"


def files_say_what_they_are_for(source: Source) -> Iterator[Violation]:
    """Every module opens with a docstring; an empty marker file has nothing to say."""
    if source.text.strip() and not ast.get_docstring(source.tree):
        yield 1, "the module has no docstring"


def names_mean_something(source: Source) -> Iterator[Violation]:
    """No file or folder is named for being a place to put things."""
    path = PurePosixPath(source.path)
    for part in (*path.parts[:-1], path.stem):
        words = EMPTY_NAMES & {part, *part.split("_")}
        if words:
            yield 1, f"{part!r} says nothing about what is inside: name it for what it computes"


RULES: tuple[Rule, ...] = (
    money_is_exact,
    clock_is_an_argument,
    imports_stand_at_the_top,
    functions_are_short,
    files_are_short,
    files_say_what_they_are_for,
    names_mean_something,
)


def lint(root: Path) -> list[str]:
    """Every violation under ``root``, as ``file:line: rule: message`` in order of place."""
    found = [
        (source.path, line, f"{rule.__name__}: {message}")
        for source in _sources(root)
        for rule in RULES
        for line, message in rule(source)
    ]
    return [f"{path}:{line}: {text}" for path, line, text in sorted(found)]


def _sources(root: Path) -> Iterator[Source]:
    for folder in CHECKED:
        for file in sorted((root / folder).rglob("*.py")):
            text = file.read_text(encoding="utf-8")
            yield Source(file.relative_to(root).as_posix(), text, ast.parse(text, str(file)))


def _functions(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
            yield node


def _called(call: ast.Call) -> str:
    """The dotted name of what is called, such as ``datetime.now``; empty when it has none."""
    parts: list[str] = []
    node = call.func
    while isinstance(node, ast.Attribute):
        parts.append(node.attr)
        node = node.value
    if not isinstance(node, ast.Name):
        return ""
    return ".".join([node.id, *reversed(parts)])


def main() -> int:
    """Lint the repository that this file belongs to, or the folder that is named."""
    named = sys.argv[1:]
    root = Path(named[0]) if named else Path(__file__).resolve().parent.parent
    violations = lint(root)
    for violation in violations:
        print(violation)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
