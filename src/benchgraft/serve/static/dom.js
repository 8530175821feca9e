/** Elements of the page. Text from anywhere becomes text, never markup. */

import { word } from "./words.js";

const TYPED = "textarea, select, input:not([type=range], [type=checkbox])";

/** The element of an id. */
export function byId(id) {
  return document.getElementById(id);
}

/** A new element with attributes (on...: what it does at an event) and children. */
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === null || value === undefined || value === false) continue;
    if (typeof value === "function") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : String(value));
  }
  element.append(...children.filter((child) => child !== null && child !== undefined));
  return element;
}

/** A button with the word of a key. */
export function button(key, act, attributes = {}, values = {}) {
  return make("button", { type: "button", onclick: act, ...attributes }, word(key, values));
}

/** Shows an element, or hides it. */
export function show(element, is) {
  element.hidden = !is;
}

/** Lines as the items of a list, which is hidden where there are none. */
export function lines(list, texts) {
  list.replaceChildren(...texts.map((text) => make("li", {}, text)));
  show(list, texts.length > 0);
}

/** Where the program keeps the picture of a photo. */
export function address(key, side) {
  return `/api/photo?key=${encodeURIComponent(key)}&side=${side}`;
}

/** The picture of a photo; a grey box where it cannot be shown. */
export function picture(key, side, alt = "") {
  const image = make("img", { loading: "lazy", decoding: "async", alt, src: address(key, side) });
  image.addEventListener("error", () => image.replaceWith(noPicture(alt)));
  return image;
}

/** What stands where there is no picture. */
export function noPicture(alt = "") {
  const about = alt ? { role: "img", "aria-label": `${alt}, ${word("photo.none")}` } : {};
  return make("span", { class: "none", ...about }, word("photo.none"));
}

/** A bar for a share, with a line from low to high where an interval is known. */
export function bar({ value, low, high }, kind = "") {
  const filled = make("span", { class: "filled" });
  filled.style.width = `${100 * value}%`;
  const whole = make("span", { class: `share ${kind}`, "aria-hidden": "true" }, filled);
  if (low === undefined) return whole;
  const line = make("span", { class: "whisker" });
  line.style.left = `${100 * low}%`;
  line.style.width = `${100 * (high - low)}%`;
  whole.append(line);
  return whole;
}

/** A table: headings [key, is a number], and rows of cells (text or element); the first of a row names it. */
export function table(headings, rows) {
  const head = headings.map(([key, isNumber]) => make("th", { scope: "col", class: isNumber && "n" }, word(key)));
  const body = rows.map((cells) => make("tr", {}, ...cells.map((cell, at) => tableCell(cell, headings[at], at))));
  return make("table", {}, make("thead", {}, make("tr", {}, ...head)), make("tbody", {}, ...body));
}

function tableCell(cell, [key, isNumber], at) {
  const about = { class: isNumber && "n", "data-column": word(key) };
  return at ? make("td", about, cell) : make("th", { scope: "row", ...about }, cell);
}

/** True where keys are letters of a text that is being typed. */
export function isTyping(event) {
  return event.target instanceof HTMLElement && event.target.matches(TYPED);
}
