// Wires the page: messages to streams, streams to the painter and the panel.

import { connect } from "./link.js";
import { STALE_MS } from "./motion.js";
import { Panel } from "./panel.js";
import { Streams } from "./streams.js";

const PANEL_EVERY_MS = 80;
const MOST_PIXELS = 1400; // along the canvas's longer side: sharper costs time and is hardly seen

const byId = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const page = { chosen: query.get("stream") || "", mirrored: query.get("mirror") !== "0", linked: false, shown: null, applied_ms: -Infinity, waiting: [] };
const streams = new Streams();
const panel = new Panel(byId, (key) => {
  page.chosen = key;
});
const painter = new Worker("painter.js", { type: "module" });

/** What tests and the browser's console may use: the last frame, how often it drew, a frame to show, a picture of now. */
window.avatar = {
  latest: null,
  drawn: 0,
  draw_ms: 0,
  apply(frame) {
    this.latest = frame;
    page.applied_ms = performance.now();
    painter.postMessage({ frame });
  },
  picture() {
    painter.postMessage({ picture: true });
    return new Promise((resolve) => page.waiting.push(resolve));
  },
};

function show() {
  const now_ms = performance.now();
  const stale = now_ms - page.applied_ms > STALE_MS;
  document.body.classList.toggle("stale", stale);
  panel.show({ streams, shown: page.shown, stale, linked: page.linked, frame: window.avatar.latest, now_ms });
}

function hear(message, hop_ms) {
  const now_ms = performance.now();
  const stream = streams.take(message, hop_ms, now_ms);
  if (!stream) return;
  page.shown = streams.pick(page.chosen, now_ms);
  if (stream === page.shown) window.avatar.apply(stream.frame);
}

function hide() {
  document.body.classList.toggle("bare");
}

function mirror(mirrored) {
  page.mirrored = mirrored;
  byId("mirror").setAttribute("aria-pressed", String(mirrored));
  painter.postMessage({ mirrored });
}

function fit() {
  const { width, height } = byId("stage").getBoundingClientRect();
  const ratio = Math.min(devicePixelRatio || 1, MOST_PIXELS / Math.max(width, height, 1));
  painter.postMessage({ size: [width * ratio, height * ratio] });
}

function start() {
  const canvas = byId("canvas").transferControlToOffscreen();
  painter.postMessage({ canvas }, [canvas]);
  painter.onmessage = ({ data }) => {
    if (data.picture) page.waiting.shift()(data);
    else Object.assign(window.avatar, data);
  };
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  still.addEventListener("change", () => painter.postMessage({ still: still.matches }));
  painter.postMessage({ still: still.matches });
  new ResizeObserver(fit).observe(byId("stage"));
  if (query.get("kiosk") === "1") document.body.classList.add("bare", "kiosk");
  mirror(page.mirrored);
  byId("mirror").addEventListener("click", () => mirror(!page.mirrored));
  byId("hide").addEventListener("click", hide);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey) return;
    if (event.key === "h") hide();
    if (event.key === "m") mirror(!page.mirrored);
  });
  connect(hear, (up) => {
    page.linked = up;
  });
  setInterval(show, PANEL_EVERY_MS);
}

start();
