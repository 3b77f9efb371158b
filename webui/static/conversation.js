// What was said, in turns: each is a message and what became of it. Takes the stream's items, whose order and
// repeats it checks, and tells the view; knows nothing of lines and elements.
import { LiveAnswer } from "./answer.js";
import { MemoryStates, statesIn } from "./memory.js";

const ENDINGS = {
  "assistant.final": "final",
  "assistant.error": "error",
  "assistant.cancelled": "cancelled",
  "policy.denied": "denied",
};

export class Conversation {
  // `features.write_through` false: messages are kept, but become no memories.
  constructor(view, features = {}) {
    this.view = view;
    this.features = features;
    this.paused = false;
    this.memory = new MemoryStates();
    this.#clear();
  }

  #clear() {
    this.turns = [];
    this.toolTurns = new Map();
    this.live = new LiveAnswer();
    this.seq = 0;
    this.cursor = "";
  }

  // A message that the server has not confirmed yet: shown at once.
  showPending(entry, state = "sending", why = "") {
    const turn = { key: entry.key, text: entry.text, pending: true };
    this.turns.push(turn);
    this.view.addTurn(turn, null);
    this.view.showSaid(turn, state, why);
    this.#offerAnother();
  }

  markPending(key, state, why) {
    const turn = this.turns.find((one) => one.key === key && one.pending);
    if (turn) this.view.showSaid(turn, state, why);
  }

  removePending(key) {
    const turn = this.turns.find((one) => one.key === key && one.pending);
    if (turn) this.#remove(turn);
  }

  // The server kept this message under `eventId`; the stream may have shown it already.
  accepted(key, eventId) {
    const turn = this.turns.find((one) => one.key === key);
    if (!turn || turn.eventId === eventId) return;
    if (this.turns.some((one) => one.eventId === eventId)) {
      if (turn.pending) this.#remove(turn);
      return;
    }
    this.#asked(turn, eventId);
    this.#becomesMemory(eventId);
    this.view.showSaid(turn, "kept", "", this.memory.of(eventId));
  }

  // Whether its turns are held: those that nobody has begun say so.
  holds(paused) {
    this.paused = paused;
    for (const turn of this.turns.filter((one) => one.waits)) this.#wait(turn);
  }

  // The turn in which the event of this number stands.
  turnAt(seq) {
    return this.turns.find((turn) => turn.seqs?.includes(seq));
  }

  // Under which id and number a turn was asked; under several where it was answered again.
  #asked(turn, eventId, seq) {
    turn.eventId = eventId;
    turn.ids = [...new Set([...(turn.ids ?? []), eventId])];
    turn.seqs = [...(turn.seqs ?? []), ...(seq ? [seq] : [])];
  }

  // What was copied into a branch or an import is remembered under its own name, and an action never.
  #becomesMemory(eventId, item) {
    if (item && (item.metadata?.action || eventId.startsWith(`${item.session_id}:`))) return;
    if (this.features.write_through !== false) this.memory.note(eventId, "accepted");
  }

  #remove(turn) {
    this.turns.splice(this.turns.indexOf(turn), 1);
    this.view.removeTurn(turn);
    this.#offerAnother();
  }

  // Only the last answer can be given again, and only while nothing is under way.
  #offerAnother() {
    const last = this.turns.at(-1);
    const settled = last?.ended && last.text && (last.kind === "final" || last.kind === "cancelled");
    this.view.offerAgain(settled ? last : null);
  }

  // One item of the stream; false when something before it is missing.
  apply(item) {
    const understood = item.seq ? this.#durable(item) : this.#passing(item);
    if (understood && item.cursor) this.cursor = item.cursor;
    return understood;
  }

  // Read again from what is certain: the last durable event, or everything.
  forgetPlace(everything = false) {
    if (everything) this.seq = 0;
    this.cursor = this.seq ? String(this.seq) : "";
  }

  #durable(item) {
    if (item.seq <= this.seq) return true;
    if (item.seq > this.seq + 1) return false;
    this.seq = item.seq;
    if (item.type === "user") this.#user(item);
    else if (item.type === "assistant.thinking") this.#thinking(item);
    else if (item.type === "context.update") this.view.showRecalled(this.#openTurn(), item);
    else if (item.type === "tool.start" || item.type === "tool.result") this.#tool(item);
    else if (ENDINGS[item.type]) this.#end(item);
    this.#offerAnother();
    return true;
  }

  #passing(item) {
    if (item.type === "assistant.delta") return this.#delta(item);
    if (item.type === "assistant.reset") this.#thinking(item);
    else if (item.type === "memory.status") this.#remember(item);
    else if (item.type === "stream.reset") this.#fromTheStart();
    return true;
  }

  #user(item) {
    const again = this.#askedBefore(item);
    if (again) this.view.keepEarlier(again);
    const turn = again ?? this.#turnOf(item);
    if (turn.seqs?.[0] === item.seq) this.view.clearWork(turn);
    this.#asked(turn, item.event_id, item.seq);
    turn.pending = turn.ended = false;
    if (!again) this.#said(turn, item);
    this.#wait(turn);
  }

  // Where this is a wish for another answer: the turn that has the old one.
  #askedBefore(item) {
    const named = item.metadata?.regenerates;
    if (!named) return undefined;
    return this.turns.findLast((turn) => turn.ids?.includes(named) && !turn.ids.includes(item.event_id))
      ?? this.turns.findLast((turn) => turn.ended && turn.text === item.message);
  }

  #said(turn, item) {
    turn.action = item.metadata?.action;
    turn.href = item.metadata?.truncated?.href;
    this.#becomesMemory(item.event_id, item);
    if (turn.href && turn.text === item.message) this.view.showText(turn, item);
    this.view.showSaid(turn, "kept", item.created_at, this.memory.of(item.event_id));
  }

  #wait(turn) {
    turn.waits = true;
    if (this.paused) this.view.showHeld(turn);
    else this.view.showWaiting(turn, "Waiting for a free worker");
  }

  // The turn that is already on the page for this message, or a new one before those still being sent.
  #turnOf(item) {
    const same = this.turns.find((turn) => turn.ids?.includes(item.event_id))
      ?? this.turns.find((turn) => turn.pending && !turn.eventId && turn.text === item.message);
    return same ?? this.#newTurn(item.message);
  }

  #newTurn(text) {
    const turn = { text, pending: false };
    const before = this.turns.find((one) => one.pending) ?? null;
    this.turns.splice(before ? this.turns.indexOf(before) : this.turns.length, 0, turn);
    this.view.addTurn(turn, before);
    return turn;
  }

  // Turns are answered in order: whatever an assistant says belongs to the first one without an end.
  #openTurn() {
    return this.turns.find((turn) => !turn.pending && !turn.ended) ?? this.#newTurn("");
  }

  // A worker begins: whatever an earlier attempt wrote is forgotten.
  #thinking(item) {
    const attempt = item.metadata?.attempt ?? this.live.attempt + 1;
    this.live.reset(attempt);
    this.#openTurn().waits = false;
    this.view.showWaiting(this.#openTurn(), attempt > 1 ? "Starting again" : "Thinking");
  }

  #delta(item) {
    const { attempt = 1, offset = 0 } = item.metadata ?? {};
    const before = this.live.attempt;
    const fresh = this.live.merge(attempt, offset, item.message);
    if (fresh === null) return false;
    const turn = this.#openTurn();
    if (this.live.attempt !== before) this.view.clearAnswer(turn);
    if (fresh) this.view.appendAnswer(turn, fresh);
    return true;
  }

  #end(item) {
    const turn = this.#openTurn();
    const kind = ENDINGS[item.type];
    Object.assign(turn, { ended: true, waits: false, kind, answerId: item.event_id });
    turn.seqs = [...(turn.seqs ?? []), item.seq];
    this.live = new LiveAnswer();
    if (kind === "final") this.#becomesMemory(item.event_id, { ...item, metadata: {} });
    this.view.showEnd(turn, kind, item, this.memory.of(item.event_id));
  }

  // A call's lines stay together. One that no turn asked for, but a program, stands for itself.
  #tool(item) {
    const id = item.metadata?.request_id ?? item.event_id;
    let turn = this.toolTurns.get(id) ?? this.turns.find((one) => !one.pending && !one.ended);
    if (!turn) Object.assign((turn = this.#newTurn("")), { ended: true });
    this.toolTurns.set(id, turn);
    this.view.showTool(turn, id, item);
  }

  #remember(item) {
    for (const [eventId, state] of statesIn(item)) {
      if (!this.memory.note(eventId, state)) continue;
      const turn = this.turns.find((one) => one.ids?.includes(eventId) || one.answerId === eventId);
      if (turn) this.view.showMemory(turn, turn.answerId === eventId ? "answer" : "said", state);
    }
  }

  #fromTheStart() {
    const waiting = this.turns.filter((turn) => turn.pending);
    this.view.clear(waiting);
    this.#clear();
    this.turns = waiting;
  }
}
