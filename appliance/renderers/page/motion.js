// From frames that come when they come to one moment for every display refresh.

import { clamp, mix } from "./space.js";

export const STALE_MS = 1000;
const SHORTEST_MS = 8;
const LONGEST_MS = 80; // after a pause the avatar moves at once, not in slow motion
const SLEEP_MS = 600;

const USUAL_DISTANCE_M = 0.6;

const REST = { shapes: {}, mood: {}, head: { rotation: [0, 0, 0, 1], position: [0, 0, -0.6] }, gaze: [[0, 0], [0, 0]], voice: 0 };
const ASLEEP = {
  ...REST,
  shapes: { eyeBlinkLeft: 1, eyeBlinkRight: 1, browInnerUp: 0.15, mouthSmileLeft: 0.12, mouthSmileRight: 0.12 },
  head: { rotation: [0.07, 0, 0.035, 0.997], position: [0, -0.02, -0.6] },
};

/** Moves from frame to frame in the time that lay between their captures. */
export class Motion {
  constructor() {
    this.from = REST;
    this.to = REST;
    this.span_ms = 33;
    this.arrived_ms = -Infinity;
    this.captured_ns = 0;
  }

  /** Head for a new frame; `now_ms` is the display's clock. */
  apply(frame, now_ms) {
    this.from = this.at(now_ms);
    this.to = moment(frame);
    const captured_ns = Number(frame.captured_ns) || 0;
    this.span_ms = clamp((captured_ns - this.captured_ns) / 1e6, SHORTEST_MS, LONGEST_MS);
    this.captured_ns = captured_ns;
    this.arrived_ms = now_ms;
  }

  /** The moment to draw; without frames for a while the avatar falls asleep. */
  at(now_ms) {
    const age_ms = now_ms - this.arrived_ms;
    if (age_ms > STALE_MS) return blend(this.to, ASLEEP, clamp((age_ms - STALE_MS) / SLEEP_MS, 0, 1));
    return blend(this.from, this.to, clamp(age_ms / this.span_ms, 0, 1));
  }
}

/** What of a frame the drawing needs; a voice alone has no head and no gaze. */
function moment(frame) {
  const gaze = frame.gaze || {};
  const voice = frame.voice || {};
  return {
    shapes: frame.blendshapes || {},
    mood: frame.mood || {},
    head: { rotation: frame.head?.rotation || REST.head.rotation, position: frame.head?.position || REST.head.position },
    gaze: [gaze.left || [0, 0], gaze.right || [0, 0]],
    voice: voice.active ? clamp(0.35 + (voice.level || 0), 0, 1) : 0,
  };
}

function blend(a, b, t) {
  if (t >= 1) return b;
  const named = (x, y) => {
    const out = {};
    for (const name in { ...x, ...y }) out[name] = mix(x[name] || 0, y[name] || 0, t);
    return out;
  };
  const list = (x, y) => x.map((value, i) => mix(value, y[i], t));
  return {
    shapes: named(a.shapes, b.shapes),
    mood: named(a.mood, b.mood),
    head: { rotation: turn(a.head.rotation, b.head.rotation, t), position: list(a.head.position, b.head.position) },
    gaze: [list(a.gaze[0], b.gaze[0]), list(a.gaze[1], b.gaze[1])],
    voice: mix(a.voice, b.voice, t),
  };
}

/** Between two rotations along the shorter way, normalised. */
function turn(a, b, t) {
  const near = a.reduce((sum, value, i) => sum + value * b[i], 0) < 0 ? -1 : 1;
  const q = a.map((value, i) => mix(value, near * b[i], t));
  const length = Math.hypot(...q) || 1;
  return q.map((value) => value / length);
}

/** Where a head at `position` (metres) stands in the picture: x and y in half heads' widths, and how large. */
export function setting(position) {
  const near = USUAL_DISTANCE_M / Math.max(0.15, -position[2] || USUAL_DISTANCE_M);
  return {
    x: 0.55 * Math.tanh(1.6 * position[0] * near),
    y: 0.3 * Math.tanh(1.6 * position[1] * near),
    scale: Math.min(1.22, Math.max(0.8, Math.pow(near, 0.4))),
  };
}
