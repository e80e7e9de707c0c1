"""Each rule of the house bites where it should and nowhere else."""

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

LINTS = Path(__file__).parents[2] / "tools/lints.py"
ROUNDING = "src/counterfoil/core/money/rounding.py"
RULES = "src/counterfoil/business/accounts/rules.py"
DOC = '"""Says what it is for."""\n'

_spec = importlib.util.spec_from_file_location("lints", LINTS)
assert _spec is not None and _spec.loader is not None
lints = importlib.util.module_from_spec(_spec)
sys.modules["lints"] = lints
_spec.loader.exec_module(lints)


def violations(root: Path, path: str, text: str) -> list[str]:
    """The violations of one planted file, without its name."""
    file = root / path
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(text)
    return [line.removeprefix(path + ":") for line in lints.lint(root)]


@pytest.mark.parametrize(
    ("statement", "message"),
    [
        ("rate = 0.5", "float literal 0.5: write Decimal"),
        ("def f(x: float) -> None: ...", "float: use Decimal"),
        ("def f() -> 'int': return int(float('1'))", "float: use Decimal"),
        ("round(1)", "builtin round(): use counterfoil.core.money.rounding"),
    ],
)
def test_money_rooms_refuse_floats_and_round(tmp_path: Path, statement: str, message: str) -> None:
    assert violations(tmp_path, ROUNDING, DOC + statement) == [f"2: money_is_exact: {message}"]


@pytest.mark.parametrize("place", ["business/billing/due.py", "business/products/tiers.py"])
def test_billing_and_products_are_money_rooms(tmp_path: Path, place: str) -> None:
    found = violations(tmp_path, f"src/counterfoil/{place}", DOC + "RATE = 1e-3")
    assert found == ["2: money_is_exact: float literal 0.001: write Decimal"]


def test_a_float_outside_the_money_rooms_is_allowed(tmp_path: Path) -> None:
    assert violations(tmp_path, RULES, DOC + "SECONDS = 0.5\nround(SECONDS)\n") == []


def test_a_method_called_round_is_not_the_builtin(tmp_path: Path) -> None:
    assert violations(tmp_path, ROUNDING, DOC + "table.round(1)\n") == []


@pytest.mark.parametrize(
    "call", ["datetime.now(UTC)", "date.today()", "time.time()", "datetime.datetime.now()"]
)
def test_only_the_edge_reads_the_clock(tmp_path: Path, call: str) -> None:
    name = call.partition("(")[0]
    assert violations(tmp_path, RULES, DOC + call) == [
        f"2: clock_is_an_argument: {name}(): take the time as an argument"
    ]


@pytest.mark.parametrize(
    "place",
    [
        "src/counterfoil/bootstrap.py",
        "src/counterfoil/interfaces/cli/main.py",
        "bench/rating.py",
        "tests/core/test_x.py",
    ],
)
def test_the_edge_may_read_the_clock(tmp_path: Path, place: str) -> None:
    assert violations(tmp_path, place, DOC + "datetime.now(UTC)") == []


def test_measuring_a_duration_is_not_reading_the_clock(tmp_path: Path) -> None:
    assert violations(tmp_path, RULES, DOC + "time.monotonic()") == []


def test_an_import_inside_a_function_is_refused(tmp_path: Path) -> None:
    text = DOC + "def f():\n    def g():\n        import os\n    return g\n"
    assert violations(tmp_path, RULES, text) == [
        "4: imports_stand_at_the_top: import inside a function: move it to the top"
    ]


def test_a_heavy_library_may_be_imported_late_with_a_reason(tmp_path: Path) -> None:
    text = DOC + "def f():\n    import openpyxl  # noqa: PLC0415"
    assert violations(tmp_path, RULES, text + " - only for workbooks\n") == []
    assert violations(tmp_path, RULES, text + "\n") == [
        "3: imports_stand_at_the_top: import inside a function: move it to the top"
    ]


def test_a_function_may_have_sixty_lines_and_no_more(tmp_path: Path) -> None:
    sixty = DOC + "def f():\n" + "    x = 1\n" * 59
    assert violations(tmp_path, RULES, sixty) == []
    assert violations(tmp_path, RULES, sixty + "    x = 1\n") == [
        "2: functions_are_short: f has 61 lines, the most is 60"
    ]


def test_a_file_may_have_six_hundred_lines_and_no_more(tmp_path: Path) -> None:
    assert violations(tmp_path, RULES, DOC + "X = 1\n" * 599) == []
    assert violations(tmp_path, RULES, DOC + "X = 1\n" * 600) == [
        "601: files_are_short: the file has 601 lines, the most is 600"
    ]


def test_a_module_without_docstring_is_refused_unless_empty(tmp_path: Path) -> None:
    assert violations(tmp_path, RULES, "\n") == []
    assert violations(tmp_path, RULES, "X = 1\n") == [
        "1: files_say_what_they_are_for: the module has no docstring"
    ]


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("src/counterfoil/core/utils.py", "utils"),
        ("src/counterfoil/business/usage/usage_service.py", "usage_service"),
        ("src/counterfoil/common/money.py", "common"),
    ],
)
def test_names_that_say_nothing_are_refused(tmp_path: Path, path: str, part: str) -> None:
    advice = "says nothing about what is inside: name it for what it computes"
    found = violations(tmp_path, path, DOC)
    assert found == [f"1: names_mean_something: {part!r} {advice}"]


def test_the_command_prints_violations_and_fails(tmp_path: Path) -> None:
    (tmp_path / "src").mkdir()
    (tmp_path / "src/helpers.py").write_text(DOC)
    run = subprocess.run(
        [sys.executable, LINTS, tmp_path], capture_output=True, text=True, check=False
    )
    assert run.returncode == 1
    assert run.stdout.startswith("src/helpers.py:1: names_mean_something: ")
    (tmp_path / "src/helpers.py").unlink()
    assert subprocess.run([sys.executable, LINTS, tmp_path], check=False).returncode == 0
