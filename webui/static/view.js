// Turns as elements. Text becomes HTML in one place only: a final answer's `metadata.html`, which our own server made
// and cleaned; everything else is text.
import { memoryMark } from "./memory.js";

const ENDED = {
  error: ["No answer this time.", "Your message is kept. Try again in a moment; if it stays so, look at the model's settings."],
  cancelled: ["This answer was stopped.", "Your message is kept. Send it again whenever you like."],
  denied: ["This is not allowed here.", "Ask for it in another way, or ask whoever runs this installation to change the policy."],
};

function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

function button(label, onClick) {
  const made = element("button", "quiet", label);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

export class View {
  // `on.stop(eventId)`: have this answer stopped, true once that is kept; `on.again(text)`: send this text once more; `on.edit(key, text)`: put a refused message back into the field;
  // `on.whole(href)`: the text of an event that was too long for the stream; `on.answered(model)`: this model gave an answer; `on.changed()`: something grew; `on.announce(text)`: say it to those who listen instead of looking.
  constructor(list, on) {
    this.list = list;
    this.on = on;
    this.parts = new Map();
  }

  addTurn(turn, before) {
    const said = element("div", "said", element("div", "text", turn.text), element("p", "small"));
    const answer = element("div", "answer");
    answer.hidden = true;
    said.hidden = !turn.text;
    const item = element("li", "turn", said, answer);
    this.parts.set(turn, { item, said, answer });
    this.list.insertBefore(item, before && this.parts.get(before).item);
    this.on.changed();
  }

  removeTurn(turn) {
    this.parts.get(turn)?.item.remove();
    this.parts.delete(turn);
    this.on.changed();
  }

  clear(kept = []) {
    for (const turn of [...this.parts.keys()]) if (!kept.includes(turn)) this.removeTurn(turn);
  }

  // How far a message is: sending, waiting (why), refused (why), kept (when, memory).
  showSaid(turn, state, detail, memory) {
    const { said } = this.parts.get(turn);
    said.dataset.state = state;
    said.querySelector(".small").replaceChildren(...this.#saidNotes(turn, state, detail, memory));
    this.on.changed();
  }

  #saidNotes(turn, state, detail, memory) {
    if (state === "sending") return ["sending…"];
    if (state === "waiting") return [element("span", "trouble", `Not sent yet: ${detail}. Kept here and sent again by itself.`)];
    if (state === "refused") {
      return [element("span", "trouble", `Not sent: ${detail}`), button("Edit", () => this.on.edit(turn.key, turn.text)),
        button("Discard", () => this.on.edit(turn.key, ""))];
    }
    return [memory ? memoryMark(memory) : "accepted"];
  }

  showText(turn, item) {
    this.#fillText(this.parts.get(turn).said.querySelector(".text"), item);
  }

  // What was too long for the stream shows its beginning until the rest has come.
  #fillText(body, item) {
    const href = item.metadata?.truncated?.href;
    body.replaceChildren(item.message);
    if (!href) return;
    const note = element("p", "small", "Loading the rest…");
    body.append("…", note);
    this.on.whole(href).then(
      (text) => body.replaceChildren(text),
      () => note.replaceChildren("The rest could not be loaded.", button("Try again", () => this.#fillText(body, item))),
    ).then(() => this.on.changed());
  }

  showMemory(turn, side, state) {
    const mark = this.parts.get(turn)?.[side].querySelector(".small");
    if (mark) mark.replaceChildren(memoryMark(state));
  }

  showWaiting(turn, words) {
    const slow = element("span", "slow", "Nothing is lost; the answer comes by itself.");
    const dots = element("span", "dots", element("i"), element("i"), element("i"));
    dots.ariaHidden = "true";
    this.#fillAnswer(turn, element("p", "pending", dots, element("span", "", `${words}… `, slow)), this.#stop(turn));
  }

  // The stream tells when it has stopped; until then the button shows that somebody wants it to.
  #stop(turn) {
    const made = button("Stop", async () => {
      made.disabled = true;
      made.textContent = "Stopping…";
      if (await this.on.stop(turn.eventId)) return;
      made.disabled = false;
      made.textContent = "That did not reach the server. Stop";
    });
    return element("p", "small stop", made);
  }

  #fillAnswer(turn, ...children) {
    const { answer } = this.parts.get(turn);
    answer.hidden = false;
    answer.replaceChildren(...children);
    this.on.changed();
  }

  clearAnswer(turn) {
    const stopping = this.parts.get(turn).answer.querySelector(".stop") ?? this.#stop(turn);
    this.#fillAnswer(turn, element("div", "body plain live", ""), stopping);
  }

  appendAnswer(turn, text) {
    const { answer } = this.parts.get(turn);
    if (!answer.querySelector(".live")) this.clearAnswer(turn);
    answer.querySelector(".live").append(text);
    this.on.changed();
  }

  showEnd(turn, kind, item, memory) {
    if (kind === "final") this.#showFinal(turn, item, memory);
    else this.#showFailure(turn, kind, item);
  }

  #showFinal(turn, item, memory) {
    const html = item.metadata?.html;
    const body = element("div", html === undefined ? "body plain" : "body");
    if (html === undefined) this.#fillText(body, item);
    else body.innerHTML = html;
    if (!body.textContent.trim()) body.append(element("em", "", "(an empty answer)"));
    this.#fillAnswer(turn, body, element("p", "small", ...(memory ? [memoryMark(memory)] : [])), ...this.#whoAnswered(item));
    this.on.announce(`Answer: ${body.textContent}`);
  }

  #whoAnswered(item) {
    const { source, escalation } = item.metadata ?? {};
    if (!source) return [];
    this.on.answered(source);
    const why = escalation ? `, a stronger model because ${escalation.reason}` : "";
    return [element("p", "model", `${source}${why}`)];
  }

  #showFailure(turn, kind, item) {
    const [standard, advice] = ENDED[kind];
    const reason = item.metadata?.reason ?? item.metadata?.policy?.reason;
    const box = element("div", "ended", element("p", "", reason || standard), element("p", "", advice));
    box.dataset.kind = kind;
    if (kind !== "denied" && turn.text) box.append(button("Send it again", () => this.on.again(turn.text)));
    const said = element("div", "body plain");
    if (kind === "cancelled") this.#fillText(said, item);
    this.#fillAnswer(turn, ...(said.textContent ? [said] : []), box);
    this.on.announce(`${reason || standard} ${advice}`);
  }
}
