// Growing pauses with jitter, so that a thousand pages do not come back in the same second.
export class Pauses {
  constructor(firstMs = 400, longestMs = 15_000) {
    this.firstMs = firstMs;
    this.longestMs = longestMs;
    this.failures = 0;
  }

  reset() {
    this.failures = 0;
  }

  next(random = Math.random()) {
    const whole = Math.min(this.firstMs * 2 ** this.failures, this.longestMs);
    this.failures += 1;
    return whole * (0.5 + random / 2);
  }
}

// A rest that can be cut short; a later rest replaces an earlier one.
export class Rest {
  begin(milliseconds, then) {
    this.end();
    this.timer = setTimeout(then, milliseconds);
  }

  end() {
    clearTimeout(this.timer);
  }
}
