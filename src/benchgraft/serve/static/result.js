/** The part Result: how good the model is, what it gets wrong, and which labels to look at. */

import { get } from "./api.js";
import { check, open } from "./check.js";
import { drawConfusion } from "./confusion.js";
import { bar, byId, lines, make, picture, show, table } from "./dom.js";
import { attempt, say } from "./notice.js";
import { seeLarge } from "./photos.js";
import { current, isRunning, watch } from "./project.js";
import { begin } from "./train.js";
import { interval, percent, spoken, whole, word, wordOr } from "./words.js";

const FEW = 6;
const SOME = 12;
const RECALL = [["class"], ["recall.right"], ["recall.share", true], ["recall.tested", true], ["recall.trained", true]];
const CHANGES = [
  ["class"],
  ["photos.title", true],
  ["changes.before", true],
  ["changes.after", true],
  ["changes.won", true],
  ["changes.lost", true],
  ["changes.verdict"],
];
let result = null;
let shown = null;
let mistakesShown = SOME;

/** Makes the part work. */
export function startResult() {
  byId("suspects-check").addEventListener("click", () => attempt(checkLabels));
  byId("mistakes-more").addEventListener("click", moreMistakes);
  byId("compare").addEventListener("click", () => attempt(compare));
  watch(follow);
}

/** Asks for the result and shows it. */
export async function loadResult() {
  const found = await attempt(() => get("/api/result"));
  if (found === undefined) return;
  result = found;
  mistakesShown = SOME;
  draw();
}

/** The sentence of a result: "About 9 in 10: 91 %, somewhere between 88 and 94 % ...". */
export function sentence({ value, low, high }) {
  return word("result.lead", { spoken: spoken(value), value: whole(value), low: whole(low), high: whole(high) });
}

function follow({ model, job, comparison }) {
  const now = model ? `${model.number} ${model.date}` : "";
  if (now !== shown) {
    shown = now;
    loadResult();
  }
  const isOld = model !== null && !model.is_of_these;
  show(byId("result-old"), isOld);
  const link = make("a", { href: "#train" }, word("result.old.train"));
  byId("result-old").replaceChildren(word("result.old"), " ", link);
  byId("compare").setAttribute("aria-disabled", String(isRunning()));
  show(byId("compare-report"), Boolean(comparison) || (job?.kind === "compare" && job.state === "done"));
}

function draw() {
  show(byId("result-none"), result === null);
  show(byId("result-all"), result !== null);
  byId("pair").replaceChildren();
  if (result === null) return;
  drawLead();
  drawSuspects();
  drawRecall();
  drawConfusion(result.confusion, drawPair);
  drawMistakes();
  drawChanges();
  show(byId("left-out"), result.left_out.length > 0);
  byId("left-out-title").textContent = word("left_out.title", { count: result.left_out.length });
  lines(byId("left-out-list"), result.left_out.map(({ key, reason }) => word("skipped.line", { name: key, reason })));
}

function drawLead() {
  const { accuracy, commonest, images, parent, fit, seconds, notes } = result;
  const [name, share] = commonest;
  byId("result-lead").textContent = sentence(accuracy);
  byId("result-beside").textContent = word("result.beside", { name, share: percent(share) });
  byId("result-bars").replaceChildren(
    ...barLine(word("result.model"), accuracy, interval(accuracy)),
    ...barLine(word("result.constant", { name }), { value: share }, percent(share), "dull"),
  );
  const facts = { train: images.train, validation: images.validation, test: images.test };
  const made = { parent, fit: wordOr(`fit.${fit}`, fit), seconds: seconds.toFixed(1) };
  byId("result-facts").textContent = `${word("result.facts", facts)} ${word("result.made", made)}`;
  lines(byId("result-notes"), notes);
}

function barLine(name, share, text, kind = "") {
  return [make("span", {}, name), bar(share, kind), make("span", { class: "n" }, text)];
}

// labels to check

function drawSuspects() {
  const suspects = open(result.suspects);
  const count = suspects.length;
  byId("suspects-text").textContent = word(count ? "suspects.text" : "suspects.none", { count });
  byId("suspects-check").textContent = word("suspects.check", { count });
  show(byId("suspects-check"), count > 0);
  byId("suspects-few").replaceChildren(...suspects.slice(0, FEW).map((suspect) => {
    const { key, given, likelier } = suspect;
    const from = () => attempt(() => checkLabels(suspect));
    return card(key, word("suspects.card", { given, likelier }), from);
  }));
}

/** Opens the labels to check, at first that of a photo that was clicked on. */
async function checkLabels(first = null) {
  const suspects = open(result.suspects);
  if (first?.key) suspects.sort((one, other) => Number(other === first) - Number(one === first));
  await check(suspects);
  drawSuspects();
}

function card(key, text, opened) {
  const about = { type: "button", class: "card-button", onclick: opened };
  return make("li", {}, make("button", about, picture(key, 160), make("span", {}, text)));
}

// what is right and wrong

function drawRecall() {
  const classes = [...result.classes].sort((one, other) => (one.recall?.value ?? 2) - (other.recall?.value ?? 2));
  byId("recall").replaceChildren(table(RECALL, classes.map((one) => [
    one.name,
    one.recall ? bar(one.recall) : "",
    one.recall ? interval(one.recall) : word("recall.untested"),
    word("number", { count: one.test_images }),
    word("number", { count: one.train_images }),
  ])));
}

function mistakeCard(mistake) {
  const { given, predicted, confidence } = mistake;
  const text = word("mistakes.card", { given, predicted, sure: percent(confidence) });
  return card(mistake.key, text, () => seeLarge(mistake));
}

function drawMistakes() {
  const { mistakes } = result;
  byId("mistakes-text").textContent = word(mistakes.length ? "mistakes.text" : "mistakes.none");
  byId("mistakes").replaceChildren(...mistakes.slice(0, mistakesShown).map(mistakeCard));
  show(byId("mistakes-more"), mistakes.length > mistakesShown);
}

function moreMistakes() {
  const before = mistakesShown;
  mistakesShown += SOME;
  drawMistakes();
  byId("mistakes").children[before]?.querySelector("button").focus();
}

/** The mistakes of a pair of classes. */
function drawPair(given, answered) {
  const of = result.mistakes.filter((one) => one.given === given && one.predicted === answered);
  const name = word("pair.title", { given, answered });
  const title = make("h4", {}, name);
  const list = make("ul", { class: "gallery" }, ...of.map(mistakeCard));
  byId("pair").replaceChildren(title, of.length ? list : make("p", { class: "small" }, word("pair.none")));
  say(name);
}

function drawChanges() {
  const { changes } = result;
  show(byId("changes"), changes.length > 0);
  const numbers = ["images", "right_before", "right_after", "won", "lost"];
  byId("changes-table").replaceChildren(table(CHANGES, changes.map((change) => [
    change.name ?? word("classes.all"),
    ...numbers.map((name) => word("number", { count: change[name] })),
    word(verdict(change)),
  ])));
}

function verdict({ is_worse: isWorse, right_before: before, right_after: after }) {
  if (isWorse) return "changes.worse";
  return after === before ? "changes.same" : after > before ? "changes.more" : "changes.chance";
}

async function compare() {
  if (isRunning() || !current()?.model) return;
  await begin("/api/compare", {});
  byId("live").scrollIntoView({ block: "center" });
}
