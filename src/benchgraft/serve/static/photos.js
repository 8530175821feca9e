/** The part Photos: what comes in, which class it has, and what is taken out again. */

import { send, query } from "./api.js";
import { Camera } from "./camera.js";
import { chosenClass, drawClasses, startClasses } from "./classes.js";
import { byId, isTyping, lines, make, show } from "./dom.js";
import { askClass, large } from "./dialogs.js";
import { dropElsewhere } from "./drop.js";
import { ofDrop, ofFiles } from "./folders.js";
import { Grid } from "./grid.js";
import { attempt, tell } from "./notice.js";
import { classNames, current, refresh, relabel, undo, watch } from "./project.js";
import { chooser, counting, startSending, take } from "./sending.js";
import { word } from "./words.js";

let grid = null;
let revision = null;

/** Makes the part work. */
export function startPhotos() {
  startSending();
  grid = new Grid(byId("grid"), drawChosen, seeLarge);
  startClasses((filter) => grid.filter(filter));
  dropElsewhere((transfer, target) => attempt(() => dropped(transfer, target)));
  for (const kind of ["folder", "files"]) chooser(`choose-${kind}`, `${kind}-input`, chosen);
  startCamera();
  byId("chosen-class").addEventListener("click", () => attempt(giveClass));
  byId("chosen-out").addEventListener("click", () => attempt(takeOut));
  byId("chosen-none").addEventListener("click", () => grid.selection.clear());
  byId("undo").addEventListener("click", () => attempt(undo));
  byId("grid").addEventListener("keydown", letter);
  document.addEventListener("keydown", undoKey);
  watch(draw);
}

/** Asks for the class of a photo, or takes it out, from wherever it is shown. */
export async function seeLarge(photo) {
  const wish = await large(photo);
  if (wish === "class") await attempt(() => giveClassTo([photo.key]));
  if (wish === "out") await attempt(() => takeOutOf([photo.key]));
}

function draw(project) {
  lines(byId("notes"), project.notes);
  byId("drop").classList.toggle("small-drop", project.photos > 0);
  show(byId("collection"), project.photos > 0 || project.classes.length > 0);
  drawClasses(project);
  show(byId("undo"), project.undo !== null);
  byId("undo").textContent = word("undo", { what: project.undo ?? "" });
  if (project.revision !== revision) grid.renew();
  else grid.draw();
  revision = project.revision;
}

function drawChosen() {
  const count = grid.selection.keys.size;
  byId("chosen").textContent = word("chosen.count", { count });
  for (const id of ["chosen-class", "chosen-out", "chosen-none"]) byId(id).disabled = count === 0;
  show(byId("grid"), grid.total > 0);
  show(byId("grid-empty"), grid.total === 0);
  show(byId("grid-help"), grid.total > 0);
  const photo = grid.active();
  const about = photo ? [photo.key, photo.label || word("class.none"), ...photo.problems] : [];
  byId("grid-about").textContent = about.join(" · ");
}

// photos that come

async function dropped(transfer, target) {
  const chip = target.closest?.("[data-class]");
  const items = await ofDrop(transfer, counting);
  await take(items, null, chip?.dataset.class ?? chosenClass());
}

async function chosen(files) {
  await take(await ofFiles(files), null, chosenClass());
}

function startCamera() {
  const field = make("select", { id: "camera-class" });
  const label = make("label", { class: "inline" }, word("camera.class"), field);
  const taken = (blob, name) => attempt(() => keep(camera, field, blob, name));
  const camera = new Camera(byId("camera-open"), byId("camera"), taken, [label]);
  const offer = () => {
    const { value } = field;
    const names = [...classNames()];
    if (value && !names.includes(value)) names.push(value);
    field.replaceChildren(...names.map((name) => make("option", { value: name }, name)));
    field.append(make("option", { value: "" }, word("camera.new")));
    field.value = names.includes(value) ? value : chosenClass() || (names[0] ?? "");
  };
  watch(offer);
}

async function keep(camera, field, blob, name) {
  let label = field.value;
  if (!label) {
    label = await askClass(word("camera.ask"), word("camera.ask.text"));
    if (label === null) return;
    field.prepend(make("option", { value: label }, label));
    field.value = label;
  }
  const { added, skipped } = await send(query("/api/photos", { label }), [[blob, name]]);
  if (added) camera.say("camera.kept", { count: camera.count, name: label });
  else camera.told.textContent = skipped[0]?.reason ?? "";
  await refresh();
}

// photos that are chosen

async function giveClass() {
  await giveClassTo([...grid.selection.keys]);
}

async function giveClassTo(keys) {
  if (!keys.length) return;
  const values = { count: keys.length };
  const name = await askClass(word("chosen.class.title", values), word("chosen.class.text", values));
  if (name === null) return;
  const count = await relabel(keys, name);
  grid.selection.clear();
  tell(word("chosen.given", { count, name }));
}

async function takeOut() {
  await takeOutOf([...grid.selection.keys]);
}

async function takeOutOf(keys) {
  if (!keys.length) return;
  const count = await relabel(keys, "");
  grid.selection.clear();
  tell(word("chosen.taken", { count }));
}

function letter(event) {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  const key = event.key.toLowerCase();
  if (key === "c") attempt(giveClass);
  else if (key === "x" || key === "delete") attempt(takeOut);
  else return;
  event.preventDefault();
}

function undoKey(event) {
  const isUndo = (event.ctrlKey || event.metaKey) && !event.shiftKey && event.key.toLowerCase() === "z";
  if (!isUndo || isTyping(event) || document.querySelector("dialog[open]") || !current()?.undo) return;
  event.preventDefault();
  attempt(undo);
}
