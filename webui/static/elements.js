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

// A point in time in this reader's own way; the year only where it is another one.
export function moment(at) {
  const time = new Date(at);
  const year = time.getFullYear() === new Date().getFullYear() ? {} : { year: "numeric" };
  return time.toLocaleString([], { month: "short", day: "numeric", hour: "numeric", minute: "2-digit", ...year });
}
