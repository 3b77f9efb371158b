// The field: Enter sends, Shift+Enter breaks the line, a draft survives a reload.
import { load, save } from "./storage.js";

const LONGEST = 32_000;
const COUNT_FROM = 30_000;

export class Composer {
  constructor(form, count, onSend) {
    this.form = form;
    this.field = form.elements.message;
    this.button = form.querySelector("[type=submit]");
    this.count = count;
    this.onSend = onSend;
    this.field.addEventListener("input", () => this.#changed());
    this.field.addEventListener("keydown", (event) => this.#key(event));
    form.addEventListener("submit", (event) => this.#submit(event));
    this.put(load("draft", ""));
  }

  put(text) {
    this.field.value = text;
    this.#changed();
  }

  focus() {
    this.field.focus({ preventScroll: true });
  }

  #changed() {
    const { value } = this.field;
    save("draft", value);
    this.button.disabled = !value.trim();
    this.count.hidden = value.length < COUNT_FROM;
    this.count.textContent = `${value.length.toLocaleString("en")} of ${LONGEST.toLocaleString("en")}`;
    this.field.style.height = "auto";
    this.field.style.height = `${this.field.scrollHeight}px`;
  }

  // While an input method composes (Japanese, Chinese …), Enter picks a word.
  #key(event) {
    if (event.key !== "Enter" || event.shiftKey || event.isComposing || event.keyCode === 229) return;
    event.preventDefault();
    this.form.requestSubmit();
  }

  #submit(event) {
    event.preventDefault();
    const text = this.field.value.trim();
    if (!text) return;
    this.put("");
    this.onSend(text);
    this.focus();
  }
}
