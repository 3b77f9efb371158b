"""`Policy` by Rego that is evaluated in this process: the files of one folder, read once.

The interpreter is rego-cpp's, which is not safe for threads: one for the process, under a lock. A decision takes it
about 0.05 ms. Nothing of what is asked is kept.
"""

import logging
import re
import threading
from collections.abc import Iterator
from json import JSONDecodeError
from pathlib import Path
from typing import Any

from regopy import Interpreter, LogLevel, RegoError

from app.domain.errors import Misconfigured, PolicyUnavailable
from app.domain.policy import Decision, PolicyQuestion, Standing, decision_on

_ENTRYPOINT = "soma/policy/allow"
_DATA = "data.json"
_PACKAGE = re.compile(r"^[ \t]*package[ \t]+\S", re.MULTILINE)
_RULE = re.compile(r"^(?!package\b|import\b)[A-Za-z_]\w*", re.MULTILINE)
_PLACE = re.compile(r":(?P<file>[^|:]+)\|(?P<offset>\d+)\|")
_WORDS = re.compile(r"\(errormsg \d+:(?P<words>.*)\)")
_log = logging.getLogger(__name__)


class RegoPolicy:
    """Safe for many threads; `Misconfigured`, with file and line, where the folder holds no policy that decides."""

    def __init__(self, folder: Path) -> None:
        self._lock = threading.Lock()
        self._interpreter = Interpreter()
        self._interpreter.log_level = LogLevel.NONE
        files = _files(folder)
        self._rules = sum(_add(self._interpreter, path, source) for path, source in files)
        self._place = folder.name
        _add_data(self._interpreter, folder / _DATA)
        self._bundle = self._interpreter.build(None, [_ENTRYPOINT])
        self._check(files[0][0])

    def decide(self, question: PolicyQuestion) -> Decision:
        """In this process; `PolicyUnavailable` where the rules give no answer, or more than one."""
        found = self._ask(question.as_json())
        if found is None:
            _log.error("the rules of %s/ give no decision on %s", self._place, question.action)
            raise PolicyUnavailable("the policy's rules decide neither yes nor no, so nothing is allowed")
        return decision_on(question, found)

    def standing(self) -> Standing:
        """Always there."""
        return Standing("ok", f"{self._rules} rule{'s' if self._rules != 1 else ''} from {self._place}/")

    def _ask(self, given: dict[str, Any]) -> bool | None:
        """What the rules say; None where that is neither yes nor no."""
        try:
            with self._lock:
                self._interpreter.set_input(given)
                answer = self._interpreter.query_bundle_entrypoint(self._bundle, _ENTRYPOINT)
                said: list[Any] = answer.results[0].expressions if answer.ok() and answer.results else []
        except (RegoError, JSONDecodeError, UnicodeEncodeError) as error:
            _log.error("a policy could not be evaluated: %s", error)
            return None
        # Not by equality: 1 is no yes.
        return said[0] if len(said) == 1 and isinstance(said[0], bool) else None

    def _check(self, path: Path) -> None:
        """A question that no rule expects has to be decided, too: by a default."""
        if self._ask({}) is None:
            raise Misconfigured(
                f"the policy in {path.parent.name}/ decides nothing: soma.policy.allow has to be true or false for"
                f" every input; begin with `default allow := false` (first file: {path.name}, line 1)"
            )


def _files(folder: Path) -> list[tuple[Path, str]]:
    """The policies, their tests left out."""
    paths = sorted(path for path in folder.glob("*.rego") if not path.name.endswith("_test.rego"))
    if not paths:
        raise Misconfigured(f"POLICY_DIR: there is no .rego file in {folder.name}/; write one, or set OPA_URL")
    try:
        return [(path, path.read_text(encoding="utf-8")) for path in paths]
    except (OSError, UnicodeDecodeError):
        raise Misconfigured(f"a .rego file in {folder.name}/ cannot be read as text; correct it") from None


def _add(interpreter: Interpreter, path: Path, source: str) -> int:
    """The number of its rules."""
    if not _PACKAGE.search(source):
        raise Misconfigured(f"{path.parent.name}/{path.name}, line 1: a policy begins with `package soma.policy`")
    try:
        interpreter.add_module(path.name, source)
    except RegoError as error:
        raise Misconfigured(f"{path.parent.name}/{_explained(str(error), path.name, source)}; correct it") from None
    return len(_RULE.findall(source))


def _add_data(interpreter: Interpreter, path: Path) -> None:
    if not path.exists():
        return
    source = path.read_text(encoding="utf-8")
    try:
        interpreter.add_data_json(source)
    except RegoError as error:
        raise Misconfigured(f"{path.parent.name}/{_explained(str(error), path.name, source)}; correct it") from None


def _explained(error: str, file: str, source: str) -> str:
    """`file, line n: what is wrong`; the error tells its places in bytes."""
    raw = source.encode()
    lines = [raw[: int(place["offset"])].count(b"\n") + 1 for place in _PLACE.finditer(error)]
    return f"{file}, line {lines[0] if lines else 1}: {next(_said(error), 'it is no Rego')}"


def _said(error: str) -> Iterator[str]:
    for found in _WORDS.finditer(error):
        yield found["words"]
