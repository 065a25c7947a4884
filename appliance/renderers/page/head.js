// The head as a solid: its surface at rest, how jaw and cheeks change it, and its outline.

import { hull, smoothstep } from "./space.js";

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
const AROUND = 28;
const BETWEEN = 3; // rows between two of the profile

export const SKIN_CENTRE = [0, 0, -0.05];
const JAW_DROP = 0.34;

/** Half width, front and back of the resting head at one height. */
function section(y) {
  let i = 1;
  while (i < PROFILE.length - 1 && y < PROFILE[i][0]) i++;
  const [high, low] = [PROFILE[i - 1], PROFILE[i]];
  const t = Math.min(1, Math.max(0, (high[0] - y) / (high[0] - low[0])));
  return [1, 2, 3].map((k) => high[k] + (low[k] - high[k]) * t);
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
  for (let row = 0; row < (PROFILE.length - 1) * BETWEEN + 1; row++) {
    const i = Math.min(PROFILE.length - 2, Math.floor(row / BETWEEN));
    const t = row / BETWEEN - i;
    const y = PROFILE[i][0] + (PROFILE[i + 1][0] - PROFILE[i][0]) * t;
    const [width, front, back] = section(y);
    const jaw = jawShare(y);
    const cheek = Math.exp(-(((y + 0.52) / 0.24) ** 2));
    for (let step = 0; step < AROUND; step++) {
      const angle = (2 * Math.PI * step) / AROUND;
      const side = Math.sin(angle), ahead = Math.cos(angle);
      const z = (front + back) / 2 + ((front - back) / 2) * ahead;
      points.push({ x: width * side, y, z, jaw, cheek: cheek * Math.max(0, ahead + 0.45) * Math.abs(side), index: side >= 0 ? 0 : 1 });
    }
  }
  return points;
}

/** The outline of the head as projected points, jaw and cheeks as the rig says. */
export function outline(view, pose) {
  const { jaw, cheek } = pose;
  const drop = JAW_DROP * jaw.open - 0.03 * jaw.forward + 0.03 * pose.mouth.shrugLower;
  return hull(RESTING.map((p) => {
    const swell = p.cheek * (0.2 * cheek[p.index].puff + 0.045 * cheek[p.index].raise);
    return view.at(
      p.x * (1 + swell - 0.06 * p.jaw * jaw.open) + 0.13 * p.jaw * jaw.side,
      p.y - drop * p.jaw,
      p.z + 0.16 * p.jaw * jaw.forward + swell * 0.4,
    );
  }));
}

/** Where the chin's middle is now. */
export function chin(pose) {
  const { jaw } = pose;
  return [0.13 * jaw.side, -0.93 - JAW_DROP * jaw.open + 0.03 * jaw.forward, surface(0, -0.93) + 0.16 * jaw.forward];
}
