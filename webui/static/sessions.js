// The list of recent conversations, in a drawer. Titles are first messages; they never change, so they are kept.
import { load, save } from "./storage.js";

const SHOWN = 20;

async function json(path) {
  const answer = await fetch(path, { headers: { Accept: "application/json" }, signal: AbortSignal.timeout(8000) });
  if (!answer.ok) throw new Error(String(answer.status));
  return answer.json();
}

async function titleOf(sessionId) {
  const titles = load("titles", {});
  if (titles[sessionId]) return titles[sessionId];
  const { events } = await json(`/v1/sessions/${encodeURIComponent(sessionId)}/events?limit=1`);
  const title = String(events[0]?.payload?.message ?? "").replace(/\s+/g, " ").slice(0, 80);
  const newest = Object.entries({ ...load("titles", {}), [sessionId]: title }).slice(-100);
  save("titles", Object.fromEntries(newest));
  return title;
}

export class SessionList {
  constructor(dialog, opener, currentId) {
    this.dialog = dialog;
    this.list = dialog.querySelector("ul");
    this.note = dialog.querySelector("[role=status]");
    this.currentId = currentId;
    opener.addEventListener("click", () => this.open());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog || event.target.closest("li a")) dialog.close();
    });
  }

  async open() {
    this.dialog.showModal();
    this.note.textContent = "Loading…";
    try {
      const { items } = await json(`/v1/sessions?limit=${SHOWN}`);
      this.list.replaceChildren(...items.map((item) => this.#row(item)));
      this.note.textContent = items.length ? "" : "Nothing has been said yet.";
    } catch {
      this.note.textContent = "The list cannot be loaded now. Close it and try again in a moment.";
    }
  }

  #row({ session_id: id, updated_at: at }) {
    const link = document.createElement("a");
    link.href = `#${id}`;
    if (id === this.currentId()) link.setAttribute("aria-current", "page");
    const title = Object.assign(document.createElement("b"), { textContent: "…" });
    const when = Object.assign(document.createElement("small"), {
      textContent: new Date(at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" }),
    });
    link.append(title, when);
    titleOf(id).then((text) => (title.textContent = text || id), () => (title.textContent = id));
    const row = document.createElement("li");
    row.append(link);
    return row;
  }
}
