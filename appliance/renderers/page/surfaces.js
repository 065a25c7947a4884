// A file's meshes on the graphics card.

import { Vertices } from "./morphs.js";
import { IDENTITY, move, times } from "./matrices.js";
import { WHERE } from "./shaders.js";

const MOST_TEXTURE_PX = 2048;
const WRAPS = { 33071: "CLAMP_TO_EDGE", 33648: "MIRRORED_REPEAT", 10497: "REPEAT" };
const TRIANGLES = 4;
const RANKS = { OPAQUE: 0, MASK: 1, BLEND: 2 };
const SHADE = [0.5, 0.36, 0.36]; // what light from aside leaves of a colour where the file does not say

/** Everything of one file that lies on the card; `free` gives it back. */
export class Surfaces {
  static async of(gl, gltf, targets, order) {
    const made = new Surfaces(gl, gltf);
    try {
      made.materials = [];
      for (const [index, material] of (gltf.json.materials || []).entries()) made.materials.push(await made.material(material, index));
      made.skins = (gltf.json.skins || []).map((skin) => made.skin(skin));
      for (const [node] of order) made.addNode(node, targets);
    } catch (error) {
      made.free();
      throw error;
    }
    made.all.sort((a, b) => a.material.rank - b.material.rank);
    return made;
  }

  constructor(gl, gltf) {
    Object.assign(this, { gl, gltf, all: [], shared: new Map(), textures: new Map(), trash: [] });
    this.white = this.texture(null, null);
  }

  keep(made, kind) {
    this.trash.push(() => this.gl[`delete${kind}`](made));
    return made;
  }

  free() {
    for (const remove of this.trash) remove();
    this.trash = [];
  }

  async material({ pbrMetallicRoughness: pbr = {}, alphaMode = "OPAQUE", alphaCutoff = 0.5, doubleSided = false, extensions = {} }, index) {
    const older = this.gltf.json.extensions?.VRM?.materialProperties?.[index];
    const toon = extensions.VRMC_materials_mtoon || (older?.shader === "VRM/MToon" && { shadeColorFactor: older.vectorProperties?._ShadeColor });
    const flat = Boolean(toon || extensions.KHR_materials_unlit);
    const { index: texture, extensions: more } = pbr.baseColorTexture || {};
    const { offset = [0, 0], scale = [1, 1] } = more?.KHR_texture_transform || {};
    return {
      rank: RANKS[alphaMode] * 10_000 + (older?.renderQueue || 0) + (extensions.VRMC_materials_mtoon?.renderQueueOffsetNumber || 0),
      picture: texture === undefined ? this.white : await this.pictured(texture),
      colour: pbr.baseColorFactor || [1, 1, 1, 1],
      shade: (toon && toon.shadeColorFactor?.slice(0, 3)) || (flat ? [0.75, 0.68, 0.72] : SHADE),
      cutoff: alphaMode === "MASK" ? alphaCutoff : alphaMode === "BLEND" ? -1 : 0,
      drawn: flat ? 1 : 0,
      gloss: flat ? 0 : 0.35 * (1 - (pbr.roughnessFactor ?? 1)) + 0.05,
      crop: [...offset, ...scale],
      doubleSided,
    };
  }

  async pictured(index) {
    if (!this.textures.has(index)) {
      const { source, sampler } = this.gltf.json.textures[index];
      const picture = source === undefined ? null : await this.gltf.picture(source, MOST_TEXTURE_PX);
      this.textures.set(index, this.texture(picture, this.gltf.json.samplers?.[sampler]));
      picture?.close();
    }
    return this.textures.get(index);
  }

