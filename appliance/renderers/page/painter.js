// A worker that draws the avatar, so that painting never delays the page nor the page the painting.
//
// Takes messages { canvas, scene } once, then { frame }, { size }, { mirrored }, { still }, { avatar, name }, { picture };
// answers every drawing with { drawn, draw_ms }, an avatar's file with { model } or { refused }, and { picture } with what
// is on the canvas. Our character is drawn on one canvas, a file's avatar by WebGL on the other, the scene.

import { Character } from "./character.js";
import { Unreadable } from "./gltf.js";
import { Motion } from "./motion.js";
import { Puppet } from "./puppet.js";

const LOOK_EVERY_MS = 1500; // between two looks at the pace
const FEWEST = 5; // drawings that say what the pace is
const SLOW_MS = 25; // slower than 40 a second: draw fewer pixels
const QUICK_MS = 18; // as fast as most displays: try more pixels again
const COARSER = 0.84;
const COARSEST = 0.5;
const SHORTEST_MS = 2500;
const LONGEST_MS = 120_000; // between two tries, which double: a picture that keeps changing its sharpness is worse

const motion = new Motion();
const painter = {
  character: null, scene: null, gl: null, puppet: null, loading: Promise.resolve(), size: [1, 1], mirrored: true, still: false, yaw: 0, drawn: 0, draw_ms: 0,
  scale: 1, looked_ms: 0, looked: 0, retry_ms: 0, patience_ms: SHORTEST_MS,
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
    painter.scene = data.scene;
    watchContext();
    requestAnimationFrame(draw);
  }
  if (data.avatar !== undefined) painter.loading = painter.loading.then(() => dress(data.avatar, data.name));
  if (data.picture) sendPicture();
};

/** Put on an avatar's file, or with null our own head. */
async function dress(buffer, name) {
  const before = painter.puppet;
  try {
    const puppet = buffer && (await Puppet.of(context(), buffer));
    painter.puppet = puppet;
    painter.scale = 1;
    painter.looked_ms = performance.now() + 1000;
    before?.free();
    self.postMessage({ model: puppet ? { name, ...puppet.report } : null });
  } catch (error) {
    const reason = error instanceof Unreadable ? error.message : `It is damaged: ${error.message}.`;
    self.postMessage({ refused: { name, reason } });
  }
}

function context() {
  painter.gl ||= painter.scene.getContext("webgl2", { antialias: hasCard(), premultipliedAlpha: true });
  if (!painter.gl) throw new Unreadable("This browser draws nothing in 3D: it has no WebGL 2.");
  return painter.gl;
}

/** Whether a graphics card draws: a processor in its place cannot afford smooth edges. */
function hasCard() {
  const gl = new OffscreenCanvas(1, 1).getContext("webgl2");
  const about = gl?.getExtension("WEBGL_debug_renderer_info");
  const name = about ? gl.getParameter(about.UNMASKED_RENDERER_WEBGL) : "";
  gl?.getExtension("WEBGL_lose_context")?.loseContext();
  return !/swiftshader|llvmpipe|software|basic render/i.test(name);
}

/** A graphics driver may restart: our own head stands in, and the page gives the file again. */
function watchContext() {
  painter.scene.addEventListener("webglcontextlost", (event) => {
    event.preventDefault();
    painter.puppet = null;
    self.postMessage({ model: null });
  });
  painter.scene.addEventListener("webglcontextrestored", () => self.postMessage({ restored: true }));
}

async function sendPicture() {
  const { drawn, puppet } = painter;
  paint(performance.now()); // what WebGL drew is gone once it was shown
  const picture = await createImageBitmap((puppet || painter.character).canvas);
  self.postMessage({ picture, drawn, weights: puppet?.weights }, [picture]);
}

function draw() {
  requestAnimationFrame(draw);
  const now_ms = performance.now();
  fit();
  paint(now_ms);
  painter.drawn += 1;
  painter.draw_ms += (performance.now() - now_ms - painter.draw_ms) * 0.05;
  if (now_ms < painter.looked_ms) painter.looked = painter.drawn;
  else if (now_ms > painter.looked_ms + LOOK_EVERY_MS) keepPace(now_ms);
  self.postMessage({ drawn: painter.drawn, draw_ms: painter.draw_ms });
}

function paint(now_ms) {
  const moment = motion.at(now_ms);
  (painter.puppet || painter.character).draw(moment, ambient(now_ms, moment.head.rotation), painter.mirrored);
}

function fit() {
  const [width, height] = painter.size.map((length) => Math.max(1, Math.round(length * painter.scale)));
  const { canvas } = painter.puppet || painter.character;
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
  const count = painter.drawn - painter.looked, pace_ms = (now_ms - painter.looked_ms) / count;
  Object.assign(painter, { looked_ms: now_ms, looked: painter.drawn });
  if (painter.still || count < FEWEST) return; // a hidden page is not a slow one
  if (pace_ms > SLOW_MS && painter.scale > COARSEST) {
    painter.scale *= COARSER;
    painter.patience_ms = Math.min(LONGEST_MS, 2 * painter.patience_ms);
    painter.retry_ms = now_ms + painter.patience_ms;
  } else if (pace_ms < QUICK_MS && painter.scale < 1 && now_ms > painter.retry_ms) {
    painter.scale = Math.min(1, painter.scale / COARSER);
  }
}
