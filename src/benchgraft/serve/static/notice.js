/** Short messages at the foot of the page, and words for screen readers alone. */

import { Gone, Refused } from "./api.js";
import { byId, button, make } from "./dom.js";

const SHOWN = 8000;

/** Says what has been done; it goes by itself, unless there is something to do next: {text, act}. */
export function tell(text, next = null) {
  for (const old of byId("notices").querySelectorAll(".passing")) old.remove();
  const notice = add(text, next ? "" : "passing");
  if (!next) return setTimeout(() => notice.remove(), SHOWN);
  dismissNext();
  notice.dataset.next = "";
  const act = () => {
    notice.remove();
    next.act();
  };
  return notice.lastChild.before(make("button", { type: "button", class: "next", onclick: act }, next.text));
}

/** Says what did not work; it stays until closed. */
export function warn(text) {
  add(text, "bad");
}

/** What was to be done next has been done, or something else is next. */
export function dismissNext() {
  for (const old of byId("notices").querySelectorAll("[data-next]")) old.remove();
}

/** For screen readers: how far things are. */
export function say(text) {
  byId("said").textContent = text;
}

/** Does something that may be refused, and says so; gives what it gives, or undefined. */
export async function attempt(act) {
  try {
    return await act();
  } catch (error) {
    if (error instanceof Refused) warn(error.message);
    else if (!(error instanceof Gone) && error.name !== "AbortError") throw error;
    return undefined;
  }
}

function add(text, kind) {
  for (const old of [...byId("notices").children]) if (old.dataset.text === text) old.remove();
  const notice = make("div", { class: `notice ${kind}`, "data-text": text }, make("p", {}, text));
  notice.append(button("close", () => notice.remove()));
  byId("notices").append(notice);
  return notice;
}
