// A worker that draws the avatar, so that painting never delays the page nor the page the painting.
//
// Takes messages { canvas } once, then { frame }, { size }, { mirrored }, { still }, { picture };
// answers every drawing with { drawn, draw_ms }, and { picture } with what is on the canvas.

import { Character } from "./character.js";
import { Motion } from "./motion.js";

const LOOK_EVERY = 45; // drawings between two looks at the pace
const SLOW_MS = 25; // slower than 40 a second: draw fewer pixels
const QUICK_MS = 18; // as fast as most displays: try more pixels again
const COARSER = 0.84;
const COARSEST = 0.5;
const SHORTEST_MS = 2500;
const LONGEST_MS = 120_000; // between two tries, which double: a picture that keeps changing its sharpness is worse

const motion = new Motion();
const painter = {
  character: null, size: [1, 1], mirrored: true, still: false, yaw: 0, drawn: 0, draw_ms: 0,
  scale: 1, looked_ms: 0, retry_ms: 0, patience_ms: SHORTEST_MS,
};

self.onmessage = ({ data }) => {
  if (data.frame) motion.apply(data.frame, performance.now());
  if (data.mirrored !== undefined) painter.mirrored = data.mirrored;
  if (data.still !== undefined) painter.still = data.still;
  if (data.size) {
    painter.size = data.size;
    painter.scale = 1;
    painter.looked_ms = performance.now() + 1000; // loading and resizing are slow by nature
  }
  if (data.canvas) {
    painter.character = new Character(data.canvas);
    requestAnimationFrame(draw);
  }
  if (data.picture) sendPicture();
};

async function sendPicture() {
  const { drawn } = painter;
  const picture = await createImageBitmap(painter.character.canvas);
  self.postMessage({ picture, drawn }, [picture]);
}

function draw() {
  requestAnimationFrame(draw);
  const now_ms = performance.now();
  fit();
  const moment = motion.at(now_ms);
  painter.character.draw(moment, ambient(now_ms, moment.head.rotation), painter.mirrored);
  painter.drawn += 1;
  painter.draw_ms += (performance.now() - now_ms - painter.draw_ms) * 0.05;
  if (painter.drawn % LOOK_EVERY === 0) keepPace(now_ms);
  self.postMessage({ drawn: painter.drawn, draw_ms: painter.draw_ms });
}

function fit() {
  const [width, height] = painter.size.map((length) => Math.max(1, Math.round(length * painter.scale)));
  const { canvas } = painter.character;
  if (canvas.width !== width) canvas.width = width;
  if (canvas.height !== height) canvas.height = height;
}

/** Breath, and hair that lags behind the head; none where the visitor asked for stillness. */
function ambient(now_ms, rotation) {
  if (painter.still) return { breath: 0, sway: 0 };
  const yaw = 2 * Math.asin(Math.max(-1, Math.min(1, rotation[1])));
  painter.yaw += (yaw - painter.yaw) * 0.12;
  return { breath: Math.sin(now_ms / 1100), sway: painter.yaw - yaw + 0.03 * Math.sin(now_ms / 900) };
}

/** Without a graphics card large pictures take long: movement is worth more than sharpness. */
function keepPace(now_ms) {
  const pace_ms = (now_ms - painter.looked_ms) / LOOK_EVERY;
  painter.looked_ms = now_ms;
  if (painter.still || pace_ms > 10 * SLOW_MS) return; // a hidden page is not a slow one
  if (pace_ms > SLOW_MS && painter.scale > COARSEST) {
    painter.scale *= COARSER;
    painter.patience_ms = Math.min(LONGEST_MS, 2 * painter.patience_ms);
    painter.retry_ms = now_ms + painter.patience_ms;
  } else if (pace_ms < QUICK_MS && painter.scale < 1 && now_ms > painter.retry_ms) {
    painter.scale = Math.min(1, painter.scale / COARSER);
  }
}
