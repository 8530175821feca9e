/** The classes as chips: which is shown, what it is called, and new ones. */

import { post } from "./api.js";
import { byId, make, show } from "./dom.js";
import { askName, confirm } from "./dialogs.js";
import { attempt, tell } from "./notice.js";
import { classNames, current, refresh } from "./project.js";
import { word } from "./words.js";

const PROBLEMS = "problems";
let filter = {};
let filtered = () => {};

/** filtered({class, only}) is called when another class or filter is chosen. */
export function startClasses(changed) {
  filtered = changed;
  byId("class-new").addEventListener("click", () => attempt(create));
  byId("class-rename").addEventListener("click", () => attempt(rename));
}

/** The class that is shown; "" where it is not one. */
export function chosenClass() {
  return filter.class ?? "";
}

/** Draws the chips of a project; what is chosen stays, if it is still there. */
export function drawClasses(project) {
  const isGone = (filter.class && !classNames().includes(filter.class)) || (filter.only && !project.problems);
  if (isGone) choose({});
  const focused = document.activeElement?.dataset?.chip;
  const chips = [chip("", word("classes.all"), project.photos, {})];
  for (const { name, photos } of project.classes) chips.push(chip(`class ${name}`, name, photos, { class: name }));
  if (project.problems) chips.push(chip(PROBLEMS, word("classes.problems"), project.problems, { only: PROBLEMS }));
  byId("chips").replaceChildren(...chips);
  if (focused !== undefined) chips.find((one) => one.dataset.chip === focused)?.focus();
  const name = chosenClass();
  show(byId("class-rename"), name !== "");
  byId("class-rename").textContent = word("classes.rename", { name });
}

function chip(id, name, photos, its) {
  const isChosen = (its.class ?? "") === (filter.class ?? "") && its.only === filter.only;
  const about = { type: "button", class: `chip${its.only ? " bad" : ""}`, "data-chip": id, "aria-pressed": isChosen };
  const one = make("button", { ...about, "data-class": its.class, onclick: () => choose(its) }, name, " ");
  one.append(make("span", { class: "count" }, word("number", { count: photos })));
  return one;
}

function choose(its) {
  filter = its;
  drawClasses(current());
  filtered(its);
}

async function create() {
  const name = await askName(word("classes.new"), word("classes.name"), word("classes.make"));
  if (name === null) return;
  if (!classNames().includes(name)) {
    await post("/api/classes", { name });
    await refresh();
  }
  choose({ class: name });
}

async function rename() {
  const name = chosenClass();
  const to = await askName(word("classes.rename", { name }), word("classes.name"), word("classes.rename.yes"), name);
  if (to === null || to === name) return;
  if (classNames().includes(to) && !(await isMeant(name, to))) return;
  const { changed } = await post("/api/classes", { name, to });
  await refresh();
  choose({ class: to });
  tell(word("classes.renamed", { count: changed, name: to }));
}

function isMeant(name, to) {
  const count = current().classes.find((one) => one.name === name)?.photos ?? 0;
  return confirm(word("merge.title", { name: to }), word("merge.text", { count, name, to }), word("merge.yes"));
}
