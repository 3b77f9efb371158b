"""What all answers of this process have come to, made durable together: one statement for all of them, five times a
second while there is something new. So a model that falls silent keeps no word back, and two hundred answers at once
cost Postgres no more transactions than one.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

from app.domain.conversation import Turn
from app.domain.errors import LeaseLost, Rejected, StoreUnavailable
from app.domain.kept_text import Saved

EVERY_SECONDS = 0.2
"""How old a text may be that is not durable yet."""
_LONG = 64 * 1024
_log = logging.getLogger(__name__)

Save = Callable[[Sequence[tuple[Turn, str]]], Saved]


class Sheet:
    """`Page` of one attempt."""

    def __init__(self, turn: Turn, tell: Callable[[], None]) -> None:
        self.turn = turn
        self.lost = False
        self._tell = tell
        self._pieces: list[str] = []
        self._kept_length = self._length = 0

    def add(self, text: str) -> None:
        """Note it; somebody else writes it down."""
        if self.lost:
            raise LeaseLost("the turn belongs to another attempt")
        self._pieces.append(text)
        self._length += len(text)
        self._tell()

    @property
    def is_new(self) -> bool:
        """Whether there is more than is durable."""
        return not self.lost and self._length > self._kept_length

    def text(self) -> str:
        """The text so far."""
        number = len(self._pieces)
        joined = "".join(self._pieces[:number])
        self._pieces[:number] = [joined]
        return joined

    def keep(self, length: int) -> None:
        """So many characters are durable."""
        self._kept_length = length


class SharedScribe:
    """`Scribe` with one thread for all attempts of its process."""

    def __init__(self, save: Save, every_seconds: float = EVERY_SECONDS) -> None:
        self._save = save
        self._every = every_seconds
        self._sheets: set[Sheet] = set()
        self._changed = threading.Condition()
        self._is_new = False
        self._thread: threading.Thread | None = None

    @contextmanager
    def writing_down(self, turn: Turn) -> Iterator[Sheet]:
        """While the block runs, this attempt's text is kept."""
        sheet = Sheet(turn, self._wake)
        with self._changed:
            self._sheets.add(sheet)
            if self._thread is None:
                self._thread = threading.Thread(target=self._write_for_ever, name="scribe", daemon=True)
                self._thread.start()
        try:
            yield sheet
        finally:
            with self._changed:
                self._sheets.discard(sheet)

    def _wake(self) -> None:
        if not self._is_new:
            with self._changed:
                self._is_new = True
                self._changed.notify()

    def _write_for_ever(self) -> None:
        while True:
            with self._changed:
                self._changed.wait_for(lambda: self._is_new)
            # What comes meanwhile goes along.
            time.sleep(self._every)
            with self._changed:
                self._is_new = False
                sheets = [sheet for sheet in self._sheets if sheet.is_new]
            self._write(sheets)
            if any(sheet.is_new for sheet in sheets):
                self._wake()

    def _write(self, sheets: Sequence[Sheet]) -> None:
        texts = [(sheet, sheet.text()) for sheet in sheets]
        # A long text takes a while: it keeps only itself waiting.
        together = [[pair for pair in texts if len(pair[1]) <= _LONG]]
        for batch in together + [[pair] for pair in texts if len(pair[1]) > _LONG]:
            self._keep(batch)

    def _keep(self, batch: Sequence[tuple[Sheet, str]]) -> None:
        if not batch:
            return
        try:
            saved = self._save([(sheet.turn, text) for sheet, text in batch])
        except StoreUnavailable as error:
            # The answers go on: their ends are what must be kept, and keeping those is tried for longer.
            _log.warning("partial text not kept: %s", error)
        except Rejected as error:
            self._keep_each(batch, error)
        else:
            _note(batch, saved)

    def _keep_each(self, batch: Sequence[tuple[Sheet, str]], error: Rejected) -> None:
        """One text that cannot be stored keeps no other from being stored."""
        if len(batch) > 1:
            for pair in batch:
                self._keep([pair])
            return
        sheet, text = batch[0]
        _log.warning("partial text of %s not kept: %s", sheet.turn.event_id, error)
        sheet.keep(len(text))


def _note(batch: Sequence[tuple[Sheet, str]], saved: Saved) -> None:
    for sheet, text in batch:
        if sheet.turn.event_id in saved.kept:
            sheet.keep(len(text))
        sheet.lost = sheet.turn.event_id in saved.lost
