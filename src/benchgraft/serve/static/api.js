/** The program behind the page: questions, orders, photos to it, and what it tells by itself. */

import { word } from "./words.js";

const PATIENCE = 1500;
const WAIT = 2000;

/** The program answered that it will not; the message is its own. */
export class Refused extends Error {}

/** The program does not answer. */
export class Gone extends Error {}

let goneTold = () => {};
let failing = null;

/** tell(true) where the program stops answering, tell(false) where it answers again. */
export function onGone(tell) {
  goneTold = tell;
}

/** The answer to a question. */
export function get(path, signal) {
  return ask(path, { signal });
}

/** The answer to an order. */
export function post(path, body = {}) {
  const headers = { "Content-Type": "application/json" };
  return ask(path, { method: "POST", headers, body: JSON.stringify(body) });
}

/** A path with its query; values that are empty are left out. */
export function query(path, values) {
  const kept = Object.entries(values).filter(([, value]) => value !== null && value !== undefined && value !== "");
  return kept.length ? `${path}?${new URLSearchParams(kept)}` : path;
}

async function ask(path, options) {
  let answer;
  let text;
  try {
    answer = await fetch(path, options);
    text = await answer.text();
  } catch (error) {
    if (error.name === "AbortError") throw error;
    answers(false);
    throw new Gone(word("gone"));
  }
  answers(true);
  return read(answer.status, text);
}

function read(status, text) {
  let data = null;
  try {
    data = JSON.parse(text);
  } catch {
    if (status < 400) return null;
  }
  if (status < 400) return data;
  throw new Refused(typeof data?.detail === "string" ? data.detail : word("refused", { status: String(status) }));
}

/** Sends photos, as [blob, name]; advance(share sent) while they go. */
export function send(path, photos, advance = () => {}, signal = null) {
  const form = new FormData();
  for (const [blob, name] of photos) form.append("photos", blob, name);
  return new Promise((resolve, reject) => {
    const request = new XMLHttpRequest();
    const stop = () => request.abort();
    request.upload.addEventListener("progress", (event) => event.total && advance(event.loaded / event.total));
    request.addEventListener("load", () => {
      answers(true);
      try {
        resolve(read(request.status, request.responseText));
      } catch (error) {
        reject(error);
      }
    });
    request.addEventListener("error", () => {
      answers(false);
      reject(new Gone(word("gone")));
    });
    request.addEventListener("abort", () => reject(new DOMException("stopped", "AbortError")));
    request.addEventListener("loadend", () => signal?.removeEventListener("abort", stop));
    signal?.addEventListener("abort", stop);
    request.open("POST", path);
    request.send(form);
  });
}

/** Calls tell[event](data) for all that the program tells, and tell.open() whenever the line is there again. */
export function listen(tell) {
  const source = new EventSource("/api/events");
  source.addEventListener("open", () => {
    answers(true);
    tell.open();
  });
  for (const name of Object.keys(tell).filter((key) => key !== "open")) {
    source.addEventListener(name, (event) => tell[name](JSON.parse(event.data)));
  }
  source.addEventListener("error", () => {
    source.close();
    answers(false);
    setTimeout(() => listen(tell), WAIT);
  });
}

/** A line that breaks and is there again at once is nothing to tell. */
function answers(is) {
  if (is) {
    clearTimeout(failing);
    failing = null;
    goneTold(false);
  } else if (failing === null) {
    failing = setTimeout(() => goneTold(true), PATIENCE);
  }
}
