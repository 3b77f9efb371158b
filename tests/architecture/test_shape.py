"""The shape of the code: small modules and functions, no hidden imports, no swallowed errors, no empty names."""

import ast
import re
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.architecture import source
from tests.architecture.source import ROOT, Module

LONGEST_MODULE = 250
LONGEST_FUNCTION = 30
LONGEST_TASK = 10
BROAD = frozenset({"", "Exception", "BaseException"})
MAY_CATCH_ANYTHING = frozenset({Path("tasks/base.py"), Path("app/gateway/errors.py")})
EMPTY_NAMES = frozenset({"util", "utils", "helper", "helpers", "manager", "managers", "common", "misc"})
LEFT_OPEN = re.compile(r"\b(TO" + r"DO|FIX" + r"ME|X" + r"XX)\b")
ONE_MACHINE = re.compile(r"(?<![\w.$}])/(?:work|farm|root|home/\w+|Users/\w+)/")

Rule = Callable[[Module], Iterator[str]]


def long_modules(module: Module) -> Iterator[str]:
    lines = module.text.count("\n")
    if lines > LONGEST_MODULE:
        yield f"{module.path} has {lines} lines, at most {LONGEST_MODULE}"


def long_functions(module: Module) -> Iterator[str]:
    for function in module.functions:
        if (lines := source.lines_of(function)) > LONGEST_FUNCTION:
            yield module.at(function, f"{function.name} has {lines} lines, at most {LONGEST_FUNCTION}")


def imports_inside_functions(module: Module) -> Iterator[str]:
    for function in module.functions:
        for node in ast.walk(function):
            if isinstance(node, ast.Import | ast.ImportFrom):
                yield module.at(node, f"imports inside {function.name}")


def swallowed_errors(module: Module) -> Iterator[str]:
    """Broad handlers; one that ends by raising again swallows nothing."""
    for node in module.nodes:
        if not isinstance(node, ast.ExceptHandler) or module.path in MAY_CATCH_ANYTHING:
            continue
        last = node.body[-1]
        raises_again = isinstance(last, ast.Raise) and last.exc is None
        if BROAD & _caught(node) and not raises_again:
            yield module.at(node, "catches everything")


def _caught(handler: ast.ExceptHandler) -> set[str]:
    kinds = handler.type.elts if isinstance(handler.type, ast.Tuple) else [handler.type]
    return {source.dotted(kind) if kind else "" for kind in kinds}


def names_that_say_nothing(module: Module) -> Iterator[str]:
    parts = {part.removesuffix(".py") for part in module.path.parts}
    if empty := parts & EMPTY_NAMES:
        yield f"{module.path} is called {', '.join(empty)}"
    for node in module.nodes:
        if isinstance(node, ast.ClassDef) and re.search(r"(Manager|Helper|Utils?|Common)$", node.name):
            yield module.at(node, f"class {node.name}")


def missing_docstrings(module: Module) -> Iterator[str]:
    if module.text.strip() and not ast.get_docstring(module.tree):
        yield f"{module.path} does not say its role"


def work_left_open(module: Module) -> Iterator[str]:
    for number, line in enumerate(module.text.splitlines(), 1):
        if LEFT_OPEN.search(line):
            yield f"{module.path}:{number} {line.strip()}"


RULES: tuple[Rule, ...] = (
    long_modules,
    long_functions,
    imports_inside_functions,
    swallowed_errors,
    names_that_say_nothing,
    missing_docstrings,
    work_left_open,
)


@pytest.mark.parametrize("rule", RULES, ids=lambda rule: rule.__name__)
def test_the_code_keeps_its_shape(rule: Rule) -> None:
    found = [finding for module in source.product() for finding in rule(module)]

    assert not found, "\n".join(found)


def test_a_task_is_a_door_of_few_lines_without_try() -> None:
    found = []
    for module in source.modules("tasks"):
        for function in module.functions:
            if not any(source.dotted(door).endswith(("task", "shared_task")) for door in function.decorator_list):
                continue
            if (lines := source.lines_of(function)) > LONGEST_TASK:
                found.append(module.at(function, f"{function.name} has {lines} lines, at most {LONGEST_TASK}"))
            if any(isinstance(node, ast.Try | ast.TryStar) for node in ast.walk(function)):
                found.append(module.at(function, f"{function.name} holds a try"))

    assert not found, "\n".join(found)


def test_no_file_names_a_folder_of_one_machine() -> None:
    found = []
    for path in source.files():
        text = (ROOT / path).read_bytes().decode("utf-8", errors="replace")
        lines = enumerate(text.splitlines(), 1) if "\x00" not in text else ()
        found += [f"{path}:{number} {line.strip()[:100]}" for number, line in lines if ONE_MACHINE.search(line)]

    assert not found, "\n".join(found)
