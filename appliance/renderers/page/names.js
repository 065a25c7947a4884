// What drives each morph target of a file: ARKit's 52 shapes by name, or VRM's expressions where those are missing.
//
// A signal is a name with a value in 0..1 at every moment: "jawOpen" and its 51 sisters, and
// "vrm aa", "vrm happy", ... for avatars that have VRM's presets alone.

const SIDED = [
  "browDown", "browOuterUp", "cheekSquint", "eyeBlink", "eyeLookDown", "eyeLookIn", "eyeLookOut", "eyeLookUp", "eyeSquint", "eyeWide",
  "mouthDimple", "mouthFrown", "mouthLowerDown", "mouthPress", "mouthSmile", "mouthStretch", "mouthUpperUp", "noseSneer",
];
const SINGLE = [
  "browInnerUp", "cheekPuff", "jawForward", "jawLeft", "jawOpen", "jawRight", "mouthClose", "mouthFunnel", "mouthLeft", "mouthPucker",
  "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "tongueOut",
];
export const SHAPES = [...SINGLE, ...SIDED.flatMap((name) => [`${name}Left`, `${name}Right`])];
const BY_KEY = new Map(SHAPES.map((name) => [name.toLowerCase(), name]));

// Names of VRM 0's presets, as they are called in VRM 1.
const PRESETS = {
  a: "aa", i: "ih", u: "ou", e: "ee", o: "oh", joy: "happy", angry: "angry", sorrow: "sad", fun: "relaxed",
  blink: "blink", blink_l: "blinkLeft", blink_r: "blinkRight", lookup: "lookUp", lookdown: "lookDown", lookleft: "lookLeft", lookright: "lookRight",
};
// What a preset would say a second time: it is left out where the file has that shape.
const SAID_BY = {
  jawOpen: ["aa", "ih", "ou", "ee", "oh"], eyeBlinkLeft: ["blink", "blinkLeft", "blinkRight"],
  mouthSmileLeft: ["happy", "angry", "sad", "surprised"], eyeLookUpLeft: ["lookUp", "lookDown", "lookLeft", "lookRight"],
};

/** The ARKit shape that a target's name means, or null: any case, "eyeBlink_L", "Face.M_F00_eyeBlinkLeft". */
export function shapeOf(name) {
  const sides = String(name).replace(/[._\-\s]([lr])$/i, (_, side) => (side.toLowerCase() === "l" ? "Left" : "Right"));
  const key = sides.toLowerCase().replace(/[^a-z]/g, "");
  return ending(key) || ending(key.replace(/(left|right)$/, "")); // browInnerUp and cheekPuff also come in halves
}

/** The longest shape that a name ends with. */
function ending(key) {
  for (let start = 0; start < key.length; start++) {
    const shape = BY_KEY.get(key.slice(start));
    if (shape) return shape;
  }
  return null;
}

/**
 * Which targets follow which signals: `targets` maps "mesh/target" to [[signal, weight]], `signals` lists those in use.
 * `json` is the file's; VRM's own table of names comes before the targets' names.
 */
export function bind(json) {
  const bindings = new Map(); // signal -> [[mesh, target, weight]]
  for (const [name, binds] of expressions(json)) {
    const shape = shapeOf(name);
    if (shape && binds.length && !bindings.has(shape)) bindings.set(shape, binds);
  }
  const named = new Map();
  (json.meshes || []).forEach((mesh, index) => {
    targetNames(mesh).forEach((name, target) => {
      const shape = shapeOf(name);
      if (shape && !bindings.has(shape)) named.set(shape, [...(named.get(shape) || []), [index, target, 1]]);
    });
  });
  for (const [shape, binds] of named) bindings.set(shape, binds);
  const presets = presetsOf(json);
  if (presets.has("blinkLeft")) presets.delete("blink");
  for (const [shape, said] of Object.entries(SAID_BY)) if (bindings.has(shape)) for (const preset of said) presets.delete(preset);
  for (const [preset, binds] of presets) bindings.set(`vrm ${preset}`, binds);
  return turnedRound(bindings);
}

