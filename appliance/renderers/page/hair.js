// Hair: a solid behind and over the head, and a fringe cut out of it by its hairline.

import { hull, stroke, trace } from "./space.js";
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

const VOLUME = volume();

/** The hair's body: a ball around the skull, and a quiff at its front. */
function volume() {
  const points = [];
  const ball = (cx, cy, cz, rx, ry, rz) => {
    for (let row = 1; row < 12; row++) {
      const up = Math.PI * (row / 12 - 0.5);
      for (let step = 0; step < 22; step++) {
        const turn = (2 * Math.PI * step) / 22;
        points.push([cx + rx * Math.cos(up) * Math.sin(turn), cy + ry * Math.sin(up), cz + rz * Math.cos(up) * Math.cos(turn)]);
      }
    }
  };
  ball(0, 0.2, -0.12, 1.1, 1.12, 1.1);
  ball(-0.2, 0.98, 0.28, 0.72, 0.42, 0.55);
  ball(0, -0.35, -0.35, 1.02, 0.55, 0.7);
  return points;
}

/** The outline of all hair, projected. */
export function hairOutline(view) {
  return hull(view.all(VOLUME));
}

/** The part behind the head. */
export function drawBack(ctx, outline) {
  ctx.beginPath();
  trace(ctx, outline, true);
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

function hairline(ctx, view, shift) {
  const start = on(view, ...START);
  ctx.lineTo(start[0], start[1] + shift);
  for (const [control, end] of HAIRLINE) {
    const c = on(view, ...control), e = on(view, ...end);
    ctx.quadraticCurveTo(c[0], c[1] + shift, e[0], e[1] + shift);
  }
}

/** Close the hairline upwards, far beyond the outline, so that clipping leaves the hair alone. */
function overHairline(ctx, view, shift = 0) {
  const [upX, upY] = view.direction(0, 1, 0);
  const across = [upY, -upX];
  const from = on(view, ...START), to = on(view, ...HAIRLINE[HAIRLINE.length - 1][1]);
  const far = (p, side, up) => [p[0] + side * across[0] * 2 + up * upX * 4, p[1] + side * across[1] * 2 + up * upY * 4];
  ctx.beginPath();
  ctx.moveTo(...far(from, -1, 1));
  ctx.lineTo(...far(from, -1, 0));
  hairline(ctx, view, shift);
  ctx.lineTo(...far(to, 1, 0));
  ctx.lineTo(...far(to, 1, 1));
  ctx.closePath();
}

/** The fringe's shadow on the skin; the caller clips to the head. */
export function drawShadow(ctx, view) {
  overHairline(ctx, view, -0.075);
  ctx.fillStyle = "rgba(150,66,60,0.34)";
  ctx.fill();
}

/** The hair in front. */
export function drawFront(ctx, view, outline, sway) {
  ctx.save();
  ctx.beginPath();
  trace(ctx, outline, true);
  ctx.clip();
  overHairline(ctx, view);
  const [low, high] = ends(outline);
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
  drawTuft(ctx, view, sway, low);
}

/** Two wilful hairs on the crown that lag behind the head. */
function drawTuft(ctx, view, sway) {
  const root = view.at(-0.05, 1.3, 0.1);
  for (const [lean, tall] of [[-0.16, 0.26], [0.1, 0.2]]) {
    const tip = view.at(-0.05 + lean * 1.6 + sway * 0.5, 1.3 + tall, 0.12);
    const bend = view.at(-0.05 + lean * 0.2 + sway * 0.1, 1.3 + tall * 0.8, 0.12);
    ctx.beginPath();
    ctx.moveTo(root[0] - 0.05, root[1] - 0.06);
    ctx.quadraticCurveTo(bend[0] - 0.03, bend[1], tip[0], tip[1]);
    ctx.quadraticCurveTo(bend[0] + 0.05, bend[1] - 0.06, root[0] + 0.07, root[1] - 0.06);
    ctx.fillStyle = COLOUR.hair;
    ctx.fill();
  }
}

function ends(outline) {
  const heights = outline.map((p) => p[1]);
  return [Math.min(...heights), Math.max(...heights)];
}
