"""The project as text and syntax trees, for the tests that hold the code to its own rules."""

import ast
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache, cached_property, lru_cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
PRODUCT = ("app", "tasks", "webui", "migrations", "devstack", "drills", "bench")
NOT_OURS = frozenset({"var", "node_modules", "__pycache__", "build", "dist"})

Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Module:
    """One Python file; `path` is relative to the project."""

    path: Path

    @cached_property
    def text(self) -> str:
        """The source."""
        return (ROOT / self.path).read_text(encoding="utf-8")

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text, str(self.path))

    @cached_property
    def nodes(self) -> tuple[ast.AST, ...]:
        """Every node of the tree."""
        return tuple(ast.walk(self.tree))

    @property
    def functions(self) -> Iterator[Function]:
        """Every function and method, nested ones too."""
        return (node for node in self.nodes if isinstance(node, Function))

    def at(self, node: ast.stmt | ast.ExceptHandler, words: str) -> str:
        """A finding with its place, to be printed by a failing test."""
        return f"{self.path}:{node.lineno} {words}"


@lru_cache(maxsize=1)
def files() -> tuple[Path, ...]:
    """Every file that belongs to the project, relative to it; nothing generated, nothing downloaded."""
    return tuple(sorted(path.relative_to(ROOT) for path in _walk(ROOT)))


def _walk(folder: Path) -> Iterator[Path]:
    for entry in folder.iterdir():
        if entry.name in NOT_OURS or entry.name.endswith(".egg-info"):
            continue
        if entry.is_file():
            yield entry
        elif entry.is_dir() and (not entry.name.startswith(".") or entry.name == ".ci"):
            yield from _walk(entry)


def modules(*folders: str) -> Iterator[Module]:
    """The Python files of these folders, and those at the top of the project when no folder is named."""
    for path in files():
        if path.suffix == ".py" and (path.parts[0] in folders if folders else len(path.parts) == 1):
            yield _module(path)


@cache
def _module(path: Path) -> Module:
    """Every rule looks at every file: each is read and parsed once."""
    return Module(path)


def product() -> Iterator[Module]:
    """All code that ships, without the migrations' versions, which are history."""
    for module in (*modules(*PRODUCT), *modules()):
        if module.path.parent != Path("migrations/versions"):
            yield module


def lines_of(function: Function) -> int:
    """How long a function's body is, its docstring not counted."""
    body = function.body
    begins = body[1:] if ast.get_docstring(function) is not None else body
    return (body[-1].end_lineno or 0) - begins[0].lineno + 1 if begins else 0


def dotted(node: ast.AST) -> str:
    """`a.b.c` of a name, an attribute or a call of one; empty for anything else."""
    if isinstance(node, ast.Call):
        return dotted(node.func)
    if isinstance(node, ast.Attribute):
        return f"{dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def imported(module: Module) -> Iterator[tuple[ast.stmt, str]]:
    """Every import statement of a module with the dotted name that it brings in."""
    for node in module.nodes:
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node, alias.name
        elif isinstance(node, ast.ImportFrom):
            yield node, node.module or "."
