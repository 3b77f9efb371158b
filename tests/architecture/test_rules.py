"""The rules themselves must be able to say no: each finds the one thing that is wrong with a small module."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.architecture import source
from tests.architecture.source import Module
from tests.architecture.test_shape import (
    ONE_MACHINE,
    Rule,
    imports_inside_functions,
    long_functions,
    long_modules,
    missing_docstrings,
    names_that_say_nothing,
    swallowed_errors,
    work_left_open,
)

BAD: dict[str, tuple[Rule, str]] = {
    "a long module": (long_modules, '"""Doc."""\n' + "x = 1\n" * 250),
    "a long function": (long_functions, "def f():\n" + "    x = 1\n" * 31),
    "a hidden import": (imports_inside_functions, "def f():\n    import os\n"),
    "a bare except": (swallowed_errors, "try:\n    f()\nexcept:\n    pass\n"),
    "a broad except": (swallowed_errors, "try:\n    f()\nexcept (ValueError, Exception) as e:\n    log(e)\n"),
    "a class called manager": (names_that_say_nothing, "class SessionManager:\n    pass\n"),
    "no docstring": (missing_docstrings, "x = 1\n"),
    "work left open": (work_left_open, "x = 1  # TO" + "DO later\n"),
}

GOOD: dict[str, tuple[Rule, str]] = {
    "a docstring does not make a function long": (
        long_functions,
        'def f():\n    """' + "word\n" * 40 + '"""\n' + "    x = 1\n" * 30,
    ),
    "a handler that raises again": (swallowed_errors, "try:\n    f()\nexcept BaseException:\n    g()\n    raise\n"),
    "a named error": (swallowed_errors, "try:\n    f()\nexcept ValueError:\n    pass\n"),
    "an empty module": (missing_docstrings, ""),
}


def findings(rule: Rule, text: str, folder: Path) -> Iterator[str]:
    path = folder / "module.py"
    path.write_text(text, encoding="utf-8")
    return rule(Module(path))


@pytest.mark.parametrize(("rule", "text"), BAD.values(), ids=BAD.keys())
def test_a_rule_finds_what_is_wrong(rule: Rule, text: str, tmp_path: Path) -> None:
    assert len(list(findings(rule, text, tmp_path))) == 1


@pytest.mark.parametrize(("rule", "text"), GOOD.values(), ids=GOOD.keys())
def test_a_rule_leaves_what_is_right_alone(rule: Rule, text: str, tmp_path: Path) -> None:
    assert not list(findings(rule, text, tmp_path))


def test_folders_of_one_machine_are_told_from_folders_of_a_container() -> None:
    mine = "/" + "home/ann/x"

    assert ONE_MACHINE.search(f"path = '{mine}/'")
    assert not ONE_MACHINE.search("/srv/soma and var/work/ and https://example.org/work/x")


def test_there_is_something_to_look_at() -> None:
    assert len(list(source.product())) > 50
    assert any(path.name == "docker-compose.yml" for path in source.files())
