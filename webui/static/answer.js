// The running answer, put together from pieces that may repeat. Offsets count characters as the server counts them
// (code points), not JavaScript's half characters.
export class LiveAnswer {
  constructor() {
    this.attempt = 0;
    this.text = "";
    this.length = 0;
  }

  reset(attempt) {
    this.attempt = attempt;
    this.text = "";
    this.length = 0;
  }

  // The part of this piece that is new; null when something before it is missing.
  merge(attempt, offset, piece) {
    if (attempt < this.attempt) return "";
    if (attempt > this.attempt) this.reset(attempt);
    if (offset > this.length) return null;
    const characters = Array.from(piece);
    const fresh = characters.slice(this.length - offset);
    this.length += fresh.length;
    const text = fresh.join("");
    this.text += text;
    return text;
  }
}
