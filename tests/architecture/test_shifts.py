"""Tests that share something costly are run by one process, in an order that keeps nobody waiting at the end."""

import re

from tests.architecture import source
from tests.architecture.source import Module
from tests.shifts import ON_THE_STACK, shift_of


def asks_for_the_stack(module: Module) -> bool:
    """As an argument; a file with a fixture of that name means its own."""
    return bool(re.search(r"\bstack: Stack[,)]", module.text)) and "def stack(" not in module.text


def test_every_file_that_uses_the_stack_is_run_by_the_process_that_has_it() -> None:
    assert {str(module.path) for module in source.modules("tests") if asks_for_the_stack(module)} == ON_THE_STACK


def test_the_page_is_one_shift_and_every_other_file_one_of_its_own() -> None:
    assert shift_of("tests/browser/test_page.py::test_a") == shift_of("tests/browser/test_breaks.py::test_b[1]")
    assert shift_of("tests/browser/test_real_stack.py::test_a") == shift_of("tests/acceptance/test_cancel.py::test_b")
    assert shift_of("tests/unit/test_cursor.py::test_a[x::y]") == "tests/unit/test_cursor.py"
