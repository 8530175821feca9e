/** Every sentence that a user sees, from words.json, by key. */

let words = {};
let language = "en";
let plural = new Intl.PluralRules(language);
let numbers = new Intl.NumberFormat(language);

/** Fetches the words; true where they came. */
export async function loadWords() {
  try {
    const answer = await fetch("/static/words.json");
    if (!answer.ok) return false;
    words = await answer.json();
  } catch {
    return false;
  }
  language = words.language;
  plural = new Intl.PluralRules(language);
  numbers = new Intl.NumberFormat(language);
  document.documentElement.lang = language;
  return true;
}

/** The sentence of a key, with values in place of {names}; where it has forms, that of values.count. */
export function word(key, values = {}) {
  const found = words[key] ?? key;
  const text = typeof found === "string" ? found : found[plural.select(values.count)] ?? found.other;
  return text.replace(/\{(\w+)\}/g, (whole, name) => (name in values ? shown(values[name]) : whole));
}

/** The word of a key that the program made up; its own text where there is none. */
export function wordOr(key, text) {
  return key in words ? word(key) : text;
}

/** Puts words where the page has keys. */
export function fill(root) {
  for (const element of root.querySelectorAll("[data-word]")) element.textContent = word(element.dataset.word);
  for (const element of root.querySelectorAll("[data-label]")) {
    element.setAttribute("aria-label", word(element.dataset.label));
  }
}

/** A share as "91 %". */
export function percent(share) {
  return word("percent", { value: whole(share) });
}

/** A share with its interval, as "91 % (88 to 94)". */
export function interval({ value, low, high }) {
  return word("interval", { value: whole(value), low: whole(low), high: whole(high) });
}

/** A share as colleagues say it: "About 9 in 10". */
export function spoken(share) {
  const hundred = whole(share);
  if (hundred >= 100) return word("spoken.all");
  if (hundred >= 95) return word("spoken.of", { part: hundred, of: 100 });
  const tenth = Math.round(share * 10);
  return tenth ? word("spoken.of", { part: tenth, of: 10 }) : word("spoken.none");
}

/** A share in whole hundredths; never all or nothing by rounding. */
export function whole(share) {
  const hundred = Math.round(share * 100);
  if (hundred === 100 && share < 1) return 99;
  return hundred === 0 && share > 0 ? 1 : hundred;
}

/** A time to come, as "20 seconds". */
export function duration(seconds) {
  if (seconds < 90) return word("seconds", { count: Math.max(1, Math.round(seconds)) });
  return word("minutes", { count: Math.round(seconds / 60) });
}

/** A moment, in the user's own time. */
export function moment(text) {
  const date = new Date(text);
  if (Number.isNaN(date.getTime())) return text;
  return new Intl.DateTimeFormat(language, { dateStyle: "medium", timeStyle: "short" }).format(date);
}

/** Names as a sentence has them: "cat, dog and bird"; the first few of many. */
export function listed(names, most = 5) {
  const few = names.slice(0, most);
  if (names.length > most) few.push(word("more", { count: names.length - most }));
  return new Intl.ListFormat(language).format(few);
}

function shown(value) {
  return typeof value === "number" ? numbers.format(value) : String(value);
}
