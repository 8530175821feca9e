/** Takes what is dropped or chosen, asks for a class where nothing says it, and sends it on. */

import { Gone, Refused } from "./api.js";
import { byId, lines, show } from "./dom.js";
import { askClass } from "./dialogs.js";
import { parted } from "./folders.js";
import { attempt, say, tell, warn } from "./notice.js";
import { refresh } from "./project.js";
import { nextStep } from "./train.js";
import { Upload } from "./upload.js";
import { word } from "./words.js";

let upload = null;
let queue = Promise.resolve();

/** Makes the buttons of the part work. */
export function startSending() {
  byId("sending-stop").addEventListener("click", () => upload?.stop());
  window.addEventListener("beforeunload", (event) => upload && event.preventDefault());
}

/** Says how many files have been found so far in folders that are large. */
export function counting(count) {
  show(byId("sending"), true);
  show(byId("sending-stop"), false);
  byId("sending-text").textContent = word("sending.reading", { count });
  byId("sending-bar").removeAttribute("value");
}

/** Sends items; label: the class of all of them, or null where their folders say it. chosen: a class to offer. */
export async function take(items, label = null, chosen = "") {
  show(byId("sending"), upload !== null);
  if (!items.length) return tell(word("sending.none"));
  if (label !== null) return enqueue([[items, label]], []);
  const { placed, loose, left } = parted(items);
  const groups = placed.length ? [[placed, null]] : [];
  const skipped = left.map(({ name, key }) => ({ name, reason: word(key) }));
  if (loose.length) {
    const values = { count: loose.length };
    const text = word(placed.length ? "ask.some" : "ask.all", values);
    const name = await askClass(word("ask.title", values), text, chosen, folderNames(placed));
    if (name !== null) groups.push([loose, name]);
  }
  return enqueue(groups, skipped);
}

/** The classes that items become, by their folders. */
function folderNames(items) {
  return new Set(items.map(({ path }) => path.split("/").at(-2)).filter(Boolean));
}

/** Groups of [items, label] go after those that are on their way. */
function enqueue(groups, skipped) {
  queue = queue.catch(() => {}).then(() => deliver(groups, skipped));
  return queue;
}

async function deliver(groups, skipped) {
  const total = groups.reduce((sum, [items]) => sum + items.length, 0);
  let before = 0;
  let added = 0;
  for (const [items, label] of groups) {
    const start = before;
    upload = new Upload(items, label, (done) => progress(start + done, total));
    progress(before, total);
    const isWhole = await persist(upload);
    added += upload.added;
    skipped.push(...upload.skipped);
    before += items.length;
    if (!isWhole) break;
  }
  upload = null;
  show(byId("sending"), false);
  showSkipped(skipped);
  await refresh();
  if (total) tell(word("sending.done", { count: added }), added ? nextStep() : null);
}

/** Goes on after a failure when the user says so; false where it was stopped. */
async function persist(one) {
  for (;;) {
    try {
      await one.run();
      return true;
    } catch (error) {
      if (error.name === "AbortError") return false;
      if (!(error instanceof Refused || error instanceof Gone)) throw error;
      if (error instanceof Refused) warn(error.message);
      if (!(await again(one, error.message))) return false;
    }
  }
}

function again(one, text) {
  byId("sending-text").textContent = text;
  show(byId("sending-on"), true);
  return new Promise((resolve) => {
    const end = (isOn) => {
      show(byId("sending-on"), false);
      resolve(isOn);
    };
    byId("sending-on").onclick = () => end(true);
    one.stopping.signal.addEventListener("abort", () => end(false), { once: true });
  });
}

function progress(done, total) {
  show(byId("sending"), true);
  show(byId("sending-stop"), true);
  byId("sending-bar").value = total ? done / total : 0;
  const text = word("sending.text", { done: Math.floor(done), count: total });
  byId("sending-text").textContent = text;
  if (done === 0) say(text);
}

/** What was not taken, and why. */
function showSkipped(skipped) {
  show(byId("skipped"), skipped.length > 0);
  byId("skipped-title").textContent = word("skipped.title", { count: skipped.length });
  lines(byId("skipped-list"), skipped.map(({ name, reason }) => word("skipped.line", { name, reason })));
}

/** Files of a button that opens the system's own dialog. */
export function chooser(buttonId, inputId, chosen) {
  const input = byId(inputId);
  byId(buttonId).addEventListener("click", () => input.click());
  input.addEventListener("change", () => {
    const files = [...input.files];
    input.value = "";
    if (files.length) attempt(() => chosen(files));
  });
}
