// Looking for words in one's conversations. The words are found by the gateway; here they are marked and walked through.
import { call } from "./api.js";
import { element, moment } from "./elements.js";

const SHOWN = 50;
const REST_MS = 180;
const HINT = "Whole words, in what you and the agent said.";

// The text in pieces: every other one is a found word. Whole words as the gateway finds them, without case.
export function inPieces(text, words) {
  const any = words.filter(Boolean).map((word) => word.replace(/[.*+?^${}()|[\]\\]/g, "\\$&")).join("|");
  if (!any) return [text];
  const whole = text.split(new RegExp(`(?<![\\p{L}\\p{N}_])(${any})(?![\\p{L}\\p{N}_])`, "giu"));
  return whole.length > 1 ? whole : text.split(new RegExp(`(${any})`, "giu"));
}

function marked(text, words) {
  return inPieces(text, words).map((piece, place) => (place % 2 ? element("mark", "", piece) : piece));
}

export class Search {
  // `onChosen({session_id, seq})`
  constructor(dialog, opener, onChosen) {
    const part = (name) => dialog.querySelector(`[data-part=${name}]`);
    this.dialog = dialog;
    [this.field, this.list, this.note] = [part("field"), part("results"), part("note")];
    this.onChosen = onChosen;
    this.found = [];
    opener.addEventListener("click", () => this.open());
    document.addEventListener("keydown", (event) => this.#slash(event));
    dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
    this.field.addEventListener("input", () => this.#later());
    this.field.addEventListener("keydown", (event) => this.#key(event));
    this.list.addEventListener("click", (event) => this.#choose([...this.list.children].indexOf(event.target.closest("li"))));
  }

  open() {
    this.dialog.showModal();
    this.field.select();
    this.#later(0);
  }

  #slash(event) {
    const writes = event.target.matches?.("input, textarea, [contenteditable]");
    if (event.key !== "/" || event.ctrlKey || event.metaKey || event.altKey || writes || document.querySelector("dialog[open]")) return;
    event.preventDefault();
    this.open();
  }

  #key(event) {
    const step = { ArrowDown: 1, ArrowUp: -1 }[event.key];
    if (step) {
      event.preventDefault();
      const many = this.found.length;
      if (many) this.#point((this.at + step + many) % many);
    } else if (event.key === "Enter" && !event.isComposing) {
      event.preventDefault();
      this.#choose(this.at);
    }
  }

  #later(rest = REST_MS) {
    clearTimeout(this.timer);
    this.running?.abort();
    this.timer = setTimeout(() => this.#look(this.field.value.trim()), rest);
  }

  async #look(query) {
    if (!query) return this.#show([], [], HINT);
    this.running = new AbortController();
    const { signal } = this.running;
    try {
      const { items, next_cursor: more } = await call("GET", `/v1/sessions/search?${new URLSearchParams({ q: query, limit: SHOWN })}`, { signal });
      this.#show(items, query.split(/\s+/), this.#words(items.length, more, query));
    } catch (error) {
      if (!signal.aborted) this.#show([], [], error.message);
    }
  }

  #words(many, more, query) {
    if (more) return `The newest ${many} are shown. More words narrow it down.`;
    if (many) return many === 1 ? "1 place found." : `${many} places found.`;
    return `Nothing has “${query}” in it. Only whole words are found: try fewer or other ones.`;
  }

  #show(items, words, note) {
    this.found = items;
    this.list.replaceChildren(...items.map((item, place) => this.#row(item, place, words)));
    this.list.hidden = !items.length;
    this.field.setAttribute("aria-expanded", String(items.length > 0));
    this.note.textContent = note;
    this.#point(items.length ? 0 : -1);
  }

  #row(item, place, words) {
    const who = item.role === "user" ? "You" : "The agent";
    const row = element("li", "", element("b", "", item.title || "A conversation without a name"),
      element("p", "", ...marked(item.snippet, words)), element("small", "", `${who}, ${moment(item.created_at)}`));
    row.id = `found-${place}`;
    row.setAttribute("role", "option");
    return row;
  }

  #point(place) {
    this.at = place;
    for (const [number, row] of [...this.list.children].entries()) {
      row.setAttribute("aria-selected", String(number === place));
      if (number === place) row.scrollIntoView({ block: "nearest" });
    }
    if (place < 0) this.field.removeAttribute("aria-activedescendant");
    else this.field.setAttribute("aria-activedescendant", `found-${place}`);
  }

  #choose(place) {
    const chosen = this.found[place];
    if (!chosen) return;
    this.dialog.close();
    this.onChosen(chosen);
  }
}
