// The gateway's API as this page calls it. What goes wrong comes back as one sentence for people.
const PATIENCE_MS = 15_000;
const SILENT = "The server does not answer at the moment. Try again shortly.";

export class Refused extends Error {
  constructor(sentence, status) {
    super(sentence);
    this.status = status;
  }
}

// The sentence of a problem answer, as a sentence.
export function sentenceOf(body, status) {
  const said = String(body?.detail ?? "") || `The server refused this (status ${status}).`;
  return said.charAt(0).toUpperCase() + said.slice(1) + (/[.!?]$/.test(said) ? "" : ".");
}

// The answer's JSON. `options`: `body` (sent as JSON), `key` (makes sending twice harmless), `signal`.
export async function call(method, path, { body, key, signal } = {}) {
  const headers = { Accept: "application/json", ...(body === undefined ? {} : { "Content-Type": "application/json" }) };
  if (key) headers["Idempotency-Key"] = key;
  const patience = AbortSignal.timeout(PATIENCE_MS);
  const ended = signal ? AbortSignal.any([signal, patience]) : patience;
  const answer = await fetch(path, { method, headers, body: body === undefined ? undefined : JSON.stringify(body), signal: ended })
    .catch((error) => {
      if (signal?.aborted) throw error;
      throw new Refused(SILENT, 0);
    });
  const told = await answer.json().catch(() => ({}));
  if (!answer.ok) throw new Refused(sentenceOf(told, answer.status), answer.status);
  return told;
}

// A session's address in the API.
export function sessionPath(id, rest = "") {
  return `/v1/sessions/${encodeURIComponent(id)}${rest}`;
}
