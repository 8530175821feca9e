/** The part Try: what the model says of photos that it has never seen. */

import { query, send } from "./api.js";
import { Camera } from "./camera.js";
import { bar, byId, isTyping, lines, make, noPicture, picture, show } from "./dom.js";
import { dropPlace } from "./drop.js";
import { ofDrop, ofFiles } from "./folders.js";
import { attempt, warn } from "./notice.js";
import { current, watch } from "./project.js";
import { chooser } from "./sending.js";
import { below, loadUnsure, startUnsure } from "./unsure.js";
import { nextBatch } from "./upload.js";
import { percent, word } from "./words.js";

const AT_ONCE = 12;
const MOST = 300;
const PAUSE = 400;
let answered = [];
let asked = null;
let stopping = new AbortController();

/** Makes the part work. */
export function startTry() {
  dropPlace(byId("try"), (transfer) => attempt(async () => tryItems(await ofDrop(transfer))));
  chooser("try-choose", "try-input", async (files) => tryItems(await ofFiles(files)));
  document.addEventListener("paste", pasted);
  byId("answers-clear").addEventListener("click", clear);
  startUnsure(judgeAll);
  startCamera();
  watch(follow);
}

function follow({ model }) {
  show(byId("try-none"), model === null);
  show(byId("try-all"), model !== null);
  const now = model ? `${model.number} ${model.date}` : null;
  if (now && now !== asked) loadUnsure();
  asked = now;
}

/** Photos are asked about a few at a time, so that the first answers come soon. */
async function tryItems(items) {
  if (!current()?.model) return warn(word("try.none"));
  stopping.abort();
  stopping = new AbortController();
  const { signal } = stopping;
  const some = items.slice(0, MOST);
  for (let done = 0; done < some.length && !signal.aborted; ) {
    const batch = nextBatch(some, done, AT_ONCE);
    await tryBatch(batch, signal);
    done += batch.length;
    const key = items.length > MOST && done === some.length ? "try.most" : "try.far";
    byId("try-said").textContent = word(key, { done, count: items.length });
  }
}

async function tryBatch(batch, signal) {
  const photos = await Promise.all(batch.map(async (item) => [await item.open(), item.path]));
  const { answers } = await send(query("/api/try", { unsure_below: below() }), photos, undefined, signal);
  answers.forEach((answer, at) => add(answer, photos[at][0]));
}

function add(answer, blob) {
  const entry = { answer, url: URL.createObjectURL(blob) };
  entry.element = answerCard(entry);
  judge(entry);
  answered.unshift(entry);
  byId("answers").prepend(entry.element);
  for (const old of answered.splice(MOST)) drop(old);
  show(byId("answers-clear"), true);
  return entry;
}

function answerCard({ answer, url }) {
  const image = make("img", { src: url, alt: answer.photo, decoding: "async" });
  image.addEventListener("error", () => image.replaceWith(noPicture(answer.photo)));
  const name = make("p", { class: "small" }, answer.photo);
  const told = make("div", { class: "told" }, make("p", { class: "verdict" }), name);
  const findings = make("ul", { class: "lines" });
  lines(findings, answer.error ? [] : (answer.findings ?? []));
  if (!answer.error) told.append(shares(answer.top), findings, ...alike(answer));
  return make("li", { class: "answer" }, image, told);
}

function shares(top) {
  const rows = Object.entries(top).flatMap(([name, share]) => [
    make("span", {}, name),
    bar({ value: share }),
    make("span", { class: "n" }, percent(share)),
  ]);
  return make("div", { class: "bars" }, ...rows);
}

/** photos: null, where the program is still opening them, or says why it cannot. */
function alike({ alike: photos, why_none_alike: why }) {
  if (!photos) return [make("p", { class: "small" }, why ? word("try.alike_none", { why }) : word("try.alike_later"))];
  if (!photos.length) return [];
  const items = photos.map(({ key, label }) => make("li", {}, picture(key, 96), make("span", {}, label)));
  return [make("p", { class: "small" }, word("try.alike")), make("ul", { class: "alike" }, ...items)];
}

/** The threshold may have moved since the program answered. */
function judge({ answer, element }) {
  const verdict = element.querySelector(".verdict");
  const isUnsure = !answer.error && answer.probability < below();
  const best = Object.keys(answer.top ?? {})[0] ?? answer.class_name;
  const values = { name: best, sure: percent(answer.probability ?? 0) };
  verdict.textContent = answer.error ?? word(isUnsure ? "try.unsure" : "try.answer", values);
  element.classList.toggle("unsure", isUnsure);
  element.classList.toggle("error", Boolean(answer.error));
}

function judgeAll() {
  answered.forEach(judge);
}

function drop({ element, url }) {
  URL.revokeObjectURL(url);
  element.remove();
}

function clear() {
  stopping.abort();
  answered.forEach(drop);
  answered = [];
  byId("try-said").textContent = "";
  show(byId("answers-clear"), false);
  byId("try-choose").focus();
}

function pasted(event) {
  const files = [...(event.clipboardData?.files ?? [])];
  if (isTyping(event) || !files.length) return;
  event.preventDefault();
  byId("try").scrollIntoView({ block: "start" });
  attempt(async () => tryItems(await ofFiles(files)));
}

// the camera: a picture at a press, or one after another

function startCamera() {
  const going = make("input", { type: "checkbox" });
  const label = make("label", { class: "inline" }, going, ` ${word("camera.on_and_on")}`);
  let last = null;
  const camera = new Camera(byId("try-camera-open"), byId("try-camera"), async (blob, name) => {
    if (last && going.checked) forget(last);
    last = (await attempt(() => tryPicture(blob, name))) ?? null;
    if (last) setTimeout(goOn, PAUSE);
  }, [label]);
  const goOn = () => going.checked && camera.isOpen && camera.shoot();
  going.addEventListener("change", goOn);
}

async function tryPicture(blob, name) {
  const { answers } = await send(query("/api/try", { unsure_below: below() }), [[blob, name]]);
  return add(answers[0], blob);
}

function forget(entry) {
  answered = answered.filter((one) => one !== entry);
  drop(entry);
}
