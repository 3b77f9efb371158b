// The list of conversations, in a drawer: newest first, page by page.
import { call } from "./api.js";
import { SessionRow } from "./session_row.js";
import { Importer } from "./transfer.js";

const SHOWN = 30;

export class SessionList {
  // `currentId()`: the open session; `on.changed(id)`: it was renamed, held or released; `on.deleted(id)`.
  constructor(dialog, opener, currentId, on) {
    const part = (name) => dialog.querySelector(`[data-part=${name}]`);
    this.dialog = dialog;
    [this.list, this.note, this.more] = [part("list"), part("note"), part("more")];
    this.currentId = currentId;
    this.on = { changed: on.changed, deleted: (id) => this.#deleted(id, on) };
    this.importer = new Importer(part("import"), part("files"), part("imported"), () => this.#load());
    opener.addEventListener("click", () => this.open());
    this.more.addEventListener("click", () => this.#load(this.next));
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog || event.target.closest("li a")) dialog.close();
    });
  }

  async open() {
    this.dialog.showModal();
    this.importer.clear();
    await this.#load();
  }

  async #load(after) {
    this.note.textContent = "Loading…";
    try {
      const query = new URLSearchParams({ limit: SHOWN, ...(after ? { after } : {}) });
      const { items, next_cursor: next } = await call("GET", `/v1/sessions?${query}`);
      const rows = items.map((item) => new SessionRow(item, item.session_id === this.currentId(), this.on).element);
      if (after) this.list.append(...rows);
      else this.list.replaceChildren(...rows);
      if (after) rows[0]?.querySelector("a").focus();
      this.next = next;
      this.more.hidden = !next;
      this.note.textContent = this.list.childElementCount ? "" : "Nothing has been said yet.";
    } catch (error) {
      this.note.textContent = `The list cannot be loaded now. ${error.message}`;
    }
  }

  #deleted(id, on) {
    on.deleted(id);
    this.note.textContent = "Deleted.";
    this.#load().then(() => this.dialog.querySelector("button").focus());
  }
}
