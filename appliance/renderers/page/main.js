// Wires the page: messages to streams, streams to the avatar and the panel.

import { Character } from "./character.js";
import { connect } from "./link.js";
import { Motion } from "./motion.js";
import { Panel } from "./panel.js";
import { Streams } from "./streams.js";

const PANEL_EVERY_MS = 100;
const MOST_PIXELS = 1400; // along the canvas's longer side: sharper costs time and is hardly seen

const byId = (id) => document.getElementById(id);
const canvas = byId("canvas");
const character = new Character(canvas);
const motion = new Motion();
const streams = new Streams();
const panel = new Panel(byId, (key) => choose(key));
const still = matchMedia("(prefers-reduced-motion: reduce)");
const query = new URLSearchParams(location.search);

const page = { chosen: query.get("stream") || "", mirrored: query.get("mirror") !== "0", linked: false, shown: null, panel_ms: 0, yaw: 0, sway: 0 };

/** What tests and the browser's console may use. */
window.avatar = {
  latest: null,
  drawn: 0,
  draw_ms: 0,
  apply(frame) {
    this.latest = frame;
    motion.apply(frame, performance.now());
  },
};

function choose(key) {
  page.chosen = key;
}

function show() {
  document.body.classList.toggle("bare");
  fit();
}

function mirror() {
  page.mirrored = !page.mirrored;
  byId("mirror").setAttribute("aria-pressed", String(page.mirrored));
}

function fit() {
  const { width, height } = byId("stage").getBoundingClientRect();
  const ratio = Math.min(devicePixelRatio || 1, MOST_PIXELS / Math.max(width, height, 1));
  canvas.width = Math.max(1, Math.round(width * ratio));
  canvas.height = Math.max(1, Math.round(height * ratio));
}

/** Breath, and hair that lags behind the head; none where the visitor asked for stillness. */
function ambient(now_ms, rotation) {
  if (still.matches) return { breath: 0, sway: 0 };
  const yaw = 2 * Math.asin(Math.max(-1, Math.min(1, rotation[1])));
  page.yaw += (yaw - page.yaw) * 0.12;
  page.sway = page.yaw - yaw;
  return { breath: Math.sin(now_ms / 1100), sway: page.sway + 0.03 * Math.sin(now_ms / 900) };
}

function draw(now_ms) {
  requestAnimationFrame(draw);
  const started_ms = performance.now();
  const moment = motion.at(started_ms);
  character.draw(moment, ambient(now_ms, moment.head.rotation), page.mirrored);
  window.avatar.drawn += 1;
  const took_ms = performance.now() - started_ms;
  window.avatar.draw_ms += (took_ms - window.avatar.draw_ms) * 0.05;
  if (started_ms - page.panel_ms < PANEL_EVERY_MS) return;
  page.panel_ms = started_ms;
  const stale = motion.stale(started_ms);
  document.body.classList.toggle("stale", stale);
  panel.show({ streams, shown: page.shown, stale, linked: page.linked, frame: window.avatar.latest, now_ms: started_ms });
}

connect(
  (message, hop_ms) => {
    const now_ms = performance.now();
    const stream = streams.take(message, hop_ms, now_ms);
    if (!stream) return;
    page.shown = streams.pick(page.chosen, now_ms);
    if (stream === page.shown) window.avatar.apply(stream.frame);
  },
  (up) => {
    page.linked = up;
  },
);

if (query.get("kiosk") === "1") document.body.classList.add("bare", "kiosk");
byId("mirror").setAttribute("aria-pressed", String(page.mirrored));
byId("mirror").addEventListener("click", mirror);
byId("hide").addEventListener("click", show);
addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey) return;
  if (event.key === "h") show();
  if (event.key === "m") mirror();
});
new ResizeObserver(fit).observe(byId("stage"));
fit();
requestAnimationFrame(draw);
