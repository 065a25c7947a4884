// The live numbers beside the avatar.

const MOST_SHAPES = 7;
const RANK_EVERY_MS = 700;
const MOST_TILES = 6;
const PRESSURE = { normal: "ok", high: "warm", critical: "hot" };
const STAGE_COLOURS = ["#5be7c4", "#4fa8ff", "#a98bff", "#ff9ec7", "#ffc46b", "#8fe36b", "#ff8a70", "#9fb2d8"];
const STATES = {
  absent: "Nobody here", acquiring: "Saying hello", tracking: "Tracking", lost: "Looking for you", idle: "Idle", voice: "Voice only",
};

/** Everything in the panel; `show` writes what is known now. */
export class Panel {
  constructor(byId, choose) {
    this.byId = byId;
    byId("chooser").addEventListener("change", ({ target }) => choose(target.value));
    this.rows = new Map(); // keeps elements, so that bars glide instead of jumping
    this.listed = "";
    this.counted = { at_ms: 0, drawn: 0, pace: 0 };
    this.top = []; // the strongest shapes, ranked now and then: rows that jump cannot be read
    this.ranked_ms = -Infinity;
  }

  show({ streams, shown, stale, linked, frame, now_ms, chosen, drawn, draw_ms }) {
    const device = shown ? streams.devices.get(shown.place) : streams.devices.values().next().value;
    this.link(streams.viewer, linked);
    this.notice(streams, shown, stale, linked, device);
    this.rank(frame, now_ms);
    this.numbers(shown, frame, stale, now_ms, drawn, draw_ms);
    if (document.body.classList.contains("bare")) return; // nobody sees the rest
    this.chooser(streams, shown, now_ms, chosen);
    this.status(shown, frame, stale, now_ms);
    this.latency(shown, frame);
    this.voice(frame, stale);
    this.expression(frame, stale);
    this.device(device, shown);
    this.identity(streams.viewer.identity || "");
  }

  /** Whom the device's certificate names, to be read or photographed. */
  identity(text) {
    this.byId("identity").hidden = !text;
    this.text("named", text);
    const code = this.byId("code");
    if (text && !code.hasAttribute("src")) code.src = "identity.svg";
  }

  text(id, value) {
    write(this.byId(id), value);
  }

  link(viewer, linked) {
    const up = linked && viewer.connected;
    this.text("link", !linked ? "viewer gone" : up ? "live" : "no broker");
    this.byId("link").dataset.up = String(up);
  }

  /** Say kindly why nothing moves. */
  notice(streams, shown, stale, linked, device) {
    const element = this.byId("notice");
    element.hidden = !stale;
    if (!stale) return;
    const [title, text] = !linked ? ["Reconnecting", "The viewer was closed; this page waits for it."]
      : !streams.viewer.connected ? ["Waiting for the broker", `${streams.viewer.broker} does not answer yet.`]
      : device?.availability === "offline" ? ["The device is away", "It will wake me when it is back."]
      : shown ? ["Taking a nap", "No frames for a moment. I wake as soon as they return."]
      : ["Ready when you are", "Waiting for the first frame."];
    this.text("notice-title", title);
    this.text("notice-text", text);
  }

  /** A list of all avatars; an open one stays open while their liveliness changes. */
  chooser(streams, shown, now_ms, chosen) {
    const all = [...streams.streams.values()];
    const list = this.byId("chooser");
    list.hidden = all.length < 2;
    const keys = all.map((stream) => stream.key).join();
    if (keys !== this.listed) {
      this.listed = keys;
      const options = all.map((stream) => new Option("", stream.key)).sort((a, b) => (a.value < b.value ? -1 : 1));
      list.replaceChildren(new Option("", ""), ...options);
    }
    for (const option of list.options) {
      const stream = streams.streams.get(option.value);
      const name = stream && `${stream.place} · ${stream.name}/${stream.slot}${stream.fresh(now_ms) ? "" : " (quiet)"}`;
      write(option, name || `Liveliest${shown && !chosen ? `: ${shown.place} · ${shown.name}/${shown.slot}` : ""}`);
    }
    const value = streams.streams.has(chosen) ? chosen : "";
    if (list.value !== value) list.value = value;
  }

  /** What a technician wants to see over the picture, in plain letters. */
  numbers(shown, frame, stale, now_ms, drawn, draw_ms) {
    if (!document.body.classList.contains("counted")) return;
    const pace = this.paced(drawn, now_ms), spread = shown?.latency();
    const [yaw, pitch, roll] = angles_deg(frame?.head?.rotation).map((deg) => `${deg.toFixed(0).padStart(4)}°`);
    const lines = [
      shown ? `${shown.key}  ${stale ? "no frames" : frame?.state || ""}` : "no stream",
      `${shown && !stale ? shown.fps(now_ms).toFixed(1) : "-"} frames/s  ${shown?.missed || 0} missed  confidence ${(frame?.confidence ?? 0).toFixed(2)}`,
      spread ? `latency ${spread.p50.toFixed(1)} ms, p99 ${spread.p99.toFixed(1)}` : "latency -",
      `drawn ${pace.toFixed(0)}/s, ${draw_ms.toFixed(1)} ms each`,
      `yaw ${yaw}  pitch ${pitch}  roll ${roll}`,
      ...this.top.map((name) => `${clip(frame?.blendshapes?.[name]).toFixed(2)} ${name}`),
    ];
    this.text("numbers", lines.join("\n"));
  }

