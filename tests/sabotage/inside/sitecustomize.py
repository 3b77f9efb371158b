"""Read by Python at the start of every process of a sabotaged stack: edits the modules that `SABOTAGE` names."""

import os
import sys
from collections.abc import Mapping, Sequence
from importlib.abc import MetaPathFinder
from importlib.machinery import ModuleSpec, PathFinder, SourceFileLoader
from types import CodeType, ModuleType

from tests.sabotage.edits import SABOTAGES, Edit, edited


class _Edited(SourceFileLoader):
    """Loads a module from its edited text; what was compiled before counts for nothing."""

    def __init__(self, name: str, path: str, edits: Sequence[Edit]) -> None:
        super().__init__(name, path)
        self._edits = edits

    def get_code(self, fullname: str) -> CodeType:
        path = self.get_filename(fullname)
        text = self.get_data(path).decode("utf-8")
        return compile(edited(text, self._edits), path, "exec", dont_inherit=True)


class _Editor(MetaPathFinder):
    def __init__(self, edits: Mapping[str, Sequence[Edit]]) -> None:
        self._edits = edits

    def find_spec(
        self, fullname: str, path: Sequence[str] | None, target: ModuleType | None = None
    ) -> ModuleSpec | None:
        if fullname not in self._edits:
            return None
        spec = PathFinder.find_spec(fullname, path, target)
        if spec is not None and spec.origin:
            spec.loader = _Edited(fullname, spec.origin, self._edits[fullname])
        return spec


if name := os.environ.get("SABOTAGE"):
    sys.meta_path.insert(0, _Editor(SABOTAGES[name].edits))