function turnedRound(bindings) {
  const targets = new Map();
  for (const [signal, binds] of bindings) {
    for (const [mesh, target, weight] of binds) {
      const key = `${mesh}/${target}`;
      targets.set(key, [...(targets.get(key) || []), [signal, weight]]);
    }
  }
  return { targets, signals: [...bindings.keys()] };
}

function targetNames(mesh) {
  return mesh.extras?.targetNames || mesh.primitives[0]?.extras?.targetNames || mesh.primitives[0]?.targets?.map((target) => target.extras?.name || "") || [];
}

/** Every expression of a VRM by its own name, with what it binds. */
function* expressions(json) {
  for (const group of json.extensions?.VRM?.blendShapeMaster?.blendShapeGroups || []) yield [group.name || "", bindsOf(group, json)];
  const { preset = {}, custom = {} } = json.extensions?.VRMC_vrm?.expressions || {};
  for (const [name, expression] of [...Object.entries(custom), ...Object.entries(preset)]) yield [name, bindsOf(expression, json)];
}

/** VRM's presets, by their names in VRM 1. */
function presetsOf(json) {
  const found = new Map();
  for (const group of json.extensions?.VRM?.blendShapeMaster?.blendShapeGroups || []) {
    const preset = PRESETS[String(group.presetName || "").toLowerCase()] || (/^surprised$/i.test(group.name || "") ? "surprised" : null);
    if (preset) found.set(preset, bindsOf(group, json));
  }
  for (const [name, expression] of Object.entries(json.extensions?.VRMC_vrm?.expressions?.preset || {})) found.set(name, bindsOf(expression, json));
  for (const [name, binds] of found) if (!binds.length) found.delete(name);
  return found;
}

/** [mesh, target, weight] of an expression: VRM 0 names meshes and percent, VRM 1 nodes and shares. */
function bindsOf(expression, json) {
  if (expression.morphTargetBinds) {
    return expression.morphTargetBinds.map(({ node, index, weight = 1 }) => [json.nodes[node].mesh, index, weight]);
  }
  return (expression.binds || []).map(({ mesh, index, weight = 100 }) => [mesh, index, weight / 100]);
}

/** Every signal's value at one moment; `look` is [yaw_deg, pitch_deg] of both eyes together. */
export function signals({ shapes, mood }, [yaw_deg, pitch_deg]) {
  const s = (name) => Math.min(1, Math.max(0, shapes[name] || 0));
  const jaw = s("jawOpen"), rounding = Math.max(s("mouthFunnel"), s("mouthPucker"));
  const spread = Math.max(s("mouthStretchLeft"), s("mouthStretchRight"));
  const blink = [s("eyeBlinkLeft"), s("eyeBlinkRight")];
  return {
    ...shapes,
    "vrm aa": jaw * (1 - rounding) * (1 - spread), "vrm ih": (1 - jaw) * spread * (1 - rounding), "vrm ou": (1 - jaw) * rounding,
    "vrm ee": jaw * spread * (1 - rounding), "vrm oh": jaw * rounding,
    "vrm blink": (blink[0] + blink[1]) / 2, "vrm blinkLeft": blink[0], "vrm blinkRight": blink[1],
    "vrm happy": Math.max(mood.happy || 0, (s("mouthSmileLeft") + s("mouthSmileRight")) / 2),
    "vrm angry": Math.max(mood.angry || 0, (s("browDownLeft") + s("browDownRight")) / 2 * (s("mouthFrownLeft") + s("mouthFrownRight")) / 2),
    "vrm sad": Math.max(mood.sad || 0, s("browInnerUp") * (s("mouthFrownLeft") + s("mouthFrownRight")) / 2),
    "vrm surprised": Math.max(mood.surprised || 0, s("browInnerUp") * (s("eyeWideLeft") + s("eyeWideRight")) / 2),
    "vrm lookUp": Math.max(0, pitch_deg / 30), "vrm lookDown": Math.max(0, -pitch_deg / 30),
    "vrm lookLeft": Math.max(0, yaw_deg / 30), "vrm lookRight": Math.max(0, -yaw_deg / 30),
  };
}
