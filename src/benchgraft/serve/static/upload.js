/** Photos on their way to the program, in several requests, one after another. */

import { query, send } from "./api.js";
import { LARGEST } from "./folders.js";
import { word } from "./words.js";

const BYTES = 48 << 20;
const FILES = 200;

/** Items with one label (null: their folder says it), sent by run(), which goes on where it was after a failure. */
export class Upload {
  constructor(items, label, told) {
    this.items = items;
    this.label = label;
    this.done = 0;
    this.added = 0;
    this.skipped = [];
    this.told = told;
    /** What is sent in several requests is taken back at once. */
    this.drop = `${Date.now()}-${Math.random()}`;
    this.stopping = new AbortController();
  }

  /** Ends it; what has been sent stays. */
  stop() {
    this.stopping.abort();
  }

  /** Sends what is left. */
  async run() {
    while (this.done < this.items.length) {
      this.stopping.signal.throwIfAborted();
      const batch = nextBatch(this.items, this.done);
      const photos = await this.opened(batch);
      if (photos.length) this.take(await this.sent(photos, batch.length));
      this.done += batch.length;
      this.told(this.done);
    }
  }

  sent(photos, count) {
    const path = query("/api/photos", { label: this.label, drop: this.drop });
    return send(path, photos, (share) => this.told(this.done + share * count), this.stopping.signal);
  }

  take({ added, skipped }) {
    this.added += added;
    this.skipped.push(...skipped);
  }

  /** What cannot be read, such as a file that is gone by now, is skipped. */
  async opened(batch) {
    const photos = [];
    for (const item of batch) {
      const blob = await item.open().catch(() => null);
      const name = item.path.slice(item.path.lastIndexOf("/") + 1);
      if (blob && blob.size <= LARGEST) photos.push([blob, this.label === null ? item.path : name]);
      else this.skipped.push({ name: item.path, reason: word(blob ? "skipped.large" : "skipped.unreadable") });
    }
    return photos;
  }
}

/** As many as one request may hold, and at least one. */
export function nextBatch(items, from, most = FILES) {
  let bytes = 0;
  let to = from;
  while (to < items.length && to - from < most && (to === from || bytes + items[to].size <= BYTES)) {
    bytes += items[to].size;
    to += 1;
  }
  return items.slice(from, to);
}
