// Eyes, lids, lashes and brows, attached to the head.

import { between, clamp, mix, spot, stroke, trace } from "./space.js";
import { surface } from "./head.js";
import { COLOUR } from "./palette.js";

const CENTRE = [0.4, 0.0]; // of the person's left eye
const HALF_WIDTH = 0.245;
const UPPER = 0.225; // opening above and below the line between the corners
const LOWER = 0.155;
const CLOSED = 0.085; // how far below that line the lids meet
const BALL = 0.31; // the eyeball's radius, which carries the iris
const IRIS_RAD = 0.47;
const PUPIL_RAD = 0.2;
const STEPS = 10;
const FULL_TURN = 2 * Math.PI;

/** Draw both eyes; `light` is where the window's reflection sits. */
export function drawEyes(ctx, view, pose) {
  pose.eye.forEach((eye, index) => drawEye(ctx, view, eye, pose.cheek[index], index === 0 ? 1 : -1));
}

function drawEye(ctx, view, eye, cheek, side) {
  const { upper, lower, crease } = lidCurves(view, eye, side);
  spot(ctx, view, on(side * CENTRE[0], 0.03), [0.36, 0, -0.1], [0, 0.3, 0], [[0, COLOUR.socket], [0.55, COLOUR.socket], [1, COLOUR.none]]);
  ctx.save();
  between(ctx, upper, lower);
  ctx.fillStyle = COLOUR.white;
  ctx.fill();
  ctx.clip();
  drawIris(ctx, view, eye, side);
  shadeUnderLid(ctx, upper);
  ctx.restore();
  drawLids(ctx, view, eye, cheek, side, { upper, lower, crease });
}

/** A point on the face's surface, where the eyeball pushes it out a little. */
function on(x, y, lift = 0.03) {
  return [x, y, surface(x, y, lift)];
}

function lidCurves(view, eye, side) {
  const down = clamp(-eye.pitch / 30, -0.6, 1);
  const open = UPPER * (1 + 0.3 * eye.wide) * (1 - 0.3 * eye.squint) * (1 - 0.22 * down);
  const below = LOWER * (1 + 0.22 * eye.wide) * (1 - 0.6 * eye.squint) * (1 + 0.1 * down);
  const shut = eye.blink;
  const top = mix(open, -CLOSED, shut), bottom = mix(below, CLOSED, shut);
  const curve = (height, power, extra = 0) =>
    Array.from({ length: STEPS + 1 }, (_, i) => {
      const t = i / STEPS;
      const x = side * (CENTRE[0] - HALF_WIDTH + 2 * HALF_WIDTH * t);
      const line = CENTRE[1] + mix(-0.035, 0.02, t);
      const arch = Math.pow(Math.sin(Math.PI * Math.pow(t, 1.08)), power);
      return view.at(...on(x, line + (height + extra) * arch, 0.025 + 0.03 * arch));
    });
  return {
    upper: curve(Math.max(top, -bottom), 0.72),
    lower: curve(-bottom, 0.85),
    crease: curve(mix(open + 0.07, 0.06, shut), 0.75),
  };
}

function drawIris(ctx, view, eye, side) {
  const centre = [side * CENTRE[0], CENTRE[1] + 0.035, surface(CENTRE[0], 0) + 0.04 - BALL];
  const yaw = ((eye.yaw * 1.1) * Math.PI) / 180, pitch = ((eye.pitch * 1.05) * Math.PI) / 180;
  const ring = (angle) => Array.from({ length: 20 }, (_, i) => {
    const turn = (FULL_TURN * i) / 20;
    const [u, v, w] = [Math.sin(angle) * Math.cos(turn), Math.sin(angle) * Math.sin(turn), Math.cos(angle)];
    const y = v * Math.cos(pitch) + w * Math.sin(pitch), z = w * Math.cos(pitch) - v * Math.sin(pitch);
    return view.at(
      centre[0] + BALL * (u * Math.cos(yaw) + z * Math.sin(yaw)),
      centre[1] + BALL * y,
      centre[2] + BALL * (z * Math.cos(yaw) - u * Math.sin(yaw)),
    );
  });
  const iris = ring(IRIS_RAD), middle = average(iris);
  const radius = Math.hypot(iris[5][0] - iris[15][0], iris[5][1] - iris[15][1]) / 2;
  const paint = ctx.createRadialGradient(middle[0], middle[1] - radius * 0.45, radius * 0.1, middle[0], middle[1], radius);
  paint.addColorStop(0, COLOUR.irisGlow);
  paint.addColorStop(0.55, COLOUR.iris);
  paint.addColorStop(0.86, COLOUR.irisDeep);
  paint.addColorStop(1, COLOUR.irisRim);
  fillRing(ctx, iris, paint);
  fillRing(ctx, ring(PUPIL_RAD), COLOUR.pupil);
  light(ctx, middle[0] - radius * 0.36, middle[1] + radius * 0.42, radius * 0.3, 0.95);
  light(ctx, middle[0] + radius * 0.4, middle[1] - radius * 0.42, radius * 0.15, 0.7);
}

