// Wires the page: messages to streams, streams to the painter and the panel.

import { unattended } from "./kiosk.js";
import { connect } from "./link.js";
import { STALE_MS } from "./motion.js";
import { Panel } from "./panel.js";
import { Streams } from "./streams.js";
import { Wardrobe } from "./wardrobe.js";

const PANEL_EVERY_MS = 80;
const MOST_PIXELS = 1400; // along the canvas's longer side: sharper costs time and is hardly seen

const byId = (id) => document.getElementById(id);
const query = new URLSearchParams(location.search);
const page = {
  chosen: query.get("stream") || "", mirrored: query.get("mirror") !== "0", linked: false, shown: null, applied_ms: -Infinity,
  waiting: [], version: "",
};
const streams = new Streams();
const panel = new Panel(byId, (key) => {
  page.chosen = key;
});
const painter = new Worker("painter.js", { type: "module" });
const wardrobe = new Wardrobe(byId, (avatar, name) => painter.postMessage({ avatar, name }, avatar ? [avatar] : []));

/** What tests and the browser's console may use: the last frame, how often it drew, a frame to show, a picture of now. */
window.avatar = {
  latest: null,
  model: null,
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
  const { latest, drawn, draw_ms } = window.avatar;
  panel.show({ streams, shown: page.shown, stale, linked: page.linked, frame: latest, now_ms, chosen: page.chosen, drawn, draw_ms });
}

function hear(message, hop_ms) {
  const now_ms = performance.now();
  const stream = streams.take(message, hop_ms, now_ms);
  if (message.topic === "viewer") meet(message.payload);
  if (!stream) return;
  page.shown = streams.pick(page.chosen, now_ms);
  if (stream === page.shown) window.avatar.apply(stream.frame);
}

/** The viewer may have been updated while this page waited: a screen nobody operates loads the new page by itself. */
function meet({ version, avatar }) {
  page.version ||= version;
  if (version !== page.version) location.reload();
  wardrobe.offer(avatar);
}

function answer({ data }) {
  if (data.picture) page.waiting.shift()(data);
  else if (data.refused) wardrobe.refuse(data.refused);
  else if (data.restored) wardrobe.again();
  else Object.assign(window.avatar, data);
  if (data.model !== undefined) wardrobe.show(data.model);
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

const KEYS = {
  h: hide,
  m: () => mirror(!page.mirrored),
  n: () => document.body.classList.toggle("counted"),
  f: () => (document.fullscreenElement ? document.exitFullscreen() : document.documentElement.requestFullscreen?.()),
};

function start() {
  const [canvas, scene] = ["canvas", "scene"].map((id) => byId(id).transferControlToOffscreen());
  painter.onmessage = answer;
  painter.postMessage({ canvas, scene }, [canvas, scene]);
  const still = matchMedia("(prefers-reduced-motion: reduce)");
  still.addEventListener("change", () => painter.postMessage({ still: still.matches }));
  painter.postMessage({ still: still.matches });
  new ResizeObserver(fit).observe(byId("stage"));
  if (query.get("kiosk") === "1") unattended(painter);
  if (query.get("numbers") === "1") KEYS.n();
  mirror(page.mirrored);
  byId("mirror").addEventListener("click", KEYS.m);
  byId("hide").addEventListener("click", hide);
  addEventListener("keydown", (event) => {
    if (event.ctrlKey || event.metaKey || event.altKey || event.target.tagName === "SELECT") return;
    KEYS[event.key]?.();
  });
  connect(hear, (up) => {
    page.linked = up;
  });
  setInterval(show, PANEL_EVERY_MS);
}

start();
