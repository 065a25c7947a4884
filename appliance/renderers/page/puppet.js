// An avatar of the user's own: a glTF or VRM file that follows the same moments as our character.

import { Gltf } from "./gltf.js";
import { compose, lens, times } from "./matrices.js";
import { setting } from "./motion.js";
import { SHAPES, bind, signals } from "./names.js";
import { rig } from "./rig.js";
import { build } from "./shaders.js";
import { Skeleton } from "./skeleton.js";
import { Surfaces } from "./surfaces.js";

const SLOPE = 0.21; // half the picture's height at distance 1: a lens as portraits like it
const TALL = 5.2; // the picture's height, of the way between eyes and mouth
const WIDE = 4; // its width at least
const UP = 0.35; // so much, of the same way, the face stands below the picture's middle: hair needs room
const LEAST = 0.01; // of a figure's height: nearer, eyes and mouth are not told apart
const UNIT = 1.1; // half a head's width, of the same way
const EYES = ["eyeBlinkLeft", "eyeBlinkRight", "vrm blink", "vrm blinkLeft", "vrm blinkRight"];
const MOUTH = ["mouthPucker", "mouthFunnel", "mouthClose", "mouthSmileLeft", "mouthSmileRight", "vrm aa", "vrm oh"];
const LOOKS = ["vrm lookUp", "vrm lookDown", "vrm lookLeft", "vrm lookRight"];

export class Puppet {
  /** Read a file for a canvas whose WebGL 2 context is `gl`; throws `Unreadable`, or what a damaged file leads to. */
  static async of(gl, buffer) {
    const gltf = new Gltf(buffer);
    const bound = bind(gltf.json);
    const skeleton = new Skeleton(gltf.json);
    settleEyes(gltf.json, skeleton.bones, bound);
    const surfaces = await Surfaces.of(gl, gltf, bound.targets, skeleton.order);
    return new Puppet(gl, skeleton, surfaces, bound.signals);
  }

  constructor(gl, skeleton, surfaces, driven) {
    Object.assign(this, { gl, canvas: gl.canvas, skeleton, surfaces, driven });
    this.paint = build(gl);
    Object.assign(this, facing(surfaces, skeleton.world));
  }

  /** What the page tells of it. */
  get report() {
    const shapes = this.driven.filter((name) => SHAPES.includes(name));
    return { shapes, presets: this.driven.filter((name) => !shapes.includes(name)), bones: Object.keys(this.skeleton.bones).length };
  }

  /** Every driven target's weight now, by what drives it. */
  get weights() {
    const targets = [...this.surfaces.shared.values()].flatMap(({ vertices }) => vertices.targets);
    return Object.fromEntries(targets.map(({ drivers, weight }) => [drivers.map(([signal]) => signal).join("+"), weight]));
  }

  free() {
    this.surfaces.free();
    this.gl.deleteProgram(this.paint.program);
  }

  /** Draw one moment; as `Character.draw`. */
  draw(moment, ambient, mirrored) {
    const { gl, surfaces, skeleton } = this;
    const eyes = rig(moment.shapes, moment.gaze).eye.map(({ yaw, pitch }) => [yaw, pitch]);
    surfaces.follow(signals(moment, [(eyes[0][0] + eyes[1][0]) / 2, (eyes[0][1] + eyes[1][1]) / 2]));
    const whole = this.whole(skeleton.pose(moment.head.rotation, eyes), moment.head.rotation, ambient);
    surfaces.pull(skeleton.world);
    gl.viewport(0, 0, this.canvas.width, this.canvas.height);
    gl.clearColor(0, 0, 0, 0);
    gl.depthMask(true);
    gl.clear(gl.COLOR_BUFFER_BIT | gl.DEPTH_BUFFER_BIT);
    gl.enable(gl.DEPTH_TEST);
    gl.blendFunc(gl.ONE, gl.ONE_MINUS_SRC_ALPHA);
    gl.frontFace(mirrored ? gl.CW : gl.CCW);
    gl.useProgram(this.paint.program);
    this.look(moment.head.position, mirrored);
    for (const surface of surfaces.all) this.drawSurface(surface, whole);
    gl.bindVertexArray(null);
  }

