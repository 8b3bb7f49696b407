// The page: images come in, are judged, and shown as cards or as a table.

import { Card } from "./card.js";
import { listen } from "./intake.js";
import { fill, formatMoment, formatNumber, formatPercent, formatShare, language, parseNumber, say } from "./language.js";
import { Lesion } from "./lesion.js";
import { currentModel, learnModel, sayModel } from "./models.js";
import { showRightness } from "./rightness.js";
import { Refusal, forgetRefusal, onKeyNeeded } from "./server.js";
import { showTable, sortBy, writeCsv } from "./table.js";

const FILTERS = {
  all: "filterAll",
  refer: "filterRefer",
  noSign: "filterNoSign",
  cannotAssess: "filterCannotAssess",
  failed: "filterFailed",
};
const LEAST_SHARE = 0.00001;
const MOST_SHARE = 0.999;

const find = (id) => document.getElementById(id);
const cards = new Map(); // of lesions, in the order in which they came
let prevalence = null; // as entered; null while it is the server's own
let shownModel = null;
let painting = false;

async function start() {
  document.documentElement.lang = language;
  fill(document);
  find("filter").replaceChildren(...Object.keys(FILTERS).map((group) => new Option("", group)));
  onKeyNeeded(askForKey);
  listen(take, complain);
  find("prevalence").addEventListener("input", setPrevalence);
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
  find("clear").addEventListener("click", clear);
  find("all-again").addEventListener("click", judgeFailedAgain);
  window.addEventListener("beforeprint", describePrint);
  window.addEventListener("afterprint", () => document.body.classList.remove("one"));
  window.addEventListener("beforeunload", (event) => {
    if (cards.size) event.preventDefault(); // results exist nowhere else
  });
  await meetModel();
}

// Asks the server for its model; without an answer the page says so, and asks again when images come.
async function meetModel() {
  forgetRefusal();
  try {
    await learnModel();
  } catch (error) {
    const refused = error instanceof Refusal;
    complain(refused && error.problem.status !== 401 ? error.message : say(refused ? "keyMissing" : "unreachable"));
    return false;
  }
  find("alarm").hidden = true;
  showModel();
  return true;
}

// What belongs to the model that the server has now, once for each.
function showModel() {
  const model = currentModel();
  if (!model || model === shownModel) return;
  shownModel = model;
  const input = find("prevalence");
  const untouched = input.value === input.defaultValue;
  input.defaultValue = formatShare(model.prevalence);
  if (untouched) input.value = input.defaultValue;
  showRightness(find("rightness"), model);
  find("model").textContent = say("modelNote", sayModel(model));
  setPrevalence();
}

const currentPrevalence = () => prevalence ?? currentModel().prevalence;

async function take(files) {
  if (!(await meetModel())) return; // anew each time: the server may have been started again with other options
  for (const { file, name } of files) add(new Lesion(file, nameAnew(name)));
  repaint();
}

function add(lesion) {
  const act = { report: printReport, remove, again: judge, redraw: (one) => one.drawHeat() };
  const card = new Card(lesion, act);
  cards.set(lesion, card);
  find("cards").append(card.element);
  lesion.addEventListener("change", () => {
    card.update(currentPrevalence());
    showModel();
    repaint();
  });
  card.update(currentPrevalence());
  judge(lesion);
}

// Two images never have one name.
function nameAnew(name) {
  const taken = new Set([...cards.keys()].map((lesion) => lesion.name));
  const given = name || say("unnamed");
  let fresh = given;
  for (let number = 2; taken.has(fresh); number++) fresh = given.replace(/(\.[^./]*)?$/, ` (${number})$1`);
  return fresh;
}

async function judge(lesion) {
  forgetRefusal();
  await lesion.judge();
  if (!lesion.gone) announce(lesion);
}

function judgeFailedAgain() {
  for (const lesion of cards.keys()) if (lesion.state === "failed") judge(lesion);
  find("results-title").focus();
}

