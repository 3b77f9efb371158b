"""The application's own services behind `webui.local.LocalService`; loaded only where the gateway is away.

The body is read by the form that the gateway reads it with, and the key gets the same scope and digest: that is what
makes a message sent to both arrive once.
"""

import threading
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import ValidationError

from app.domain.errors import NotFound, Rejected, Retryable
from app.domain.json_text import BadJson, parse_json
from app.domain.long_items import as_line
from app.services.accept_message import accept_message
from app.services.follow_session import follow_session
from app.services.message_form import MAX_KEY_LENGTH, MessageForm, fill_from_headers, message_in, request_key
from app.services.wrong_fields import wrong_fields
from app.settings import Settings
from app.wiring.serving import Serving
from webui.local import BadMessage, LocalMessage, Upstream
from webui.sse import ServerEvent

ROUTE = "POST /v1/session/message"
"""A key means the same here and at the gateway."""


def read_message(message: LocalMessage) -> MessageForm:
    """What the caller wrote, headers included; `Rejected` and `BadMessage` say what is wrong with it."""
    if len(message.idempotency_key) > MAX_KEY_LENGTH:
        raise BadMessage(f"Idempotency-Key must be 1 to {MAX_KEY_LENGTH} characters")
    try:
        body = parse_json(message.body)
    except BadJson as error:
        raise (Rejected if error.kind == "bad_json" else BadMessage)(str(error)) from None
    if not isinstance(body, dict):
        raise Rejected("the body must be a JSON object")
    fill_from_headers(body, message.headers)
    return _form(body)


def _form(body: dict[str, Any]) -> MessageForm:
    try:
        form = MessageForm.model_validate(body)
    except ValidationError as error:
        raise BadMessage(str(wrong_fields(error, MessageForm)[0])) from None
    if form.attachments:
        raise BadMessage(f"there is no attachment {form.attachments[0]}")
    return form


class WiredService:
    """`LocalService` on this process's own wiring."""

    def __init__(self, settings: Settings) -> None:
        self._serving = Serving(settings)

    def accept(self, message: LocalMessage) -> Mapping[str, Any]:
        """Keep the message, under the key that it would have had at the gateway."""
        body = read_message(message)
        tenant = self._serving.settings.soma_tenant_id
        key = request_key(message.idempotency_key, ROUTE, body, body.tenant_named or tenant)
        receipt = accept_message(message_in(body, tenant), key, self._serving.reception)
        return {"accepted": True, "session_id": receipt.session_id, "event_id": receipt.event_id}

    def follow(self, session_id: str, after: str) -> Upstream:
        """The session's stream; status 404 where nothing was ever said."""
        known = self._serving.stream_room.store.tenant_of(session_id) is not None
        items = follow_session(session_id, after, self._serving.stream_room)
        return LocalStream(200 if known else 404, items)


class LocalStream:
    """The items of one session as the relay takes them."""

    def __init__(self, status: int, items: Iterator[dict[str, Any]]) -> None:
        self.status = status
        self._items = items
        self._over = threading.Event()

    def events(self) -> Iterator[ServerEvent]:
        """Until the reader left, the store does not answer or the session is deleted; a `ping` item is a heartbeat."""
        try:
            for item in self._items:
                if self._over.is_set():
                    return
                ping = item["type"] == "ping"
                yield ServerEvent() if ping else ServerEvent(item.get("cursor", ""), as_line(item))
        except (Retryable, NotFound):
            return

    def hang_up(self) -> None:
        """Stop at the next item; that is within the stream's heartbeat."""
        self._over.set()

    def close(self) -> None:
        """Nothing is held open."""
        self._over.set()
