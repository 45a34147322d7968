"""No test is left out silently: every skip gives a reason of `tests/skips.py`, and every reason there is given somewhere."""

import ast
from pathlib import Path

from tests import skips

TESTS = Path(__file__).parent
REASONS = {name for name in vars(skips) if name.isupper()}
SKIPS = {"skip", "skipif", "importorskip", "xfail"}


def skipping(file: Path) -> list[ast.Call]:
    calls = (node for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Call))
    return [
        call
        for call in calls
        if isinstance(call.func, ast.Attribute) and call.func.attr in SKIPS and ast.unparse(call.func).startswith("pytest.")
    ]


def reason(call: ast.Call) -> str | None:
    """The name in `tests/skips.py` that the call gives, alone or at the beginning of a text."""
    given = next((keyword.value for keyword in call.keywords if keyword.arg == "reason"), call.args[0] if call.args else None)
    if isinstance(given, ast.JoinedStr) and isinstance(given.values[0], ast.FormattedValue):
        given = given.values[0].value
    named = isinstance(given, ast.Attribute) and isinstance(given.value, ast.Name) and given.value.id == "skips"
    return given.attr if named else None


def test_every_skip_gives_a_reason_of_the_list_and_every_reason_is_given():
    given: set[str] = set()
    for file in sorted(TESTS.rglob("*.py")):
        for call in skipping(file):
            name = reason(call)
            assert name in REASONS, f"{file.relative_to(TESTS)}, line {call.lineno}: give a reason of `tests/skips.py`"
            given.add(name)
    assert given == REASONS


def test_decorators_that_skip_without_a_call_are_not_used():
    for file in sorted(TESTS.rglob("*.py")):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
                marks = {ast.unparse(mark) for mark in node.decorator_list}
                assert not marks & {"pytest.mark.skip", "pytest.mark.xfail"}, f"{file.relative_to(TESTS)}, line {node.lineno}"
