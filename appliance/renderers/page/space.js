// Head space and how it comes to lie on the canvas.
//
// +x is the picture's right (the person's left), +y up, +z towards the viewer; the unit is half a
// head's width. Points are [x, y, z]; projected points are [x, y, depth] in the same unit.

const CAMERA = 8.5; // how far the viewer's eye is; nearer bends the perspective more

/** A turned and shifted frame: head, or body. */
export class View {
  constructor(pivot) {
    this.pivot = pivot;
    this.place([0, 0, 0, 1], [0, 0], 1);
  }

  /** Turn by a quaternion x, y, z, w about the pivot, then shift and scale. */
  place([x, y, z, w], shift, scale) {
    this.rows = [
      1 - 2 * (y * y + z * z), 2 * (x * y - z * w), 2 * (x * z + y * w),
      2 * (x * y + z * w), 1 - 2 * (x * x + z * z), 2 * (y * z - x * w),
      2 * (x * z - y * w), 2 * (y * z + x * w), 1 - 2 * (x * x + y * y),
    ];
    this.shift = shift;
    this.scale = scale;
  }

  /** Project one point. */
  at(x, y, z) {
    const [px, py, pz] = this.pivot;
    const r = this.rows;
    const dx = x - px, dy = y - py, dz = z - pz;
    const depth = r[6] * dx + r[7] * dy + r[8] * dz + pz;
    const size = (this.scale * CAMERA) / (CAMERA - depth);
    return [
      (r[0] * dx + r[1] * dy + r[2] * dz + px) * size + this.shift[0],
      (r[3] * dx + r[4] * dy + r[5] * dz + py) * size + this.shift[1],
      depth,
    ];
  }

  all(points) {
    return points.map(([x, y, z]) => this.at(x, y, z));
  }

  /** Where a direction of head space points: its x, y and depth, unscaled. */
  direction(x, y, z) {
    const r = this.rows;
    return [r[0] * x + r[1] * y + r[2] * z, r[3] * x + r[4] * y + r[5] * z, r[6] * x + r[7] * y + r[8] * z];
  }

  /** The direction of head space that looks at the viewer. */
  facing() {
    return this.rows.slice(6);
  }

  /** Like `at`, but a point on the far side of the ball around `centre` slides to the ball's rim. */
  rim(x, y, z, centre) {
    const point = this.at(x, y, z);
    const [cx, cy, cz] = this.at(...centre);
    const dx = point[0] - cx, dy = point[1] - cy, dz = (point[2] - cz) * this.scale;
    if (dz >= 0) return point;
    const flat = Math.hypot(dx, dy) || 1;
    const stretch = Math.hypot(flat, dz) / flat;
    return [cx + dx * stretch, cy + dy * stretch, cz];
  }
}

export const clamp = (value, low, high) => Math.min(high, Math.max(low, value));
export const mix = (a, b, t) => a + (b - a) * t;
export const smoothstep = (low, high, value) => {
  const t = clamp((value - low) / (high - low), 0, 1);
  return t * t * (3 - 2 * t);
};

/** Continue the current path through points, smoothly (a uniform Catmull-Rom spline). */
export function trace(ctx, points, closed = false, joined = false) {
  const n = points.length;
  const near = (i) => (closed ? points[(i + n) % n] : points[clamp(i, 0, n - 1)]);
  if (joined) ctx.lineTo(points[0][0], points[0][1]);
  else ctx.moveTo(points[0][0], points[0][1]);
  for (let i = 0; i < (closed ? n : n - 1); i++) {
    const a = near(i - 1), b = near(i), c = near(i + 1), d = near(i + 2);
    ctx.bezierCurveTo(
      b[0] + (c[0] - a[0]) / 6, b[1] + (c[1] - a[1]) / 6,
      c[0] - (d[0] - b[0]) / 6, c[1] - (d[1] - b[1]) / 6,
      c[0], c[1],
    );
  }
  if (closed) ctx.closePath();
}

/** A closed outline through the middles of its sides: never leaves a convex shape. */
export function loop(ctx, points) {
  const n = points.length;
  const middle = (i) => [(points[i % n][0] + points[(i + 1) % n][0]) / 2, (points[i % n][1] + points[(i + 1) % n][1]) / 2];
  ctx.beginPath();
  ctx.moveTo(...middle(n - 1));
  for (let i = 0; i < n; i++) ctx.quadraticCurveTo(points[i][0], points[i][1], ...middle(i));
  ctx.closePath();
}

/** The area between two open curves that share their direction. */
export function between(ctx, upper, lower) {
  ctx.beginPath();
  trace(ctx, upper);
  trace(ctx, [...lower].reverse(), false, true);
  ctx.closePath();
}

/** Convex hull of projected points, anticlockwise (Andrew's monotone chain, 1979). */
export function hull(points) {
  const sorted = [...points].sort((a, b) => a[0] - b[0] || a[1] - b[1]);
  const half = (list) => {
    const chain = [];
    for (const p of list) {
      while (chain.length > 1) {
        const a = chain[chain.length - 2], b = chain[chain.length - 1];
        if ((b[0] - a[0]) * (p[1] - a[1]) - (b[1] - a[1]) * (p[0] - a[0]) > 0) break;
        chain.pop();
      }
      chain.push(p);
    }
    chain.pop();
    return chain;
  };
  return [...half(sorted), ...half(sorted.reverse())];
}

/** A closed polygon as `count` points at even distances along it. */
export function even(points, count) {
  const n = points.length;
  const lengths = points.map((p, i) => Math.hypot(points[(i + 1) % n][0] - p[0], points[(i + 1) % n][1] - p[1]));
  const step = lengths.reduce((sum, length) => sum + length, 0) / count;
  const out = [];
  let passed = 0;
  for (let i = 0; i < n && out.length < count; i++) {
    while (out.length < count && out.length * step <= passed + lengths[i]) {
      const t = lengths[i] ? (out.length * step - passed) / lengths[i] : 0;
      const next = points[(i + 1) % n];
      out.push([mix(points[i][0], next[0], t), mix(points[i][1], next[1], t)]);
    }
    passed += lengths[i];
  }
  return out;
}

/** A soft round spot that lies on the surface at a point; `across` and `up` are its half axes. */
export function spot(ctx, view, [x, y, z], across, up, stops) {
  const centre = view.at(x, y, z);
  const a = view.at(x + across[0], y + across[1], z + across[2]);
  const b = view.at(x + up[0], y + up[1], z + up[2]);
  ctx.save();
  ctx.transform(a[0] - centre[0], a[1] - centre[1], b[0] - centre[0], b[1] - centre[1], centre[0], centre[1]);
  const paint = ctx.createRadialGradient(0, 0, 0, 0, 0, 1);
  for (const [where, colour] of stops) paint.addColorStop(where, colour);
  ctx.fillStyle = paint;
  ctx.fillRect(-1, -1, 2, 2);
  ctx.restore();
}

/** A line that is thin at its ends. */
export function stroke(ctx, points, width, colour) {
  ctx.beginPath();
  trace(ctx, points);
  ctx.lineWidth = width;
  ctx.strokeStyle = colour;
  ctx.stroke();
}
