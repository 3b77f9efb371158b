// Ties the page together: which conversation is open, its stream, what is being sent, what the person sees.
import { call, sessionPath } from "./api.js";
import { Composer } from "./composer.js";
import { Conversation } from "./conversation.js";
import { SessionHead } from "./head.js";
import { Outbox } from "./outbox.js";
import { QuickActions } from "./quick.js";
import { Follow } from "./scroll.js";
import { Search } from "./search.js";
import { SessionList } from "./sessions.js";
import { load, newId, save } from "./storage.js";
import { SessionStream } from "./stream.js";
import { View } from "./view.js";

const by = (id) => document.getElementById(id);
const SESSION_ID = /^[A-Za-z0-9._:-]{1,128}$/;
const STATES = {
  idle: ["idle", "Ready"],
  connecting: ["waiting", "Connecting…"],
  live: ["live", "Connected"],
  waiting: ["waiting", "Reconnecting…"],
  offline: ["waiting", "Offline"],
  "signed-out": ["stopped", "Signed out"],
  forbidden: ["stopped", "Not allowed"],
  unknown: ["idle", "Ready"],
};

class Page {
  constructor() {
    this.features = {};
    this.follow = new Follow(by("scroller"), by("jump"));
    this.quick = new QuickActions(by("quick"), () => this.sessionId, {
      asked: () => this.began(),
      failed: (sentence) => this.tell(sentence),
    });
    this.view = new View(by("turns"), {
      another: () => this.another(),
      branch: (turn, text, key) => this.branch(turn, text, key),
      stop: (eventId) => this.stop(eventId),
      whole: (href) => this.whole(href),
      again: (text) => this.send(text),
      edit: (key, text) => this.takeBack(key, text),
      changed: () => this.changed(),
      answered: (model) => by("model").textContent = model,
      announce: (text) => this.live && (by("announcer").textContent = text),
    });
    this.outbox = new Outbox({
      accepted: (entry, receipt) => this.accepted(entry, receipt),
      waiting: (entry, why) => this.conversation.markPending(entry.key, "waiting", why),
      refused: (entry, why) => this.conversation.markPending(entry.key, "refused", why),
    });
    this.composer = new Composer(by("composer"), by("count"), (text) => this.send(text));
    this.head = new SessionHead(
      { strip: by("strip"), title: by("title"), state: by("held"), hold: by("hold"), origin: by("origin") },
      {
        paused: (paused) => paused === this.conversation.paused || this.conversation.holds(paused),
        failed: (sentence) => this.tell(sentence),
        grown: () => this.changed(),
      },
    );
    new SessionList(by("sessions"), by("open-sessions"), () => this.sessionId, {
      changed: (id) => id === this.sessionId && this.head.refresh(),
      deleted: (id) => this.deleted(id),
    });
    new Search(by("search"), by("open-search"), (found) => this.goTo(found));
    by("new-session").addEventListener("click", () => this.openNew());
    by("ideas").addEventListener("click", (event) => event.target.matches(".idea") && this.send(event.target.textContent));
    addEventListener("hashchange", () => this.openFromAddress());
    addEventListener("online", () => this.hurry());
    addEventListener("offline", () => this.showState("offline"));
    document.addEventListener("visibilitychange", () => document.hidden || this.hurry());
  }

  begin() {
    this.openFromAddress();
    this.outbox.hurry();
    this.configure();
  }

  // Settings in force; without them the page works all the same.
  async configure() {
    try {
      const answer = await fetch("/ui/config.json", { signal: AbortSignal.timeout(8000) });
      const config = await answer.json();
      Object.assign(this.features, config.features);
      by("toy-notice").hidden = config.model_is_toy !== true;
      if (config.model) by("model").textContent = config.model;
    } catch {
      setTimeout(() => this.configure(), 5000);
    }
  }

  openFromAddress() {
    const named = location.hash.slice(1);
    const id = SESSION_ID.test(named) ? named : load("session", "");
    if (!id) this.openNew();
    else if (id !== this.sessionId) this.open(id);
  }

  openNew() {
    this.open(newId(), false);
    this.composer.focus();
  }

