// How far memories are, by event id. States arrive in any order and only ever move forward.
const STEPS = ["accepted", "remembered", "replicated"];

export class MemoryStates {
  constructor() {
    this.states = new Map();
  }

  // Takes one state; answers whether it is news.
  note(eventId, state) {
    const known = this.states.get(eventId);
    if (state !== "refused" && STEPS.indexOf(state) <= STEPS.indexOf(known)) return false;
    this.states.set(eventId, state);
    return true;
  }

  of(eventId) {
    return this.states.get(eventId);
  }
}

// What a `memory.status` item says: `{event_id: state}`, in its metadata or as JSON text.
export function statesIn(item) {
  const told = { ...(item.metadata ?? {}) };
  if (item.message) {
    try {
      Object.assign(told, JSON.parse(item.message));
    } catch {
      return Object.entries(told);
    }
  }
  return Object.entries(told).filter(([, state]) => state === "refused" || STEPS.includes(state));
}

export function memoryMark(state) {
  const mark = document.createElement("span");
  mark.className = "memory";
  mark.dataset.state = state;
  const reached = STEPS.indexOf(state);
  if (state !== "refused") {
    mark.append(...STEPS.map((_, step) => Object.assign(document.createElement("i"), { className: step <= reached ? "reached" : "" })));
    mark.title = `Step ${reached + 1} of ${STEPS.length}: ${STEPS.join(", ")}`;
  }
  mark.append(` memory: ${state}`);
  return mark;
}
