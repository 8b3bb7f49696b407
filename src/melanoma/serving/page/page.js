// The page: images come in, are judged, and shown as cards or as a table.

import { Card, sayModel } from "./card.js";
import { listen } from "./intake.js";
import { fill, formatNumber, formatShare, language, say } from "./language.js";
import { Lesion } from "./lesion.js";
import { showRightness } from "./rightness.js";
import { Refusal, describe, onKeyNeeded } from "./server.js";
import { showTable, sortBy, writeCsv } from "./table.js";

const FILTERS = { all: "filterAll", refer: "filterRefer", noSign: "filterNoSign", cannotAssess: "filterCannotAssess", failed: "filterFailed" };

const find = (id) => document.getElementById(id);
const cards = new Map(); // of lesions, in the order in which they came
let model = null;
let prevalence = null;
let painting = false;

async function start() {
  document.documentElement.lang = language;
  fill(document);
  find("filter").replaceChildren(...Object.keys(FILTERS).map((group) => new Option("", group)));
  onKeyNeeded(askForKey);
  listen(take, complain);
  find("practice").addEventListener("input", setPrevalence);
  find("practice").addEventListener("reset", () => setTimeout(setPrevalence));
  find("practice").addEventListener("submit", (event) => event.preventDefault());
  for (const id of ["filter", "find"]) find(id).addEventListener("input", repaint);
  for (const input of document.getElementsByName("view")) input.addEventListener("change", repaint);
  for (const head of document.querySelectorAll("[data-sort]"))
    head.addEventListener("click", () => {
      sortBy(head.dataset.sort);
      repaint();
    });
  find("download").addEventListener("click", download);
  find("print").addEventListener("click", () => window.print());
  find("clear").addEventListener("click", () => [...cards.keys()].forEach(remove));
  window.addEventListener("afterprint", () => document.body.classList.remove("one"));
  await learnModel();
}

// Asks the server for its model; without an answer the page says so and asks again when images come.
async function learnModel() {
  try {
    model = await describe();
  } catch (error) {
    const refused = error instanceof Refusal;
    complain(refused && error.problem.status !== 401 ? error.message : say(refused ? "keyMissing" : "unreachable"));
    return false;
  }
  find("alarm").hidden = true;
  const input = find("prevalence");
  input.defaultValue = Number((100 * model.prevalence).toPrecision(3));
  setPrevalence();
  showRightness(find("rightness"), model);
  find("model").textContent = say("modelNote", sayModel(model));
  return true;
}

async function take(files) {
  if (!model && !(await learnModel())) return;
  find("alarm").hidden = true;
  for (const file of files) {
    const lesion = new Lesion(file);
    const card = new Card(lesion, model, { report: printReport, remove, again: (one) => one.judge(model) });
    cards.set(lesion, card);
    find("cards").append(card.element);
    lesion.addEventListener("change", () => {
      card.update(prevalence);
      repaint();
    });
    card.update(prevalence);
    lesion.judge(model).then(() => finish(lesion));
  }
  repaint();
}

function finish(lesion) {
  if (lesion.gone) return;
  const probability = lesion.probability;
  const shown = probability === null ? "" : cards.get(lesion).part("number").textContent;
  const values = { name: lesion.name, decision: say(lesion.verdict), probability: shown };
  const all = [...cards.keys()];
  const ready = all.every((one) => one.group !== "pending");
  if (all.length === 1) find("heard").textContent = say(shown ? "heardNumber" : "heard", values);
  else if (ready) find("heard").textContent = say("heardAll", { n: all.length });
  lesion.drawHeat();
}

function remove(lesion) {
  const card = cards.get(lesion);
  const next = card.element.nextElementSibling ?? card.element.previousElementSibling;
  const focused = card.element.contains(document.activeElement);
  lesion.remove();
  cards.delete(lesion);
  card.element.remove();
  if (focused) (next ?? find("files")).focus();
  repaint();
}

function setPrevalence() {
  const input = find("prevalence");
  const value = input.valueAsNumber / 100;
  const usable = value > 0 && value < 1;
  input.setAttribute("aria-invalid", String(!usable));
  if (!model) return;
  const base = formatShare(model.calibration.prevalence);
  find("prevalence-note").textContent = usable ? say("prevalenceNote", { base }) : say("prevalenceWrong");
  if (!usable) return;
  prevalence = input.value === input.defaultValue ? model.prevalence : value;
  for (const card of cards.values()) card.update(prevalence);
  repaint();
}

// Paints at most once a frame, however much has changed.
function repaint() {
  if (painting) return;
  painting = true;
  requestAnimationFrame(() => {
    painting = false;
    paint();
  });
}

function paint() {
  const all = [...cards.keys()];
  find("results").hidden = !all.length;
  document.body.classList.toggle("busy", all.length > 0);
  countProgress(all);
  countFilters(all);
  const shown = select(all);
  const asTable = document.querySelector("[name=view]:checked").value === "table";
  document.body.classList.toggle("as-table", asTable);
  find("table").hidden = !asTable;
  find("cards").hidden = asTable;
  find("none").hidden = shown.length > 0 || !all.length;
  if (asTable) showTable(shown, model, prevalence, open);
  const visible = new Set(shown);
  for (const [lesion, card] of cards) card.element.hidden = !visible.has(lesion);
}

function select(all) {
  const group = find("filter").value;
  const text = find("find").value.trim().toLowerCase();
  return all.filter((one) => (group === "all" || one.group === group) && one.name.toLowerCase().includes(text));
}

function countProgress(all) {
  const done = all.filter((one) => one.group !== "pending").length;
  const busy = all.filter((one) => one.state === "busy").length;
  find("progress").classList.toggle("over", done === all.length);
  find("bar").max = Math.max(all.length, 1);
  find("bar").value = done;
  const counted = say("counted", { done: formatNumber(done), all: formatNumber(all.length) });
  find("counted").textContent = busy ? `${counted}. ${say("waited", { waiting: formatNumber(all.length - done) })}` : counted;
}

function countFilters(all) {
  for (const option of find("filter").options) {
    const n = option.value === "all" ? all.length : all.filter((one) => one.group === option.value).length;
    option.textContent = say(FILTERS[option.value], { n: formatNumber(n) });
  }
}

// From the table to the card.
function open(lesion) {
  document.querySelector("[name=view][value=cards]").checked = true;
  paint();
  const { element } = cards.get(lesion);
  element.scrollIntoView({ block: "center" });
  element.focus();
}

function printReport(lesion) {
  for (const [one, card] of cards) card.element.classList.toggle("printed", one === lesion);
  document.body.classList.add("one");
  window.print();
}

function download() {
  const text = writeCsv(select([...cards.keys()]), model, prevalence);
  const link = document.createElement("a");
  link.href = URL.createObjectURL(new Blob(["\ufeff", text], { type: "text/csv" }));
  link.download = "melanoma.csv";
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 60_000);
}

function complain(line) {
  find("alarm").textContent = line;
  find("alarm").hidden = false;
}

function askForKey() {
  const dialog = find("ask");
  find("key").value = "";
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    dialog.addEventListener("close", () => resolve(dialog.returnValue === "given" ? find("key").value.trim() : ""), { once: true });
  });
}

start();
