/** The part Train: one button, how long it may take, and whether there are photos enough. */

import { post } from "./api.js";
import { byId } from "./dom.js";
import { attempt, dismissNext } from "./notice.js";
import { isRunning, refresh, watch } from "./project.js";
import { listed, word } from "./words.js";

const MINUTES = [0, 1, 2, 3, 5, 10, 15, 30];
const TO_START = 10;
const FOR_ANSWER = 30;

/** Makes the part work. */
export function startTrain() {
  const slider = byId("minutes");
  slider.addEventListener("input", drawMinutes);
  byId("train-start").addEventListener("click", () => attempt(train));
  byId("train-stop").addEventListener("click", () => attempt(() => post("/api/cancel")));
  drawMinutes();
  watch(draw);
}

/** Starts a job. */
export async function begin(path, body) {
  await post(path, body);
  await refresh();
}

function minutes() {
  return MINUTES[Number(byId("minutes").value)];
}

function drawMinutes() {
  const count = minutes();
  const text = count ? word("train.deeper", { count }) : word("train.seconds");
  byId("minutes-text").textContent = text;
  byId("minutes").setAttribute("aria-valuetext", text);
}

/** What comes next when photos have come: {text, act}; null where training cannot start. */
export function nextStep() {
  if (!isReady()) return null;
  return { text: byId("train-start").textContent, act: () => attempt(train) };
}

function isReady() {
  return byId("train-start").getAttribute("aria-disabled") === "false";
}

async function train() {
  if (!isReady()) return;
  dismissNext();
  byId("train").scrollIntoView({ block: "start" });
  await begin("/api/train", { minutes: minutes() });
}

function draw(project) {
  const { isPossible, text } = readiness(project);
  byId("train-start").textContent = word(buttonWord(project));
  byId("train-start").setAttribute("aria-disabled", String(!isPossible || isRunning()));
  byId("train-ready").textContent = isRunning() ? word(`running.${project.job.kind}`) : text;
}

function buttonWord({ model, job }) {
  if (job?.kind === "train" && job.state === "stopped") return "train.go_on";
  if (!model) return "train.start";
  return model.is_of_these ? "train.again" : "train.again_new";
}

/** Whether training can start, and a sentence on what is missing or good to have. */
function readiness({ photos, classes, model }) {
  const filled = classes.filter((one) => one.photos > 0);
  if (!photos) return { isPossible: false, text: word("ready.no_photos") };
  if (filled.length < 2) return { isPossible: false, text: word("ready.one_class", { name: filled[0].name }) };
  const few = filled.filter((one) => one.photos < TO_START);
  if (few.length) return { isPossible: true, text: fewText("ready.few", few) };
  const some = filled.filter((one) => one.photos < FOR_ANSWER);
  if (some.length) return { isPossible: true, text: fewText("ready.some", some) };
  const values = { count: photos, classes: word("count.classes", { count: filled.length }) };
  return { isPossible: true, text: word(model ? "ready.again" : "ready.yes", values) };
}

function fewText(key, classes) {
  return word(key, { count: classes.length, names: listed(classes.map((one) => one.name)) });
}

