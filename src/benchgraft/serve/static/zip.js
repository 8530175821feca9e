/** Opens a zip in the page, so that one of any size can be sent in parts. */

const END = 0x06054b50;
const ENTRY = 0x02014b50;
const END_BYTES = 22;
const ENTRY_BYTES = 46;
const LOCAL_BYTES = 30;
const COMMENT_BYTES = 65535;

/** Its files as items {path, size, open()}; null for a zip that this cannot open: the program may. */
export async function unzip(file) {
  try {
    const { count, start, bytes } = await directory(file);
    return entries(file, await view(file, start, start + bytes), count);
  } catch {
    return null;
  }
}

async function view(file, start, end) {
  return new DataView(await file.slice(start, end).arrayBuffer());
}

async function directory(file) {
  const tail = await view(file, Math.max(0, file.size - COMMENT_BYTES - END_BYTES), file.size);
  let at = tail.byteLength - END_BYTES;
  while (tail.getUint32(at, true) !== END) at -= 1;
  const count = tail.getUint16(at + 10, true);
  const [bytes, start] = [12, 16].map((field) => tail.getUint32(at + field, true));
  if (count === 0xffff || start === 0xffffffff) throw new RangeError("zip64");
  return { count, bytes, start };
}

function entries(file, data, count) {
  const items = [];
  let at = 0;
  for (let entry = 0; entry < count; entry += 1) {
    if (data.getUint32(at, true) !== ENTRY) throw new RangeError("no entry");
    const [flags, method] = [data.getUint16(at + 8, true), data.getUint16(at + 10, true)];
    const [packed, size] = [data.getUint32(at + 20, true), data.getUint32(at + 24, true)];
    const [name, extra, comment] = [28, 30, 32].map((field) => data.getUint16(at + field, true));
    const start = data.getUint32(at + 42, true);
    if (flags & 1 || (method !== 0 && method !== 8)) throw new RangeError("encrypted, or packed otherwise");
    const path = text(new Uint8Array(data.buffer, at + ENTRY_BYTES, name));
    if (!path.endsWith("/")) items.push({ path, size, open: () => unpacked(file, start, packed, method) });
    at += ENTRY_BYTES + name + extra + comment;
  }
  return items;
}

function text(bytes) {
  try {
    return new TextDecoder("utf-8", { fatal: true }).decode(bytes).replaceAll("\\", "/");
  } catch {
    return new TextDecoder("latin1").decode(bytes).replaceAll("\\", "/");
  }
}

async function unpacked(file, start, packed, method) {
  const local = await view(file, start, start + LOCAL_BYTES);
  const from = start + LOCAL_BYTES + local.getUint16(26, true) + local.getUint16(28, true);
  const raw = file.slice(from, from + packed);
  if (method === 0) return raw;
  return new Response(raw.stream().pipeThrough(new DecompressionStream("deflate-raw"))).blob();
}
