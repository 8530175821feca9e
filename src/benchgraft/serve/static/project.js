/** The project as the program last told it, and who wants to know. */

import { get, post } from "./api.js";
import { attempt, tell } from "./notice.js";
import { word } from "./words.js";

const watchers = [];
let project = null;
let asking = null;
let isStale = false;

/** The project; null before the program has answered. */
export function current() {
  return project;
}

/** Names of its classes. */
export function classNames() {
  return (project?.classes ?? []).map((one) => one.name);
}

/** True while something is trained or compared. */
export function isRunning() {
  return project?.job?.state === "running";
}

/** Calls seen(project) now and after each change. */
export function watch(seen) {
  watchers.push(seen);
  if (project) seen(project);
}

/** Asks for the project again; a wish that comes meanwhile is one more question, however often it comes. */
export function refresh() {
  isStale = true;
  asking ??= ask().finally(() => {
    asking = null;
  });
  return asking;
}

/** Takes what the program has told of its job. */
export function setJob(job) {
  if (!project) return;
  project = { ...project, job };
  told();
}

/** Gives photos another class ("" takes them out); how many were changed. */
export async function relabel(keys, label) {
  const { changed } = await post("/api/labels", { keys, label });
  await refresh();
  return changed;
}

/** Takes the last change back. */
export async function undo() {
  const answer = await post("/api/undo");
  await refresh();
  if (answer?.undone) tell(word("undone", { what: answer.undone }));
}

async function ask() {
  while (isStale) {
    isStale = false;
    const found = await attempt(() => get("/api/project"));
    if (found === undefined) return;
    project = found;
    told();
  }
}

function told() {
  for (const seen of watchers) seen(project);
}