function fillRing(ctx, points, paint) {
  ctx.beginPath();
  trace(ctx, points, true);
  ctx.fillStyle = paint;
  ctx.fill();
}

function light(ctx, x, y, radius, alpha) {
  ctx.beginPath();
  ctx.arc(x, y, radius, 0, FULL_TURN);
  ctx.fillStyle = `rgba(255,255,255,${alpha})`;
  ctx.fill();
}

const average = (points) => [0, 1].map((k) => points.reduce((sum, p) => sum + p[k], 0) / points.length);

/** The upper lid's shadow on the eye. */
function shadeUnderLid(ctx, upper) {
  const below = upper.map(([x, y]) => [x, y - 0.075]);
  between(ctx, upper, below);
  ctx.fillStyle = COLOUR.lidShadow;
  ctx.fill();
}

function drawLids(ctx, view, eye, cheek, side, { upper, lower, crease }) {
  between(ctx, crease, upper);
  ctx.fillStyle = COLOUR.lid;
  ctx.fill();
  stroke(ctx, crease, 0.016, COLOUR.crease);
  stroke(ctx, lower, 0.014, COLOUR.lowerLid);
  // The lash line: thin at the nose, thick and winged outside.
  const outer = upper[STEPS], before = upper[STEPS - 2];
  const wing = [outer[0] + (outer[0] - before[0]) * 0.5, outer[1] + mix(0.045, -0.03, eye.blink)];
  const thick = upper.map(([x, y], i) => [x, y + 0.014 + 0.036 * Math.sin((Math.PI * i) / STEPS * 0.75)]);
  between(ctx, [...thick.slice(0, STEPS), wing], [...upper.slice(0, STEPS), wing]);
  ctx.fillStyle = COLOUR.lash;
  ctx.fill();
  stroke(ctx, upper.slice(0, STEPS), 0.016, COLOUR.lash);
  const fold = clamp(0.75 * cheek.raise + 0.5 * eye.bag, 0, 1);
  if (fold > 0.02) {
    const x = (t) => side * (CENTRE[0] + t);
    const line = [-0.1, -0.02, 0.08, 0.18].map((t) => view.at(...on(x(t), -0.25 - 0.035 * Math.cos((t - 0.03) * 9) + 0.05 * fold)));
    ctx.globalAlpha = 0.5 * fold;
    stroke(ctx, line, 0.02, COLOUR.fold);
    ctx.globalAlpha = 1;
  }
}

/** Draw both brows and the lines that come with them. */
export function drawBrows(ctx, view, pose) {
  pose.brow.forEach((brow, index) => drawBrow(ctx, view, brow, index === 0 ? 1 : -1));
  const worry = pose.brow[0].inner;
  if (worry > 0.05) {
    ctx.globalAlpha = 0.25 * worry;
    for (const y of [0.66, 0.74]) {
      stroke(ctx, [-0.24, -0.08, 0.08, 0.24].map((x) => view.at(...on(x, y + 0.03 * worry - x * x * 0.4))), 0.014, COLOUR.fold);
    }
    ctx.globalAlpha = 1;
  }
}

function drawBrow(ctx, view, brow, side) {
  const middle = 0.5 * (brow.inner + brow.outer);
  const knots = [
    [0.165 - 0.045 * brow.down, 0.385 + 0.17 * brow.inner - 0.15 * brow.down, 0.018],
    [0.195 - 0.042 * brow.down, 0.392 + 0.165 * brow.inner - 0.145 * brow.down, 0.042],
    [0.28 - 0.03 * brow.down, 0.412 + 0.14 * brow.inner + 0.05 * brow.outer - 0.12 * brow.down, 0.052],
    [0.42, 0.446 + 0.1 * middle + 0.08 * brow.outer - 0.085 * brow.down, 0.044],
    [0.56, 0.44 + 0.15 * brow.outer - 0.055 * brow.down, 0.028],
    [0.69, 0.37 + 0.12 * brow.outer - 0.04 * brow.down, 0.006],
  ];
  const edge = (way) => knots.map(([x, y, half]) => view.at(...on(side * x, y + way * half, 0.05)));
  between(ctx, edge(1), edge(-1));
  ctx.fillStyle = COLOUR.brow;
  ctx.fill();
  if (brow.down > 0.05) {
    ctx.globalAlpha = 0.45 * brow.down;
    const line = [[0.06, 0.31], [0.062, 0.25], [0.056, 0.19]].map(([x, y]) => view.at(...on(side * x, y, 0.06)));
    stroke(ctx, line, 0.018, COLOUR.fold);
    ctx.globalAlpha = 1;
  }
}
