// Keeps the newest words in sight for those who are at the end, and leaves everybody else where they are; a page
// without words begins at its top.
const NEAR_PX = 64;
const HOLD_MS = 1_500;

export class Follow {
  constructor(scroller, jump) {
    this.scroller = scroller;
    this.jump = jump;
    this.following = true;
    this.seenTop = 0;
    scroller.addEventListener("scroll", () => this.#look(), { passive: true });
    jump.addEventListener("click", () => this.toEnd());
    new ResizeObserver(() => this.grown()).observe(scroller);
  }

  // Only a move upwards is a person's wish to stay; being far from the end may just mean that much was added.
  #look() {
    const { scrollTop, scrollHeight, clientHeight } = this.scroller;
    if (this.target) return;
    if (scrollHeight - scrollTop - clientHeight < NEAR_PX) this.following = true;
    else if (scrollTop < this.seenTop) this.following = false;
    this.seenTop = scrollTop;
    this.jump.hidden = this.following;
  }

  // Something was added; at most one look per frame, however fast it comes.
  grown() {
    this.frame ??= requestAnimationFrame(() => {
      this.frame = undefined;
      if (!this.scroller.querySelector(".turn")) this.scroller.scrollTop = 0;
      else if (this.target) this.#show(this.target);
      else if (this.following) this.scroller.scrollTop = this.scroller.scrollHeight;
      else this.#look();
    });
  }

  // Keep this in sight while a conversation is still growing around it; whoever scrolls is let go.
  hold(target) {
    this.following = false;
    this.target = target;
    this.grown();
    const release = () => (this.target = undefined);
    setTimeout(release, HOLD_MS);
    for (const wish of ["wheel", "touchmove", "keydown"]) addEventListener(wish, release, { once: true, passive: true });
  }

  // From its beginning where it is longer than the window.
  #show(target) {
    target.scrollIntoView({ block: target.offsetHeight < this.scroller.clientHeight ? "center" : "start" });
  }

  toEnd() {
    this.target = undefined;
    this.following = true;
    this.jump.hidden = true;
    this.grown();
  }
}
