/** The icon of the page, drawn here, as the page has no picture files. */

import { make } from "./dom.js";

const SIDE = 48;
const BARS = [["#b3541e", 20], ["#12806a", 34], ["#1f6aa5", 46]];

/** Gives the page its icon. */
export function drawIcon() {
  const path = ([colour, high], at) => `<path fill="${colour}" d="M${1 + 16 * at} ${SIDE}v${-high}h14v${high}z"/>`;
  const bars = BARS.map(path);
  const drawing = `<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 ${SIDE} ${SIDE}">${bars.join("")}</svg>`;
  const href = URL.createObjectURL(new Blob([drawing], { type: "image/svg+xml" }));
  document.head.append(make("link", { rel: "icon", type: "image/svg+xml", href }));
}
