// The mouth: lips, teeth, tongue and the folds around them.

import { between, clamp, mix, smoothstep, spot, stroke, trace } from "./space.js";
import { chin, surface } from "./head.js";
import { COLOUR } from "./palette.js";

const LINE = -0.615; // where the lips meet at rest
const JAW_DROP = 0.4; // how far an open jaw takes the lower lip
const UPPER_LIP = 0.062;
const LOWER_LIP = 0.088;
const THINNEST = 0.012;
const STEPS = 18;
const AT = Array.from({ length: STEPS + 1 }, (_, i) => -1 + (2 * i) / STEPS); // -1: the person's right corner

/** Draw the mouth and what it does to the skin around it. */
export function drawMouth(ctx, view, pose) {
  const lips = lipCurves(view, pose);
  drawFolds(ctx, view, pose);
  spot(ctx, view, [pose.mouth.x, lips.lowest - 0.05, surface(0, -0.75)], [0.26, 0, 0], [0, 0.085, 0],
    [[0, "rgba(170,80,60,0.45)"], [1, "rgba(170,80,60,0)"]]);
  if (lips.gap > 0.008) drawInside(ctx, view, pose, lips);
  drawLips(ctx, lips);
  drawCorners(ctx, view, pose, lips);
  if (pose.mouth.tongue > 0.02) drawTongueOut(ctx, view, pose, lips);
}

/** Every lip curve, projected, from the person's right corner to the left. */
function lipCurves(view, pose) {
  const { mouth, jaw } = pose;
  const [left, right] = mouth.sides;
  const pout = 0.15 * mouth.pucker + 0.12 * mouth.funnel;
  const lift = LINE + 0.05 * mouth.shrugLower + 0.03 * mouth.shrugUpper;
  const meet = JAW_DROP * (jaw.open - mouth.apart);
  const tight = 1 - 0.4 * mouth.close * (1 - jaw.open);
  const edges = { upperOut: [], upperIn: [], lowerIn: [], lowerOut: [] };
  let gap = 0, lowest = 0;
  for (const t of AT) {
    const share = smoothstep(-0.55, 0.55, t);
    const of = (key) => mix(right[key], left[key], share);
    const away = Math.abs(t);
    const round = Math.pow(1 - t * t, mix(0.72, 0.5, Math.max(mouth.funnel, mouth.pucker)));
    const x = mouth.x + t * (t < 0 ? right.x : left.x);
    const base = lift + (t < 0 ? right.y : left.y) * Math.pow(away, 1.7) - 0.035 * mouth.shrugLower * away * away
      + 0.018 * (1 - away) * (1 - mouth.funnel) * tight - 0.3 * meet;
    const upperIn = base + round * (of("lift") + 0.03 * mouth.shrugUpper);
    const closed = JAW_DROP * mouth.apart * (1 - 0.25 * mouth.pucker);
    const lowerIn = base - round * (closed + of("drop")) + 0.02 * jaw.forward * round;
    const thin = (1 - of("thin")) * tight;
    const bow = 1 - 0.3 * Math.exp(-((t / 0.14) ** 2)) * (1 - mouth.funnel) + 0.1 * Math.exp(-(((away - 0.3) / 0.2) ** 2));
    const upper = Math.max(THINNEST, UPPER_LIP * thin * (1 - 0.85 * mouth.rollUpper + 0.55 * mouth.pucker + 0.6 * mouth.funnel + 0.5 * mouth.shrugUpper));
    const lower = Math.max(THINNEST, LOWER_LIP * thin * (1 - 0.85 * mouth.rollLower + 0.4 * mouth.pucker + 0.45 * mouth.funnel + 0.45 * mouth.shrugLower + 0.3 * jaw.forward));
    const swell = Math.pow(1 - t * t, 0.6);
    const under = lowerIn - lower * Math.pow(1 - t * t, 0.7) - 0.004;
    const sway = 0.11 * jaw.side * (1 - away * 0.6);
    const z = surface(x, LINE, 0.03) - 0.05 * away * away + pout * swell;
    edges.upperOut.push(view.at(x, upperIn + upper * swell * bow + 0.004, z));
    edges.upperIn.push(view.at(x, upperIn, z + 0.02 * swell));
    edges.lowerIn.push(view.at(x + sway, lowerIn, z + 0.02 * swell + 0.1 * jaw.forward * swell - 0.08 * jaw.open * swell));
    edges.lowerOut.push(view.at(x + sway, under, z + 0.12 * jaw.forward * swell - 0.1 * jaw.open * swell));
    gap = Math.max(gap, upperIn - lowerIn);
    lowest = Math.min(lowest, under);
  }
  return { ...edges, gap, lowest };
}

