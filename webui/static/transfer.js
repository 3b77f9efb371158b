// Conversations as files: out of the system, and back into it.
import { Refused, call, sentenceOf } from "./api.js";
import { button, element } from "./elements.js";
import { newId } from "./storage.js";

const PATIENCE_MS = 60_000;

// Has the browser save this conversation; fails with a sentence.
export async function exportSession(id, title) {
  const chats = await call("POST", "/v1/sessions/export", { body: { session_id: id } });
  const address = URL.createObjectURL(new Blob([JSON.stringify(chats, null, 1)], { type: "application/json" }));
  const link = element("a");
  link.href = address;
  link.download = `${fileName(title || id)}.json`;
  link.click();
  setTimeout(() => URL.revokeObjectURL(address), 60_000);
}

export function fileName(title) {
  return title.normalize("NFKC").replace(/[^\p{L}\p{N}]+/gu, "-").replace(/^-+|-+$/g, "").slice(0, 60) || "conversation";
}

export class Importer {
  // `onDone()` after something came back.
  constructor(opener, input, list, onDone) {
    this.input = input;
    this.list = list;
    this.onDone = onDone;
    opener.addEventListener("click", () => input.click());
    input.addEventListener("change", () => this.#take([...input.files]));
  }

  clear() {
    if (!this.list.querySelector("progress")) this.list.replaceChildren();
  }

  // One after another, so that a slow line carries one at a time.
  async #take(files) {
    this.input.value = "";
    this.clear();
    const rows = files.map((file) => [file, this.#row(file)]);
    for (const [file, row] of rows) await this.#bring(file, row);
  }

  #row(file) {
    const bar = element("progress");
    bar.max = 1;
    bar.value = 0;
    bar.setAttribute("aria-label", `Sending ${file.name}`);
    const row = element("li", "", element("b", "", file.name), bar, element("p", "", "waiting…"));
    this.list.append(row);
    return row;
  }

  async #bring(file, row, key = newId()) {
    const said = row.querySelector("p");
    said.textContent = "sending…";
    row.dataset.state = "sending";
    try {
      const { session_ids: ids } = await send(file, key, (part) => {
        row.querySelector("progress").value = part;
        if (part >= 1) said.textContent = "reading…";
      });
      this.#brought(row, ids);
      this.onDone();
    } catch (error) {
      row.dataset.state = "refused";
      row.querySelector("progress").hidden = true;
      said.replaceChildren(error.message);
      if (!error.status || error.status >= 500) said.append(button("Try again", () => this.#bring(file, this.#anew(row), key)));
    }
  }

  #anew(row) {
    row.querySelector("progress").hidden = false;
    return row;
  }

  #brought(row, ids) {
    row.dataset.state = "done";
    row.querySelector("progress").remove();
    const link = element("a", "", "Open");
    link.href = `#${ids[0]}`;
    const words = ids.length === 1 ? "Brought back. " : `${ids.length} conversations brought back. `;
    row.querySelector("p").replaceChildren(words, link);
  }
}

// The file as it is: what is wrong with it is for the gateway to say. Only XMLHttpRequest tells how much has gone out.
function send(file, key, onPart) {
  return new Promise((done, failed) => {
    const call = new XMLHttpRequest();
    call.open("POST", "/v1/sessions/import");
    call.setRequestHeader("Content-Type", "application/json");
    call.setRequestHeader("Idempotency-Key", key);
    call.timeout = PATIENCE_MS;
    call.upload.onprogress = (event) => event.lengthComputable && onPart(event.loaded / event.total);
    call.onload = () => settle(call, done, failed);
    call.onerror = call.ontimeout = () => failed(new Refused("The server does not answer at the moment.", 0));
    call.send(file);
  });
}

function settle(call, done, failed) {
  const told = parsed(call.responseText);
  if (call.status === 200) done(told);
  else failed(new Refused(sentenceOf(told, call.status), call.status));
}

function parsed(text) {
  try {
    return JSON.parse(text);
  } catch {
    return {};
  }
}
