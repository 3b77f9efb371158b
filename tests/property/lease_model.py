"""The lease rules, written a second time from the words of `docs/design/delivery.md`: a dictionary of rows, no clock,
no SQL. Both the real adapters and the fakes have to agree with it after every step.
"""

from dataclasses import dataclass, field

MAX_DEATHS = 5
ALONE_AFTER = 2
LEASE = 300.0
YOUNG = 3.0
FIRST = {"turn": "queued", "memory": "pending", "record": "pending", "tool_call": "queued"}
HELD = {"turn": "running", "memory": "pending", "record": "pending", "tool_call": "running"}


@dataclass
class ModelRow:
    """One row as it ought to be; `deaths` counts claims that ended without a word, `runs` those of a tool that may
    have begun. `turn` is the turn that waits for a call.
    """

    kind: str
    key: str
    number: int
    run_at: float
    session: str = ""
    turn: str = ""
    steps: int = 0
    to_stop: bool = False
    state: str = ""
    attempts: int = 0
    failures: int = 0
    deaths: int = 0
    runs: int = 0
    outage: bool = False
    owner: str = ""
    until: float = 0.0

    @property
    def is_owed(self) -> bool:
        return self.state in (FIRST[self.kind], HELD[self.kind])


@dataclass(frozen=True)
class Hand:
    """What an owner believes to hold: it may be a zombie's."""

    kind: str
    key: str
    owner: str
    attempts: int
    thing: object


