/** The page: brings its parts together. */

import { listen, onGone } from "./api.js";
import { byId, show } from "./dom.js";
import { drawIcon } from "./icon.js";
import { onEpoch, onNote, onProgress, onTried, retold, startLive } from "./live.js";
import { say } from "./notice.js";
import { startPhotos } from "./photos.js";
import { current, refresh, setJob, watch } from "./project.js";
import { loadResult, startResult } from "./result.js";
import { startTakeaway } from "./takeaway.js";
import { startTrain } from "./train.js";
import { startTry } from "./tryit.js";
import { fill, loadWords, percent, word } from "./words.js";

const WAIT = 2000;

async function start() {
  drawIcon();
  while (!(await loadWords())) await new Promise((resolve) => setTimeout(resolve, WAIT));
  fill(document);
  onGone(gone);
  for (const part of [startPhotos, startTrain, startLive, startResult, startTry, startTakeaway]) part();
  watch(drawHead);
  startNav();
  await refresh();
  listen({ open: opened, progress, epoch: onEpoch, tried: onTried, note: onNote, job, changed: refresh });
}

function gone(is) {
  byId("gone").textContent = is ? word("gone") : "";
  show(byId("gone"), is);
}

function opened() {
  retold();
  refresh();
}

function progress(told) {
  onProgress(told);
  const { done, total } = told;
  const name = current()?.name ?? "";
  document.title = total ? word("title.running", { share: percent(done / total), name }) : title();
}

/** The state of the job; at its end what it made is asked for. */
async function job(now) {
  const wasRunning = current()?.job?.state === "running";
  setJob(now);
  if (now.state === "running") return;
  document.title = title();
  await refresh();
  if (!wasRunning || now.kind !== "train" || now.state !== "done") return;
  const isWatched = isInView(byId("train"));
  await loadResult();
  say(byId("result-lead").textContent);
  if (isWatched) byId("result").scrollIntoView({ block: "start" });
}

function isInView(element) {
  const { top, bottom } = element.getBoundingClientRect();
  return bottom > 0 && top < window.innerHeight / 2;
}

function title() {
  return word("title", { name: current()?.name ?? "" });
}

function drawHead(project) {
  if (project.job?.state !== "running") document.title = title();
  byId("name").textContent = project.name;
  byId("folder").textContent = project.folder;
  byId("version").textContent = `benchgraft ${project.version}`;
  byId("summary").textContent = summary(project);
}

function summary({ photos, classes, model }) {
  if (!photos) return word("summary.empty");
  const values = { count: photos, classes: word("count.classes", { count: classes.length }) };
  const first = word("summary.photos", values);
  if (!model) return first;
  return `${first} ${word("summary.model", { number: model.number, accuracy: percent(model.accuracy.value) })}`;
}

/** Says to everyone which part is in view. */
function mark(link, is) {
  if (is) link.setAttribute("aria-current", "true");
  else link.removeAttribute("aria-current");
}

/** The link of the part that is in view is marked. */
function startNav() {
  const links = [...byId("nav").querySelectorAll("a")];
  const watcher = new IntersectionObserver((entries) => {
    for (const { isIntersecting, target } of entries) {
      const link = links.find((one) => one.hash === `#${target.id}`);
      if (isIntersecting) for (const one of links) mark(one, one === link);
    }
  }, { rootMargin: "-30% 0px -60% 0px" });
  for (const link of links) watcher.observe(byId(link.hash.slice(1)));
}

start();
