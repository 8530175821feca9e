/** Squares of photos. Only the rows that are near the eye are in the page, however many photos there are. */

import { isTyping, make, noPicture, picture } from "./dom.js";
import { attempt } from "./notice.js";
import { Pages } from "./pages.js";
import { Selection } from "./selection.js";
import { word } from "./words.js";

const GAP = 8;
const CAPTION = 22;
const NEAR = 2;
const SQUARES = { least: 128, leastNarrow: 92, high: 0, side: 160 };
const CARDS = { least: 300, leastNarrow: 300, high: 112, side: 96 };
const NARROW = 520;

export class Grid {
  /** chosen(): the selection, or what is shown, has changed; opened(photo): one is to be seen large. */
  constructor(box, chosen, opened) {
    this.box = box;
    this.opened = opened;
    this.chosen = chosen;
    this.cells = new Map();
    this.selection = new Selection(() => this.draw());
    this.space = make("div", { class: "space", role: "presentation" });
    this.pages = new Pages({}, () => this.draw());
    box.append(this.space);
    box.addEventListener("scroll", () => this.draw(), { passive: true });
    box.addEventListener("click", (event) => this.clicked(event));
    box.addEventListener("dblclick", () => this.open());
    box.addEventListener("keydown", (event) => this.pressed(event));
    new ResizeObserver(() => this.draw()).observe(box);
  }

  /** Shows the photos of a filter {class, only}. */
  filter(filter) {
    this.pages.close();
    this.pages = new Pages(filter, () => this.draw());
    this.empty();
    this.box.scrollTop = 0;
    this.selection.active = 0;
    this.selection.clear();
    this.pages.need(0, 0);
  }

  /** Fetches again what is shown. */
  renew() {
    this.pages.renew();
    this.draw();
  }

  /** The photo at which the keyboard stands. */
  active() {
    return this.pages.at(this.selection.active);
  }

  get total() {
    return this.pages.total;
  }

  // how it is laid out

  layout() {
    const style = this.pages.filter.only ? CARDS : SQUARES;
    const wide = this.box.clientWidth - 2 * GAP;
    const least = wide < NARROW ? style.leastNarrow : style.least;
    const columns = Math.max(1, Math.floor((wide + GAP) / (least + GAP)));
    const cell = (wide - GAP * (columns - 1)) / columns;
    return { style, columns, cell, row: (style.high || cell + CAPTION) + GAP };
  }

  draw() {
    if (!this.box.clientWidth) this.chosen();
    if (!this.box.clientWidth) return;
    const layout = this.layout();
    const rows = Math.ceil(this.total / layout.columns);
    this.space.style.height = `${rows * layout.row + GAP}px`;
    const top = this.box.scrollTop;
    const first = Math.max(0, Math.floor(top / layout.row) - NEAR) * layout.columns;
    const seen = Math.ceil(this.box.clientHeight / layout.row) + 2 * NEAR;
    const last = Math.min(this.total, first + seen * layout.columns) - 1;
    this.selection.active = Math.max(0, Math.min(this.selection.active, this.total - 1));
    this.keep(first, last);
    for (let index = first; index <= last; index += 1) this.place(index, layout);
    if (this.total && !this.cells.has(this.selection.active)) this.place(this.selection.active, layout);
    this.pages.need(Math.max(0, first), Math.max(0, last));
    this.mark();
  }

  /** Takes out of the page what is far; a picture that is still on its way is given up. */
  keep(first, last) {
    for (const [index, cell] of this.cells) {
      const isNear = index >= first && index <= last;
      if (isNear || (index === this.selection.active && index < this.total)) continue;
      cell.querySelector("img")?.removeAttribute("src");
      cell.remove();
      this.cells.delete(index);
    }
  }

  empty() {
    this.keep(0, -1);
    for (const cell of this.cells.values()) cell.remove();
    this.cells.clear();
  }

  place(index, { style, columns, cell, row }) {
    let element = this.cells.get(index);
    if (!element) {
      element = make("div", { class: style === CARDS ? "cell card" : "cell", role: "option", id: `photo-${index}` });
      this.cells.set(index, element);
      this.space.append(element);
    }
    const [line, column] = [Math.floor(index / columns), index % columns];
    element.style.width = `${cell}px`;
    element.style.height = `${row - GAP}px`;
    element.style.transform = `translate(${GAP + column * (cell + GAP)}px, ${GAP + line * row}px)`;
    this.paint(element, index, style);
  }

  /** Fills a cell, where its photo is known and not the one that it shows. */
  paint(element, index, style) {
    const photo = this.pages.at(index);
    const told = photo ? JSON.stringify(photo) : "";
    element.setAttribute("aria-setsize", this.total);
    element.setAttribute("aria-posinset", index + 1);
    if (element.dataset.told === told) return;
    if (!photo && element.dataset.told) return;
    element.dataset.told = told;
    element.querySelector("img")?.removeAttribute("src");
    element.replaceChildren(...(photo ? this.content(photo, style) : [make("span", { class: "none" })]));
    element.setAttribute("aria-label", photo ? described(photo) : word("grid.coming"));
    element.title = photo ? described(photo) : "";
  }

