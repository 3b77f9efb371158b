// The two ways a stream can come: a websocket, or server-sent events read with fetch (an EventSource would hide the
// server's heartbeat and the status of a refusal). Both call `opened()`, `item(object)`, `alive()` and, once, `closed(code)`.
const STATUS_TO_CODE = { 400: 1008, 401: 4401, 403: 4403, 404: 4404, 422: 1008 };

export function openWebsocket(sessionId, cursor, on) {
  const url = new URL(`/ws/session/${encodeURIComponent(sessionId)}`, location.href);
  url.protocol = location.protocol === "https:" ? "wss:" : "ws:";
  if (cursor) url.searchParams.set("after", cursor);
  const socket = new WebSocket(url);
  socket.onopen = () => on.opened();
  socket.onmessage = (event) => deliver(event.data, on);
  socket.onclose = (event) => on.closed(event.code);
  return () => {
    socket.onopen = socket.onmessage = socket.onclose = null;
    socket.close();
  };
}

export function openEvents(sessionId, cursor, on) {
  const stop = new AbortController();
  const query = new URLSearchParams({ session_id: sessionId, ...(cursor ? { after: cursor } : {}) });
  follow(`/gateway_stream?${query}`, stop.signal, on).then(
    (code) => stop.signal.aborted || on.closed(code),
    () => stop.signal.aborted || on.closed(1006),
  );
  return () => stop.abort();
}

async function follow(url, signal, on) {
  const answer = await fetch(url, { signal, headers: { Accept: "text/event-stream" }, cache: "no-store" });
  if (!answer.ok) return STATUS_TO_CODE[answer.status] ?? 1012;
  on.opened();
  const reader = answer.body.pipeThrough(new TextDecoderStream()).getReader();
  for (let rest = ""; ; ) {
    const { done, value } = await reader.read();
    if (done) return 1012;
    const blocks = (rest + value).split("\n\n");
    rest = blocks.pop();
    for (const block of blocks) readBlock(block, on);
  }
}

function readBlock(block, on) {
  const data = block.split("\n").filter((line) => line.startsWith("data:")).map((line) => line.slice(5).trimStart());
  if (data.length) deliver(data.join("\n"), on);
  else on.alive();
}

function deliver(text, on) {
  on.alive();
  const item = JSON.parse(text);
  if (item.type !== "ping") on.item(item);
}
