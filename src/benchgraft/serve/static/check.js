/** Labels to check, one photo at a time: a key for each answer. */

import { post } from "./api.js";
import { isTyping, make, picture } from "./dom.js";
import { askClass, dialog, numbered } from "./dialogs.js";
import { classNames, refresh } from "./project.js";
import { percent, word } from "./words.js";

/** Opens the suspects one by one; resolves when the user has had enough. */
export async function check(suspects) {
  const checker = new Checker(suspects);
  await dialog(word("check.title"), (end, box) => checker.build(end, box), "wide check");
  await checker.pending;
  if (checker.hasChanged) await refresh();
}

class Checker {
  constructor(suspects) {
    this.queue = suspects;
    this.at = 0;
    this.past = [];
    this.pending = Promise.resolve();
    this.hasChanged = false;
    this.names = [];
  }

  build(end, box) {
    this.end = end;
    this.stage = make("div", { class: "stage", tabindex: "-1", autofocus: true });
    this.far = make("p", { class: "small", role: "status" });
    this.question = make("p", { class: "lead" });
    this.error = make("p", { class: "error", role: "alert" });
    this.acts = make("div", { class: "row" });
    this.others = make("div", { class: "choices", role: "group", "aria-label": word("check.others") });
    box.addEventListener("keydown", (event) => this.pressed(event));
    queueMicrotask(() => this.draw());
    return [this.far, this.stage, this.question, this.error, this.acts, this.others];
  }

  get suspect() {
    return this.queue[this.at];
  }

  draw() {
    const { suspect } = this;
    const count = this.queue.length;
    this.far.textContent = word("check.far", { done: Math.min(this.at + 1, count), count });
    if (!suspect) return this.drawEnd();
    const { key, given, likelier, probability } = suspect;
    const values = { given, likelier, sure: percent(probability) };
    this.stage.replaceChildren(picture(key, 1024, key));
    this.question.textContent = word("check.question", values);
    this.acts.replaceChildren(
      act("check.right", "R", () => this.keep(), { name: given }, "strong"),
      act("check.accept", "A", () => this.give(likelier), { name: likelier }, "strong"),
      act("check.out", "X", () => this.give("")),
      act("check.undo", "U", () => this.undo(), {}, "", this.past.length === 0),
      act("check.end", "Esc", () => this.end(true)),
    );
    this.names = numbered(classNames().filter((name) => name !== given));
    const others = this.names.map((name, at) => keyed(name, String(at + 1), () => this.give(name)));
    this.others.replaceChildren(make("span", { class: "small" }, word("check.is")), ...others);
    this.others.append(keyed(word("check.other"), "C", () => this.other()));
    this.prefetch();
  }

  drawEnd() {
    this.stage.replaceChildren();
    this.far.textContent = "";
    this.question.textContent = word("check.done");
    this.acts.replaceChildren(
      act("check.end", "Esc", () => this.end(true), {}, "strong"),
      act("check.undo", "U", () => this.undo(), {}, "", this.past.length === 0),
    );
    this.others.replaceChildren();
  }

  /** The next picture is there when its turn comes. */
  prefetch() {
    const next = this.queue[this.at + 1];
    if (next) new Image().src = picture(next.key, 1024).src;
  }

  /** The label is right as it is. */
  keep() {
    this.order(this.suspect, true);
    this.step(false);
  }

  /** The photo is of another class; "" takes it out. */
  give(label) {
    this.order(this.suspect, true, label);
    this.step(true);
  }

  async other() {
    const { suspect } = this;
    const name = await askClass(word("chosen.class.title", { count: 1 }), suspect.key);
    if (name !== null && suspect === this.suspect) this.give(name);
  }

  step(isChange) {
    this.past.push(isChange);
    this.at += 1;
    this.draw();
    this.stage.focus();
  }

  undo() {
    if (!this.past.length) return;
    const wasChange = this.past.pop();
    this.at -= 1;
    this.order(this.suspect, false, wasChange ? this.suspect.given : null);
    this.draw();
    this.stage.focus();
  }

  /**
   * Orders go one after another, while the user goes on: a new label where there is one, and then that this
   * suspect was looked at, or (is: false) was not after all.
   */
  order(suspect, is, label = null) {
    suspect.checked = is;
    this.hasChanged ||= label !== null;
    this.pending = this.pending.then(async () => {
      try {
        if (label !== null) await post("/api/labels", { keys: [suspect.key], label });
        await post("/api/checked", { key: suspect.key, label: suspect.given, is });
      } catch (error) {
        suspect.checked = false;
        this.error.textContent = `${suspect.key}: ${error.message}`;
      }
    });
  }

  pressed(event) {
    if (isTyping(event) || event.altKey || event.target.closest("dialog") !== this.stage.closest("dialog")) return;
    const key = event.key.toLowerCase();
    const isCommand = event.ctrlKey || event.metaKey;
    if (isCommand ? key !== "z" : key === "enter" && event.target.matches("button")) return;
    const does = isCommand || key === "u" ? () => this.undo() : this.suspect && this.answer(key);
    if (!does) return;
    event.preventDefault();
    does();
  }

  /** What a key says of the photo. */
  answer(key) {
    if (key === "r" || key === "enter") return () => this.keep();
    if (key === "a") return () => this.give(this.suspect.likelier);
    if (key === "x") return () => this.give("");
    if (key === "c") return () => this.other();
    const name = /^[1-9]$/.test(key) ? this.names[Number(key) - 1] : undefined;
    return name === undefined ? null : () => this.give(name);
  }
}

/** Those that nobody has looked at yet. */
export function open(suspects) {
  return suspects.filter((suspect) => !suspect.checked);
}

function act(key, letter, does, values = {}, kind = "", isDisabled = false) {
  return keyed(word(key, values), letter, does, kind, isDisabled);
}

function keyed(text, letter, does, kind = "", isDisabled = false) {
  const key = letter === "Esc" ? "Escape" : letter;
  const about = { type: "button", class: kind, disabled: isDisabled, "aria-keyshortcuts": key, onclick: does };
  return make("button", about, text, " ", make("kbd", { "aria-hidden": "true" }, letter));
}
