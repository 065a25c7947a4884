// The head as a solid: its surface at rest, how jaw and cheeks change it, and its outline.

import { even, hull, smoothstep } from "./space.js";

// Height, half width, front and back of the head, from the top to the chin.
const PROFILE = [
  [1.16, 0.0, -0.08, -0.08],
  [1.1, 0.34, 0.26, -0.45],
  [0.95, 0.62, 0.55, -0.78],
  [0.7, 0.87, 0.81, -1.0],
  [0.35, 0.99, 0.95, -1.1],
  [0.0, 1.0, 0.99, -1.05],
  [-0.25, 0.975, 0.99, -0.9],
  [-0.5, 0.9, 0.96, -0.6],
  [-0.72, 0.755, 0.92, -0.3],
  [-0.9, 0.56, 0.86, 0.0],
  [-1.02, 0.36, 0.79, 0.25],
  [-1.08, 0.16, 0.7, 0.42],
  [-1.1, 0.0, 0.56, 0.56],
];
const EDGE_POINTS = 56; // few enough that the curve through them hides the rows below
const AROUND = 64;
const BETWEEN = 7; // rows between two of the profile

const RIM = 0.25; // how far from square to the view a point may face and still shape the outline
const JAW_DROP = 0.34;

/** Half width, front and back of the resting head at one height (a Catmull-Rom spline down the profile). */
function section(y) {
  let i = 1;
  while (i < PROFILE.length - 1 && y < PROFILE[i][0]) i++;
  const [high, low] = [PROFILE[i - 1], PROFILE[i]];
  const t = Math.min(1, Math.max(0, (high[0] - y) / (high[0] - low[0])));
  const over = PROFILE[Math.max(0, i - 2)], under = PROFILE[Math.min(PROFILE.length - 1, i + 1)];
  return [1, 2, 3].map((k) => {
    const a = over[k], b = high[k], c = low[k], d = under[k];
    return Math.max(k === 1 ? 0 : -2, b + 0.5 * t * (c - a + t * (2 * a - 5 * b + 4 * c - d + t * (3 * (b - c) + d - a))));
  });
}

/** The front surface of the face at rest: z at x, y, lifted a little off the skin. */
export function surface(x, y, lift = 0.01) {
  const [width, front, back] = section(y);
  const middle = Math.max((front + back) / 2, front - 1);
  const across = Math.min(1, Math.abs(x) / Math.max(width, 0.05));
  return middle + (front - middle) * Math.sqrt(1 - across * across * 0.98) + lift;
}

/** How far jaw parts at one height follow the jaw: 0 above the mouth, 1 at the chin. */
export const jawShare = (y) => smoothstep(-0.35, -0.95, y);

const RESTING = restingPoints();

function restingPoints() {
  const points = [];
  const rows = (PROFILE.length - 1) * BETWEEN;
  for (let row = 0; row <= rows; row++) {
    const i = Math.min(PROFILE.length - 2, Math.floor(row / BETWEEN));
    const y = PROFILE[i][0] + (PROFILE[i + 1][0] - PROFILE[i][0]) * (row / BETWEEN - i);
    const jaw = jawShare(y);
    const cheek = Math.exp(-(((y + 0.52) / 0.24) ** 2));
    for (let step = 0; step < AROUND; step++) {
      const angle = (2 * Math.PI * step) / AROUND;
      const [x, , z] = ring(y, angle);
      const share = cheek * Math.max(0, Math.cos(angle) + 0.45) * Math.abs(Math.sin(angle));
      points.push({ x, y, z, jaw, cheek: share, index: x >= 0 ? 0 : 1, normal: normal(y, angle) });
    }
  }
  return points;
}

/** The skin at one height and angle around the head; 0 is straight ahead. */
function ring(y, angle) {
  const [width, front, back] = section(y);
  return [width * Math.sin(angle), y, (front + back) / 2 + ((front - back) / 2) * Math.cos(angle)];
}

/** Outwards from the skin, by finite differences. */
function normal(y, angle) {
  const step = 0.01;
  const [a, b] = [ring(y - step, angle), ring(y + step, angle)];
  const [c, d] = [ring(y, angle - step), ring(y, angle + step)];
  const u = b.map((value, i) => value - a[i]), v = d.map((value, i) => value - c[i]);
  const n = [u[1] * v[2] - u[2] * v[1], u[2] * v[0] - u[0] * v[2], u[0] * v[1] - u[1] * v[0]];
  const length = Math.hypot(...n) || 1;
  return n.map((value) => value / length);
}

/** The outline of the head as projected points, jaw and cheeks as the rig says. */
export function outline(view, pose) {
  const { jaw, cheek } = pose;
  const drop = JAW_DROP * jaw.open - 0.03 * jaw.forward + 0.03 * pose.mouth.shrugLower;
  const [dx, dy, dz] = view.facing();
  const rim = RESTING.filter((p) => Math.abs(p.normal[0] * dx + p.normal[1] * dy + p.normal[2] * dz) < RIM);
  const edge = hull(rim.map((p) => {
    const swell = p.cheek * (0.2 * cheek[p.index].puff + 0.045 * cheek[p.index].raise);
    return view.at(
      p.x * (1 + swell - 0.06 * p.jaw * jaw.open) + 0.13 * p.jaw * jaw.side,
      p.y - drop * p.jaw,
      p.z + 0.16 * p.jaw * jaw.forward + swell * 0.4,
    );
  }));
  return even(edge, EDGE_POINTS);
}

/** Where the chin's middle is now. */
export function chin(pose) {
  const { jaw } = pose;
  return [0.13 * jaw.side, -0.93 - JAW_DROP * jaw.open + 0.03 * jaw.forward, surface(0, -0.93) + 0.16 * jaw.forward];
}