  /** Pictures a second over the last second. */
  paced(drawn, now_ms) {
    if (now_ms > this.counted.at_ms + 1000) {
      this.counted = { at_ms: now_ms, drawn, pace: ((drawn - this.counted.drawn) * 1000) / (now_ms - this.counted.at_ms) };
    }
    return this.counted.pace;
  }

  status(shown, frame, stale, now_ms) {
    const state = frame?.state || shown?.state?.state || "absent";
    this.byId("state").dataset.state = stale ? "stale" : state;
    this.text("state", stale ? "No frames" : STATES[state] || state);
    const session = frame?.session || "";
    this.text("session", session && !stale ? `visitor ${session}` : "");
    this.text("fps", shown && !stale ? shown.fps(now_ms).toFixed(1) : "–");
    this.text("confidence", frame && !stale ? String(Math.round(100 * (frame.confidence || 0))) : "–");
    const [yaw_deg] = angles_deg(frame?.head?.rotation);
    this.text("yaw", frame?.head && !stale ? yaw_deg.toFixed(0).replace("-0", "0").replace("-", "−") : "–");
  }

  latency(shown, frame) {
    const spread = shown?.latency();
    this.text("latency", spread ? spread.p50.toFixed(1) : "–");
    this.text("latency-range", spread ? `p99 ${spread.p99.toFixed(1)}` : "");
    this.text("clock", shown?.clock === "utc" ? "by synchronised clocks" : shown?.clock === "monotonic" ? "one clock" : "");
    this.spark(shown?.latencies || []);
    const stages = Object.entries(frame?.latency_ms || {}).filter(([name]) => name !== "total");
    const total = stages.reduce((sum, [, ms]) => sum + ms, 0) || 1;
    stages.forEach(([name, ms], i) => {
      const colour = STAGE_COLOURS[i % STAGE_COLOURS.length];
      const bar = this.row("stages", name, () => document.createElement("i"));
      bar.style.flexGrow = (ms / total).toFixed(2);
      bar.style.background = colour;
      const entry = this.row("legend", name, () => labelled("li", "span", "b"));
      entry.style.setProperty("--colour", colour);
      write(entry.children[0], name);
      write(entry.children[1], ms.toFixed(1));
    });
    this.keep("stages", stages.map(([name]) => name));
    this.keep("legend", stages.map(([name]) => name));
  }

  /** The last ten seconds of latency as a small curve. */
  spark(latencies) {
    const canvas = this.byId("spark");
    const width = canvas.clientWidth, height = canvas.clientHeight;
    if (canvas.width !== width) canvas.width = width;
    if (canvas.height !== height) canvas.height = height;
    const ctx = canvas.getContext("2d");
    ctx.clearRect(0, 0, width, height);
    if (latencies.length < 2) return;
    const end = latencies.at(-1)[0], most = Math.max(10, ...latencies.map(([, ms]) => ms)) * 1.15;
    ctx.beginPath();
    latencies.forEach(([at, ms], i) => {
      const x = width * (1 - (end - at) / 10_000), y = height - 1 - (height - 4) * Math.max(0, ms / most);
      if (i) ctx.lineTo(x, y);
      else ctx.moveTo(x, y);
    });
    ctx.strokeStyle = "#5be7c4";
    ctx.lineWidth = 1.5;
    ctx.stroke();
    ctx.lineTo(width, height);
    ctx.lineTo(width * (1 - (end - latencies[0][0]) / 10_000), height);
    ctx.fillStyle = "rgba(91,231,196,.12)";
    ctx.fill();
  }

  voice(frame, stale) {
    const voice = (!stale && frame?.voice) || {};
    this.byId("lamp").dataset.on = String(Boolean(voice.active));
    this.text("lamp", voice.active ? "speaking" : "quiet");
    this.byId("level").style.transform = `scaleX(${clip(voice.level)})`;
    for (const [name, value] of Object.entries(frame?.visemes || {})) {
      const bar = this.row("visemes", name, () => labelled("div", "i", "span"));
      fill(bar.children[0], stale ? 0 : clip(value));
      write(bar.children[1], name);
    }
  }

  rank(frame, now_ms) {
    if (now_ms < this.ranked_ms + RANK_EVERY_MS) return;
    this.ranked_ms = now_ms;
    const shapes = frame?.blendshapes || {};
    this.top = Object.keys(shapes).sort((a, b) => shapes[b] - shapes[a]).slice(0, MOST_SHAPES);
  }

  expression(frame, stale) {
    for (const [name, value] of Object.entries(frame?.mood || {})) {
      const mood = this.row("moods", name, () => labelled("div", "i", "span"));
      fill(mood.children[0], stale ? 0 : clip(value));
      write(mood.children[1], name);
    }
    const shapes = frame?.blendshapes || {};
    const box = this.byId("shapes");
    while (box.children.length < this.top.length) box.append(labelled("div", "span", "i", "b"));
    this.top.forEach((name, i) => {
      const [label, bar, number] = box.children[i].children;
      const shown = stale ? 0 : clip(shapes[name]);
      write(label, spaced(name));
      fill(bar, shown);
      write(number, shown.toFixed(2));
    });
  }

