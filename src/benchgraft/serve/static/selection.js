/** Which photos of the grid are chosen, and at which one the keyboard stands. */

export class Selection {
  constructor(changed) {
    this.keys = new Set();
    this.active = 0;
    this.anchor = 0;
    this.changed = changed;
  }

  /** Chooses one alone. */
  only(index, key) {
    this.keys = new Set([key]);
    this.stand(index);
  }

  /** Chooses one more, or one less. */
  toggle(index, key) {
    if (!this.keys.delete(key)) this.keys.add(key);
    this.stand(index);
  }

  /** Chooses these, which lie from the anchor to index; beside the others, or instead of them. */
  range(index, keys, isMore) {
    this.keys = new Set(isMore ? [...this.keys, ...keys] : keys);
    this.active = index;
    this.changed();
  }

  /** Moves the keyboard there and chooses nothing. */
  stand(index) {
    this.active = index;
    this.anchor = index;
    this.changed();
  }

  /** Chooses none. */
  clear() {
    this.keys.clear();
    this.anchor = this.active;
    this.changed();
  }
}
