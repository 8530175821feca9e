/** Which classes are taken for which: a table of pairs, each of which can be looked into. */

import { byId, button, make, table } from "./dom.js";
import { word } from "./words.js";

const MOST = 30;
const STRONGEST = 40;

/** Draws the table, or for many classes the pairs that are mixed up most; looked(given, answered) for a pair. */
export function drawConfusion({ names, counts }, looked) {
  const isSmall = names.length <= MOST;
  byId("confusion-text").textContent = word(isSmall ? "confusion.text" : "confusion.text.many", { count: MOST });
  byId("confusion").replaceChildren(isSmall ? matrix(names, counts, looked) : pairs(names, counts, looked));
}

function matrix(names, counts, looked) {
  const corner = make("td", { class: "small" }, word("confusion.corner"));
  const heads = names.map((name) => make("th", { scope: "col", class: "tilted" }, make("span", {}, name)));
  const rows = names.map((given, row) => {
    const sum = counts[row].reduce((one, other) => one + other, 0);
    const cells = names.map((answered, column) => cell(given, answered, counts[row][column], sum, looked));
    return make("tr", {}, make("th", { scope: "row" }, given), ...cells);
  });
  const head = make("thead", {}, make("tr", {}, corner, ...heads));
  return make("table", { class: "matrix" }, head, make("tbody", {}, ...rows));
}

function cell(given, answered, count, sum, looked) {
  const isRight = given === answered;
  const element = make("td", { class: isRight ? "right" : "" });
  if (count) {
    const strength = Math.round((STRONGEST * count) / sum);
    const colour = isRight ? "var(--warm)" : "var(--scratch)";
    element.style.backgroundColor = `color-mix(in srgb, ${colour} ${strength}%, transparent)`;
  }
  if (isRight || !count) element.append(word("number", { count }));
  else element.append(pairButton(given, answered, count, looked));
  return element;
}

function pairButton(given, answered, count, looked) {
  const label = word("confusion.pair", { count, given, answered });
  const about = { "aria-label": label, title: label, class: "plain" };
  return button("number", () => looked(given, answered), about, { count });
}

function pairs(names, counts, looked) {
  const found = [];
  for (const [row, given] of names.entries()) {
    for (const [column, answered] of names.entries()) {
      const count = counts[row][column];
      if (row !== column && count) found.push({ given, answered, count });
    }
  }
  found.sort((one, other) => other.count - one.count);
  const rows = found.slice(0, MOST).map(({ given, answered, count }) => [
    given,
    answered,
    pairButton(given, answered, count, looked),
  ]);
  return table([["confusion.given"], ["confusion.answered"], ["photos.title", true]], rows);
}
