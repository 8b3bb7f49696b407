// One image and what became of it.

import { formatNumber, say, translate } from "./language.js";
import { currentModel, findModel } from "./models.js";
import { rebase } from "./probability.js";
import { Refusal, Unreachable, draw, judge } from "./server.js";

const PICTURE_SIDE = 800; // pixels of the pictures that the server draws
const HEAT_STRENGTH = 0.75; // drawn as strong as it can get; the page fades it
const UNLIKE = /^this does not look like a dermoscopic image: /; // stands in the verdict already
const SHOWN_ALIKE = /\.(jpe?g|png)$/i; // browsers turn and colour these as the server does
const VERDICTS = { refer: "refer", no_sign: "noSign", cannot_assess: "cannotAssess" };

export class Lesion extends EventTarget {
  // Sends "change" whenever something about it has changed.
  constructor(file, name) {
    super();
    this.file = file;
    this.name = name;
    this.url = URL.createObjectURL(file);
    this.heat = null; // URL of the picture with the heat map
    this.heatLost = false;
    this.state = "waiting"; // then judging or busy, then done or failed
    this.row = null;
    this.model = currentModel(); // that judged, or will as far as is known
    this.prevalence = NaN; // that the row's probability is for
    this.trouble = "";
    this.stop = new AbortController();
  }

  get gone() {
    return this.stop.signal.aborted;
  }

  // What is known: refer, noSign, cannotAssess, cannotRead, or the state while there is no row.
  get verdict() {
    if (this.state !== "done") return this.state;
    return this.row.error ? "cannotRead" : VERDICTS[this.row.decision];
  }

  // As the filter and the table group them.
  get group() {
    if (this.state !== "done") return this.state === "failed" ? "failed" : "pending";
    return this.verdict === "cannotRead" ? "cannotAssess" : this.verdict;
  }

  // Whether its number is worth something.
  get isAssessed() {
    return this.group === "refer" || this.group === "noSign";
  }

  // The row's probability where `prevalence` of all lesions are melanomas; null where there is none.
  probabilityAt(prevalence) {
    return this.row?.y_prob == null ? null : rebase(this.row.y_prob, this.prevalence, prevalence);
  }

  // From where on its model refers.
  thresholdAt(prevalence) {
    return rebase(this.model.operating_point.threshold, this.model.calibration.prevalence, prevalence);
  }

  // Hints on quality, or why there is no decision.
  get remarks() {
    if (this.state === "failed") return this.trouble;
    if (this.state !== "done") return "";
    const said = this.row.error || this.row.reason;
    return said.replace(UNLIKE, "").split("; ").map(translate).join("; ");
  }

  // Judges it, and then has its pictures drawn; resolves when it is judged, or cannot be.
  async judge() {
    this.#become("waiting");
    try {
      check(this.file, currentModel().limits.max_body);
      const tell = (busy) => this.#become(busy ? "busy" : "judging");
      const { row, prevalence } = await judge(this.file, this.stop.signal, tell);
      this.model = await findModel(row.bundle_digest);
      if (!this.model) throw new Error(say("modelGone"));
      Object.assign(this, { row, prevalence });
      this.#become("done");
    } catch (error) {
      this.trouble = explain(error);
      this.#become("failed");
      return;
    }
    if (!SHOWN_ALIKE.test(this.name)) this.redraw();
    this.drawHeat();
  }

  // The picture with the heat map, once.
  async drawHeat() {
    if (this.heat || !this.isAssessed) return;
    this.heatLost = false;
    this.heat = await this.#draw(HEAT_STRENGTH);
    this.heatLost = !this.heat;
    this.#changed();
  }

  // The picture as the server sees it, for formats that browsers show in another way or not at all.
  async redraw() {
    if (this.state !== "done" || this.row.error) return;
    const drawn = await this.#draw(0);
    if (!drawn) return;
    URL.revokeObjectURL(this.url);
    this.url = drawn;
    this.#changed();
  }

  // Nothing of it is sent any more.
  remove() {
    this.stop.abort();
    URL.revokeObjectURL(this.url);
    if (this.heat) URL.revokeObjectURL(this.heat);
    this.file = null;
  }

  async #draw(strength) {
    try {
      const { picture, digest } = await draw(this.file, this.stop.signal, strength, PICTURE_SIDE);
      return this.gone || digest !== this.row.bundle_digest ? null : URL.createObjectURL(picture);
    } catch {
      return null;
    }
  }

  #become(state) {
    this.state = state;
    this.#changed();
  }

  #changed() {
    if (!this.gone) this.dispatchEvent(new Event("change"));
  }
}

// What the server would refuse anyway, said before it is sent.
function check(file, most) {
  const inMebibytes = (bytes) => formatNumber(bytes / 2 ** 20, 1);
  if (file.size === 0) throw new Error(say("empty"));
  if (file.size > most) throw new Error(say("tooLarge", { size: inMebibytes(file.size), most: inMebibytes(most) }));
}

function explain(error) {
  if (error instanceof Unreachable) return say("unreachable");
  if (error instanceof Refusal) return error.problem.status === 401 ? say("keyMissing") : translate(error.message);
  return error.message;
}
