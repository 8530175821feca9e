/** The camera: a picture of what it sees, for a class or for an answer. */

import { button, make, show } from "./dom.js";
import { current } from "./project.js";
import { word } from "./words.js";

const WISH = { width: { ideal: 1280 }, facingMode: "environment" };
const QUALITY = 0.92;

export class Camera {
  /** taken(blob, name) for each picture; more: elements that stand beside the button. */
  constructor(opener, box, taken, more = []) {
    this.opener = opener;
    this.box = box;
    this.taken = taken;
    this.stream = null;
    this.count = 0;
    this.video = make("video", { playsinline: true, "aria-label": word("camera.label") });
    this.video.muted = true;
    this.told = make("p", { class: "small", role: "status" });
    this.take = button("camera.take", () => this.shoot(), { class: "strong" });
    this.row = make("div", { class: "row" }, this.take, ...more, button("camera.close", () => this.close()));
    opener.addEventListener("click", () => (box.hidden ? this.open() : this.close()));
  }

  /** Asks the browser for the camera, and says why where there is none. */
  async open() {
    show(this.box, true);
    this.opener.setAttribute("aria-expanded", "true");
    this.box.replaceChildren(this.told);
    const isAllowed = current()?.camera && navigator.mediaDevices?.getUserMedia;
    if (!isAllowed) return this.say("camera.not_here");
    this.say("camera.starting");
    try {
      this.stream = await navigator.mediaDevices.getUserMedia({ video: WISH });
    } catch (error) {
      return this.say(error.name === "NotAllowedError" ? "camera.denied" : "camera.none");
    }
    if (this.box.hidden) return this.close();
    this.video.srcObject = this.stream;
    this.box.replaceChildren(this.video, this.row, this.told);
    this.told.textContent = "";
    await this.video.play().catch(() => {});
    this.take.focus();
  }

  /** Gives the camera back. */
  close() {
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    this.stream = null;
    this.video.srcObject = null;
    show(this.box, false);
    this.opener.setAttribute("aria-expanded", "false");
    this.opener.focus();
  }

  get isOpen() {
    return this.stream !== null;
  }

  /** Takes a picture and hands it on. */
  async shoot() {
    if (!this.video.videoWidth) return;
    const { videoWidth: width, videoHeight: height } = this.video;
    const canvas = make("canvas", { width, height });
    canvas.getContext("2d").drawImage(this.video, 0, 0);
    const blob = await new Promise((resolve) => canvas.toBlob(resolve, "image/jpeg", QUALITY));
    this.count += 1;
    const when = new Date().toISOString().replace(/\D/g, "").slice(0, 17);
    await this.taken(blob, `camera-${when}-${this.count}.jpg`);
  }

  say(key, values) {
    this.told.textContent = word(key, values);
  }
}
