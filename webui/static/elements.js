// Elements made of plain parts. Text goes in as text, whatever stands in it.
export function element(tag, className, ...children) {
  const made = document.createElement(tag);
  if (className) made.className = className;
  made.append(...children);
  return made;
}

export function button(label, onClick, className = "quiet") {
  const made = element("button", className, label);
  made.type = "button";
  made.addEventListener("click", onClick);
  return made;
}

// A part that can be unfolded; what is in it is made when somebody first looks.
export function folded(className, head, body) {
  const made = element("details", className, element("summary", "", ...head));
  made.addEventListener("toggle", () => made.open && made.childElementCount === 1 && made.append(...body()));
  return made;
}

export function moment(at) {
  return new Date(at).toLocaleString([], { dateStyle: "medium", timeStyle: "short" });
}
