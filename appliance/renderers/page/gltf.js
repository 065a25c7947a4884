// Reads glTF 2.0: a .glb or .vrm file, or a .gltf that carries its buffers inside (data: addresses).
//
// What this reader does not know is refused with the reason, not drawn wrongly: compressed meshes and
// textures need decoders that a page without any library does not have.

const MAGIC = 0x46546c67; // "glTF"
const JSON_CHUNK = 0x4e4f534a, BINARY_CHUNK = 0x004e4942;
const KNOWN = new Set([
  "KHR_materials_unlit", "KHR_texture_transform", "KHR_mesh_quantization", "KHR_materials_emissive_strength", "KHR_materials_specular",
  "KHR_materials_ior", "KHR_materials_clearcoat", "KHR_materials_sheen", "KHR_lights_punctual", "VRM", "VRMC_vrm", "VRMC_materials_mtoon",
  "VRMC_springBone", "VRMC_node_constraint", "VRMC_materials_hdr_emissiveMultiplier",
]);
const NUMBERS = {
  5120: [Int8Array, 127], 5121: [Uint8Array, 255], 5122: [Int16Array, 32767], 5123: [Uint16Array, 65535], 5125: [Uint32Array, 1], 5126: [Float32Array, 1],
};
const WIDTHS = { SCALAR: 1, VEC2: 2, VEC3: 3, VEC4: 4, MAT2: 4, MAT3: 9, MAT4: 16 };
const MOST_VALUES = 60_000_000; // a quarter of a gigabyte: no avatar needs more, a damaged count asks for it

export class Unreadable extends Error {}

/** A file's parts: its JSON, and by index its accessors and pictures. */
export class Gltf {
  /** `buffer` is the whole file. Throws `Unreadable` with a sentence for whoever gave it. */
  constructor(buffer) {
    const { json, binary } = isBinary(buffer) ? chunks(buffer) : { json: parse(new Uint8Array(buffer)), binary: null };
    if (!String(json.asset?.version || "").startsWith("2")) throw new Unreadable("It is not glTF 2.0; export it as .glb or .vrm.");
    const strange = (json.extensionsRequired || []).filter((name) => !KNOWN.has(name));
    if (strange.length) throw new Unreadable(`It needs ${strange.join(", ")}; export it without compression.`);
    this.json = json;
    this.buffers = (json.buffers || []).map(({ uri }) => (uri === undefined ? binary : inside(uri)));
  }

  /** The bytes of one buffer view. */
  bytes(index) {
    const view = this.json.bufferViews[index];
    const buffer = this.buffers[view.buffer];
    const from = view.byteOffset || 0;
    if (!buffer || from + view.byteLength > buffer.length) throw new Unreadable("It ends too early; copy it again.");
    return buffer.subarray(from, from + view.byteLength);
  }

  /** An accessor's values as floats (or as they are, where `whole`), sparse ones filled in. */
  values(index, whole = false) {
    const accessor = this.json.accessors[index];
    const width = WIDTHS[accessor.type], [Kind, most] = NUMBERS[accessor.componentType] || [];
    const length = accessor.count * width;
    if (!Kind || !(length <= MOST_VALUES)) throw new Unreadable("One of its accessors is damaged; export it again.");
    const out = whole ? new Uint32Array(length) : new Float32Array(length);
    const scale = accessor.normalized && !whole ? 1 / most : 1;
    if (accessor.bufferView !== undefined) {
      const view = this.json.bufferViews[accessor.bufferView];
      read(this.bytes(accessor.bufferView), accessor.byteOffset || 0, view.byteStride, Kind, width, out, scale);
    }
    if (accessor.sparse) this.fill(accessor.sparse, Kind, width, out, scale);
    return out;
  }

  fill({ count, indices, values }, Kind, width, out, scale) {
    const where = new Uint32Array(count), what = new Float32Array(count * width);
    read(this.bytes(indices.bufferView), indices.byteOffset || 0, 0, NUMBERS[indices.componentType][0], 1, where, 1);
    read(this.bytes(values.bufferView), values.byteOffset || 0, 0, Kind, width, what, scale);
    where.forEach((place, i) => {
      for (let k = 0; k < width; k++) out[place * width + k] = what[i * width + k];
    });
  }

  /** A picture, or null where the browser cannot decode it. */
  async picture(index, most_px) {
    const image = this.json.images[index];
    const bytes = image.bufferView === undefined ? inside(image.uri) : this.bytes(image.bufferView);
    const options = { premultiplyAlpha: "none", colorSpaceConversion: "none" };
    try {
      const whole = await createImageBitmap(new Blob([bytes], { type: image.mimeType || "" }), options);
      const largest = Math.max(whole.width, whole.height);
      if (largest <= most_px) return whole;
      const size = { resizeWidth: Math.round((whole.width * most_px) / largest), resizeHeight: Math.round((whole.height * most_px) / largest) };
      const small = await createImageBitmap(whole, { ...options, ...size, resizeQuality: "high" });
      whole.close();
      return small;
    } catch (error) {
      if (error instanceof DOMException) return null;
      throw error;
    }
  }
}

function isBinary(buffer) {
  return buffer.byteLength >= 20 && new DataView(buffer).getUint32(0, true) === MAGIC;
}

function chunks(buffer) {
  const view = new DataView(buffer);
  if (view.getUint32(4, true) !== 2) throw new Unreadable("It is not glTF 2.0; export it as .glb or .vrm.");
  let json = null, binary = null;
  for (let at = 12; at + 8 <= buffer.byteLength; ) {
    const length = view.getUint32(at, true), kind = view.getUint32(at + 4, true);
    if (at + 8 + length > buffer.byteLength) throw new Unreadable("It ends too early; copy it again.");
    const bytes = new Uint8Array(buffer, at + 8, length);
    if (kind === JSON_CHUNK) json = parse(bytes);
    if (kind === BINARY_CHUNK && !binary) binary = bytes;
    at += 8 + length;
  }
  if (!json) throw new Unreadable("It is damaged; export it again.");
  return { json, binary };
}

function parse(bytes) {
  try {
    return JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(bytes));
  } catch {
    throw new Unreadable("It is no glTF file; give a .glb, .vrm or .gltf.");
  }
}

/** The bytes of a data: address; nothing is fetched for a file. */
function inside(uri) {
  const found = /^data:[^,]*;base64,(.*)$/s.exec(uri || "");
  if (!found) throw new Unreadable("It refers to other files; export it as .glb, in one piece.");
  return Uint8Array.from(atob(found[1]), (letter) => letter.charCodeAt(0));
}

function read(bytes, offset, stride, Kind, width, out, scale) {
  const size = Kind.BYTES_PER_ELEMENT, step = stride || size * width, count = out.length / width;
  if (count && offset + step * (count - 1) + size * width > bytes.length) throw new Unreadable("It ends too early; copy it again.");
  const start = bytes.byteOffset + offset;
  if (start % size === 0 && step % size === 0) {
    const values = new Kind(bytes.buffer, start, count ? (step / size) * (count - 1) + width : 0);
    for (let i = 0; i < count; i++) for (let k = 0; k < width; k++) out[i * width + k] = values[(i * step) / size + k] * scale;
    return;
  }
  const even = bytes.slice(offset, offset + (count ? step * (count - 1) + size * width : 0)); // misaligned files exist
  for (let i = 0; i < count; i++) {
    const values = new Kind(even.slice(i * step, i * step + size * width).buffer);
    for (let k = 0; k < width; k++) out[i * width + k] = values[k] * scale;
  }
}
