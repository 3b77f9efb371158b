// One session's stream, for as long as the page shows it: it comes back after every break, with its cursor, after
// growing pauses. A websocket is tried first; where none opens, server-sent events take its place.
import { Pauses, Rest } from "./pauses.js";
import { openEvents, openWebsocket } from "./transport.js";

const SILENCE_MS = 35_000; // the server speaks at least every 15 s
const WEBSOCKET_TRIES = 2;
const ENDS = { 4401: "signed-out", 4403: "forbidden", 4404: "unknown" };

export class SessionStream {
  // `reader` has `cursor`, `apply(item)` (false: something is missing) and `forgetPlace()`;
  // `onState(state, detail)` gets live, connecting, waiting, signed-out, forbidden or unknown.
  constructor(sessionId, reader, features, onState) {
    this.sessionId = sessionId;
    this.reader = reader;
    this.features = features;
    this.onState = onState;
    this.pauses = new Pauses();
    this.gapPauses = new Pauses();
    this.rest = new Rest();
    this.watchdog = new Rest();
    this.unopened = 0;
    this.closeLine = null;
  }

  start() {
    this.onState("connecting");
    this.#connect();
  }

  stop() {
    this.rest.end();
    this.#hangUp();
  }

  // Something changed for the better (network back, page visible again): do not sit out the pause.
  hurry() {
    if (this.closeLine === null && this.waiting) this.#connect();
  }

  #connect() {
    this.#hangUp();
    this.rest.end();
    this.waiting = false;
    this.opened = false;
    const byWebsocket = this.features.websocket_enabled !== false && this.unopened < WEBSOCKET_TRIES;
    this.kind = byWebsocket ? "websocket" : "events";
    const open = byWebsocket ? openWebsocket : openEvents;
    this.closeLine = open(this.sessionId, this.reader.cursor, {
      opened: () => this.#onOpened(),
      alive: () => this.#onAlive(),
      item: (item) => this.#onItem(item),
      closed: (code) => this.#onClosed(code),
    });
    this.watchdog.begin(SILENCE_MS, () => this.#onClosed(1006));
  }

  #onOpened() {
    this.opened = true;
    if (this.kind === "websocket") this.unopened = 0;
    this.settled = setTimeout(() => {
      this.gapPauses.reset();
      this.#settle();
    }, 1500);
  }

  // An open line alone proves little: the relay accepts before the gateway does. An item, or a while, does.
  #settle() {
    this.pauses.reset();
    this.onState("live", this.kind);
  }

  #onAlive() {
    this.watchdog.begin(SILENCE_MS, () => this.#onClosed(1006));
  }

  #onItem(item) {
    this.#settle();
    if (this.reader.apply(item)) return;
    this.reader.forgetPlace();
    this.#comeBack(this.gapPauses);
  }

  #onClosed(code) {
    this.#hangUp();
    if (!this.opened) this.unopened = this.kind === "websocket" ? this.unopened + 1 : 0;
    if (code === 1008) this.reader.forgetPlace(true);
    if (ENDS[code]) this.onState(ENDS[code]);
    else this.#comeBack();
  }

  #comeBack(pauses = this.pauses) {
    this.#hangUp();
    const pause = pauses.next();
    this.waiting = true;
    this.onState("waiting", pause);
    this.rest.begin(pause, () => this.#connect());
  }

  #hangUp() {
    clearTimeout(this.settled);
    this.watchdog.end();
    this.closeLine?.();
    this.closeLine = null;
  }
}
