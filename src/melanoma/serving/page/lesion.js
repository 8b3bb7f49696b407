// One image and what became of it.

import { say, translate } from "./language.js";
import { Refusal, Unreachable, draw, judge } from "./server.js";

const PICTURE_SIDE = 800; // pixels of the pictures that the server draws
const UNLIKE = /^this does not look like a dermoscopic image: /; // stands in the verdict already
const HEAT_STRENGTH = 0.75; // drawn as strong as it can get; the page fades it

let made = 0;

export class Lesion extends EventTarget {
  // Sends "change" whenever something about it has changed.
  constructor(file) {
    super();
    made += 1;
    this.id = made;
    this.file = file;
    this.name = file.name || say("unnamed", { n: made });
    this.url = URL.createObjectURL(file);
    this.heat = null; // URL of the picture with the heat map
    this.state = "waiting"; // then judging or busy, then done or failed
    this.row = null;
    this.trouble = "";
    this.shown = true; // whether the browser can show the file as it is
    this.gone = false;
  }

  // What is known: refer, noSign, cannotAssess, cannotRead, or the state while there is no row.
  get verdict() {
    if (this.state !== "done") return this.state;
    if (this.row.error) return "cannotRead";
    return { refer: "refer", no_sign: "noSign", cannot_assess: "cannotAssess" }[this.row.decision];
  }

  // As the filter and the table group them.
  get group() {
    if (this.state !== "done") return this.state === "failed" ? "failed" : "pending";
    return this.verdict === "cannotRead" ? "cannotAssess" : this.verdict;
  }

  // At the server's prevalence; null where the number is worth nothing.
  get probability() {
    return this.group === "refer" || this.group === "noSign" ? this.row.y_prob : null;
  }

  // Hints on quality, or why there is no decision.
  get remarks() {
    if (this.state === "failed") return this.trouble;
    if (this.state !== "done") return "";
    const said = this.row.error || this.row.reason;
    return said.replace(UNLIKE, "").split("; ").map(translate).join("; ");
  }

  async judge(model) {
    this.#become("waiting");
    try {
      check(this.file, model.limits.max_body);
      this.row = await judge(this.file, (busy) => this.#become(busy ? "busy" : "judging"));
      this.#become("done");
      if (!this.shown) this.redraw();
    } catch (error) {
      this.trouble = explain(error);
      this.#become("failed");
    }
  }

  // The picture with the heat map, once; without an answer the card goes without it.
  async drawHeat() {
    if (this.heat || this.probability === null) return;
    this.heat = await this.#draw(HEAT_STRENGTH);
    this.#changed();
  }

  // For a format that the browser cannot show: the server draws it, once it could read it.
  async redraw() {
    this.shown = false;
    if (this.state !== "done" || this.row.error) return;
    const drawn = await this.#draw(0);
    if (!drawn) return;
    URL.revokeObjectURL(this.url);
    this.url = drawn;
    this.#changed();
  }

  remove() {
    this.gone = true;
    URL.revokeObjectURL(this.url);
    if (this.heat) URL.revokeObjectURL(this.heat);
    this.file = null;
  }

  async #draw(strength) {
    try {
      const picture = await draw(this.file, strength, PICTURE_SIDE);
      return this.gone ? null : URL.createObjectURL(picture);
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
  const inMegabytes = (bytes) => (bytes / 2 ** 20).toFixed(1);
  if (file.size === 0) throw new Error(say("empty"));
  if (file.size > most) throw new Error(say("tooLarge", { size: inMegabytes(file.size), most: inMegabytes(most) }));
}

function explain(error) {
  if (error instanceof Unreachable) return say("unreachable");
  if (error instanceof Refusal) return error.problem.status === 401 ? say("keyMissing") : translate(error.message);
  return error.message;
}
