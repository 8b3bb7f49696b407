// One image as a card.

import { fill, formatNumber, formatPercent, formatShare, say } from "./language.js";
import { TICKS, place, rebase } from "./probability.js";
import { showRightness } from "./rightness.js";

const SIGNS = {
  refer: "M7 12h9M12.5 8l4 4-4 4",
  noSign: "M7.5 12h9",
  cannotAssess: "M9 9.3c0-4 6-3.8 6 0 0 2.4-3 2.4-3 4.6M12 17v.4",
  failed: "M12 6.5v7M12 17v.4",
  pending: "M12 6.5V12l3.5 2.5",
};

export class Card {
  // `act`: functions `report`, `remove` and `again` for its buttons.
  constructor(lesion, model, act) {
    this.lesion = lesion;
    this.model = model;
    this.element = document.getElementById("card").content.firstElementChild.cloneNode(true);
    fill(this.element);
    this.part("name").textContent = lesion.name;
    const name = { name: lesion.name };
    this.picture.alt = say("pictureOf", name);
    this.heat.alt = say("heatOf", name);
    for (const [part, word] of Object.entries({ report: "reportOf", remove: "removeOf", again: "againOf" })) {
      this.part(part).setAttribute("aria-label", say(word, name));
      this.part(part).addEventListener("click", () => act[part](lesion));
    }
    this.part("strength").setAttribute("aria-label", say("strengthOf", name));
    this.part("strength").addEventListener("input", () => this.fade());
    this.part("shown").addEventListener("change", () => this.fade());
    hideWhileBroken(this.picture);
    this.picture.addEventListener("error", () => lesion.redraw());
    this.element.querySelector(".ticks").replaceChildren(...TICKS.map(makeTick));
    showRightness(this.part("right"), model);
    this.part("model").textContent = say("modelNote", sayModel(model));
    this.part("date").textContent = new Date().toLocaleDateString();
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
    this.part("again").hidden = lesion.state !== "failed";
    const judged = lesion.probability !== null;
    setText(this.part("reason"), judged ? "" : lesion.remarks);
    setText(this.part("hints"), judged && lesion.remarks ? say("hints", { hints: lesion.remarks }) : "");
    this.element.querySelector(".chance").hidden = !judged;
    this.element.querySelector(".right").hidden = !judged;
    this.element.querySelector(".fade").hidden = !lesion.heat;
    this.heat.hidden = !lesion.heat;
    this.element.classList.toggle("with-heat", Boolean(lesion.heat));
    if (lesion.heat) setSource(this.heat, lesion.heat);
    if (judged) this.showChance(prevalence);
    this.fade();
  }

  showChance(prevalence) {
    const base = this.model.prevalence;
    const calibrated = this.model.calibration.prevalence;
    const probability = rebase(this.lesion.probability, base, prevalence);
    const threshold = rebase(this.model.operating_point.threshold, calibrated, prevalence);
    const share = formatShare(prevalence);
    const values = { probability: formatPercent(probability), threshold: formatPercent(threshold), share };
    this.part("number").textContent = values.probability;
    this.part("point").textContent = say("pointNote", values);
    const scale = this.element.querySelector(".scale");
    scale.setAttribute("aria-label", say("scaleLabel", values));
    scale.querySelector(".here").style.left = `${100 * place(probability)}%`;
    scale.querySelector(".point").style.left = `${100 * place(threshold)}%`;
    scale.querySelector(".below").style.width = `${100 * place(threshold)}%`;
  }

  fade() {
    const shown = this.part("shown").checked;
    this.part("strength").disabled = !shown;
    this.heat.style.opacity = shown ? this.part("strength").value / 100 : 0;
  }
}

// No broken picture where there can be none.
export function hideWhileBroken(image) {
  image.addEventListener("error", () => image.classList.add("broken"));
  image.addEventListener("load", () => image.classList.remove("broken"));
}

export const sayModel = (model) => ({
  name: model.name,
  digest: model.bundle_digest.slice(0, 12),
  version: model.melanoma_version,
});

function makeTick(probability) {
  const tick = document.createElement("span");
  tick.textContent = `${formatNumber(100 * probability, probability < 0.01 ? 1 : 0)} %`;
  tick.style.left = `${100 * place(probability)}%`;
  return tick;
}

function setText(element, text) {
  element.textContent = text;
  element.hidden = !text;
}

function setSource(image, url) {
  if (image.src !== url) image.src = url;
}
