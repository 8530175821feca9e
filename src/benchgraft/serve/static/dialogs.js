/** Questions in front of the page: yes or no, a name, a class, and a photo seen large. */

import { button, make, picture } from "./dom.js";
import { classNames } from "./project.js";
import { percent, word } from "./words.js";

const NUMBERED = 9;
let opened = 0;

/** Opens a dialog with a title; what build(end) gives is in it. Resolves to the value of end(value), or null. */
export function dialog(title, build, kind = "") {
  return new Promise((resolve) => {
    opened += 1;
    const id = `dialog-${opened}`;
    const heading = make("h2", { id }, title);
    const box = make("dialog", { class: kind, "aria-labelledby": id }, heading);
    let value = null;
    const end = (chosen) => {
      value = chosen ?? null;
      box.close();
    };
    box.append(...build(end, box));
    box.addEventListener("click", (event) => event.target === box && box.close());
    box.addEventListener("close", () => {
      box.remove();
      resolve(value);
    });
    document.body.append(box);
    box.showModal();
  });
}

/** Asks whether to do something. */
export function confirm(title, text, yes) {
  return dialog(title, (end) => [
    make("p", {}, text),
    make("div", { class: "row" }, strong(yes, () => end(true)), cancel(end)),
  ]);
}

/** Asks for a name; the start is in the field. */
export function askName(title, text, yes, start = "") {
  return dialog(title, (end) => {
    const field = textField("dialog-name", start);
    const use = () => field.value.trim() && end(field.value.trim());
    onEnter(field, use);
    return [
      make("label", { for: "dialog-name" }, text),
      field,
      make("div", { class: "row" }, strong(yes, use), cancel(end)),
    ];
  });
}

/** Asks for a class: one that is there or on its way, or a new one. chosen: what stands in the field at first. */
export function askClass(title, text, chosen = "", coming = []) {
  return dialog(title, (end) => {
    const names = [...new Set([...classNames(), ...coming])];
    const field = textField("dialog-class", chosen);
    const list = make("div", { class: "choices" });
    const use = strong("", () => field.value.trim() && end(field.value.trim()));
    const draw = () => drawClasses(list, use, names, field.value.trim(), end);
    onEnter(field, () => use.click());
    field.addEventListener("input", draw);
    draw();
    const label = make("label", { for: "dialog-class" }, word(names.length ? "class.field" : "class.field.first"));
    return [make("p", {}, text), label, field, list, make("div", { class: "row" }, use, cancel(end))];
  });
}

/** The classes whose name holds what is typed, as buttons. */
function drawClasses(list, use, names, typed, end) {
  const isThere = names.includes(typed);
  const found = isThere ? names : names.filter((name) => name.toLowerCase().includes(typed.toLowerCase()));
  list.replaceChildren(...found.map((name) => make("button", { type: "button", onclick: () => end(name) }, name)));
  use.textContent = word(isThere || !typed ? "class.use" : "class.use_new", { name: typed });
  use.disabled = !typed;
}

/** Shows a photo large, with what is known of it; resolves to "class", "out" or null. */
export function large(photo) {
  return dialog(photo.key, (end) => {
    const told = photo.predicted === undefined
      ? word("large.label", { label: photo.label || word("class.none") })
      : word("large.mistake", { given: photo.given, predicted: photo.predicted, sure: percent(photo.confidence) });
    return [
      make("div", { class: "stage" }, picture(photo.key, 1024, photo.key)),
      make("p", {}, told),
      ...(photo.problems ?? []).map((reason) => make("p", { class: "reason" }, reason)),
      make(
        "div",
        { class: "row" },
        button("close", () => end(null), { class: "strong" }),
        button("chosen.class", () => end("class")),
        button("chosen.out", () => end("out")),
      ),
    ];
  }, "wide");
}

/** The first classes, which have a number key. */
export function numbered(names) {
  return names.slice(0, NUMBERED);
}

/** The key ends here: what the focus goes back to must not take it as pressed too. */
function onEnter(field, act) {
  field.addEventListener("keydown", (event) => {
    if (event.key !== "Enter" || event.isComposing) return;
    event.preventDefault();
    act();
  });
}

function textField(id, value) {
  return make("input", { type: "text", id, maxlength: 200, autocomplete: "off", value });
}

function strong(text, act) {
  return make("button", { type: "button", class: "strong", onclick: act }, text);
}

function cancel(end) {
  return button("cancel", () => end(null));
}
