// The whole character, back to front.

import { View, loop, spot, stroke } from "./space.js";
import { outline, surface } from "./head.js";
import { drawBrows, drawEyes } from "./eyes.js";
import { drawMouth } from "./mouth.js";
import { drawBack, drawFront, drawShadow, hairOutlines } from "./hair.js";
import { cupDepth, drawBand, drawCup, drawHood, drawHoodie, drawNeck } from "./clothes.js";
import { COLOUR } from "./palette.js";
import { setting } from "./motion.js";
import { rig } from "./rig.js";

const NECK = [0, -0.85, -0.25];
const STAGE = { top: 1.78, bottom: -2.5, half: 1.75 }; // what of the character's space the canvas shows
const MOST_TURN_RAD = 0.8; // a drawn face has no profile: turns approach this gently

export class Character {
  constructor(canvas) {
    this.canvas = canvas;
    this.ctx = canvas.getContext("2d");
    this.head = new View(NECK);
    this.body = new View([0, -2.2, 0]);
  }

  /** Draw one moment: shapes, head, gaze, voice; `ambient` is breath and sway, each about -1..1. */
  draw(moment, ambient, mirrored) {
    const { ctx } = this;
    const pose = rig(moment.shapes, moment.gaze);
    this.place(moment.head, ambient);
    this.frame(mirrored);
    const { head, body } = this;
    const hair = hairOutlines(head);
    const skull = outline(head, pose);
    const ways = [1, -1].map((way) => [cupDepth(head, way) < -0.12, way]);
    drawHood(ctx, body);
    for (const [far, way] of ways) if (far) drawCup(ctx, head, way, moment.voice);
    drawBand(ctx, head, false);
    drawBack(ctx, hair.all);
    drawNeck(ctx, head, body);
    drawHoodie(ctx, body);
    this.drawFace(pose, skull, ambient.sway);
    drawFront(ctx, head, hair, hair.all, ambient.sway);
    ctx.save();
    loop(ctx, skull);
    ctx.clip();
    drawBrows(ctx, head, pose);
    ctx.restore();
    drawBand(ctx, head, true);
    drawFront(ctx, head, hair, hair.quiff, ambient.sway); // the quiff stands before the band
    for (const [far, way] of ways) if (!far) drawCup(ctx, head, way, moment.voice);
  }

  /** Set both frames: the head turns as told, the body follows a little. */
  place({ rotation, position }, ambient) {
    const { x, y, scale } = setting(position);
    const breath = 0.012 * ambient.breath;
    const [qx, qy, qz, qw] = within(rotation, MOST_TURN_RAD);
    this.head.place([qx, qy, qz, qw], [x, y + breath], scale);
    const length = Math.hypot(qx * 0.12, qy * 0.3, qz * 0.15, qw) || 1;
    const follow = [(qx * 0.12) / length, (qy * 0.3) / length, (qz * 0.15) / length, qw / length];
    this.body.place(follow, [x * 0.8, y * 0.7 + breath * 1.6], scale);
  }

  /** Clear, and lay the character's space over the canvas. */
  frame(mirrored) {
    const { ctx, canvas } = this;
    const unit = Math.min(canvas.height / (STAGE.top - STAGE.bottom), canvas.width / (2 * STAGE.half));
    const middle = canvas.height - (canvas.height - unit * (STAGE.top - STAGE.bottom)) * 0.5 + unit * STAGE.bottom;
    ctx.setTransform(1, 0, 0, 1, 0, 0);
    ctx.clearRect(0, 0, canvas.width, canvas.height);
    ctx.setTransform(mirrored ? -unit : unit, 0, 0, -unit, canvas.width / 2, middle);
    ctx.lineCap = "round";
    ctx.lineJoin = "round";
  }

  drawFace(pose, skull, sway) {
    const { ctx, head } = this;
    ctx.save();
    loop(ctx, skull);
    const lit = head.at(-0.28, 0.3, 0.95), far = head.at(0.1, -0.1, 0.4);
    const paint = ctx.createRadialGradient(lit[0], lit[1], 0.1, far[0], far[1], 1.5);
    paint.addColorStop(0, COLOUR.skinLight);
    paint.addColorStop(0.5, COLOUR.skin);
    paint.addColorStop(0.85, COLOUR.skinShade);
    paint.addColorStop(1, COLOUR.skinDeep);
    ctx.fillStyle = paint;
    ctx.fill();
    ctx.clip();
    this.drawCheeks(pose);
    drawShadow(ctx, head, sway);
    drawEyes(ctx, head, pose);
    drawNose(ctx, head, pose);
    drawMouth(ctx, head, pose);
    this.drawRim(skull);
    ctx.restore();
  }