  /** A picture as a texture; white where there is none. */
  texture(picture, sampler) {
    const { gl } = this;
    const made = this.keep(gl.createTexture(), "Texture");
    gl.bindTexture(gl.TEXTURE_2D, made);
    if (picture) gl.texImage2D(gl.TEXTURE_2D, 0, gl.SRGB8_ALPHA8, gl.RGBA, gl.UNSIGNED_BYTE, picture);
    else gl.texImage2D(gl.TEXTURE_2D, 0, gl.SRGB8_ALPHA8, 1, 1, 0, gl.RGBA, gl.UNSIGNED_BYTE, new Uint8Array([255, 255, 255, 255]));
    gl.generateMipmap(gl.TEXTURE_2D);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_MIN_FILTER, gl.LINEAR_MIPMAP_LINEAR);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_S, gl[WRAPS[sampler?.wrapS] || "REPEAT"]);
    gl.texParameteri(gl.TEXTURE_2D, gl.TEXTURE_WRAP_T, gl[WRAPS[sampler?.wrapT] || "REPEAT"]);
    return made;
  }

  skin({ joints, inverseBindMatrices }) {
    const { gl } = this;
    const texture = this.keep(gl.createTexture(), "Texture");
    gl.bindTexture(gl.TEXTURE_2D, texture);
    gl.texStorage2D(gl.TEXTURE_2D, 1, gl.RGBA32F, 4, joints.length);
    for (const side of [gl.TEXTURE_MIN_FILTER, gl.TEXTURE_MAG_FILTER]) gl.texParameteri(gl.TEXTURE_2D, side, gl.NEAREST);
    const all = inverseBindMatrices === undefined ? null : this.gltf.values(inverseBindMatrices);
    const binds = joints.map((_, i) => (all ? [...all.subarray(16 * i, 16 * i + 16)] : IDENTITY));
    return { joints, binds, texture, pulled: new Float32Array(16 * joints.length) };
  }

  addNode(index, targets) {
    const { mesh, skin } = this.gltf.json.nodes[index];
    if (mesh === undefined) return;
    const { primitives, weights = [] } = this.gltf.json.meshes[mesh];
    for (const primitive of primitives) {
      if ((primitive.mode ?? TRIANGLES) !== TRIANGLES || primitive.attributes.POSITION === undefined) continue;
      const drivers = (primitive.targets || []).map((_, target) => targets.get(`${mesh}/${target}`));
      this.all.push(this.surface(primitive, drivers, weights, index, skin === undefined ? null : this.skins[skin]));
    }
  }

  surface(primitive, drivers, weights, node, skin) {
    const { gl } = this;
    const body = this.body(primitive, drivers, weights);
    const { vertices } = body;
    const order = primitive.indices === undefined ? Uint32Array.from({ length: vertices.count }, (_, i) => i) : this.gltf.values(primitive.indices, true);
    if (order.some((vertex) => vertex >= vertices.count)) throw new RangeError("a triangle names a corner that is not there");
    if (!vertices.normals) {
      vertices.faceOutwards(order);
      this.upload(body.buffers.normal, vertices.normals, gl.STATIC_DRAW);
    }
    const shape = this.keep(gl.createVertexArray(), "VertexArray");
    gl.bindVertexArray(shape);
    for (const [name, width] of [["position", 3], ["normal", 3], ["uv", 2], ["joints", 4], ["weights", 4]]) {
      if (!body.buffers[name]) continue;
      gl.bindBuffer(gl.ARRAY_BUFFER, body.buffers[name]);
      gl.enableVertexAttribArray(WHERE[name]);
      gl.vertexAttribPointer(WHERE[name], width, gl.FLOAT, false, 0, 0);
    }
    gl.bindBuffer(gl.ELEMENT_ARRAY_BUFFER, this.keep(gl.createBuffer(), "Buffer"));
    gl.bufferData(gl.ELEMENT_ARRAY_BUFFER, order, gl.STATIC_DRAW);
    gl.bindVertexArray(null);
    const plain = { rank: 0, picture: this.white, colour: [0.9, 0.9, 0.9, 1], shade: SHADE, cutoff: 0, drawn: 0, gloss: 0.05, crop: [0, 0, 1, 1], doubleSided: true };
    return { body, shape, node, skin, count: order.length, material: this.materials[primitive.material] || plain };
  }

  /** Vertices and their buffers, once for all primitives that share them. */
  body({ attributes, targets = [] }, drivers, weights) {
    const key = JSON.stringify([attributes, targets, drivers.map(Boolean)]);
    if (this.shared.has(key)) return this.shared.get(key);
    const { gl, gltf } = this;
    const vertices = new Vertices(gltf, attributes, targets, drivers, weights);
    const part = (accessor) => (accessor === undefined ? null : gltf.values(accessor));
    const parts = { uv: part(attributes.TEXCOORD_0), joints: part(attributes.JOINTS_0), weights: part(attributes.WEIGHTS_0) };
    const buffers = { position: this.keep(gl.createBuffer(), "Buffer"), normal: this.keep(gl.createBuffer(), "Buffer") };
    this.upload(buffers.position, vertices.base, gl.DYNAMIC_DRAW);
    if (vertices.normals) this.upload(buffers.normal, vertices.normals, gl.DYNAMIC_DRAW);
    for (const [name, values] of Object.entries(parts)) {
      if (values) this.upload((buffers[name] = this.keep(gl.createBuffer(), "Buffer")), values, gl.STATIC_DRAW);
    }
    this.shared.set(key, { vertices, buffers, parts });
    return this.shared.get(key);
  }

  upload(buffer, values, use) {
    this.gl.bindBuffer(this.gl.ARRAY_BUFFER, buffer);
    this.gl.bufferData(this.gl.ARRAY_BUFFER, values, use);
  }

  /** Let every vertex follow this moment's signals. */
  follow(signals) {
    const { gl } = this;
    for (const { vertices, buffers } of this.shared.values()) {
      if (!vertices.apply(signals)) continue;
      for (const [buffer, values] of [[buffers.position, vertices.moved.base], [buffers.normal, vertices.moved.normals]]) {
        gl.bindBuffer(gl.ARRAY_BUFFER, buffer);
        gl.bufferSubData(gl.ARRAY_BUFFER, 0, values);
      }
    }
  }

  /** Let every skin follow the nodes' world matrices. */
  pull(world) {
    const { gl } = this;
    for (const { joints, binds, texture, pulled } of this.skins) {
      joints.forEach((joint, i) => pulled.set(times(world[joint] || IDENTITY, binds[i]), 16 * i));
      gl.bindTexture(gl.TEXTURE_2D, texture);
      gl.texSubImage2D(gl.TEXTURE_2D, 0, 0, 0, 4, joints.length, gl.RGBA, gl.FLOAT, pulled);
    }
  }

  /** Where what follows one of these signals moves, in the middle; null where nothing does. */
  centre(world, signals) {
    const sum = [0, 0, 0];
    let total = 0;
    for (const surface of this.bodies()) {
      for (const [drivers, vertices] of surface.body.vertices.centres()) {
        if (!drivers.some(([signal]) => signals.includes(signal))) continue;
        for (const [vertex, way] of vertices) {
          total += way;
          standing(surface, vertex, world).forEach((value, k) => {
            sum[k] += way * value;
          });
        }
      }
    }
    return total ? sum.map((value) => value / total) : null;
  }

  /** Lowest and highest corner of everything. */
  box(world) {
    const low = [Infinity, Infinity, Infinity], high = [-Infinity, -Infinity, -Infinity];
    for (const surface of this.bodies()) {
      for (let vertex = 0; vertex < surface.body.vertices.count; vertex++) {
        standing(surface, vertex, world).forEach((value, k) => {
          low[k] = Math.min(low[k], value);
          high[k] = Math.max(high[k], value);
        });
      }
    }
    if (!(high[1] > low[1])) throw new RangeError("there is nothing to see in it");
    return { low, high };
  }

  /** One surface of each body. */
  bodies() {
    return new Map(this.all.map((surface) => [surface.body, surface])).values();
  }
}

/** Where a vertex stands at rest. */
function standing({ body: { vertices, parts }, node, skin }, vertex, world) {
  const point = vertices.base.subarray(3 * vertex, 3 * vertex + 3);
  if (!skin || !parts.joints || !parts.weights) return move(world[node], point);
  const out = [0, 0, 0];
  for (let k = 0; k < 4; k++) {
    const weight = parts.weights[4 * vertex + k];
    if (!weight) continue;
    const joint = parts.joints[4 * vertex + k];
    move(times(world[skin.joints[joint]] || IDENTITY, skin.binds[joint]), point).forEach((value, i) => {
      out[i] += weight * value;
    });
  }
  return out;
}
