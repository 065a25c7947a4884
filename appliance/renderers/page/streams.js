// Which avatars there are, and what is known of each and of its device.

const WINDOW_MS = 10_000;
const MOST = 256; // streams, and devices, that are known at once: a screen that runs for months meets many

/** Everything heard so far, by topic of the contract. */
export class Streams {
  constructor() {
    this.devices = new Map(); // "site/device" -> { availability, info, health, events }
    this.streams = new Map(); // "site/device/stream/slot" -> Stream
    this.viewer = { connected: false, broker: "" };
  }

  /** Take one message; returns the stream whose frame it was, if it was one. */
  take({ topic, payload, age_ms, clock }, hop_ms, now_ms) {
    if (topic === "viewer") {
      this.viewer = payload;
      return null;
    }
    const [, , site, device, ...rest] = topic.split("/");
    const place = `${site}/${device}`;
    if (!this.devices.has(place)) add(this.devices, place, { events: [] });
    const known = this.devices.get(place);
    if (rest.length === 1) {
      if (rest[0] === "event") known.events = payload;
      else known[rest[0]] = payload;
      return null;
    }
    const [name, slot, leaf] = rest;
    if (leaf !== "state" && leaf !== "frame") return null;
    const key = `${place}/${name}/${slot}`;
    if (!this.streams.has(key)) add(this.streams, key, new Stream(key, place, name, slot));
    const stream = this.streams.get(key);
    if (leaf === "state") {
      stream.state = payload;
      return null;
    }
    stream.take(payload, age_ms === null ? null : age_ms + hop_ms, clock, now_ms);
    return stream;
  }

  /** The stream to show: the chosen one, else the liveliest. */
  pick(chosen, now_ms) {
    if (this.streams.has(chosen)) return this.streams.get(chosen);
    const rank = (stream) => (stream.fresh(now_ms) ? 2 : 0) + (stream.frame && stream.frame.state !== "voice" ? 1 : 0);
    let best = null;
    for (const stream of this.streams.values()) if (!best || rank(stream) > rank(best)) best = stream;
    return best;
  }
}

/** Add to a map, forgetting whom it has known longest where it is full. */
function add(map, key, value) {
  if (map.size >= MOST) map.delete(map.keys().next().value);
  map.set(key, value);
}

/** One avatar: its newest frame, and how the last seconds went. */
class Stream {
  constructor(key, place, name, slot) {
    Object.assign(this, { key, place, name, slot, state: null, frame: null, clock: "none" });
    this.arrivals_ms = [];
    this.latencies = []; // [arrived_ms, latency_ms]
    this.missed = 0;
  }

  take(frame, latency_ms, clock, now_ms) {
    const gap = this.frame ? frame.seq - this.frame.seq - 1 : 0;
    if (gap > 0 && gap < 1000) this.missed += gap;
    this.frame = frame;
    this.clock = clock;
    this.arrivals_ms.push(now_ms);
    if (latency_ms !== null) this.latencies.push([now_ms, latency_ms]);
    while (this.arrivals_ms[0] < now_ms - 2000) this.arrivals_ms.shift();
    while (this.latencies.length && this.latencies[0][0] < now_ms - WINDOW_MS) this.latencies.shift();
  }

  fresh(now_ms) {
    return now_ms - (this.arrivals_ms.at(-1) ?? -Infinity) < 1000;
  }

  fps(now_ms) {
    const recent = this.arrivals_ms.filter((at) => at > now_ms - 2000);
    return recent.length < 2 ? 0 : ((recent.length - 1) * 1000) / (recent.at(-1) - recent[0]);
  }

  /** Median and 99th percentile of capture-to-viewer latency over the last ten seconds. */
  latency() {
    const sorted = this.latencies.map(([, ms]) => ms).sort((a, b) => a - b);
    if (!sorted.length) return null;
    const at = (share) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
    return { p50: at(0.5), p99: at(0.99) };
  }
}
