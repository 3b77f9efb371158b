"""What can be taken out of the product to see the drills notice: each sabotage is a few edits of a module's text.

The edits are made while a process of the drill's stack imports the module (`inside/sitecustomize.py`). Nothing is left
in the code, and an edit that does not fit any more stops the process instead of sabotaging nothing.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

Edit = tuple[str, str]


@dataclass(frozen=True)
class Sabotage:
    """What is taken away, the fault that has to bring it to light, and the promise that has to break."""

    fault: str
    breaks: str
    edits: Mapping[str, Sequence[Edit]]


_QUEUE_WHEN_RUNG = '''
        with transaction(self._engine) as connection:
            connection.execute(text("""
                INSERT INTO turns (event_id, session_id, seq, tenant, persona_id, metadata)
                SELECT event_id, session_id, seq, tenant, payload ->> 'persona_id', payload -> 'metadata'
                FROM session_events WHERE event_id = :event_id ON CONFLICT DO NOTHING"""), {"event_id": event_id})
'''

SABOTAGES: dict[str, Sabotage] = {
    "fencing removed": Sabotage(
        fault="F3",
        breaks="I3",
        edits={
            "app.adapters.sql.leases": [
                (
                    "AND {_IS_OURS}\n            RETURNING",
                    "\n            RETURNING",
                )
            ],
            "app.adapters.sql.turns": [
                (
                    "AND t.lease_owner IS NOT DISTINCT FROM said.owner AND t.attempts = said.attempts\n        FOR",
                    "\n        FOR",
                ),
                ("AND lease_owner = :owner AND attempts = :attempts FOR UPDATE", "FOR UPDATE"),
            ],
        },
    ),
    "sweep off": Sabotage(
        fault="F1",
        breaks="I1",
        edits={
            "app.services.sweep": [
                (
                    "    freed = leases.end_leases_of_the_dead()\n",
                    "    return {}\n    freed = leases.end_leases_of_the_dead()\n",
                )
            ]
        },
    ),
    "offsets before rows": Sabotage(
        fault="F27",
        breaks="I5",
        edits={
            "app.services.replicate_wal": [
                ("    bridge.reader.commit(batch)\n", ""),
                (
                    "    changed = bridge.replica.store(",
                    "    bridge.reader.commit(batch)\n    changed = bridge.replica.store(",
                ),
            ],
            "app.adapters.sql.replica": [
                (
                    "            _advance(connection, batch)\n",
                    "            _advance(connection, batch)\n        with transaction(self._engine) as connection:\n",
                )
            ],
        },
    ),
    "a ring instead of a row": Sabotage(
        fault="F8",
        breaks="I1",
        edits={
            "app.adapters.sql.inbox": [
                ("        VALUES (:event_id,", "        SELECT :event_id,"),
                (":deliver_before, :subject)),", ":deliver_before, :subject WHERE false),"),
            ],
            "app.adapters.sql.turns": [
                (
                    "        return next(map(_turn, self._claim(1, [event_id])), None)\n",
                    f"{_QUEUE_WHEN_RUNG}        return next(map(_turn, self._claim(1, [event_id])), None)\n",
                )
            ],
        },
    ),
}


def edited(text: str, edits: Sequence[Edit]) -> str:
    """The text with every edit made; `ValueError` where a passage is not there exactly once."""
    for passage, instead in edits:
        if (times := text.count(passage)) != 1:
            raise ValueError(f"the passage to be sabotaged is there {times} times: {passage.strip()!r}")
        text = text.replace(passage, instead)
    return text
