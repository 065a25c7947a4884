// 4x4 matrices as sixteen numbers, column by column, and rotations as quaternions x, y, z, w.

export const IDENTITY = [1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1, 0, 0, 0, 0, 1];

/** Scale, then turn, then shift. */
export function compose(shift, [x, y, z, w], [sx, sy, sz]) {
  return [
    (1 - 2 * (y * y + z * z)) * sx, 2 * (x * y + z * w) * sx, 2 * (x * z - y * w) * sx, 0,
    2 * (x * y - z * w) * sy, (1 - 2 * (x * x + z * z)) * sy, 2 * (y * z + x * w) * sy, 0,
    2 * (x * z + y * w) * sz, 2 * (y * z - x * w) * sz, (1 - 2 * (x * x + y * y)) * sz, 0,
    shift[0], shift[1], shift[2], 1,
  ];
}

/** `a` after `b`. */
export function times(a, b) {
  const out = new Array(16);
  for (let column = 0; column < 16; column += 4) {
    for (let row = 0; row < 4; row++) {
      out[column + row] = a[row] * b[column] + a[row + 4] * b[column + 1] + a[row + 8] * b[column + 2] + a[row + 12] * b[column + 3];
    }
  }
  return out;
}

export function move(m, [x, y, z]) {
  return [0, 1, 2].map((row) => m[row] * x + m[row + 4] * y + m[row + 8] * z + m[row + 12]);
}

/** Shift, rotation and scale of a matrix without shear. */
export function decompose(m) {
  const scale = [0, 4, 8].map((i) => Math.hypot(m[i], m[i + 1], m[i + 2]) || 1);
  const [a, b, c] = scale;
  const turn = [m[0] / a, m[1] / a, m[2] / a, m[4] / b, m[5] / b, m[6] / b, m[8] / c, m[9] / c, m[10] / c];
  return { shift: m.slice(12, 15), turn: unit(fromRows(turn)), scale };
}

function fromRows([xx, yx, zx, xy, yy, zy, xz, yz, zz]) {
  const trace = xx + yy + zz;
  if (trace > 0) return [zy - yz, xz - zx, yx - xy, 1 + trace];
  if (xx > yy && xx > zz) return [1 + xx - yy - zz, xy + yx, xz + zx, zy - yz];
  if (yy > zz) return [xy + yx, 1 + yy - xx - zz, yz + zy, xz - zx];
  return [xz + zx, yz + zy, 1 + zz - xx - yy, yx - xy];
}

/** `a` after `b`. */
export function product([ax, ay, az, aw], [bx, by, bz, bw]) {
  return [
    aw * bx + ax * bw + ay * bz - az * by,
    aw * by - ax * bz + ay * bw + az * bx,
    aw * bz + ax * by - ay * bx + az * bw,
    aw * bw - ax * bx - ay * by - az * bz,
  ];
}

export const inverse = ([x, y, z, w]) => [-x, -y, -z, w];

export function about([x, y, z], angle_rad) {
  const sine = Math.sin(angle_rad / 2);
  return [x * sine, y * sine, z * sine, Math.cos(angle_rad / 2)];
}

/** A share of a rotation, along the shorter way. */
export function share([x, y, z, w], part) {
  const sine = Math.hypot(x, y, z);
  if (sine < 1e-6) return [0, 0, 0, 1];
  const side = Math.sign(w || 1);
  return about([(side * x) / sine, (side * y) / sine, (side * z) / sine], 2 * part * Math.atan2(sine, Math.abs(w)));
}

export function unit(vector) {
  const length = Math.hypot(...vector) || 1;
  return vector.map((value) => value / length);
}

/** What a lens sees, `slope` being half the picture's height at distance 1. */
export function lens(slope, aspect, near, far) {
  return [1 / (slope * aspect), 0, 0, 0, 0, 1 / slope, 0, 0, 0, 0, (far + near) / (near - far), -1, 0, 0, (2 * far * near) / (near - far), 0];
}
