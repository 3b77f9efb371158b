"""Finding tools: the modules of ours and those that an installation names, each looked at before anything starts."""

import re
from collections.abc import Iterator
from importlib import import_module
from typing import Any

from pydantic import BaseModel

from app.domain.errors import Misconfigured
from app.domain.tools import Effect, Tool

BUILT_IN = ("app.tools.echo", "app.tools.recall", "app.tools.remember", "app.tools.timestamp")
_NAME = re.compile(r"[a-z][a-z0-9_]{0,63}")


def load_tools(named: str) -> dict[str, Tool]:
    """Every tool by name, ours first; `named` are dotted module names, comma separated. `Misconfigured` says which
    of them is none, and why.
    """
    found: dict[str, Tool] = {}
    for module in (*BUILT_IN, *filter(None, (part.strip() for part in named.split(",")))):
        for tool in _tools_of(module):
            if tool.name in found:
                raise Misconfigured(f"TOOL_MODULES is wrong: {module} brings a second tool called {tool.name}")
            found[tool.name] = tool
    return found


def _tools_of(module: str) -> Iterator[Tool]:
    try:
        tools = tuple(import_module(module).TOOLS)
    except (ImportError, SyntaxError, ValueError) as error:
        raise Misconfigured(f"TOOL_MODULES is wrong: {module} cannot be imported ({error})") from None
    except (AttributeError, TypeError):
        raise Misconfigured(f"TOOL_MODULES is wrong: {module} is no tool, it has no TOOLS") from None
    for tool in tools:
        if complaint := _complaint(tool):
            raise Misconfigured(f"TOOL_MODULES is wrong: a tool of {module} {complaint}")
        yield tool


def _complaint(tool: Any) -> str:
    missing = [name for name in ("name", "description", "effect", "arguments", "run") if not hasattr(tool, name)]
    if missing:
        return f"has no {', '.join(missing)}"
    wrong = {
        f"is called {tool.name!r}; use small letters, digits and _": not _NAME.fullmatch(str(tool.name)),
        f"has the effect {tool.effect!r}; it is one of {', '.join(Effect)}": tool.effect not in set(Effect),
        "does not describe its arguments by a pydantic model": not _is_model(tool.arguments),
        "cannot be run": not callable(tool.run),
    }
    return next((words for words, found in wrong.items() if found), "")


def _is_model(found: object) -> bool:
    return isinstance(found, type) and issubclass(found, BaseModel)
