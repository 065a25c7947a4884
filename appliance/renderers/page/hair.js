// Hair: a solid behind and over the head, and a fringe cut out of it by its hairline.

import { hull, loop, mix, stroke } from "./space.js";
import { COLOUR } from "./palette.js";

const CENTRE = [0, 0.12, -0.08];
const LIFT = 1.075; // the hair's surface over the skull's

// The hairline from the person's right sideburn to the left one, as quadratic curves:
// [control x, y], [end x, y]. A corner between two curves is the tip of a lock.
const START = [-1.03, -0.42];
const HAIRLINE = [
  [[-0.9, -0.1], [-0.9, 0.3]],
  [[-0.9, 0.42], [-0.84, 0.52]],
  [[-0.86, 0.36], [-0.8, 0.22]],
  [[-0.72, 0.5], [-0.5, 0.66]],
  [[-0.56, 0.5], [-0.54, 0.38]],
  [[-0.4, 0.62], [-0.1, 0.8]],
  [[-0.16, 0.66], [-0.14, 0.54]],
  [[0.04, 0.82], [0.36, 0.93]],
  [[0.44, 0.68], [0.62, 0.56]],
  [[0.62, 0.68], [0.6, 0.74]],
  [[0.74, 0.62], [0.85, 0.36]],
  [[0.9, 0.2], [0.9, 0.08]],
  [[0.93, -0.2], [1.03, -0.42]],
];

// Strands over the crown, each three points x, y on the hair's surface.
const STRANDS = [
  [[0.34, 1.0], [-0.2, 0.98], [-0.66, 0.6]],
  [[0.34, 1.03], [-0.1, 1.1], [-0.82, 0.62]],
  [[0.36, 1.06], [0.0, 1.2], [-0.7, 0.95]],
  [[0.3, 0.97], [0.0, 0.92], [-0.3, 0.72]],
  [[0.42, 1.02], [0.62, 0.94], [0.82, 0.6]],
  [[0.46, 1.05], [0.74, 0.92], [0.92, 0.42]],
];

// The hair's body: balls around the skull, a quiff at its front; centre and half axes.
const BALLS = [
  { centre: [0, 0.2, -0.12], half: [1.1, 1.12, 1.1] },
  { centre: [-0.12, 0.84, 0.42], half: [0.69, 0.43, 0.52] },
  { centre: [0, -0.3, -0.35], half: [1.0, 0.6, 0.7] },
];
const QUIFF = 1;
const AROUND = 48;

/** The outlines of all hair and of the quiff alone, projected. */
export function hairOutlines(view) {
  const rims = BALLS.map((ball) => rim(view, ball));
  const middle = view.at(...BALLS[QUIFF].centre);
  // A little smaller: drawn twice, an edge loses its softness.
  const quiff = hull(rims[QUIFF]).map((p) => [mix(p[0], middle[0], 0.02), mix(p[1], middle[1], 0.02)]);
  return { all: hull(rims.flat()), quiff };
}

/** A ball's rim: where its surface stands square to the view. */
function rim(view, { centre, half }) {
  const w = unit(view.facing().map((value, i) => value / half[i]));
  const u = unit(Math.abs(w[1]) < 0.9 ? [w[2], 0, -w[0]] : [0, -w[2], w[1]]);
  const v = [w[1] * u[2] - w[2] * u[1], w[2] * u[0] - w[0] * u[2], w[0] * u[1] - w[1] * u[0]];
  return Array.from({ length: AROUND }, (_, i) => {
    const turn = (2 * Math.PI * i) / AROUND;
    const [x, y, z] = half.map((h, k) => centre[k] + h * (u[k] * Math.cos(turn) + v[k] * Math.sin(turn)));
    return view.at(x, y, z);
  });
}

function unit(vector) {
  const length = Math.hypot(...vector) || 1;
  return vector.map((value) => value / length);
}

