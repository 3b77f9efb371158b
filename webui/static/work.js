// What was done on the way to an answer, in lines that can be unfolded: memories that were used, tools that were called.
import { button, element, folded, moment } from "./elements.js";

const ROLES = { user: "You", assistant: "The agent", tool: "A tool", system: "The system" };
const STATES = {
  queued: "waiting", running: "running…", success: "done", error: "failed", timeout: "took too long", blocked: "not allowed",
  circuit_open: "not available now",
};
const LONGEST = 20_000;

// The line of a `context.update`; null where there was nothing to remember.
export function recalledLine(item) {
  const { results = [], degraded, late, truncated } = item.metadata ?? {};
  if (late) return element("p", "recalled", "Answered without memories: recall was left out, it took too long.");
  if (!results.length) {
    if (truncated) return element("p", "recalled", "Memories were used; they are too long to be shown here.");
    return degraded ? element("p", "recalled", "Answered without memories: the memory service did not answer in time.") : null;
  }
  const words = `${results.length} ${results.length === 1 ? "memory" : "memories"} used`;
  const head = degraded ? `${words}; the memory service did not answer in time` : words;
  return folded("recalled", [head], () => [element("ul", "", ...results.map((each) => memory(each)))]);
}

function memory(each) {
  const about = [ROLES[each.role] ?? each.role, each.created_at && moment(each.created_at)].filter(Boolean).join(", ");
  const source = element("small", "", about);
  if (each.session_id) {
    const link = element("a", "", "open");
    link.href = `#${each.session_id}`;
    link.setAttribute("aria-label", "Open the conversation in which this was said");
    source.append(" · ", link);
  }
  return element("li", "", element("q", "", each.content), source);
}

// The line of one call; `earlier` is the one it had until now.
export function toolLine(item, earlier, whole) {
  const { tool_name: name = item.tool_name ?? "a tool", status = "", execution_time: seconds, reason } = item.metadata ?? {};
  const time = seconds ? `, ${seconds < 0.1 ? "under 0.1" : seconds.toFixed(1)} s` : "";
  const state = element("span", "state", `${STATES[status] ?? status}${time}`);
  const line = folded("tool", [element("code", "", name), " ", state], () => inside(item, reason, whole));
  line.dataset.state = status;
  line.open = earlier?.open ?? false;
  return line;
}

function inside(item, reason, whole) {
  if (item.type !== "tool.result") return [element("p", "small", "The result is shown here when it has come.")];
  const parts = item.args === undefined ? [] : [element("p", "small", "Called with"), block(item.args)];
  const result = block(item.payload ?? item.message);
  if (reason) parts.push(element("p", "small trouble", reason));
  parts.push(element("p", "small", "Result"), result);
  const href = item.metadata?.truncated?.href;
  if (href) parts.push(element("p", "small", button("Load all of it", (event) => load(event.target, href, result, whole))));
  return parts;
}

async function load(pressed, href, result, whole) {
  pressed.disabled = true;
  try {
    result.replaceWith(block(await whole(href)));
    pressed.remove();
  } catch {
    pressed.textContent = "That could not be loaded. Try again";
    pressed.disabled = false;
  }
}

function block(value) {
  const text = typeof value === "string" ? pretty(value) : JSON.stringify(value, null, 2);
  const made = element("pre", "", text.length > LONGEST ? `${text.slice(0, LONGEST)}…` : text);
  made.tabIndex = 0;
  return made;
}

function pretty(text) {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}
