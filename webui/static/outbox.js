// Messages on their way. One is written down before it is sent and crossed out once the server said "accepted"; until
// then it is sent again under the same key, over reloads and restarts, and the server recognises it.
import { Pauses, Rest } from "./pauses.js";
import { load, newId, save } from "./storage.js";

const PATIENCE_MS = 15_000;
const COMES_AGAIN = new Set([408, 409, 425, 429]);

export class Outbox {
  // `on.accepted(entry, receipt)`, `on.waiting(entry, why)`, `on.refused(entry, why)`
  constructor(on) {
    this.on = on;
    this.pauses = new Pauses(800, 15_000);
    this.rest = new Rest();
    this.busy = false;
  }

  entries(sessionId) {
    return load("outbox", []).filter((entry) => sessionId === undefined || entry.sessionId === sessionId);
  }

  add(sessionId, text) {
    const entry = { key: newId(), sessionId, text, at: Date.now() };
    save("outbox", [...this.entries(), entry]);
    this.hurry();
    return entry;
  }

  discard(key) {
    save("outbox", this.entries().filter((entry) => entry.key !== key));
  }

  // Try now, without sitting out the pause.
  hurry() {
    this.rest.end();
    if (!this.busy) this.#send();
  }

  async #send() {
    const entry = this.entries().find((one) => !one.refused);
    if (!entry) return;
    this.busy = true;
    const pause = await this.#attempt(entry);
    this.busy = false;
    this.rest.begin(pause, () => this.#send());
  }

  // One attempt; the pause before the next one, in milliseconds.
  async #attempt(entry) {
    try {
      const answer = await fetch("/message", {
        method: "POST",
        headers: { "Content-Type": "application/json", "Idempotency-Key": entry.key },
        body: JSON.stringify({ session_id: entry.sessionId, message: entry.text }),
        signal: AbortSignal.timeout(PATIENCE_MS),
      });
      return this.#settle(entry, answer, await answer.json());
    } catch {
      return this.#later(entry, navigator.onLine === false ? "this device is offline" : "the server does not answer", 0);
    }
  }

  #settle(entry, answer, body) {
    if (answer.ok && body.accepted) {
      this.pauses.reset();
      this.discard(entry.key);
      this.on.accepted(entry, body);
      return 0;
    }
    if (answer.status >= 500 || COMES_AGAIN.has(answer.status)) {
      return this.#later(entry, body.detail ?? "the server is busy", Number(answer.headers.get("Retry-After")) || 0);
    }
    this.#refuse(entry, body);
    return 0;
  }

  #later(entry, why, wishSeconds) {
    this.on.waiting(entry, why.replace(/\.$/, ""));
    return Math.max(this.pauses.next(), Math.min(wishSeconds, 30) * 1000);
  }

  #refuse(entry, body) {
    const reason = body.errors?.[0]?.msg ?? body.detail ?? "the server does not take it";
    save("outbox", this.entries().map((one) => (one.key === entry.key ? { ...one, refused: reason } : one)));
    this.on.refused(entry, reason);
  }
}