/** The part behind the head. */
export function drawBack(ctx, outline) {
  loop(ctx, outline);
  const [low, high] = ends(outline);
  const paint = ctx.createLinearGradient(0, high, 0, low);
  paint.addColorStop(0, COLOUR.hair);
  paint.addColorStop(0.7, COLOUR.hairDeep);
  paint.addColorStop(1, "#1c0d20");
  ctx.fillStyle = paint;
  ctx.fill();
}

/** A point of the hair's surface over face coordinates x, y; slides along the rim when turned away. */
function on(view, x, y, lift = LIFT) {
  const reach = 1 - x * x * 0.86 - (y > 0.1 ? ((y - 0.1) / 1.16) ** 2 * 0.86 : 0);
  const z = 1.0 * Math.sqrt(Math.max(0, reach)) - 0.02;
  return view.rim(x * lift, CENTRE[1] + (y - CENTRE[1]) * lift, z * lift, CENTRE);
}

/** Lock tips lag behind the head by `sway`. */
function hairline(ctx, view, shift, sway) {
  const start = on(view, ...START);
  ctx.lineTo(start[0], start[1] + shift);
  for (const [control, end] of HAIRLINE) {
    const c = on(view, ...control), e = on(view, end[0] + sway * 0.35 * (1 - end[1]) * (1 - Math.abs(end[0])), end[1]);
    ctx.quadraticCurveTo(c[0], c[1] + shift, e[0], e[1] + shift);
  }
}

/** Close the hairline upwards, far beyond the outline, so that clipping leaves the hair alone. */
function overHairline(ctx, view, sway, shift = 0) {
  const [upX, upY] = view.direction(0, 1, 0);
  const across = [upY, -upX];
  const from = on(view, ...START), to = on(view, ...HAIRLINE[HAIRLINE.length - 1][1]);
  const far = (p, side, up) => [p[0] + side * across[0] * 2 + up * upX * 4, p[1] + side * across[1] * 2 + up * upY * 4];
  ctx.beginPath();
  ctx.moveTo(...far(from, -1, 1));
  ctx.lineTo(...far(from, -1, 0));
  hairline(ctx, view, shift, sway);
  ctx.lineTo(...far(to, 1, 0));
  ctx.lineTo(...far(to, 1, 1));
  ctx.closePath();
}

/** The fringe's shadow on the skin; the caller clips to the head. */
export function drawShadow(ctx, view, sway) {
  overHairline(ctx, view, sway, -0.075);
  ctx.fillStyle = "rgba(150,66,60,0.34)";
  ctx.fill();
}

/** The hair in front, as far as it lies within one of its outlines. */
export function drawFront(ctx, view, hair, within, sway) {
  ctx.save();
  loop(ctx, within);
  ctx.clip();
  overHairline(ctx, view, sway);
  const [, high] = ends(hair.all);
  const top = on(view, -0.1, 1.0), paint = ctx.createRadialGradient(top[0] - 0.25, high - 0.28, 0.05, top[0], high - 0.5, 1.7);
  paint.addColorStop(0, COLOUR.hairLight);
  paint.addColorStop(0.45, COLOUR.hair);
  paint.addColorStop(1, COLOUR.hairDeep);
  ctx.fillStyle = paint;
  ctx.fill();
  ctx.clip();
  STRANDS.forEach((strand, i) => {
    const line = strand.map(([x, y]) => on(view, x, y, 1.09));
    ctx.globalAlpha = 0.55;
    stroke(ctx, line, 0.02, COLOUR.hairDeep);
    ctx.globalAlpha = i % 2 ? 0.35 : 0.6;
    stroke(ctx, line.map(([x, y]) => [x, y + 0.045]), i % 2 ? 0.05 : 0.03, COLOUR.hairShine);
    ctx.globalAlpha = 1;
  });
  ctx.restore();
}

function ends(outline) {
  const heights = outline.map((p) => p[1]);
  return [Math.min(...heights), Math.max(...heights)];
}
