// Things asked for with one press. A press that may have reached the server is repeated under the same key.
import { call } from "./api.js";
import { newId } from "./storage.js";

export class QuickActions {
  // `group` holds buttons with `data-action`; `on.failed(sentence)`, `on.asked()`; `sessionId()` is the open session.
  constructor(group, sessionId, on) {
    this.sessionId = sessionId;
    this.on = on;
    this.keys = new Map();
    group.addEventListener("click", (event) => event.target.dataset.action && this.#ask(event.target));
  }

  async #ask(pressed) {
    const { action } = pressed.dataset;
    const id = this.sessionId();
    pressed.disabled = true;
    this.on.asked();
    await this.once(`${id} ${action}`, (key) => call("POST", "/v1/session/action", { body: { session_id: id, action }, key }));
    pressed.disabled = false;
    if (document.activeElement === document.body) pressed.focus({ preventScroll: true });
  }

  // Have the last message answered again; true once that is kept.
  async another() {
    const id = this.sessionId();
    this.on.asked();
    return this.once(`${id} another`, (key) => call("POST", `/v1/session/${encodeURIComponent(id)}/regenerate`, { body: {}, key }));
  }

  // One wish under one key until the server said yes or no.
  async once(wish, attempt) {
    if (!this.keys.has(wish)) this.keys.set(wish, newId());
    try {
      await attempt(this.keys.get(wish));
      this.keys.delete(wish);
      return true;
    } catch (error) {
      if (error.status >= 400 && error.status < 500) this.keys.delete(wish);
      this.on.failed(error.message);
      return false;
    }
  }
}
