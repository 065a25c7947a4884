// A mesh's vertices and what its morph targets do to them.
//
// Targets move few of a head's vertices: each is kept as a list of those, so that fifty weigh little
// and one moment costs as much as is moving. Targets that nothing drives are added once and forgotten.

const STILL = 0.0005;

/** Vertices of one or more primitives that share them. */
export class Vertices {
  /** `drivers[t]` is [[signal, weight]] of target t; `resting[t]` its weight in the file where nothing drives it. */
  constructor(gltf, attributes, targets, drivers, resting) {
    this.base = gltf.values(attributes.POSITION);
    this.normals = attributes.NORMAL === undefined ? null : gltf.values(attributes.NORMAL);
    this.count = this.base.length / 3;
    this.targets = [];
    targets.forEach((target, index) => {
      if (target.POSITION === undefined) return;
      const way = sparse(gltf, target, this.count);
      if (drivers[index]?.length) this.targets.push({ ...way, drivers: drivers[index], weight: 0 });
      else if (resting[index]) add(way, resting[index], this.base, this.normals);
    });
    this.moved = this.targets.length ? { base: this.base.slice(), normals: this.normals && this.normals.slice() } : null;
  }

  /** Make normals where the file has none: every corner faces as the triangles around it do. */
  faceOutwards(indices) {
    if (this.normals) return;
    this.normals = smoothNormals(this.base, indices);
    if (this.moved) this.moved.normals = this.normals.slice();
  }

  /** Take this moment's signals; true where vertices moved. */
  apply(signals) {
    let changed = false;
    for (const target of this.targets) {
      const weight = target.drivers.reduce((sum, [signal, share]) => sum + share * (signals[signal] || 0), 0);
      if (Math.abs(weight - target.weight) < STILL) continue;
      target.weight = weight;
      changed = true;
    }
    if (!changed) return false;
    this.moved.base.set(this.base);
    this.moved.normals.set(this.normals);
    for (const target of this.targets) if (Math.abs(target.weight) > STILL) add(target, target.weight, this.moved.base, this.moved.normals);
    return true;
  }

  /** Where each driven target moves vertices most: [drivers, how much each vertex counts by its index]. */
  *centres() {
    for (const { drivers, where, shift } of this.targets) {
      yield [drivers, Array.from(where, (vertex, i) => [vertex, Math.hypot(shift[3 * i], shift[3 * i + 1], shift[3 * i + 2])])];
    }
  }
}

function sparse(gltf, target, count) {
  const shifts = gltf.values(target.POSITION), turns = target.NORMAL === undefined ? null : gltf.values(target.NORMAL);
  const where = [];
  for (let i = 0; i < count; i++) if (shifts[3 * i] || shifts[3 * i + 1] || shifts[3 * i + 2]) where.push(i);
  const pick = (all) => Float32Array.from({ length: 3 * where.length }, (_, k) => all[3 * where[Math.floor(k / 3)] + (k % 3)]);
  return { where: Uint32Array.from(where), shift: pick(shifts), turn: turns && pick(turns) };
}

function add({ where, shift, turn }, weight, base, normals) {
  for (let i = 0; i < where.length; i++) {
    const at = 3 * where[i];
    for (let k = 0; k < 3; k++) base[at + k] += weight * shift[3 * i + k];
    if (turn && normals) for (let k = 0; k < 3; k++) normals[at + k] += weight * turn[3 * i + k];
  }
}

function smoothNormals(base, indices) {
  const out = new Float32Array(base.length);
  for (let i = 0; i + 2 < indices.length; i += 3) {
    const [a, b, c] = [indices[i], indices[i + 1], indices[i + 2]].map((vertex) => 3 * vertex);
    const u = [0, 1, 2].map((k) => base[b + k] - base[a + k]), v = [0, 1, 2].map((k) => base[c + k] - base[a + k]);
    const n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
    for (const corner of [a, b, c]) for (let k = 0; k < 3; k++) out[corner + k] += n[k];
  }
  return out;
}
