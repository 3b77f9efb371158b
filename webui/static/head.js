// What is known of the open conversation beside its turns: its name, whether it is held, what it was branched off from.
import { call, sessionPath } from "./api.js";

const HELD = "Paused: messages are kept, and answered once you resume.";

export class SessionHead {
  // `parts`: the elements `strip`, `title`, `state`, `hold`, `origin`; `on.paused(bool)`, `on.failed(sentence)`,
  // `on.grown()`: a line came or went.
  constructor(parts, on) {
    this.parts = parts;
    this.on = on;
    this.session = null;
    parts.hold.addEventListener("click", () => this.#turn());
  }

  // Show this session; null for one that does not exist yet.
  show(id) {
    this.id = id;
    this.session = null;
    this.parts.origin.hidden = true;
    this.#draw();
    return this.refresh();
  }

  // Ask again. Without an answer the page works on with what it knows.
  async refresh() {
    const { id } = this;
    const told = id && (await call("GET", sessionPath(id)).catch(() => null));
    if (!told || id !== this.id) return;
    this.session = told;
    this.#draw();
    this.#tellOrigin(told.metadata?.forked_from);
  }

  #draw() {
    const { strip, title, state, hold } = this.parts;
    const { session } = this;
    strip.hidden = session === null;
    document.title = session?.title ? `${session.title} · SomaAgent01` : "SomaAgent01";
    this.on.paused(session?.paused === true);
    if (session === null) return;
    title.textContent = session.title || "A conversation without a name";
    title.title = title.textContent;
    strip.dataset.paused = session.paused;
    state.textContent = session.paused ? HELD : "";
    hold.textContent = session.paused ? "Resume" : "Pause";
    hold.disabled = false;
    this.on.grown();
  }

  async #turn() {
    this.parts.hold.disabled = true;
    const { id } = this;
    try {
      await call("POST", sessionPath(id, "/pause"), { body: { paused: !this.session.paused } });
    } catch (error) {
      if (id === this.id) this.on.failed(error.message);
    }
    this.parts.hold.disabled = false;
    await this.refresh();
  }

  async #tellOrigin(from) {
    const { origin } = this.parts;
    if (!from || !origin.hidden) return;
    const { id } = this;
    const source = await call("GET", sessionPath(from)).catch((error) => error);
    if (id !== this.id) return;
    origin.hidden = false;
    if (source.status === 404) {
      origin.replaceChildren("A branch of a conversation that has been deleted since.");
    } else {
      const link = Object.assign(document.createElement("a"), { href: `#${from}`, textContent: source.title || "another conversation" });
      origin.replaceChildren("A branch of “", link, "”. That one goes on as it was.");
    }
    this.on.grown();
  }
}
