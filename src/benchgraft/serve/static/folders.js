/** What a user drops or chooses: files, folders and zips, as items {path, size, open()}. */

import { unzip } from "./zip.js";

/** Bytes of one photo that can be sent at all. */
export const LARGEST = 63 << 20;
const PHOTO = /\.(jpe?g|jfif|png|gif|bmp|dib|tiff?|webp|hei[cf]|avif|jp2|p[bgnp]m|tga|pcx|ico)$/i;
const ZIP = /\.zip$/i;
const LITTER = /(^|\/)(\.[^/]*|__MACOSX|Thumbs\.db|desktop\.ini)(\/|$)/i;

/** Items of a drop; must be called while the drop is handled. counted(how many) while folders are read. */
export function ofDrop(transfer, counted = () => {}) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  const files = [...transfer.files];
  return entries.length ? ofEntries(entries, counted) : ofFiles(files);
}

/** Items of files that were chosen, alone or with their folder. */
export async function ofFiles(files) {
  const items = [];
  for (const file of files) await add(items, file, file.webkitRelativePath || file.name);
  return items;
}

/** Parts items: with a class folder, without one, and what is left out as [{name, key}]. */
export function parted(items) {
  const roots = new Set(items.filter(({ path }) => path.split("/").length > 2).map(({ path }) => top(path)));
  const parts = { placed: [], loose: [], left: [] };
  for (const item of items) {
    const depth = item.path.split("/").length;
    const isLoose = depth === 1 || (depth === 2 && roots.has(top(item.path)));
    if (item.size > LARGEST) parts.left.push({ name: item.path, key: "skipped.large" });
    else if (!isLoose || ZIP.test(item.path)) parts.placed.push(item);
    else if (PHOTO.test(item.path)) parts.loose.push(item);
    else parts.left.push({ name: item.path, key: "skipped.name" });
  }
  return parts;
}

function top(path) {
  return path.split("/", 1)[0];
}

async function ofEntries(entries, counted) {
  const items = [];
  const open = [...entries];
  while (open.length) {
    const entry = open.shift();
    const path = entry.fullPath.replace(/^\//, "");
    if (LITTER.test(path)) continue;
    if (entry.isDirectory) open.push(...(await children(entry)));
    else await add(items, await fileOf(entry), path);
    if (items.length % 100 === 0) counted(items.length);
  }
  return items;
}

/** A folder tells a part of what it holds at a time, and nothing at the end. */
async function children(folder) {
  const reader = folder.createReader();
  const found = [];
  for (;;) {
    const some = await new Promise((resolve) => reader.readEntries(resolve, () => resolve([])));
    if (!some.length) return found;
    found.push(...some);
  }
}

function fileOf(entry) {
  return new Promise((resolve) => entry.file(resolve, () => resolve(null)));
}

async function add(items, file, path) {
  if (!file || LITTER.test(path)) return;
  const inside = ZIP.test(path) ? await unzip(file) : null;
  if (inside) items.push(...inside.filter((item) => !LITTER.test(item.path)));
  else items.push({ path, size: file.size, open: async () => file });
}
