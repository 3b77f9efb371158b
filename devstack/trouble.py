"""Which lines of a log a person should see, and how: worrying ones, without the wrapping of JSON."""

import json
import re

_ALARM = re.compile(
    r"\b(WARN(ING)?|ERROR|CRITICAL|FATAL|PANIC|SEVERE|warning|error|critical)\b"
    r"|^\w[\w.]*(Error|Exception|Misconfigured)\b"
)
# True of most machines, harmless here, and not for the person in front of this to change.
_CALM = re.compile(
    r"Memory overcommit must be enabled|the database system is (not yet|starting|shutting)|logfile -> \[stderr\]"
    r"|Background on this error at"
)
_ALARMING_LEVELS = frozenset({"WARNING", "ERROR", "CRITICAL"})


def trouble_in(line: str) -> str:
    """The line as a person should see it; nothing when it is no trouble."""
    if line.startswith("{"):
        return _from_json(line)
    return line if _ALARM.search(line) and not _CALM.search(line) else ""


def _from_json(line: str) -> str:
    try:
        entry = json.loads(line)
        level, message = str(entry["level"]), str(entry["message"])
    except (ValueError, KeyError, TypeError):
        return ""
    reason = str(entry.get("exception", "")).rstrip().rpartition("\n")[2]
    return f"{level} {message}{f' ({reason})' if reason else ''}" if level in _ALARMING_LEVELS else ""
