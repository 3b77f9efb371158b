// One conversation in the list, and what can be done to it: rename, hold, take along, delete.
import { call, sessionPath } from "./api.js";
import { button, element, moment } from "./elements.js";
import { exportSession } from "./transfer.js";

const NAMELESS = "A conversation without a name";

export class SessionRow {
  // `session` as the gateway lists it; `on.changed(id)`, `on.deleted(id)`.
  constructor(session, isOpen, on) {
    this.session = session;
    this.on = on;
    this.link = element("a", "", element("b"), element("small"));
    this.link.href = `#${session.session_id}`;
    if (isOpen) this.link.setAttribute("aria-current", "page");
    this.more = button("⋯", () => this.#unfold(this.place.childElementCount === 0), "quiet more");
    this.head = element("div", "row-head", this.link, this.more);
    this.place = element("div", "row-deeds");
    this.element = element("li", "", this.head, this.place);
    this.#draw();
  }

  get #name() {
    return this.session.title || NAMELESS;
  }

  #draw() {
    const { paused, updated_at: at, metadata } = this.session;
    this.element.dataset.paused = paused === true;
    this.link.querySelector("b").textContent = this.#name;
    const branch = metadata?.forked_from ? "Branch · " : "";
    this.link.querySelector("small").replaceChildren(...(paused ? [element("span", "pill", "Paused"), " "] : []), branch + moment(at));
    this.more.setAttribute("aria-label", `What can be done with “${this.#name}”`);
    this.#unfold(false);
  }

  #unfold(open) {
    this.more.setAttribute("aria-expanded", String(open));
    this.place.replaceChildren();
    if (!open) return;
    const { paused } = this.session;
    this.place.append(
      button("Rename", () => this.#rename()),
      button(paused ? "Resume" : "Pause", () => this.#do(() => this.#hold(!paused))),
      button("Export", () => this.#do(() => exportSession(this.session.session_id, this.session.title))),
      button("Delete…", () => this.#confirm(), "quiet bad"),
    );
    this.place.querySelector("button").focus();
  }

  // One deed: the buttons rest meanwhile, a failure is said below them.
  async #do(deed) {
    const buttons = [...this.place.querySelectorAll("button")];
    for (const each of buttons) each.disabled = true;
    this.place.querySelector("[role=alert]")?.remove();
    try {
      await deed();
      this.#unfold(false);
      this.more.focus();
    } catch (error) {
      const said = element("p", "trouble", error.message);
      said.setAttribute("role", "alert");
      this.place.append(said);
      for (const each of buttons) each.disabled = false;
    }
  }

  async #hold(paused) {
    await call("POST", sessionPath(this.session.session_id, "/pause"), { body: { paused } });
    this.#took({ paused });
  }

  #took(news) {
    Object.assign(this.session, news);
    this.#draw();
    this.on.changed(this.session.session_id);
  }

  #rename() {
    const field = element("input");
    Object.assign(field, { value: this.session.title ?? "", maxLength: 200, required: true });
    field.setAttribute("aria-label", `New name for “${this.#name}”`);
    const form = element("form", "rename", field, element("button", "", "Save"), button("Cancel", () => this.#back()));
    form.addEventListener("submit", (event) => {
      event.preventDefault();
      const title = field.value.trim();
      if (title) this.#do(() => this.#call(title));
    });
    this.#ask(form, field);
    field.select();
  }

  async #call(title) {
    await call("PATCH", sessionPath(this.session.session_id), { body: { title } });
    this.#took({ title });
  }

  #confirm() {
    const words = `Delete “${this.#name}” for good? Its messages and answers are gone then. What became a memory stays.`;
    const keep = button("Keep it", () => this.#back());
    const box = element("div", "confirm", element("p", "", words), button("Delete", () => this.#do(() => this.#delete()), "bad"), keep);
    box.setAttribute("role", "group");
    box.setAttribute("aria-label", words);
    this.#ask(box, keep);
  }

  async #delete() {
    const { session_id: id } = this.session;
    await call("DELETE", sessionPath(id)).catch((error) => {
      if (error.status !== 404) throw error;
    });
    this.on.deleted(id);
  }

  // Escape takes back the question, not the whole list.
  #ask(box, first) {
    box.addEventListener("keydown", (event) => {
      if (event.key !== "Escape") return;
      event.preventDefault();
      event.stopPropagation();
      this.#back();
    });
    this.place.replaceChildren(box);
    first.focus();
  }

  #back() {
    this.#unfold(false);
    this.more.focus();
  }
}
