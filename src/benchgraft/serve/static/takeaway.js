/** The part Take away: the model as a file, how to use it elsewhere, and the models before it. */

import { get, post } from "./api.js";
import { button, byId, make, show, table } from "./dom.js";
import { attempt, say, tell, warn } from "./notice.js";
import { isRunning, refresh, watch } from "./project.js";
import { interval, moment, word } from "./words.js";

const COMMAND = "benchgraft predict model.safetensors new-photos/";
const PYTHON = `from benchgraft import predict

for answer in predict("model.safetensors", "new-photos/"):
    if hasattr(answer, "reason"):
        print(answer.path, answer.reason)
    else:
        print(answer.path, answer.class_name, answer.probability)
`;
const HISTORY = [
  ["history.number"],
  ["history.date"],
  ["history.accuracy"],
  ["history.parent"],
  ["photos.title", true],
  ["history.use"],
];
let shown = null;

/** Makes the part work. */
export function startTakeaway() {
  byId("command").textContent = COMMAND;
  byId("python").textContent = PYTHON;
  for (const copier of document.querySelectorAll("[data-copy]")) {
    copier.addEventListener("click", () => copy(byId(copier.dataset.copy)));
  }
  byId("take-onnx").addEventListener("click", () => tell(word("take.onnx.wait")));
  watch(follow);
}

function follow({ model, job }) {
  show(byId("take-none"), model === null);
  show(byId("take-all"), model !== null);
  const now = model ? `${model.number} ${model.date} ${job?.state}` : null;
  if (now && now !== shown) attempt(drawHistory);
  shown = now;
}

async function copy(code) {
  try {
    await navigator.clipboard.writeText(code.textContent);
    say(word("copied"));
    tell(word("copied"));
  } catch {
    getSelection().selectAllChildren(code);
    warn(word("copy.self"));
  }
}

async function drawHistory() {
  const models = await get("/api/history");
  show(byId("history"), models.length > 0);
  byId("history-table").replaceChildren(table(HISTORY, models.map((model) => [
    word("number", { count: model.number }),
    moment(model.date),
    interval(model.accuracy),
    model.parent,
    word("number", { count: model.photos }),
    does(model),
  ])));
}

function does({ number, is_current: isCurrent }) {
  if (isCurrent) return word("history.current");
  const values = { number };
  const label = word("history.back.label", values);
  const back = button("history.back", () => attempt(() => goBack(number)), { "aria-label": label });
  const href = `/download/model?number=${number}`;
  const about = { href, download: true, "aria-label": word("history.load.label", values) };
  const load = make("a", about, word("history.load"));
  return make("span", { class: "row" }, back, load);
}

async function goBack(number) {
  if (isRunning()) return warn(word("history.running"));
  await post("/api/history", { number });
  await refresh();
  tell(word("history.done", { number }));
}
