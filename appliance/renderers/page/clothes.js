// Neck, hoodie and headphones.

import { between, hull, mix, smoothstep, stroke, trace } from "./space.js";
import { COLOUR } from "./palette.js";

const CUP = { x: 1.02, y: -0.06, z: -0.08, radius: 0.36, thick: 0.2 };
const BAND = { half: 1.135, tall: 1.2, y: 0.16, z: -0.08, deep: 0.09 };
const BAND_STEPS = 44;

/** Hood behind the neck. */
export function drawHood(ctx, body) {
  fill(ctx, body.all([[-0.98, -1.5, -0.3], [-0.86, -1.12, -0.35], [-0.4, -0.98, -0.5], [0, -0.95, -0.5], [0.4, -0.98, -0.5],
    [0.86, -1.12, -0.35], [0.98, -1.5, -0.3], [0.6, -1.9, 0], [-0.6, -1.9, 0]]), vertical(ctx, body, -0.95, -1.7, COLOUR.hoodieDeep, COLOUR.hoodieShade));
}

/** The neck joins the head's frame and the body's. */
export function drawNeck(ctx, head, body) {
  const top = [[-0.38, -0.62, -0.15], [0.38, -0.62, -0.15]].map((p) => head.at(...p));
  const foot = [[0.52, -2.0, 0], [-0.52, -2.0, 0]].map((p) => body.at(...p));
  const waist = [mix(top[1][0], foot[0][0], 0.55) - 0.04, mix(top[1][1], foot[0][1], 0.55), mix(top[0][0], foot[1][0], 0.55) + 0.04];
  ctx.beginPath();
  ctx.moveTo(...top[0].slice(0, 2));
  ctx.lineTo(...top[1].slice(0, 2));
  ctx.quadraticCurveTo(waist[0], waist[1], foot[0][0], foot[0][1]);
  ctx.lineTo(...foot[1].slice(0, 2));
  ctx.quadraticCurveTo(waist[2], waist[1], top[0][0], top[0][1]);
  const paint = ctx.createLinearGradient(0, head.at(0, -0.95, 0)[1], 0, foot[0][1]);
  paint.addColorStop(0, COLOUR.neckShade);
  paint.addColorStop(0.45, COLOUR.skinDeep);
  paint.addColorStop(1, COLOUR.skinShade);
  ctx.fillStyle = paint;
  ctx.fill();
  const shirt = body.all([[-0.44, -1.52, 0.1], [-0.3, -1.66, 0.24], [0, -1.75, 0.32], [0.3, -1.66, 0.24], [0.44, -1.52, 0.1]]);
  ctx.beginPath();
  trace(ctx, shirt);
  for (const point of body.all([[0.25, -2.4, 0.2], [-0.25, -2.4, 0.2]])) ctx.lineTo(point[0], point[1]);
  ctx.closePath();
  ctx.fillStyle = COLOUR.shirt;
  ctx.fill();
  stroke(ctx, shirt.map(([x, y]) => [x, y - 0.03]), 0.05, COLOUR.phonesShade);
}

/** Shoulders, the hood's front edges and its strings. */
export function drawHoodie(ctx, body) {
  const half = [[0.52, -1.36, -0.05], [0.92, -1.52, -0.08], [1.35, -1.72, -0.1], [1.72, -2.05, -0.1], [1.95, -2.6, 0], [2.1, -3.6, 0]];
  const right = half.map(([x, y, z]) => [-x, y, z]).reverse();
  const neckline = [[-0.3, -1.72, 0.3], [0, -2.1, 0.5], [0.3, -1.72, 0.3]];
  ctx.beginPath();
  trace(ctx, body.all(right));
  for (const point of body.all(neckline)) ctx.lineTo(point[0], point[1]);
  trace(ctx, body.all(half), false, true);
  ctx.closePath();
  ctx.fillStyle = vertical(ctx, body, -1.35, -2.9, COLOUR.hoodie, COLOUR.hoodieShade);
  ctx.fill();
  for (const way of [-1, 1]) {
    const at = (points) => body.all(points.map(([x, y, z]) => [way * x, y, z]));
    fill(ctx, at([[0.5, -1.24, -0.1], [0.76, -1.34, 0], [0.72, -1.66, 0.25], [0.36, -1.96, 0.42], [0.02, -2.12, 0.5], [0.0, -1.94, 0.5], [0.28, -1.7, 0.36], [0.46, -1.46, 0.15]]),
      vertical(ctx, body, -1.25, -2.1, COLOUR.hoodieLight, COLOUR.hoodieDeep));
    stroke(ctx, at([[0.74, -1.42, 0.05], [0.7, -1.68, 0.27], [0.36, -1.98, 0.43], [0.02, -2.14, 0.5]]), 0.03, "rgba(10,28,84,0.35)");
    const string = at([[0.25, -1.95, 0.48], [0.29, -2.2, 0.5], [0.26, -2.46, 0.5]]);
    stroke(ctx, string, 0.045, COLOUR.phones);
    stroke(ctx, string.slice(2).concat(at([[0.255, -2.54, 0.5]])), 0.07, COLOUR.glow);
    stroke(ctx, at([[1.02, -2.0, 0.1], [1.2, -2.3, 0.1], [1.24, -2.9, 0.1]]), 0.035, "rgba(10,28,84,0.28)");
  }
}

