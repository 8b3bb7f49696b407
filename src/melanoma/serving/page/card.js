// One image as a card.

import { fill, formatMoment, formatNumber, formatPercent, formatShare, say } from "./language.js";
import { sayModel } from "./models.js";
import { Scale } from "./probability.js";
import { showRightness } from "./rightness.js";

const SIGNS = {
  refer: "M7 12h9M12.5 8l4 4-4 4",
  noSign: "M7.5 12h9",
  cannotAssess: "M9 9.3c0-4 6-3.8 6 0 0 2.4-3 2.4-3 4.6M12 17v.4",
  failed: "M12 6.5v7M12 17v.4",
  pending: "M12 6.5V12l3.5 2.5",
};
const BUTTONS = { report: "reportOf", remove: "removeOf", again: "againOf", redraw: "redrawOf" };
const PANE = 4 / 3; // width by height of the place for a picture

export class Card {
  // `act`: functions for its buttons.
  constructor(lesion, act) {
    this.lesion = lesion;
    this.element = document.getElementById("card").content.firstElementChild.cloneNode(true);
    fill(this.element);
    this.part("name").textContent = lesion.name;
    this.part("date").textContent = formatMoment(new Date());
    const name = { name: lesion.name };
    this.picture.alt = say("pictureOf", name);
    this.heat.alt = say("heatOf", name);
    for (const [part, word] of Object.entries(BUTTONS)) {
      this.part(part).setAttribute("aria-label", say(word, name));
      this.part(part).addEventListener("click", () => {
        act[part](lesion);
        if (part === "again" || part === "redraw") this.element.focus(); // the button is about to go
      });
    }
    this.part("strength").setAttribute("aria-label", say("strengthOf", name));
    this.part("strength").addEventListener("input", () => this.fade());
    this.part("shown").addEventListener("change", () => this.fade());
    hideWhileBroken(this.picture);
    this.picture.addEventListener("load", () => this.frame());
  }

  get picture() {
    return this.element.querySelector(".picture");
  }

  get heat() {
    return this.element.querySelector(".heat");
  }

  part(name) {
    return this.element.querySelector(`[data-part="${name}"]`);
  }

  // Everything anew, for probabilities at `prevalence`.
  update(prevalence) {
    const { lesion } = this;
    this.element.dataset.group = lesion.group;
    this.element.setAttribute("aria-busy", String(lesion.group === "pending"));
    this.part("decision").textContent = say(lesion.verdict);
    this.element.querySelector(".decision path").setAttribute("d", SIGNS[lesion.group]);
    setSource(this.picture, lesion.url);
    const judged = lesion.isAssessed;
    setText(this.part("reason"), judged ? "" : lesion.remarks);
    setText(this.part("hints"), judged && lesion.remarks ? say("hints", { hints: lesion.remarks }) : "");
    this.part("again").hidden = lesion.state !== "failed";
    this.show(".chance", judged);
    this.show(".right", judged);
    this.show(".fade", lesion.heat);
    this.show(".heat-note", lesion.heat);
    this.show(".heat-lost", lesion.heatLost);
    this.show(".advice", lesion.group === "cannotAssess");
    this.heat.hidden = !lesion.heat;
    this.element.classList.toggle("with-heat", Boolean(lesion.heat));
    if (lesion.heat) setSource(this.heat, lesion.heat);
    if (judged) this.showChance(prevalence);
    this.showModel();
    this.frame();
    this.fade();
  }

  show(selector, wanted) {
    this.element.querySelector(selector).hidden = !wanted;
  }

  // What belongs to the model that judged, once for each.
  showModel() {
    const { model } = this.lesion;
    if (this.shownModel === model) return;
    this.shownModel = model;
    showRightness(this.part("right"), model);
    this.part("model").textContent = say("modelNote", sayModel(model));
  }

  showChance(prevalence) {
    const probability = this.lesion.probabilityAt(prevalence);
    const threshold = this.lesion.thresholdAt(prevalence);
    const values = {
      probability: formatPercent(probability),
      threshold: formatPercent(threshold),
      share: formatShare(prevalence),
    };
    this.part("number").textContent = values.probability;
    this.part("point").textContent = say("pointNote", values);
    const scale = new Scale([probability, threshold]);
    const shown = this.element.querySelector(".scale");
    shown.setAttribute("aria-label", say("scaleLabel", values));
    shown.querySelector(".here").style.left = `${100 * scale.place(probability)}%`;
    shown.querySelector(".point").style.left = `${100 * scale.place(threshold)}%`;
    shown.querySelector(".below").style.width = `${100 * scale.place(threshold)}%`;
    this.element.querySelector(".ticks").replaceChildren(...scale.ticks.map((tick) => makeTick(tick, scale)));
  }

  // Shows which part of a picture that is no square the model sees.
  frame() {
    const { naturalWidth: width, naturalHeight: height } = this.picture;
    const crops = this.lesion.model.preprocessing.fit === "crop";
    const cut = crops && width > 0 && Math.max(width, height) > 1.02 * Math.min(width, height);
    this.show(".seen-note", cut);
    const scale = Math.min(PANE / width, 1 / height);
    const side = Math.min(width, height) * scale; // of a pane one high and PANE wide
    for (const frame of this.element.querySelectorAll(".seen")) {
      frame.hidden = !cut;
      frame.style.width = `${(100 * side) / PANE}%`;
      frame.style.height = `${100 * side}%`;
    }
  }

  fade() {
    const shown = this.part("shown").checked;
    this.part("strength").disabled = !shown;
    this.heat.style.opacity = shown ? this.part("strength").value / 100 : 0;
    this.element.classList.toggle("heat-off", !shown);
  }
}

// No broken picture where there can be none.
export function hideWhileBroken(image) {
  image.addEventListener("error", () => image.classList.add("broken"));
  image.addEventListener("load", () => image.classList.remove("broken"));
}

function makeTick(probability, scale) {
  const tick = document.createElement("span");
  tick.textContent = `${formatNumber(100 * probability, Math.max(0, -Math.floor(Math.log10(100 * Math.min(probability, 1 - probability)) + 1e-9)))} %`;
  tick.style.left = `${100 * scale.place(probability)}%`;
  return tick;
}

function setText(element, text) {
  element.textContent = text;
  element.hidden = !text;
}

function setSource(image, url) {
  if (image.src !== url) image.src = url;
}
