// Turns as elements. Text becomes HTML in one place only: a final answer's `metadata.html`, which our own server made
// and cleaned; everything else is text.
import { branchForm } from "./branching.js";
import { button, element, folded } from "./elements.js";
import { memoryMark } from "./memory.js";
import { recalledLine, toolLine } from "./work.js";

const ENDED = {
  error: ["No answer this time.", "Your message is kept. Try again in a moment; if it stays so, look at the model's settings."],
  cancelled: ["This answer was stopped.", "Your message is kept."],
  denied: ["This is not allowed here.", "Ask for it in another way, or ask whoever runs this installation to change the policy."],
};

export class View {
  // `on.stop(eventId)`: have this answer stopped, true once that is kept; `on.again(text)`: send this text once more;
  // `on.edit(key, text)`: put a refused message back into the field; `on.whole(href)`: an event that was too long for
  // the stream; `on.answered(model)`: this model gave an answer; `on.changed()`: something grew; `on.announce(text)`: say
  // it to those who listen instead of looking; `on.another()`: have the last message answered again, true once that is
  // kept; `on.branch(turn, text, key)`: go another way from here, fails with a sentence.
  constructor(list, on) {
    this.list = list;
    this.on = on;
    this.parts = new Map();
    this.another = element("p", "again", button("Answer again", () => this.#askAgain()));
  }

  addTurn(turn, before) {
    const under = element("div", "under", element("p", "small"));
    const said = element("div", "said", element("div", "text", turn.text), under);
    const work = element("div", "work");
    const answer = element("div", "answer");
    answer.hidden = true;
    said.hidden = !turn.text;
    const item = element("li", "turn", said, work, answer);
    this.parts.set(turn, { item, said, work, answer, tools: new Map() });
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
    said.querySelector(".under > button")?.remove();
    if (state === "kept" && turn.seqs?.length && !turn.action) {
      const edit = button("Edit", () => this.#edit(turn));
      edit.title = "Ask this differently, in a branch of its own";
      said.querySelector(".under").prepend(edit);
    }
    this.on.changed();
  }

  // The message becomes a field; what was said stays as it is, whatever comes of it.
  #edit(turn) {
    const { said } = this.parts.get(turn);
    const back = () => {
      said.classList.remove("edited");
      said.querySelector("form").remove();
      said.querySelector(".under > button")?.focus();
    };
    said.classList.add("edited");
    said.append(branchForm(turn.href ? this.on.whole(turn.href) : turn.text, (text, key) => this.on.branch(turn, text, key), back));
    this.on.changed();
  }

  // Where the last answer can be given again, its turn; null takes the wish away.
  offerAgain(turn) {
    if (turn) this.parts.get(turn).item.append(this.another);
    else this.another.remove();
  }

  async #askAgain() {
    const pressed = this.another.querySelector("button");
    pressed.disabled = true;
    const kept = await this.on.another();
    pressed.disabled = false;
    if (!kept) pressed.focus({ preventScroll: true });
  }

  // The answer so far goes under a fold; the next one takes its place.
  keepEarlier(turn) {
    const { item, work, answer, tools } = this.parts.get(turn);
    const kept = element("div", "kept", ...work.childNodes, ...answer.childNodes);
    item.insertBefore(folded("earlier", ["An earlier answer"], () => [kept]), work);
    tools.clear();
  }

  clearWork(turn) {
    const { item, work, tools } = this.parts.get(turn);
    for (const earlier of item.querySelectorAll(":scope > .earlier")) earlier.remove();
    work.replaceChildren();
    tools.clear();
  }

  // What was remembered for this answer, or why nothing was.
  showRecalled(turn, item) {
    const { work } = this.parts.get(turn);
    work.querySelector(".recalled")?.remove();
    const line = recalledLine(item);
    if (line) work.prepend(line);
    this.on.changed();
  }

  // One call of a tool, from its beginning to its end in one place.
  showTool(turn, id, item) {
    const { work, tools } = this.parts.get(turn);
    const line = toolLine(item, tools.get(id), this.on.whole);
    if (!tools.has(id)) work.append(line);
    else tools.get(id).replaceWith(line);
    tools.set(id, line);
    this.on.changed();
  }

  // Puts one turn before the eyes, and in front of the keyboard.
  reveal(turn) {
    const { item } = this.parts.get(turn);
    this.list.querySelector(".found")?.classList.remove("found");
    item.classList.add("found");
    item.tabIndex = -1;
    item.focus({ preventScroll: true });
    return item;
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
    const mark = this.parts.get(turn)?.[side].querySelector(side === "said" ? ".under .small" : ":scope > .small:not(.stop)");
    if (mark) mark.replaceChildren(memoryMark(state));
  }

  showWaiting(turn, words) {
    const slow = element("span", "slow", "Nothing is lost; the answer comes by itself.");
    const dots = element("span", "dots", element("i"), element("i"), element("i"));
    dots.ariaHidden = "true";
    this.#fillAnswer(turn, element("p", "pending", dots, element("span", "", `${words}… `, slow)), this.#stop(turn));
  }

  showHeld(turn) {
    this.#fillAnswer(turn, element("p", "pending", "Paused: this is answered once you resume the conversation."));
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
    const reason = item.metadata?.policy?.reason ?? item.metadata?.reason;
    const box = element("div", "ended", element("p", "", reason || standard), element("p", "", advice));
    box.dataset.kind = kind;
    if (kind === "error" && turn.text) box.append(button("Send it again", () => this.on.again(turn.text)));
    const said = element("div", "body plain");
    if (kind === "cancelled") this.#fillText(said, item);
    this.#fillAnswer(turn, ...(said.textContent ? [said] : []), box);
    this.on.announce(`${reason || standard} ${advice}`);
  }
}