@dataclass
class LeaseModel:
    """All rows, who is alive, and what time it is."""

    now: float = 0.0
    rows: dict[tuple[str, str], ModelRow] = field(default_factory=dict)
    alive: set[str] = field(default_factory=set)
    paused: set[str] = field(default_factory=set)

    def add(self, kind: str, key: str, session: str = "", turn: str = "") -> None:
        row = ModelRow(kind, key, len(self.rows), self.now, session, turn, state=FIRST[kind])
        self.rows.setdefault((kind, key), row)

    def of(self, kind: str) -> list[ModelRow]:
        return [row for (each, _), row in self.rows.items() if each == kind]

    # --- claims

    def may_be_claimed(self, row: ModelRow) -> bool:
        free = not row.owner or row.until <= self.now
        return row.is_owed and row.run_at <= self.now and free and self._is_next(row)

    def _is_next(self, row: ModelRow) -> bool:
        if row.kind != "turn":
            return True
        if not row.to_stop and any(call.is_owed for call in self._calls_of(row)):
            return False
        earlier = [other for other in self.of("turn") if other.session == row.session and other.number < row.number]
        return row.session not in self.paused and not any(other.is_owed for other in earlier)

    def _calls_of(self, turn: ModelRow) -> list[ModelRow]:
        return [call for call in self.of("tool_call") if call.turn == turn.key]

    def expected_claim(self, kind: str) -> tuple[set[str], set[str]]:
        """For a claim without limit: keys of which exactly one is taken (suspects), and keys that are all taken."""
        free = [row for row in self.of(kind) if self.may_be_claimed(row)]
        suspects = {row.key for row in free if row.deaths >= ALONE_AFTER}
        return (suspects, set()) if suspects else (set(), {row.key for row in free})

    def take(self, kind: str, key: str, owner: str) -> bool:
        """Claim it; false when it is set aside instead, because it killed its workers too often. A tool call is given
        to its claimer even then, who has to end it in words.
        """
        row = self.rows[kind, key]
        row.attempts += 1
        row.deaths += 1
        row.runs += kind == "tool_call"
        row.state, row.owner, row.until = HELD[kind], owner, self.now + LEASE
        if row.to_stop:
            self._end(row, "cancelled")
            self._call_off(row)
            return False
        if row.deaths > MAX_DEATHS and kind != "tool_call":
            self._end(row, "dead")
            return False
        return True

    # --- ends of claims

    def holds(self, hand: Hand) -> bool:
        row = self.rows[hand.kind, hand.key]
        return row.state == HELD[hand.kind] and (row.owner, row.attempts) == (hand.owner, hand.attempts)

    def settle(self, hands: list[Hand], state: str) -> list[str]:
        return [row.key for row in self._end_held(hands, state)]

    def finish(self, hand: Hand, state: str) -> bool:
        """The end of a turn or a tool call: a zombie's is refused aloud, and its worker says the rest."""
        return self.holds(hand) and bool(self._end(self.rows[hand.kind, hand.key], state))

    def take_step(self, hand: Hand, calls: list[str]) -> None:
        """The turn waits for these calls from now on."""
        row = self._end(self.rows["turn", hand.key], "queued")
        row.steps += 1
        row.failures = 0
        for call in calls:
            self.add("tool_call", call, row.session, row.key)

    def stop(self, session: str) -> None:
        """Somebody does not want the answer that is owed next."""
        owed = [row for row in self.of("turn") if row.session == session and row.is_owed]
        if not owed:
            return
        row = min(owed, key=lambda each: each.number)
        row.to_stop = True
        if row.state == "queued":
            row.state = "cancelled"
            self._call_off(row)

    def _call_off(self, turn: ModelRow) -> None:
        for call in self._calls_of(turn):
            if call.state == "queued":
                call.state = "cancelled"

    def give_back(self, hands: list[Hand], pause: float | None = None, outage: bool = False, run: bool = True) -> None:
        for row in self._end_held(hands, FIRST[hands[0].kind]):
            row.runs -= not run
            if pause is not None:
                row.run_at, row.outage = self.now + pause, outage
                row.failures += 1

    def wait(self, hands: list[Hand], pause: float) -> None:
        """Nobody decided: due after a pause, and neither a failure nor a run."""
        for row in self._end_held(hands, FIRST[hands[0].kind]):
            row.runs -= row.kind == "tool_call"
            row.run_at = self.now + pause

    def _end_held(self, hands: list[Hand], state: str) -> list[ModelRow]:
        """What is still held ends; an owner that brings the rest lives, so that rest is no death."""
        rows = [self._end(self.rows[hand.kind, hand.key], state) for hand in hands if self.holds(hand)]
        ended = {row.key for row in rows}
        self.survive([hand for hand in hands if hand.key not in ended])
        return rows

    def survive(self, hands: list[Hand]) -> None:
        """Their owner lives and lost them: what is still its own is given back, the rest is no death."""
        for hand in hands:
            row = self.rows[hand.kind, hand.key]
            if self.holds(hand):
                self._end(row, FIRST[hand.kind])
            elif row.is_owed and row.attempts > hand.attempts:
                row.deaths = max(row.deaths - 1, 1 if row.owner else 0)

    def lose(self, hand: Hand) -> None:
        """The process that it had for itself died."""
        if self.holds(hand):
            row = self._end(self.rows[hand.kind, hand.key], FIRST[hand.kind])
            row.deaths += 1
            row.run_at = self.now

    def _end(self, row: ModelRow, state: str) -> ModelRow:
        row.state, row.owner, row.until = state, "", 0.0
        row.deaths -= 1
        return row

    def wake(self) -> int:
        asleep = [row for row in self.of("memory") if row.is_owed and row.outage and not row.owner]
        for row in asleep:
            row.run_at, row.outage = self.now, False
        return len(asleep)

    # --- time and death

    def beat(self, owner: str, working: set[str]) -> None:
        """The heartbeat of one process: what it works on is kept, what it forgot is free."""
        for row in self.of("turn"):
            if row.owner == owner and row.key in working:
                row.until = self.now + LEASE
            elif row.owner == owner and row.until < self.now + LEASE - YOUNG:
                row.until = self.now

    def sweep(self) -> dict[str, int]:
        freed = dict.fromkeys((*FIRST, "export", "webhook"), 0)
        for row in self.rows.values():
            if row.owner and row.until > self.now and row.owner not in self.alive:
                row.until = self.now
                freed[row.kind] += 1
                if row.kind == "turn" and row.deaths > ALONE_AFTER:  # it ran elsewhere: not its doing
                    row.deaths -= 1
        return freed