function drawInside(ctx, view, pose, lips) {
  const { mouth, jaw } = pose;
  ctx.save();
  between(ctx, lips.upperIn, lips.lowerIn);
  ctx.clip();
  const top = lips.upperIn[STEPS / 2], bottom = lips.lowerIn[STEPS / 2];
  const paint = ctx.createLinearGradient(top[0], top[1], bottom[0], bottom[1]);
  paint.addColorStop(0, COLOUR.mouthDeep);
  paint.addColorStop(1, COLOUR.mouth);
  ctx.fillStyle = paint;
  ctx.fill();
  const z = surface(0, LINE) - 0.1;
  const wide = clamp(0.5 * (mouth.sides[0].x + mouth.sides[1].x) * 0.98, 0.2, 0.4);
  const drop = JAW_DROP * jaw.open, side = 0.11 * jaw.side;
  drawTongueInside(ctx, view, mouth, LINE - drop, side, z);
  drawTeeth(ctx, view, side, LINE - 0.055 - drop * 0.93 - 0.05 * mouth.funnel, -0.13, z - 0.03 + 0.1 * jaw.forward, wide * 0.85);
  drawTeeth(ctx, view, 0, LINE - 0.028, 0.16, z, wide);
  // The upper lip's shadow.
  between(ctx, lips.upperIn, lips.upperIn.map(([x, y]) => [x, y - 0.045]));
  ctx.fillStyle = "rgba(50,8,26,0.4)";
  ctx.fill();
  ctx.restore();
}

/** One row of teeth: its biting edge at `edge`, its roots `tall` above (or, negative, below). */
function drawTeeth(ctx, view, x, edge, tall, z, half) {
  const row = (y, curve) => [-1, -0.85, -0.6, -0.3, 0, 0.3, 0.6, 0.85, 1].map((t) =>
    view.at(x + t * half, y + curve * t ** 4, z - 0.16 * t * t));
  const bite = row(edge, tall * 0.6), root = row(edge + tall, 0);
  between(ctx, tall > 0 ? root : bite, tall > 0 ? bite : root);
  const paint = ctx.createLinearGradient(bite[4][0], bite[4][1], root[4][0], root[4][1]);
  paint.addColorStop(0, COLOUR.teeth);
  paint.addColorStop(0.6, COLOUR.teeth);
  paint.addColorStop(1, COLOUR.teethShade);
  ctx.fillStyle = paint;
  ctx.fill();
  ctx.globalAlpha = 0.16;
  for (const t of [-0.62, -0.31, 0, 0.31, 0.62]) {
    stroke(ctx, [view.at(x + t * half, edge + tall * 0.6 * t ** 4, z), view.at(x + t * half, edge + tall, z)], 0.01, COLOUR.mouth);
  }
  ctx.globalAlpha = 1;
}

function drawTongueInside(ctx, view, mouth, floor, side, z) {
  const high = floor + 0.075 + 0.05 * mouth.tongue;
  spot(ctx, view, [side, high - 0.1, z - 0.12], [0.25, 0, 0], [0, 0.17, 0],
    [[0, COLOUR.tongue], [0.7, COLOUR.tongue], [0.93, COLOUR.tongueDeep], [1, "rgba(201,79,92,0)"]]);
}

function drawLips(ctx, lips) {
  const middle = STEPS / 2;
  paintLip(ctx, lips.upperOut, lips.upperIn, COLOUR.lipDeep, COLOUR.lip);
  paintLip(ctx, lips.lowerIn, lips.lowerOut, COLOUR.lip, COLOUR.lipDeep);
  const shine = lips.lowerIn.slice(middle - 4, middle + 5).map(([x, y], i) => {
    const out = lips.lowerOut[middle - 4 + i];
    return [mix(x, out[0], 0.42), mix(y, out[1], 0.42)];
  });
  const fat = Math.abs(lips.lowerIn[middle][1] - lips.lowerOut[middle][1]);
  if (fat > 0.03) {
    stroke(ctx, shine, fat * 0.34, COLOUR.lipShine);
    stroke(ctx, shine.slice(2, 7), fat * 0.2, COLOUR.lipShine);
  }
  if (lips.gap <= 0.03) {
    stroke(ctx, lips.lowerIn, 0.02, COLOUR.seam);
  } else {
    stroke(ctx, lips.upperIn, 0.012, COLOUR.seam);
  }
}

function paintLip(ctx, upper, lower, from, to) {
  const middle = STEPS / 2;
  const paint = ctx.createLinearGradient(0, upper[middle][1], 0, lower[middle][1]);
  paint.addColorStop(0, from);
  paint.addColorStop(1, to);
  between(ctx, upper, lower);
  ctx.fillStyle = paint;
  ctx.fill();
}

