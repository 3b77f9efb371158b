"""Which tests run together and in which order, so that several processes have little to start and end at one time."""

from pathlib import PurePath
from typing import Any

import pytest
from xdist.scheduler import LoadFileScheduling

_FOLDERS = ("property", "acceptance", "browser", "stack", "integration", "contracts", "unit", "architecture")
"""Whatever takes minutes goes first: who begins last, with a file of seconds, keeps nobody waiting. The stack comes in
the middle, because it costs as long as it runs, which is to the end. A folder that is not here may be slow: before all.
"""

ON_THE_STACK = frozenset(
    f"tests/{file}.py"
    for file in (
        "acceptance/test_budgets", "acceptance/test_cancel", "acceptance/test_conversation_control",
        "acceptance/test_conversation_rows", "acceptance/test_dead_letters", "acceptance/test_events",
        "acceptance/test_figures_in_outages", "acceptance/test_llama_tools", "acceptance/test_mcp",
        "acceptance/test_memory_plane", "acceptance/test_memory_routes", "acceptance/test_openai",
        "acceptance/test_our_somabrain", "acceptance/test_rebuild", "acceptance/test_the_line",
        "browser/test_real_stack",
    )
)  # fmt: skip
"""One process runs all that use the fixture `stack`: another stack would cost a core a minute of its time."""


def shift_of(nodeid: str) -> str:
    """What one process runs in one go: the tests of a file, of the page, or of the one stack."""
    file = nodeid.partition("::")[0]
    if file in ON_THE_STACK:
        return "tests/stack"
    return "tests/browser" if file.startswith("tests/browser/") else file


def _turn(item: pytest.Item) -> tuple[int, str]:
    shift = shift_of(item.nodeid)
    folder = PurePath(shift).parts[1]
    return (_FOLDERS.index(folder) if folder in _FOLDERS else -1, shift)


def in_order(items: list[pytest.Item]) -> list[pytest.Item]:
    """By shifts; within one they stay as they were found."""
    return sorted(items, key=_turn)


class Shifts(LoadFileScheduling):
    """Hands out shift after shift, in the order of the tests."""

    def __init__(self, config: pytest.Config, log: Any) -> None:
        config.option.loadscopereorder = False
        super().__init__(config, log)

    def _split_scope(self, nodeid: str) -> str:
        return shift_of(nodeid)