  /** Cool light from behind, on the side away from the warm one. */
  drawRim(skull) {
    const { ctx, head } = this;
    const a = head.at(0.5, 0, 0.6), b = head.at(1.05, -0.2, 0);
    const paint = ctx.createLinearGradient(a[0], a[1], b[0], b[1]);
    paint.addColorStop(0, "rgba(130,180,255,0)");
    paint.addColorStop(1, "rgba(150,190,255,0.4)");
    loop(ctx, skull);
    ctx.lineWidth = 0.09;
    ctx.strokeStyle = paint;
    ctx.stroke();
  }

  drawCheeks(pose) {
    pose.cheek.forEach(({ puff, raise }, index) => {
      const way = index === 0 ? 1 : -1;
      const x = 0.6 * way, y = -0.33 + 0.06 * raise;
      const size = 1 + 0.25 * puff + 0.12 * raise;
      spot(this.ctx, this.head, [x, y, surface(x, y)], [0.3 * size, 0, -0.16 * way], [0, 0.2 * size, 0],
        [[0, `${COLOUR.blush}${0.34 + 0.16 * puff + 0.12 * raise})`], [0.45, `${COLOUR.blush}${0.2 + 0.1 * puff})`], [1, `${COLOUR.blush}0)`]]);
      if (puff > 0.03 || raise > 0.1) {
        spot(this.ctx, this.head, [x * 0.94, y + 0.03, surface(x, y)], [0.16 * size, 0, -0.08 * way], [0, 0.1 * size, 0],
          [[0, `rgba(255,236,216,${0.55 * puff + 0.3 * raise})`], [1, "rgba(255,236,216,0)"]]);
      }
    });
  }
}

/** A rotation whose angle approaches `most_rad` instead of passing it. */
function within([x, y, z, w], most_rad) {
  const sine = Math.hypot(x, y, z);
  if (sine < 1e-6) return [0, 0, 0, 1];
  const angle = 2 * Math.atan2(sine, Math.abs(w)) * Math.sign(w || 1);
  const half = (most_rad * Math.tanh(angle / most_rad)) / 2;
  const share = Math.sin(half) / sine;
  return [x * share, y * share, z * share, Math.cos(half)];
}

function drawNose(ctx, view, pose) {
  const skin = (x, y, out) => [x, y, surface(x, y) + out];
  const up = 0.02 * (pose.nose[0].sneer + pose.nose[1].sneer);
  spot(ctx, view, skin(0.09, -0.2, 0.06), [0.13, 0, -0.06], [0, 0.24, 0], [[0, "rgba(205,112,84,0.4)"], [1, "rgba(205,112,84,0)"]]);
  spot(ctx, view, skin(0, -0.37, 0.04), [0.2, 0, -0.05], [0, 0.07, 0], [[0, "rgba(176,84,66,0.5)"], [1, "rgba(176,84,66,0)"]]);
  spot(ctx, view, skin(0, -0.28 + up, 0.2), [0.145, 0, -0.06], [0, 0.12, 0],
    [[0, "#ffc9a4"], [0.55, "rgba(249,180,140,0.95)"], [1, "rgba(240,160,122,0)"]]);
  spot(ctx, view, skin(-0.035, -0.245 + up, 0.24), [0.06, 0, 0], [0, 0.045, 0], [[0, "rgba(255,246,234,0.95)"], [1, "rgba(255,246,234,0)"]]);
  pose.nose.forEach(({ sneer }, index) => {
    const way = index === 0 ? 1 : -1;
    const lift = 0.045 * sneer, wide = 0.02 * sneer;
    const wing = [[0.05, -0.352, 0.16], [0.085 + wide, -0.36 + lift * 0.5, 0.14], [0.125 + wide, -0.335 + lift, 0.1], [0.128 + wide, -0.29 + lift, 0.08]];
    stroke(ctx, wing.map(([x, y, z]) => view.at(...skin(way * x, y, z))), 0.024, "rgba(160,76,60,0.6)");
    if (sneer > 0.03) {
      ctx.globalAlpha = sneer;
      for (const [x, y] of [[0.05, -0.06], [0.07, -0.13]]) {
        stroke(ctx, [[x, y + 0.03], [x + 0.05, y], [x + 0.085, y - 0.045]].map(([a, b]) => view.at(...skin(way * a, b, 0.08))), 0.02, COLOUR.fold);
      }
      ctx.globalAlpha = 1;
    }
  });
}
