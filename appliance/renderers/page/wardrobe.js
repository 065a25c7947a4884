// Which avatar is shown: our own head, the server's file, or one that somebody drops on the page.
//
// A dropped file stays in this browser: it is read here and sent nowhere.

const MOST_MB = 300;
const TOLD_MS = 5000;
const ALL_SHAPES = 52;

export class Wardrobe {
  /** `give(buffer, name)` hands a file to the painter, null for our own head. */
  constructor(byId, give) {
    this.byId = byId;
    this.give = give;
    this.served = ""; // version of the server's file that was last asked for
    this.wearing = null; // { name, read }: a dropped file is kept by name, not in memory
    this.listen();
  }

  listen() {
    const { byId } = this;
    byId("open").addEventListener("click", () => byId("file").click());
    byId("own").addEventListener("click", () => this.wear(null));
    byId("file").addEventListener("change", ({ target }) => {
      if (target.files[0]) this.take(target.files[0]);
      target.value = "";
    });
    addEventListener("dragover", (event) => event.preventDefault());
    addEventListener("drop", (event) => {
      event.preventDefault();
      const [file] = event.dataTransfer.files;
      if (file) this.take(file);
    });
  }

  take(file) {
    this.wear({ name: file.name, read: () => file.arrayBuffer(), size: file.size });
  }

  /** The server says which file it has; a new one is put on. */
  offer(avatar) {
    const version = avatar?.version || "";
    if (version === this.served) return;
    this.served = version;
    const read = async () => {
      const answer = await fetch(`avatar?${version}`);
      if (!answer.ok) throw new Error(`the viewer answers ${answer.status}`);
      return answer.arrayBuffer();
    };
    this.wear(avatar ? { name: avatar.name, read, size: 0 } : null);
  }

  async wear(chosen) {
    this.wearing = chosen;
    if (!chosen) return this.give(null, "");
    if (chosen.size > MOST_MB * 1e6) return this.refuse({ name: chosen.name, reason: `It is larger than ${MOST_MB} MB.` });
    this.tell(`Reading ${chosen.name} …`);
    try {
      const buffer = await chosen.read();
      if (this.wearing === chosen) this.give(buffer, chosen.name);
    } catch (error) {
      this.refuse({ name: chosen.name, reason: `It cannot be read: ${error.message}.` });
    }
  }

  /** Give the file once more: the graphics card forgot it. */
  again() {
    this.wear(this.wearing);
  }

  show(model) {
    document.body.classList.toggle("modelled", Boolean(model));
    this.byId("own").hidden = !model;
    if (!model) return;
    const { shapes, presets, name } = model;
    this.tell(shapes.length ? `${name}: ${shapes.length} of ${ALL_SHAPES} shapes`
      : presets.length ? `${name}: ${presets.length} VRM expressions, no ARKit shapes`
      : `${name} has neither ARKit shapes nor VRM expressions: only its head moves`);
  }

  refuse({ name, reason }) {
    this.wearing = null;
    this.tell(`${name} cannot be shown. ${reason}`, 2 * TOLD_MS);
  }

  tell(text, for_ms = TOLD_MS) {
    const element = this.byId("told");
    element.textContent = text;
    element.hidden = false;
    clearTimeout(this.forgetting);
    this.forgetting = setTimeout(() => {
      element.hidden = true;
    }, for_ms);
  }
}
