// A message of one's own, put differently: the new text goes its own way in a branch, the old conversation stays.
import { button, element } from "./elements.js";
import { newId } from "./storage.js";

const LONGEST = 32_000;

// `text`, or a promise of it; `onBranch(text, key)` fails with a sentence; `onBack()` when nothing is to change.
export function branchForm(text, onBranch, onBack) {
  const field = element("textarea");
  field.setAttribute("aria-label", "Your message, put differently");
  field.maxLength = LONGEST;
  field.rows = 2;
  const note = element("p", "small", "This opens a branch. The conversation so far stays as it is.");
  note.setAttribute("role", "status");
  const send = element("button", "", "Send as a branch");
  const form = element("form", "branch", field, note, element("p", "choices", button("Keep it as it is", onBack), send));
  const grow = () => {
    field.style.height = "auto";
    field.style.height = `${field.scrollHeight + 2}px`;
    send.disabled = !field.value.trim();
  };
  field.addEventListener("input", grow);
  field.addEventListener("keydown", (event) => pressed(event, form, onBack));
  form.addEventListener("submit", (event) => submitted(event, { field, send, note, onBranch }));
  fill(field, text, note, grow);
  return form;
}

async function fill(field, text, note, grow) {
  field.disabled = true;
  try {
    field.value = await text;
    field.disabled = false;
    grow();
    field.focus();
  } catch {
    note.textContent = "The whole message could not be loaded. Try again in a moment.";
  }
}

function pressed(event, form, onBack) {
  if (event.key === "Escape") {
    event.preventDefault();
    onBack();
  } else if (event.key === "Enter" && !event.shiftKey && !event.isComposing) {
    event.preventDefault();
    form.requestSubmit();
  }
}

async function submitted(event, { field, send, note, onBranch }) {
  event.preventDefault();
  const text = field.value.trim();
  if (!text || send.disabled) return;
  field.dataset.key ??= newId();
  send.disabled = true;
  note.textContent = "Opening a branch…";
  try {
    await onBranch(text, field.dataset.key);
  } catch (error) {
    note.textContent = error.message;
    send.disabled = false;
  }
}
