/** Which labels the user has looked at, kept in this browser, as the program is not told of them. */

import { current } from "./project.js";

const KEPT = 5000;
let memory = null;

/** True where this label of this photo was looked at. */
export function isChecked({ key, given }) {
  return read().includes(name(key, given));
}

/** Keeps that a label was looked at, or (is: false) that it was not after all. */
export function setChecked({ key, given }, is) {
  const others = read().filter((one) => one !== name(key, given));
  memory = is ? [...others, name(key, given)].slice(-KEPT) : others;
  try {
    localStorage.setItem(place(), JSON.stringify(memory));
  } catch {
    // a browser that keeps nothing: until the page is left, memory does
  }
}

function read() {
  try {
    memory ??= JSON.parse(localStorage.getItem(place())) ?? [];
  } catch {
    memory ??= [];
  }
  return memory;
}

function place() {
  return `benchgraft checked ${current()?.folder ?? ""}`;
}

function name(key, given) {
  return `${key}\n${given}`;
}