/** The corners' shadows, and what dimples, presses and stretches leave beside them. */
function drawCorners(ctx, view, pose, lips) {
  const ends = [lips.upperIn[STEPS], lips.upperIn[0]];
  pose.mouth.sides.forEach((corner, index) => {
    const way = index === 0 ? 1 : -1;
    const [x, y] = ends[index];
    const depth = clamp(0.35 + 0.5 * corner.smile + 0.6 * corner.press + 0.3 * corner.stretch + 0.3 * corner.frown, 0, 1);
    const tilt = 0.035 * (0.4 + corner.smile - corner.frown);
    ctx.globalAlpha = 0.8 * depth;
    stroke(ctx, [[x - way * 0.015, y - tilt * 0.5], [x + way * 0.022, y + tilt]], 0.02, COLOUR.seam);
    const mark = clamp(corner.dimple + 0.35 * corner.press + 0.5 * corner.stretch, 0, 1);
    if (mark > 0.05) {
      const away = x + way * (0.085 + 0.02 * corner.dimple);
      ctx.globalAlpha = 0.8 * mark;
      stroke(ctx, [[away - way * 0.012, y + 0.075], [away + way * 0.022, y + 0.01], [away - way * 0.008, y - 0.065]], 0.022, COLOUR.fold);
    }
    if (corner.frown > 0.05) {
      ctx.globalAlpha = 0.5 * corner.frown;
      stroke(ctx, [[x + way * 0.045, y - 0.03], [x + way * 0.06, y - 0.08], [x + way * 0.05, y - 0.13]], 0.022, COLOUR.fold);
    }
    ctx.globalAlpha = 1;
  });
}

/** The lines from nose to mouth, and the chin's. */
function drawFolds(ctx, view, pose) {
  pose.mouth.sides.forEach((corner, index) => {
    const way = index === 0 ? 1 : -1;
    if (corner.fold < 0.04) return;
    const line = [[0.175, -0.335], [0.25, -0.365], [0.33, -0.425], [corner.x + 0.075, Math.min(-0.5, LINE + corner.y + 0.05)]];
    ctx.globalAlpha = 0.38 * corner.fold;
    stroke(ctx, line.map(([x, y]) => view.at(way * x + pose.mouth.x * 0.5, y, surface(x, y, 0.03))), 0.02, COLOUR.fold);
    ctx.globalAlpha = 1;
  });
  const [x, y, z] = chin(pose);
  const pushed = Math.max(pose.mouth.shrugLower, 0.5 * pose.jaw.forward);
  if (pushed > 0.04) {
    ctx.globalAlpha = 0.6 * pushed;
    stroke(ctx, [-0.15, -0.05, 0.05, 0.15].map((t) => view.at(x + t, y + 0.1 - t * t * 2, z + 0.03)), 0.022, COLOUR.fold);
    ctx.globalAlpha = 1;
  }
  spot(ctx, view, [x, y - 0.01, z + 0.04], [0.2 + 0.05 * pose.jaw.forward, 0, -0.03], [0, 0.11, 0],
    [[0, `rgba(255,226,200,${0.4 + 0.4 * pose.jaw.forward})`], [1, "rgba(255,226,200,0)"]]);
}

function drawTongueOut(ctx, view, pose, lips) {
  const { tongue } = pose.mouth;
  const start = lips.gap > 0.05 ? lips.lowerIn : lips.upperIn;
  const [x, y] = start[STEPS / 2];
  const half = 0.15 * (1 - 0.25 * pose.mouth.pucker), long = 0.06 + 0.27 * tongue;
  const turn = view.direction(0, -1, 0.35), along = Math.hypot(turn[0], turn[1]) || 1;
  const [dx, dy] = [turn[0] / along, turn[1] / along];
  const point = (across, down) => [x + dy * across + dx * down, y - dx * across + dy * down];
  const rim = [[-half, -0.01], [-half * 1.02, long * 0.55], [-half * 0.62, long * 0.93], [0, long], [half * 0.62, long * 0.93], [half * 1.02, long * 0.55], [half, -0.01]];
  ctx.beginPath();
  trace(ctx, rim.map(([across, down]) => point(across, down)));
  ctx.closePath();
  const paint = ctx.createLinearGradient(...point(0, 0), ...point(0, long));
  paint.addColorStop(0, COLOUR.tongueDeep);
  paint.addColorStop(0.35, COLOUR.tongue);
  paint.addColorStop(1, "#ff9a97");
  ctx.fillStyle = paint;
  ctx.fill();
  stroke(ctx, [point(0, 0.01), point(0, long * 0.4), point(0, long * 0.72)], 0.016, "rgba(170,50,66,0.5)");
}

