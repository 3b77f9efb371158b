"""In-memory stand-ins for the ports; each is held to its real adapter by a contract suite."""

from tests.fakes_brain import InMemoryBrain
from tests.fakes_desk import InMemoryDeadLetters, InMemoryWorkDesk
from tests.fakes_exports import InMemoryExports
from tests.fakes_live import InMemoryFeed
from tests.fakes_parts import (
    BreaksOff,
    FakeClock,
    RecordingBroadcast,
    RecordingDoorbell,
    RecordingNotes,
    Ring,
    ScriptedModel,
    ScriptedPolicy,
    WishedStops,
)
from tests.fakes_store import InMemoryStore
from tests.fakes_wal import InMemoryReplica, InMemoryWal

__all__ = [
    "BreaksOff",
    "FakeClock",
    "InMemoryBrain",
    "InMemoryDeadLetters",
    "InMemoryExports",
    "InMemoryFeed",
    "InMemoryReplica",
    "InMemoryStore",
    "InMemoryWal",
    "InMemoryWorkDesk",
    "RecordingBroadcast",
    "RecordingDoorbell",
    "RecordingNotes",
    "Ring",
    "ScriptedModel",
    "ScriptedPolicy",
    "WishedStops",
]