  /** Where the whole file stands: it breathes, and turns itself where it has no head to turn. */
  whole(hasHead, rotation, ambient) {
    const breath = compose([0, 0.004 * this.size * ambient.breath, 0], [0, 0, 0, 1], [1, 1, 1]);
    if (hasHead) return breath;
    const [x, y] = this.middle, z = this.middle[2] - this.size; // about the neck's top
    const turned = times(compose([x, y, z], rotation, [1, 1, 1]), compose([-x, -y, -z], [0, 0, 0, 1], [1, 1, 1]));
    return times(breath, turned);
  }

  /** Set the lens before the face, moved as the person moved before the camera. */
  look(position, mirrored) {
    const { gl, paint, size } = this;
    const aspect = this.canvas.width / this.canvas.height;
    const { x, y, scale } = setting(position);
    const away = Math.max(TALL, WIDE / aspect) * size / (2 * SLOPE) / scale;
    const unit = UNIT * size;
    const eye = [this.middle[0] - x * unit, this.middle[1] + UP * size - y * unit, this.middle[2] + away];
    const seen = lens(SLOPE, mirrored ? -aspect : aspect, 0.05 * away, 5 * away + 10 * size);
    gl.uniformMatrix4fv(paint.at.lens, false, times(seen, compose(eye.map((value) => -value), [0, 0, 0, 1], [1, 1, 1])));
    gl.uniform3fv(paint.at.eye, eye);
  }

  drawSurface({ shape, node, skin, count, material }, whole) {
    const { gl, paint: { at } } = this;
    gl.uniformMatrix4fv(at.world, false, skin ? whole : times(whole, this.skeleton.world[node]));
    gl.uniform1i(at.skinned, skin ? 1 : 0);
    gl.uniform1i(at.picture, 0);
    gl.uniform1i(at.bones, 1);
    gl.activeTexture(gl.TEXTURE1);
    gl.bindTexture(gl.TEXTURE_2D, skin ? skin.texture : this.surfaces.white);
    gl.activeTexture(gl.TEXTURE0);
    gl.bindTexture(gl.TEXTURE_2D, material.picture);
    gl.uniform4fv(at.colour, material.colour);
    gl.uniform3fv(at.shade, material.shade);
    gl.uniform4fv(at.crop, material.crop);
    for (const name of ["cutoff", "drawn", "gloss"]) gl.uniform1f(at[name], material[name]);
    const blended = material.cutoff < 0;
    gl[blended ? "enable" : "disable"](gl.BLEND);
    gl.depthMask(!blended);
    gl[material.doubleSided ? "disable" : "enable"](gl.CULL_FACE);
    gl.bindVertexArray(shape);
    gl.drawElements(gl.TRIANGLES, count, gl.UNSIGNED_INT, 0);
  }
}

/** Where the face is and how large: between eyes and mouth, or the whole of a file that has none. */
function facing(surfaces, world) {
  const { low, high } = surfaces.box(world);
  const eyes = surfaces.centre(world, EYES), mouth = surfaces.centre(world, MOUTH);
  if (eyes && mouth && eyes[1] - mouth[1] > LEAST * (high[1] - low[1])) {
    return { size: eyes[1] - mouth[1], middle: eyes.map((value, i) => (value + mouth[i]) / 2) };
  }
  return { size: (1.2 * (high[1] - low[1])) / TALL, middle: low.map((value, i) => (value + high[i]) / 2) };
}

/** Eyes turn by bones or by shapes, never by both: VRM says bones, other files mean their shapes. */
function settleEyes(json, bones, bound) {
  const vrm = Boolean(json.extensions?.VRM || json.extensions?.VRMC_vrm);
  const shaped = bound.signals.some((name) => name.startsWith("eyeLook"));
  if (shaped && !vrm) {
    delete bones.leftEye;
    delete bones.rightEye;
  } else if (bones.leftEye !== undefined) {
    const stays = (name) => !name.startsWith("eyeLook") && !LOOKS.includes(name);
    bound.signals = bound.signals.filter(stays);
    for (const [target, drivers] of bound.targets) bound.targets.set(target, drivers.filter(([name]) => stays(name)));
  }
}
