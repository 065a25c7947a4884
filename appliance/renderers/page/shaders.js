// What a model's surface looks like: one warm lamp from the left, a cool one from behind, light from the sky.

export const WHERE = { position: 0, normal: 1, uv: 2, joints: 3, weights: 4 };

const VERTEX = `#version 300 es
layout(location = 0) in vec3 position;
layout(location = 1) in vec3 normal;
layout(location = 2) in vec2 uv;
layout(location = 3) in vec4 joints;
layout(location = 4) in vec4 weights;
uniform mat4 lens, world;
uniform bool skinned;
uniform highp sampler2D bones;
uniform vec4 crop;
out vec3 place, facing;
out vec2 at;
mat4 bone(float which) {
  int row = int(which);
  return mat4(texelFetch(bones, ivec2(0, row), 0), texelFetch(bones, ivec2(1, row), 0),
              texelFetch(bones, ivec2(2, row), 0), texelFetch(bones, ivec2(3, row), 0));
}
void main() {
  mat4 stand = world;
  if (skinned) {
    mat4 pulled = weights.x * bone(joints.x) + weights.y * bone(joints.y) + weights.z * bone(joints.z) + weights.w * bone(joints.w);
    stand = world * pulled;
  }
  vec4 here = stand * vec4(position, 1.0);
  place = here.xyz;
  facing = mat3(stand) * normal;
  at = uv * crop.zw + crop.xy;
  gl_Position = lens * here;
}`;

const FRAGMENT = `#version 300 es
precision highp float;
in vec3 place, facing;
in vec2 at;
uniform sampler2D picture;
uniform vec4 colour;
uniform vec3 shade, eye;
uniform float cutoff, drawn, gloss;
out vec4 result;
void main() {
  vec4 base = texture(picture, at) * colour;
  if (base.a < cutoff) discard;
  vec3 towards = normalize(eye - place);
  vec3 n = normalize(facing);
  if (dot(n, towards) < 0.0 && !gl_FrontFacing) n = -n;
  vec3 lamp = normalize(vec3(-0.45, 0.5, 0.8));
  float lit = dot(n, lamp) * 0.5 + 0.5;
  lit = mix(pow(lit, 2.4), smoothstep(0.42, 0.58, lit), drawn);
  vec3 sky = mix(vec3(0.30, 0.26, 0.30), vec3(0.34, 0.36, 0.44), n.y * 0.5 + 0.5);
  vec3 light = base.rgb * (mix(shade, vec3(1.0), lit) * vec3(1.0, 0.95, 0.88) + sky * mix(0.5, 0.3, drawn));
  float edge = pow(1.0 - max(dot(n, towards), 0.0), 3.5);
  light += edge * smoothstep(-0.3, 0.7, n.x) * vec3(0.16, 0.24, 0.40) * mix(1.0, 0.4, drawn);
  light += gloss * pow(max(dot(n, normalize(lamp + towards)), 0.0), 48.0) * vec3(0.55, 0.52, 0.5);
  vec3 shown = mix(12.92 * light, 1.055 * pow(max(light, vec3(0.0)), vec3(1.0 / 2.4)) - 0.055, step(0.0031308, light));
  float alpha = cutoff < 0.0 ? base.a : 1.0;
  result = vec4(clamp(shown, 0.0, 1.0) * alpha, alpha);
}`;

/** The program, and where its uniforms are. */
export function build(gl) {
  const program = gl.createProgram();
  for (const [kind, text] of [[gl.VERTEX_SHADER, VERTEX], [gl.FRAGMENT_SHADER, FRAGMENT]]) {
    const shader = gl.createShader(kind);
    gl.shaderSource(shader, text);
    gl.compileShader(shader);
    if (!gl.getShaderParameter(shader, gl.COMPILE_STATUS)) throw new Error(gl.getShaderInfoLog(shader) || "the graphics driver went away");
    gl.attachShader(program, shader);
  }
  gl.linkProgram(program);
  if (!gl.getProgramParameter(program, gl.LINK_STATUS)) throw new Error(gl.getProgramInfoLog(program) || "the graphics driver went away");
  const names = ["lens", "world", "skinned", "bones", "crop", "picture", "colour", "shade", "eye", "cutoff", "drawn", "gloss"];
  return { program, at: Object.fromEntries(names.map((name) => [name, gl.getUniformLocation(program, name)])) };
}