  // Show one conversation. A new one has no stream before its first message: the server does not know it yet.
  open(id, exists = true) {
    this.stream?.stop();
    this.stream = null;
    this.sessionId = id;
    this.state = undefined;
    this.live = false;
    save("session", exists ? id : "");
    history.replaceState(null, "", exists ? `#${id}` : location.pathname);
    this.conversation = new Conversation(this.view, this.features);
    this.view.clear();
    this.head.show(exists ? id : null);
    this.tell("");
    for (const entry of this.outbox.entries(id)) {
      this.conversation.showPending(entry, entry.refused ? "refused" : "sending", entry.refused);
    }
    this.loading = exists;
    this.follow.toEnd();
    this.changed();
    if (exists) this.listen();
    else this.showState("idle");
  }

  listen() {
    this.stream?.stop();
    const id = this.sessionId;
    this.stream = new SessionStream(id, this.conversation, this.features, (state) => id === this.sessionId && this.showState(state));
    this.stream.start();
  }

  send(text) {
    const entry = this.outbox.add(this.sessionId, text);
    save("session", this.sessionId);
    history.replaceState(null, "", `#${this.sessionId}`);
    this.began();
    this.conversation.showPending(entry);
  }

  // What is typed, pressed or asked for from now on is news to those who listen.
  began() {
    this.live = true;
    this.tell("");
    this.follow.toEnd();
  }

  // A sentence about something that did not work; empty takes it away.
  tell(sentence) {
    by("deed-note").textContent = sentence;
    by("deed-note").hidden = !sentence;
  }

  // The button that was pressed goes away: the keyboard stays with the conversation.
  async another() {
    const kept = await this.quick.another();
    if (kept) by("scroller").focus({ preventScroll: true });
    return kept;
  }

  // The same question put differently: a session that begins with all that was said before it.
  async branch(turn, text, key) {
    const path = sessionPath(this.sessionId, "/fork");
    const { session_id: id } = await call("POST", path, { body: { seq: turn.seqs[0] - 1 }, key });
    history.pushState(null, "", `#${id}`);
    this.open(id);
    this.send(text);
    this.composer.focus();
  }

  // The place in a conversation where something was found.
  goTo({ session_id: id, seq }) {
    this.wanted = { id, seq };
    if (id === this.sessionId) this.changed();
    else location.hash = id;
  }

  deleted(id) {
    for (const entry of this.outbox.entries(id)) this.outbox.discard(entry.key);
    if (id === this.sessionId) this.open(newId(), false);
  }

  // Whether the wish was kept.
  async stop(eventId) {
    const path = `/v1/session/${encodeURIComponent(this.sessionId)}/cancel`;
    return call("POST", path, { body: eventId ? { event_id: eventId } : {} }).then(() => true, () => false);
  }

  // The text of an event that the stream could only refer to.
  async whole(href) {
    return (await call("GET", href)).payload.message;
  }

  takeBack(key, text) {
    this.outbox.discard(key);
    this.conversation.removePending(key);
    if (text) this.composer.put(text);
    this.composer.focus();
  }

  accepted(entry, receipt) {
    if (entry.sessionId !== this.sessionId) return;
    this.conversation.accepted(entry.key, receipt.event_id);
    if (this.stream === null || this.state === "unknown") this.listen();
    if (this.head.session === null) this.head.show(this.sessionId);
    else if (!this.head.session.title) this.head.refresh();
  }

  hurry() {
    this.stream?.hurry();
    this.outbox.hurry();
  }

  showState(state) {
    if (state === this.state) return;
    this.state = state;
    const [look, words] = STATES[state];
    by("connection").dataset.state = look;
    if (by("connection-text").textContent !== words) by("connection-text").textContent = words;
    if (state === "live" || state === "unknown") this.loading = false;
    if (state === "live") {
      this.outbox.hurry();
      this.head.refresh();
    }
    this.changed();
  }

  changed() {
    const nothing = by("turns").childElementCount === 0;
    by("loading").hidden = !(nothing && this.loading);
    by("loading-text").textContent = this.state === "waiting"
      ? "The server does not answer at the moment. This page keeps trying; you can write meanwhile."
      : "Loading the conversation…";
    by("empty").hidden = !(nothing && !this.loading);
    by("quick").hidden = nothing || !this.head?.session;
    this.reveal();
    this.follow.grown();
  }

  reveal() {
    const turn = this.wanted?.id === this.sessionId && this.conversation.turnAt(this.wanted.seq);
    if (!turn) return;
    this.wanted = null;
    this.follow.hold(this.view.reveal(turn));
  }
}

new Page().begin();
