/** The photos of a class or filter, fetched in pages as they are needed. */

import { get, query } from "./api.js";
import { attempt } from "./notice.js";

const PAGE = 500;

export class Pages {
  /** filter: {class, only}; came() is called when there is something new to show. */
  constructor(filter, came) {
    this.filter = filter;
    this.came = came;
    this.total = 0;
    this.pages = new Map();
    this.loads = new Map();
    this.isStale = new Set();
  }

  /** The photo at a place; undefined where it has not been fetched. */
  at(index) {
    return this.pages.get(Math.floor(index / PAGE))?.[index % PAGE];
  }

  /** Fetches what is missing from first to last, and no longer what was wanted before. */
  need(first, last) {
    const [from, to] = [Math.floor(first / PAGE), Math.floor(last / PAGE)];
    for (const [page, load] of this.loads) if ((page < from || page > to) && !load.isKept) load.stop.abort();
    for (let page = from; page <= to; page += 1) {
      if (!this.pages.has(page) || this.isStale.has(page)) attempt(() => this.load(page).done);
    }
  }

  /** All photos from first to last. */
  async all(first, last) {
    for (let page = Math.floor(first / PAGE); page <= Math.floor(last / PAGE); page += 1) {
      if (!this.pages.has(page) || this.isStale.has(page)) {
        const load = this.load(page);
        load.isKept = true;
        await load.done;
      }
    }
    const found = [];
    for (let index = first; index <= Math.min(last, this.total - 1); index += 1) found.push(this.at(index));
    return found.filter(Boolean);
  }

  /** Photos or labels have changed: what is shown stays until the new comes. */
  renew() {
    for (const load of this.loads.values()) load.stop.abort();
    this.loads.clear();
    for (const page of this.pages.keys()) this.isStale.add(page);
    this.need(0, 0);
  }

  /** Ends what is being fetched. */
  close() {
    for (const load of this.loads.values()) load.stop.abort();
    this.came = () => {};
  }

  load(page) {
    if (this.loads.has(page)) return this.loads.get(page);
    const load = { stop: new AbortController(), isKept: false };
    this.loads.set(page, load);
    load.done = this.fetched(page, load.stop.signal).finally(() => {
      if (this.loads.get(page) === load) this.loads.delete(page);
    });
    return load;
  }

  async fetched(page, signal) {
    const asked = { class: this.filter.class, only: this.filter.only, offset: page * PAGE, limit: PAGE };
    const { total, photos } = await get(query("/api/photos", asked), signal);
    this.total = total;
    this.pages.set(page, photos);
    this.isStale.delete(page);
    this.came();
  }
}
