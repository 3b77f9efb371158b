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
    this.memory = new MemoryStates();
    this.#clear();
  }

  #clear() {
    this.turns = [];
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
    turn.eventId = eventId;
    this.#becomesMemory(eventId);
    this.view.showSaid(turn, "kept", "", this.memory.of(eventId));
  }

  #becomesMemory(eventId) {
    if (this.features.write_through !== false) this.memory.note(eventId, "accepted");
  }

  #remove(turn) {
    this.turns.splice(this.turns.indexOf(turn), 1);
    this.view.removeTurn(turn);
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
    else if (ENDINGS[item.type]) this.#end(item);
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
    const turn = this.#turnOf(item);
    turn.pending = false;
    turn.eventId = item.event_id;
    this.#becomesMemory(item.event_id);
    if (item.metadata?.truncated && turn.text === item.message) this.view.showText(turn, item);
    this.view.showSaid(turn, "kept", item.created_at, this.memory.of(item.event_id));
    this.view.showWaiting(turn, "Waiting for a free worker");
  }

  // The turn that is already on the page for this message, or a new one before those still being sent.
  #turnOf(item) {
    const same = this.turns.find((turn) => turn.eventId === item.event_id)
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
    turn.ended = true;
    turn.answerId = item.event_id;
    this.live = new LiveAnswer();
    const kind = ENDINGS[item.type];
    if (kind === "final") this.#becomesMemory(item.event_id);
    this.view.showEnd(turn, kind, item, this.memory.of(item.event_id));
  }

  #remember(item) {
    for (const [eventId, state] of statesIn(item)) {
      if (!this.memory.note(eventId, state)) continue;
      const turn = this.turns.find((one) => one.eventId === eventId || one.answerId === eventId);
      if (turn) this.view.showMemory(turn, turn.eventId === eventId ? "said" : "answer", state);
    }
  }

  #fromTheStart() {
    const waiting = this.turns.filter((turn) => turn.pending);
    this.view.clear(waiting);
    this.#clear();
    this.turns = waiting;
  }
}