/** One headphone cup; `voice` 0..1 lights its ring. */
export function drawCup(ctx, head, way, voice) {
  const disc = (x, radius) => Array.from({ length: 24 }, (_, i) => {
    const turn = (2 * Math.PI * i) / 24;
    return head.at(way * x, CUP.y + radius * 1.12 * Math.cos(turn), CUP.z + radius * Math.sin(turn));
  });
  const inner = CUP.x - 0.02, outer = CUP.x + CUP.thick;
  fill(ctx, hull([...disc(inner, CUP.radius * 0.98), ...disc(inner + 0.07, CUP.radius)]), COLOUR.phonesDeep);
  const body = hull([...disc(inner + 0.06, CUP.radius * 0.93), ...disc(outer - 0.04, CUP.radius * 0.9), ...disc(outer, CUP.radius * 0.78)]);
  fill(ctx, body, vertical(ctx, head, CUP.y + CUP.radius, CUP.y - CUP.radius, COLOUR.phones, COLOUR.phonesShade));
  const facing = head.direction(way, 0, 0)[2];
  const ring = disc(outer - 0.02, CUP.radius * 0.83);
  ctx.beginPath();
  trace(ctx, facing > 0 ? ring : hull([...ring, ...disc(outer - 0.035, CUP.radius * 0.83)]), true);
  ctx.globalAlpha = 0.35 + 0.65 * voice;
  ctx.lineWidth = 0.035 + 0.03 * voice;
  ctx.strokeStyle = COLOUR.glow;
  ctx.stroke();
  ctx.globalAlpha = 1;
  if (facing > 0) {
    fill(ctx, disc(outer, CUP.radius * 0.74), COLOUR.phones);
    fill(ctx, disc(outer + 0.005, CUP.radius * 0.4), COLOUR.phonesShade);
  }
}

/** How near a cup is: the far one is drawn before the head. */
export const cupDepth = (head, way) => head.at(way * CUP.x, CUP.y, CUP.z)[2];

/** The band over the hair: the part that faces us in front of the head, the rest behind it. */
export function drawBand(ctx, head, inFront) {
  const knots = Array.from({ length: BAND_STEPS + 1 }, (_, i) => {
    const turn = Math.PI * (i / BAND_STEPS);
    const [across, up] = [Math.cos(turn), Math.sin(turn)];
    const at = (deep) => head.at(BAND.half * across, BAND.y + BAND.tall * up, BAND.z + deep);
    const width = inFront ? smoothstep(-0.15, 0.06, head.direction(across, up, 0)[2]) : 1;
    return { front: at(BAND.deep), back: at(-BAND.deep), width };
  });
  const pairs = knots.slice(1).map((knot, i) => [knots[i], knot]).filter(([a, b]) => Math.min(a.width, b.width) > 0.02);
  for (const [a, b] of pairs) {
    between(ctx, [a.front, b.front], [a.back, b.back]);
    ctx.fillStyle = COLOUR.phonesShade;
    ctx.fill();
    stroke(ctx, [a.back, b.back], 0.1 * b.width, COLOUR.phonesShade);
    stroke(ctx, [a.front, b.front], 0.1 * b.width, COLOUR.phonesShade);
  }
  for (const [a, b] of pairs) {
    stroke(ctx, [a, b].map(({ front }) => [front[0], front[1] + 0.014]), 0.072 * b.width, COLOUR.phones);
  }
}

function fill(ctx, points, paint) {
  ctx.beginPath();
  trace(ctx, points, true);
  ctx.fillStyle = paint;
  ctx.fill();
}

function vertical(ctx, view, high, low, from, to) {
  const a = view.at(0, high, 0), b = view.at(0, low, 0);
  const paint = ctx.createLinearGradient(a[0], a[1], b[0], b[1]);
  paint.addColorStop(0, from);
  paint.addColorStop(1, to);
  return paint;
}
