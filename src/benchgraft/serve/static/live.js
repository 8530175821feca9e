/** What a job does while it runs, as the program tells it. */

import { byId, make, show } from "./dom.js";
import { say } from "./notice.js";
import { watch } from "./project.js";
import { duration, percent, word, wordOr } from "./words.js";

const SAID_EVERY = 15000;
let job = null;
let isRetold = false;
let stage = "";
let saidAt = 0;
let isKnown = false;

/** Makes the part work. */
export function startLive() {
  watch((project) => follow(project.job));
}

/** The line to the program is there again: what it tells next, it tells from the start. */
export function retold() {
  isRetold = true;
}

/** How far the stage is. */
export function onProgress({ what, done, total, seconds_left: left }) {
  fresh();
  const name = wordOr(`what.${what}`, what);
  const bar = byId("live-bar");
  if (total) bar.value = done / total;
  else bar.removeAttribute("value");
  const far = total ? word("live.of", { what: name, done, total }) : word("live.done_so_far", { what: name, done });
  const text = total && left !== null && left !== undefined ? word("live.left", { far, left: duration(left) }) : far;
  byId("live-text").textContent = text;
  if (name !== stage || Date.now() - saidAt > SAID_EVERY) {
    saidAt = Date.now();
    stage = name;
    say(text);
  }
}

/** The network has seen all photos once more. */
export function onEpoch({ epoch, epochs, validation_accuracy: accuracy }) {
  fresh();
  show(byId("epochs"), true);
  byId("epochs-text").textContent = word("epoch", { epoch, epochs, accuracy: percent(accuracy) });
  const bars = byId("epochs-bars");
  if (epoch <= bars.childElementCount) bars.replaceChildren();
  const bar = make("span", {});
  bar.style.height = `${Math.max(2, 100 * accuracy)}%`;
  bars.append(bar);
}

/** A parent was tried. */
export function onTried({ parent, fit, balanced_accuracy: accuracy, seconds }) {
  fresh();
  show(byId("tried"), true);
  byId("tried-rows").append(
    make(
      "tr",
      {},
      make("th", { scope: "row" }, parent),
      make("td", {}, wordOr(`fit.${fit}`, fit)),
      make("td", { class: "n" }, percent(accuracy)),
      make("td", { class: "n" }, word("short_seconds", { value: seconds.toFixed(1) })),
    ),
  );
}

/** A sentence about what is done. */
export function onNote({ line }) {
  fresh();
  show(byId("live-notes"), true);
  byId("live-lines").append(make("li", {}, line));
}

/** A job that starts, goes on, or ends. */
function follow(now) {
  const isNew = isKnown && now?.state === "running" && now.started !== job?.started;
  const wasRunning = job?.state === "running";
  isKnown = true;
  job = now;
  const isNews = wasRunning || ["running", "failed"].includes(now?.state);
  show(byId("live"), now !== null && (isNews || !byId("live").hidden));
  if (!now) return;
  if (isNew) clear();
  const isRunning = now.state === "running";
  byId("live-title").textContent = word(`job.${now.kind}.${now.state}`);
  show(byId("train-stop"), isRunning);
  show(byId("live-bar"), isRunning);
  show(byId("live-text"), isRunning);
  ended(now, wasRunning);
}

function ended(now, wasRunning) {
  const text = now.state === "failed" ? now.error ?? "" : now.state === "stopped" ? word("live.stopped") : "";
  const done = byId("live-done");
  show(done, text !== "" || (now.state === "done" && wasRunning) || (now.state === "done" && !done.hidden));
  if (text) done.textContent = text;
  else if (now.state === "done") done.replaceChildren(endOf(now));
  done.classList.toggle("error", now.state === "failed");
  if (wasRunning && now.state !== "running") say([word(`job.${now.kind}.${now.state}`), text].join(" "));
}

function endOf({ kind }) {
  if (kind === "train") return make("a", { href: "#result" }, word("live.see"));
  return make("a", { href: "/report/compare", target: "_blank", rel: "noopener" }, word("compare.report"));
}

/** What comes after a line was broken replaces what was there. */
function fresh() {
  if (!isRetold) return;
  isRetold = false;
  clear();
}

function clear() {
  stage = "";
  for (const id of ["epochs-bars", "tried-rows", "live-lines"]) byId(id).replaceChildren();
  for (const id of ["epochs", "tried", "live-notes"]) show(byId(id), false);
  byId("live-text").textContent = word("live.starting");
  byId("live-bar").removeAttribute("value");
  show(byId("live-done"), false);
}