function announce(lesion) {
  const { done, failed, all } = count();
  if (all === 1) {
    const probability = lesion.isAssessed ? cards.get(lesion).part("number").textContent : "";
    const values = { name: lesion.name, decision: say(lesion.verdict), probability };
    find("heard").textContent = say(probability ? "heardNumber" : "heard", values);
  } else if (done + failed === all) {
    find("heard").textContent = say(failed ? "heardFailed" : "heardAll", { n: all, done, failed });
  }
}

function count() {
  const all = [...cards.keys()];
  const failed = all.filter((one) => one.state === "failed").length;
  const busy = all.some((one) => one.state === "busy");
  return { all: all.length, done: all.filter((one) => one.state === "done").length, failed, busy };
}

function remove(lesion) {
  const { element } = cards.get(lesion);
  const focused = element.contains(document.activeElement);
  const shown = [...find("cards").children].filter((one) => !one.hidden);
  const place = shown.indexOf(element);
  lesion.remove();
  cards.delete(lesion);
  element.remove();
  if (focused) (shown[place + 1] ?? shown[place - 1] ?? find("files")).focus();
  repaint();
}

function clear() {
  if (!window.confirm(say("clearSure", { n: formatNumber(cards.size) }))) return;
  [...cards.keys()].forEach(remove);
  find("files").focus();
}

function setPrevalence() {
  const input = find("prevalence");
  const model = currentModel();
  if (!model) return;
  const own = input.value !== input.defaultValue;
  const share = own ? parseNumber(input.value) / 100 : model.prevalence;
  const usable = share >= LEAST_SHARE && share <= MOST_SHARE;
  input.setAttribute("aria-invalid", String(!usable));
  const values = { base: formatShare(model.calibration.prevalence), share: formatShare(share) };
  const atBase = Math.abs(share - model.calibration.prevalence) < 1e-12;
  const key = !usable ? "prevalenceWrong" : atBase ? "prevalenceDefault" : "prevalenceNote";
  find("prevalence-note").textContent = say(key, values);
  if (!usable) return;
  prevalence = own ? share : null;
  for (const card of cards.values()) card.update(share);
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
  showProgress();
  countFilters(all);
  const shown = select(all);
  const asTable = document.querySelector("[name=view]:checked").value === "table";
  document.body.classList.toggle("as-table", asTable);
  find("table").hidden = !asTable;
  find("cards").hidden = asTable;
  find("none").hidden = shown.length > 0 || !all.length;
  if (asTable) showTable(shown, currentPrevalence(), open);
  const visible = new Set(shown);
  for (const [lesion, card] of cards) card.element.hidden = !visible.has(lesion);
}

function select(all) {
  const group = find("filter").value;
  const text = find("find").value.trim().toLowerCase();
  return all.filter((one) => (group === "all" || one.group === group) && one.name.toLowerCase().includes(text));
}

function showProgress() {
  const { all, done, failed, busy } = count();
  const settled = done + failed;
  find("progress").classList.toggle("over", settled === all);
  find("bar").max = Math.max(all, 1);
  find("bar").value = settled;
  const values = { done: formatNumber(done), failed: formatNumber(failed), all: formatNumber(all) };
  const counted = say(failed ? "countedFailed" : "counted", values);
  const waited = busy ? `. ${say("waited", { waiting: formatNumber(all - settled) })}` : "";
  find("counted").textContent = counted + waited;
  find("all-again").hidden = failed < 2;
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

// The line over a printed table.
function describePrint() {
  const model = currentModel();
  const [lesion] = cards.keys();
  if (!model || !lesion) return;
  find("printed").textContent = say("printed", {
    date: formatMoment(new Date()),
    model: say("modelNote", sayModel(model)),
    share: formatShare(currentPrevalence()),
    threshold: formatPercent(lesion.thresholdAt(currentPrevalence())),
  });
}

function download() {
  const text = writeCsv(select([...cards.keys()]), currentPrevalence());
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

function askForKey(again) {
  const dialog = find("ask");
  find("key").value = "";
  find("key-wrong").hidden = !again;
  dialog.returnValue = "";
  dialog.showModal();
  return new Promise((resolve) => {
    const hear = () => resolve(dialog.returnValue === "given" ? find("key").value.trim() : "");
    dialog.addEventListener("close", hear, { once: true });
  });
}

start();
