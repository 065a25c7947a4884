// The nodes of a file as they stand, and how head, eyes and arms turn.

import { IDENTITY, about, compose, decompose, inverse, move, product, share, times, unit } from "./matrices.js";

const NECK_SHARE = 0.4; // of a turn of the head that the neck has already made
const ARM_HANGS_RAD = 1.2; // below the horizontal: bind poses stretch the arms out
const HALF_TURN = [0, 1, 0, 0];
const NAMES = {
  head: /(^|[^a-z])head$/i, neck: /(^|[^a-z])neck$/i,
  leftEye: /(left_?eye|eye_?(left|l)|eye[._]l)$/i, rightEye: /(right_?eye|eye_?(right|r)|eye[._]r)$/i,
  leftUpperArm: /(left_?(upper)?_?arm|(upper)?_?arm[._]l)$/i, rightUpperArm: /(right_?(upper)?_?arm|(upper)?_?arm[._]r)$/i,
};

/** Nodes with their world matrices; bones by VRM's table, else by their names. */
export class Skeleton {
  constructor(json) {
    this.nodes = (json.nodes || []).map(resting);
    this.order = [];
    const roots = json.scenes?.[json.scene || 0]?.nodes || unparented(json);
    const visit = (index, parent) => {
      if (this.order.length > this.nodes.length) return; // a circle in a damaged file
      this.order.push([index, parent]);
      for (const child of json.nodes[index].children || []) visit(child, index);
    };
    for (const root of roots) visit(root, -1);
    this.parents = new Map(this.order);
    this.children = json.nodes.map((node) => node.children || []);
    this.bones = bonesOf(json, this.parents);
    this.base = json.extensions?.VRM ? HALF_TURN : [0, 0, 0, 1]; // VRM 0 looks the other way
    this.world = [];
    this.turns = [];
    this.stand();
    this.hangArms();
    this.stand();
    this.rest = [...this.turns];
  }

  /** World matrices and rotations of every node, as it stands now. */
  stand() {
    const root = compose([0, 0, 0], this.base, [1, 1, 1]);
    for (const [index, parent] of this.order) {
      const { shift, turn, scale } = this.nodes[index];
      this.world[index] = times(parent < 0 ? root : this.world[parent], compose(shift, turn, scale));
      this.turns[index] = product(parent < 0 ? this.base : this.turns[parent], turn);
    }
  }

  /** Turn a node, seen from the world, away from `from`; what hangs on it follows at the next `stand`. */
  turn(index, rotation, from) {
    const parent = this.parents.get(index) ?? -1;
    const turned = product(rotation, from);
    this.nodes[index].turn = product(inverse(parent < 0 ? this.base : this.turns[parent]), turned);
    this.turns[index] = turned;
  }

  /** Head and eyes as a frame says; returns false where there is no head to turn. */
  pose(rotation, gaze) {
    const { head, neck, leftEye, rightEye } = this.bones;
    if (head === undefined) return false;
    if (neck !== undefined) {
      this.turn(neck, share(rotation, NECK_SHARE), this.rest[neck]);
      this.follow(neck, head);
    }
    this.turn(head, rotation, this.rest[head]);
    [leftEye, rightEye].forEach((eye, side) => {
      if (eye === undefined) return;
      this.follow(head, eye);
      this.turn(eye, product(rotation, looking(gaze[side])), this.rest[eye]);
    });
    this.stand();
    return true;
  }

  /** Rotations of the nodes between a turned one and one below it. */
  follow(above, below) {
    const way = [];
    for (let node = this.parents.get(below); node >= 0 && node !== above; node = this.parents.get(node)) way.unshift(node);
    for (const node of way) this.turns[node] = product(this.turns[this.parents.get(node)], this.nodes[node].turn);
  }

  hangArms() {
    for (const arm of [this.bones.leftUpperArm, this.bones.rightUpperArm]) {
      const hand = this.children[arm]?.find((child) => this.world[child]);
      if (hand === undefined) continue;
      const from = move(this.world[arm], [0, 0, 0]), to = move(this.world[hand], [0, 0, 0]);
      const [x, y] = unit(to.map((value, i) => value - from[i]));
      const missing = ARM_HANGS_RAD + Math.atan2(y, Math.abs(x));
      if (missing > 0) this.turn(arm, about([0, 0, 1], -Math.sign(x) * missing), this.turns[arm]);
    }
  }
}

/** Yaw and pitch in degrees, + to the picture's right and up. */
function looking([yaw_deg, pitch_deg]) {
  const rad = Math.PI / 180;
  return product(about([0, 1, 0], yaw_deg * rad), about([1, 0, 0], -pitch_deg * rad));
}

function resting({ matrix, translation = [0, 0, 0], rotation = [0, 0, 0, 1], scale = [1, 1, 1] }) {
  return matrix ? decompose(matrix || IDENTITY) : { shift: translation, turn: rotation, scale };
}

function unparented(json) {
  const children = new Set(json.nodes.flatMap((node) => node.children || []));
  return json.nodes.map((_, index) => index).filter((index) => !children.has(index));
}

function bonesOf(json, parents) {
  const human = json.extensions?.VRMC_vrm?.humanoid?.humanBones;
  if (human) return Object.fromEntries(Object.entries(human).map(([name, { node }]) => [name, node]));
  const older = json.extensions?.VRM?.humanoid?.humanBones;
  if (older) return Object.fromEntries(older.map(({ bone, node }) => [bone, node]));
  const joints = new Set((json.skins || []).flatMap((skin) => skin.joints));
  const found = {};
  for (const [name, pattern] of Object.entries(NAMES)) {
    const fits = json.nodes.flatMap((node, index) => (pattern.test(node.name || "") && parents.has(index) ? [index] : []));
    const bone = fits.find((index) => joints.has(index)) ?? fits.find((index) => json.nodes[index].mesh === undefined);
    if (bone !== undefined) found[name] = bone;
  }
  return found;
}