  content(photo, style) {
    const side = style.side * (window.devicePixelRatio > 1.3 && style.side === 160 ? 2 : 1);
    const label = make("span", { class: "label" }, photo.label || word("class.none"));
    if (style !== CARDS) return [thumbnail(photo, side), label];
    const reasons = photo.problems.map((reason) => make("span", { class: "reason" }, reason));
    return [thumbnail(photo, side), make("span", { class: "about" }, label, ...reasons)];
  }

  mark() {
    for (const [index, cell] of this.cells) {
      const photo = this.pages.at(index);
      cell.setAttribute("aria-selected", Boolean(photo && this.selection.keys.has(photo.key)));
      cell.classList.toggle("active", index === this.selection.active);
    }
    if (this.cells.has(this.selection.active)) {
      this.box.setAttribute("aria-activedescendant", `photo-${this.selection.active}`);
    } else this.box.removeAttribute("aria-activedescendant");
    this.chosen();
  }

  // what the user does

  clicked(event) {
    const cell = event.target.closest("[role=option]");
    if (!cell) return;
    const index = Number(cell.getAttribute("aria-posinset")) - 1;
    const photo = this.pages.at(index);
    if (!photo) return;
    const isMore = event.ctrlKey || event.metaKey;
    if (event.shiftKey) this.reach(index, isMore);
    else if (isMore || event.pointerType === "touch") this.selection.toggle(index, photo.key);
    else this.selection.only(index, photo.key);
  }

  pressed(event) {
    if (isTyping(event) || event.altKey) return;
    const isCommand = event.ctrlKey || event.metaKey;
    const to = this.target(event.key);
    if (to !== null) this.move(to, event.shiftKey);
    else if (event.key === " ") this.pickHere(event.shiftKey);
    else if (event.key === "Enter") this.open();
    else if (event.key === "Escape") this.selection.clear();
    else if (isCommand && event.key.toLowerCase() === "a") this.everything();
    else return;
    event.preventDefault();
  }

  /** Where a key leads; null for one that leads nowhere. */
  target(key) {
    const { columns, row } = this.layout();
    const page = columns * Math.max(1, Math.floor(this.box.clientHeight / row) - 1);
    const { active } = this.selection;
    const places = {
      ArrowLeft: active - 1,
      ArrowRight: active + 1,
      ArrowUp: active - columns,
      ArrowDown: active + columns,
      PageUp: active - page,
      PageDown: active + page,
      Home: 0,
      End: this.total - 1,
    };
    if (!(key in places)) return null;
    const isOut = places[key] < 0 || places[key] >= this.total;
    if (isOut && key.startsWith("Arrow")) return active;
    return Math.max(0, Math.min(this.total - 1, places[key]));
  }

  move(index, isReach) {
    this.reveal(index);
    if (isReach) this.reach(index, false);
    else this.selection.stand(index);
  }

  reveal(index) {
    const { columns, row } = this.layout();
    const top = Math.floor(index / columns) * row;
    const { scrollTop, clientHeight } = this.box;
    if (top < scrollTop) this.box.scrollTop = top;
    else if (top + row + GAP > scrollTop + clientHeight) this.box.scrollTop = top + row + GAP - clientHeight;
  }

  pickHere(isReach) {
    const photo = this.active();
    if (!photo) return;
    if (isReach) this.reach(this.selection.active, false);
    else this.selection.toggle(this.selection.active, photo.key);
  }

  /** Chooses from the anchor to here, and fetches what lies between. */
  reach(index, isMore) {
    const { anchor } = this.selection;
    const pages = this.pages;
    this.selection.active = index;
    this.draw();
    return attempt(async () => {
      const photos = await pages.all(Math.min(anchor, index), Math.max(anchor, index));
      const isStill = pages === this.pages && this.selection.active === index;
      if (isStill) this.selection.range(index, photos.map((photo) => photo.key), isMore);
    });
  }

  everything() {
    const { active } = this.selection;
    return attempt(async () => {
      const photos = await this.pages.all(0, this.total - 1);
      this.selection.range(active, photos.map((photo) => photo.key), false);
    });
  }

  open() {
    const photo = this.active();
    if (photo) this.opened(photo);
  }
}

function thumbnail(photo, side) {
  if (photo.readable === false) return noPicture();
  const image = picture(photo.key, side);
  image.draggable = false;
  return image;
}

function described(photo) {
  return [photo.key, photo.label || word("class.none"), ...photo.problems].join(", ");
}
