// From a frame's 52 shapes, head and gaze to the parameters that the drawing uses.
//
// Side 0 is the person's left (+x), side 1 the right (-x). Every shape drives at least:
//
// browDownLeft/Right         brow[].down: the brow sinks, tilts inwards; frown lines between the brows
// browInnerUp                brow[].inner: inner ends rise; lines on the forehead
// browOuterUpLeft/Right      brow[].outer: outer half rises
// cheekPuff                  cheek[].puff: the head's outline swells beside the mouth, blush grows
// cheekSquintLeft/Right      cheek[].raise: the cheek's fold under the eye, lower lid lifted
// eyeBlinkLeft/Right         eye[].blink: both lids meet below the middle
// eyeLookDown/In/Out/Up L/R  eye[].yaw, .pitch where the frame's gaze says less; lids follow pitch
// eyeSquintLeft/Right        eye[].squint: lower lid up, upper lid a little down, a line under the eye
// eyeWideLeft/Right          eye[].wide: both lids away from the iris
// jawForward                 jaw.forward: chin and lower lip come nearer and up
// jawLeft, jawRight          jaw.side: chin, lower lip, lower teeth and tongue go sideways
// jawOpen                    jaw.open: chin, lower lip and lower teeth go down, corners come in
// mouthClose                 mouth.apart: as much of it as of jawOpen, and the lips meet; mouth.close: alone, they tighten
// mouthDimpleLeft/Right      side[].dimple: a mark beside the corner, which goes out
// mouthFrownLeft/Right       side[].y: the corner goes down; a fold below it
// mouthFunnel                mouth.funnel: round and open, lips thick and forward
// mouthLeft, mouthRight      mouth.x: the whole mouth goes sideways
// mouthLowerDownLeft/Right   side[].drop: that half of the lower lip shows the lower teeth
// mouthPressLeft/Right       side[].press: that half of the lips thins; the corner darkens
// mouthPucker                mouth.pucker: narrow, thick, forward
// mouthRollLower/Upper       mouth.rollLower/Upper: the lip disappears inwards
// mouthShrugLower/Upper      mouth.shrugLower/Upper: the lip goes up (chin dimples / lip comes forward)
// mouthSmileLeft/Right       side[].x, .y: the corner goes out and up; cheek and fold follow
// mouthStretchLeft/Right     side[].x, .stretch: the corner goes far out and a little down, lips thin
// mouthUpperUpLeft/Right     side[].lift: that half of the upper lip shows the upper teeth
// noseSneerLeft/Right        nose[].sneer: the wing rises, the bridge wrinkles, upper lip lifts
// tongueOut                  mouth.tongue: the tongue comes out over the lower lip

import { clamp } from "./space.js";

const LOOK_DEG = 32; // what an eyeLook shape at 1 means; ARKit's eyes turn about this far
const MOST_YAW_DEG = 31;
const MOST_PITCH_DEG = 24;

const SIDES = ["Left", "Right"];

/** The drawing's parameters for one moment; `shapes` maps ARKit names to 0..1. */
export function rig(shapes, gaze) {
  const s = (name) => clamp(shapes[name] || 0, 0, 1);
  const jaw = { open: s("jawOpen"), side: s("jawLeft") - s("jawRight"), forward: s("jawForward") };
  const mouth = {
    x: 0.17 * (s("mouthLeft") - s("mouthRight")),
    close: s("mouthClose"),
    apart: Math.max(jaw.open - s("mouthClose"), 0),
    funnel: s("mouthFunnel"),
    pucker: s("mouthPucker"),
    rollLower: s("mouthRollLower"),
    rollUpper: s("mouthRollUpper"),
    shrugLower: s("mouthShrugLower"),
    shrugUpper: s("mouthShrugUpper"),
    tongue: s("tongueOut"),
  };
  return {
    jaw,
    mouth: { ...mouth, sides: SIDES.map((side) => corner(side, s, jaw, mouth)) },
    eye: SIDES.map((side, index) => ({ ...lids(side, s), ...look(side, index, s, gaze) })),
    brow: SIDES.map((side) => ({ inner: s("browInnerUp"), outer: s(`browOuterUp${side}`), down: s(`browDown${side}`) })),
    cheek: SIDES.map((side) => ({
      raise: clamp(s(`cheekSquint${side}`) + 0.45 * s(`mouthSmile${side}`), 0, 1.2),
      puff: s("cheekPuff"),
    })),
    nose: SIDES.map((side) => ({ sneer: s(`noseSneer${side}`) })),
  };
}

function corner(side, s, jaw, mouth) {
  const smile = s(`mouthSmile${side}`), frown = s(`mouthFrown${side}`), stretch = s(`mouthStretch${side}`);
  const dimple = s(`mouthDimple${side}`), press = s(`mouthPress${side}`), sneer = s(`noseSneer${side}`);
  const narrow = (1 - 0.52 * mouth.pucker) * (1 - 0.36 * mouth.funnel);
  return {
    x: (0.31 + 0.12 * smile + 0.05 * dimple + 0.12 * stretch - 0.03 * frown - 0.05 * jaw.open) * narrow,
    y: 0.045 + 0.13 * smile - 0.19 * frown + 0.03 * dimple - 0.05 * stretch - 0.1 * jaw.open * (1 - 0.6 * smile),
    lift: 0.11 * s(`mouthUpperUp${side}`) + 0.03 * sneer + 0.07 * mouth.funnel + 0.035 * mouth.apart,
    drop: 0.12 * s(`mouthLowerDown${side}`) + 0.07 * mouth.funnel,
    thin: clamp(0.24 * smile + 0.3 * stretch + 0.5 * press, 0, 0.85),
    fold: clamp(0.75 * smile + 0.6 * sneer + 0.35 * s(`mouthUpperUp${side}`) + 0.3 * dimple, 0, 1),
    smile, frown, stretch, dimple, press,
  };
}

function lids(side, s) {
  const squint = clamp(s(`eyeSquint${side}`) + 0.4 * s(`cheekSquint${side}`), 0, 1);
  return { blink: s(`eyeBlink${side}`), wide: s(`eyeWide${side}`), squint, bag: s(`eyeSquint${side}`) };
}

/** Gaze comes twice, in degrees and as eyeLook shapes: per axis the larger counts, never the sum. */
function look(side, index, s, gaze) {
  const outwards = s(`eyeLookOut${side}`) - s(`eyeLookIn${side}`);
  const shapeYaw = LOOK_DEG * (index === 0 ? outwards : -outwards);
  const shapePitch = LOOK_DEG * 0.75 * (s(`eyeLookUp${side}`) - s(`eyeLookDown${side}`));
  const [yaw, pitch] = gaze[index];
  return {
    yaw: clamp(larger(yaw, shapeYaw), -MOST_YAW_DEG, MOST_YAW_DEG),
    pitch: clamp(larger(pitch, shapePitch), -MOST_PITCH_DEG, MOST_PITCH_DEG),
  };
}

const larger = (a, b) => (Math.abs(a) >= Math.abs(b) ? a : b);
