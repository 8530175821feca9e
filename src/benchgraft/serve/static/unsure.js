/** Below which probability the model is to say that it is unsure, and what that changes. */

import { get } from "./api.js";
import { byId, show } from "./dom.js";
import { attempt } from "./notice.js";
import { percent, word } from "./words.js";

let steps = [];

/** changed() is called when the user moves the slider. */
export function startUnsure(changed) {
  byId("unsure-below").addEventListener("input", () => {
    draw();
    changed();
  });
}

/** Asks what each threshold does, for the model that is there now. */
export async function loadUnsure() {
  const before = below();
  steps = (await attempt(() => get("/api/unsure"))) ?? [];
  show(byId("unsure"), steps.length > 1);
  byId("unsure-below").max = Math.max(0, steps.length - 1);
  byId("unsure-below").value = Math.max(0, steps.findIndex((step) => step.below === before));
  draw();
}

/** The threshold. */
export function below() {
  return steps[Number(byId("unsure-below").value)]?.below ?? 0;
}

function draw() {
  const step = steps[Number(byId("unsure-below").value)];
  if (!step) return;
  const values = { below: percent(step.below), answered: percent(step.answered), right: percent(step.right ?? 0) };
  const isNothing = step.answered === 0 || step.right === null;
  const text = word(isNothing ? "unsure.nothing" : step.below > 0 ? "unsure.text" : "unsure.never", values);
  byId("unsure-text").textContent = text;
  byId("unsure-below").setAttribute("aria-valuetext", text);
}