  device(device, shown) {
    this.text("device", shown ? shown.place : "");
    const tiles = healthTiles(device?.health);
    const box = this.byId("health");
    while (box.children.length > tiles.length) box.lastChild.remove();
    while (box.children.length < tiles.length) box.append(labelled("div", "dt", "dd"));
    tiles.forEach(([name, value, level], i) => {
      const [term, text] = box.children[i].children;
      write(term, name);
      write(text, value);
      box.children[i].dataset.level = level;
    });
    const events = (device?.events || []).slice(-3).reverse();
    const list = this.byId("events");
    while (list.children.length > events.length) list.lastChild.remove();
    while (list.children.length < events.length) list.append(labelled("li", "time", "span"));
    events.forEach((event, i) => {
      const [when, what] = list.children[i].children;
      write(when, new Date(event.received_utc_ms).toLocaleTimeString([], { hour12: false }));
      write(what, [String(event.event || "event").replaceAll("_", " "), details(event)].filter(Boolean).join(" · "));
    });
  }

  /** The element for a name in a box, made once. */
  row(box, name, make) {
    const key = `${box} ${name}`;
    if (!this.rows.has(key)) {
      this.rows.set(key, make());
      this.byId(box).append(this.rows.get(key));
    }
    return this.rows.get(key);
  }

  /** Take elements out whose names are gone. */
  keep(box, names) {
    for (const [key, element] of this.rows) {
      const [in_, name] = key.split(" ");
      if (in_ === box && !names.includes(name)) {
        element.remove();
        this.rows.delete(key);
      }
    }
  }
}

/** Change a text, or a bar, only if it differs: an untouched element costs the browser nothing. */
function write(element, value) {
  if (element.textContent !== value) element.textContent = value;
}

function fill(bar, share) {
  const value = share.toFixed(2);
  if (bar.style.getPropertyValue("--value") !== value) bar.style.setProperty("--value", value);
}

/** Yaw, pitch and roll of a rotation: right, up and to the left shoulder are positive. */
function angles_deg([x, y, z, w] = [0, 0, 0, 1]) {
  const angles = [
    Math.atan2(2 * (w * y + x * z), 1 - 2 * (x * x + y * y)),
    -Math.asin(Math.min(1, Math.max(-1, 2 * (w * x - y * z)))),
    Math.atan2(2 * (w * z + x * y), 1 - 2 * (x * x + z * z)),
  ];
  return angles.map((angle) => (angle * 180) / Math.PI);
}

const gib = (mb) => (mb >= 1024 ? `${(mb / 1024).toFixed(1)} GiB` : `${Math.round(mb)} MiB`);
const span = (s) => (s < 90 ? `${Math.round(s)} s` : s < 5400 ? `${Math.round(s / 60)} min` : `${(s / 3600).toFixed(1)} h`);
const clip = (value) => Math.min(1, Math.max(0, Number(value) || 0));
const spaced = (name) => name.replace(/([A-Z])/g, " $1").toLowerCase().replace(/ (left|right)$/, (side) => ` ${side[1].toUpperCase()}`);

function labelled(outer, ...inner) {
  const element = document.createElement(outer);
  element.append(...inner.map((tag) => document.createElement(tag)));
  return element;
}

function details(event) {
  const known = new Set(["event", "received_utc_ms", "utc_ns", "at_utc_ns", "session"]);
  return Object.entries(event).filter(([key, value]) => !known.has(key) && typeof value !== "object").slice(0, 3).map(([, value]) => String(value)).join(" ");
}

/** Memory, temperature and pressure of the health topic: [name, text, level]. */
function healthTiles(health) {
  if (!health || typeof health !== "object") return [];
  const tiles = [];
  const free_mb = health.ram?.available_mb;
  if (free_mb !== undefined) tiles.push(["Memory free", gib(free_mb), PRESSURE[health.level] || "ok"]);
  if (health.level) tiles.push(["Pressure", health.level, PRESSURE[health.level] || "ok"]);
  const hottest = Math.max(...Object.values(health.temperatures_c || {}));
  if (Number.isFinite(hottest)) tiles.push(["Hottest", `${hottest.toFixed(0)} °C`, hottest > 90 ? "hot" : hottest > 75 ? "warm" : "ok"]);
  if (health.rss_mb) tiles.push(["Uses", gib(health.rss_mb), "ok"]);
  if (health.dropped !== undefined) tiles.push(["Not sent", String(health.dropped), health.dropped > 0 ? "warm" : "ok"]);
  if (health.uptime_s !== undefined) tiles.push(["Up", span(health.uptime_s), "ok"]);
  for (const [name, { error }] of Object.entries({ ...health.cameras, ...health.microphones })) {
    if (error) tiles.push([name, String(error), "hot"]);
  }
  return tiles.slice(0, MOST_TILES);
}

