"""Keeping one part alive: start, health gate, restart with growing pauses, and the commands of a person.

One thread per part, asleep in `waitpid` while all is well. A part that fails before it was ever ready is not tried
again: that is a mistake to show, not weather to wait out.
"""

import signal
import subprocess
import threading
import time

from devstack import tree
from devstack.faults import CannotStart, Interrupted
from devstack.life import CALM_SECONDS, State, Wish, Yard, cause_of, pause_after
from devstack.part import Part

_GLANCE_SECONDS = 0.1


class Keeper:
    """The life of one part; all methods may be called from any thread."""

    def __init__(self, part: Part, yard: Yard) -> None:
        self.part = part
        self.state = State.WAITING
        self.restarts = 0
        self.reason = ""
        self.ready_at = 0.0
        self._yard = yard
        self._wish = Wish.UP
        self._deaths = 0
        self._lives = 0
        self._ready = False
        self._ever_ready = False
        self._process: subprocess.Popen[bytes] | None = None
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._live, name=f"keeper-{part.name}", daemon=True)

    @property
    def pid(self) -> int:
        """The root of the process tree; 0 while there is none."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else 0

    def start(self) -> None:
        """Begin; `wait_for` tells when it is ready."""
        self._thread.start()

    def wait_for(self, *states: State, seconds: float) -> None:
        """Wait until the part is in one of these states; `CannotStart` says why it will not be."""
        with self._changed:
            done = self._changed.wait_for(lambda: self.state in (*states, State.FAILED, State.ENDED), seconds)
            state = self.state
        if state in states:
            return
        if state == State.ENDED:
            raise Interrupted(f"{self.part.name} was ended before it was ready")
        raise CannotStart(self.reason if done else f"{self.part.name} is {state} after {seconds:.0f} s")

    # --- commands

    def kill(self) -> None:
        """SIGKILL the whole tree; it comes back by itself. Once this returns, `wait_for` means its next life."""
        lives, living = self._lives, self.pid
        tree.kill(self._yard.data_dir, self.part.name)
        with self._changed:
            self._changed.wait_for(lambda: not living or self._lives > lives, 5)

    def freeze(self) -> None:
        """SIGSTOP the whole tree."""
        if self.state in (State.RUNNING, State.STARTING):
            self._enter(State.FROZEN)
            tree.freeze(self._yard.data_dir, self.part.name)

    def thaw(self) -> None:
        """SIGCONT the whole tree."""
        if self.state == State.FROZEN:
            tree.send(tree.members(self._yard.data_dir, self.part.name), signal.SIGCONT)
            self._enter(State.RUNNING if self._ready else State.STARTING)

    def down(self) -> None:
        """End it and keep it down until `up`."""
        self._desire(Wish.DOWN)
        self._end_tree(self.part.stop_seconds)
        self.wait_for(State.DOWN, seconds=10)

    def up(self) -> None:
        """Start what was down, at once; returns when it is ready."""
        self._deaths = 0
        self._desire(Wish.UP)
        self.wait_for(State.RUNNING, State.FROZEN, seconds=self.part.start_seconds)

    def restart(self) -> None:
        """End it and start it again without a pause; returns when it is ready."""
        self.down()
        self.up()

    def end(self, seconds: float) -> None:
        """For good; after `seconds` what is left is killed."""
        self._desire(Wish.END)
        self._end_tree(seconds)
        if self._thread.ident is not None:
            self._thread.join(timeout=10)

    def _desire(self, wish: Wish) -> None:
        with self._changed:
            if self._wish != Wish.END:
                self._wish = wish
            self._changed.notify_all()

    def _enter(self, state: State) -> None:
        with self._changed:
            self.state = state
            self._changed.notify_all()

    def _end_tree(self, seconds: float) -> None:
        """Ask the root, wait, kill. A frozen tree is woken first, or it would not hear."""
        processes = tree.members(self._yard.data_dir, self.part.name)
        tree.send(processes, signal.SIGCONT)
        tree.send([process for process in processes if process.pid == self.pid], self.part.stop_signal)
        tree.wait_gone(processes, seconds if self.pid else 0)
        tree.kill(self._yard.data_dir, self.part.name)

    # --- the thread

    def _live(self) -> None:
        while self._wait_until_wanted():
            if not self._one_life():
                self._enter(State.FAILED)
                return
        self._enter(State.ENDED)

    def _wait_until_wanted(self) -> bool:
        """Sit out the pause or the time it is down; false when it is over for good."""
        pause = pause_after(self._deaths)
        with self._changed:
            if self._wish == Wish.UP and pause:
                self.state = State.PAUSING
                self._changed.wait_for(lambda: self._wish != Wish.UP, pause)
            if self._wish == Wish.DOWN:
                self.state, self._deaths = State.DOWN, 0
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._wish != Wish.DOWN)
            return self._wish == Wish.UP

    def _one_life(self) -> bool:
        """From spawn to death; false when it died before it was ever ready and nobody wished it."""
        started = time.monotonic()
        self._ready = False
        self._enter(State.STARTING)
        try:
            self.part.renew()
            process = self._spawn()
        except (OSError, CannotStart) as error:
            return self._mourn(str(error), 0.0)
        complaint = self._wait_for_gate(process, started)
        if not complaint:
            self._announce(started)
        else:
            tree.kill(self._yard.data_dir, self.part.name)
        returncode = process.wait()
        tree.kill(self._yard.data_dir, self.part.name)
        return self._mourn(complaint or cause_of(returncode), time.monotonic() - started)

    def _spawn(self) -> "subprocess.Popen[bytes]":
        self._process = self._yard.spawn(self.part)
        tree.note_root(self._yard.data_dir, self.part.name, self._process.pid)
        return self._process

    def _wait_for_gate(self, process: "subprocess.Popen[bytes]", started: float) -> str:
        """An empty string once the gate is open, else why it did not open."""
        until = started + self.part.start_seconds
        while process.poll() is None:
            if self._wish != Wish.UP:
                return "was called off"
            if self.state == State.FROZEN:
                until += _GLANCE_SECONDS
            elif time.monotonic() - started >= self.part.settle_seconds and self.part.gate():
                return ""
            if time.monotonic() > until:
                return f"was not ready after {self.part.start_seconds:.0f} s"
            time.sleep(_GLANCE_SECONDS)
        return cause_of(process.returncode)

    def _announce(self, started: float) -> None:
        self.ready_at = time.monotonic()
        if self._ever_ready and self._deaths:
            self._yard.say(self.part.name, f"is back after {self.ready_at - started:.1f} s")
        self._ever_ready = self._ready = True
        if self.state == State.STARTING:
            self._enter(State.RUNNING)

    def _mourn(self, cause: str, lived: float) -> bool:
        """Note the death; false when it means that the start has failed."""
        name = self.part.name
        if self._wish != Wish.UP:
            self.reason = ""
            return True
        words = self._yard.journal.last_words(name) if "status" in cause or "ready" in cause else ""
        self.reason = f"{name} {cause}" + (f": {words}" if words else "")
        self._yard.journal.note(name, self.reason)
        if not self._ever_ready:
            self.reason += f"; see {self._yard.journal.path(name)}"
            return False
        self.restarts += 1
        self._deaths = 1 if lived > CALM_SECONDS else self._deaths + 1
        with self._changed:
            self.state = State.PAUSING
            self._lives += 1
            self._changed.notify_all()
        self._yard.say(name, f"{cause}{f': {words}' if words else ''}; starting again in {pause_after(self._deaths)} s")
        return True
