// How often the model is right, from the results beside its bundle.

import { formatNumber, say, saySource, translate } from "./language.js";

const HEADS = ["rightSource", "rightCounts", "rightSensitivity", "rightSpecificity", "rightAuroc"];

// Fills `element` with a sentence and a table; overall and by source.
export function showRightness(element, model) {
  const { results } = model;
  if (!results.length) {
    element.replaceChildren(make("p", say("rightUnknown")));
    return;
  }
  const notices = [model.facts.notice, model.facts.calibration_notice].filter(Boolean);
  const parts = notices.map((notice) => make("p", translate(notice), "alarm"));
  for (const result of results) {
    const { sensitivity, specificity } = result.figures;
    if (sensitivity?.value != null && specificity?.value != null)
      parts.push(make("p", say("rightWords", { sensitivity: inHundred(sensitivity), specificity: inHundred(specificity) })));
    const key = results.length > 1 ? "rightCaptionOf" : "rightCaption";
    const caption = say(key, { set: result.name, where: saySource(result.where) });
    parts.push(make("p", caption, "quiet"), makeTable(result, caption));
  }
  const coverage = formatNumber(100 * Math.min(...results.map((one) => one.coverage)), 1);
  parts.push(make("p", `${say("rightCoverage", { coverage })} ${say("rightLimits")}`, "quiet"));
  element.replaceChildren(...parts);
}

const inHundred = (figure) => sayInterval(figure, (value) => formatNumber(100 * value));

function sayInterval(figure, format) {
  if (figure?.value == null) return figure?.note || "–";
  if (figure.low == null || figure.high == null) return format(figure.value);
  return say("interval", { value: format(figure.value), low: format(figure.low), high: format(figure.high) });
}

function makeTable(result, caption) {
  const table = document.createElement("table");
  table.className = "rightness";
  const head = table.createTHead().insertRow();
  for (const key of HEADS) head.append(make("th", say(key), "", { scope: "col" }));
  const body = table.createTBody();
  const rows = [...result.sources];
  if (rows.length !== 1) rows.unshift({ ...result, name: say("rightAll") });
  for (const one of rows) addRow(body, one);
  const box = make("div", "", "scroll", { tabindex: "0", role: "group", "aria-label": caption });
  box.append(table);
  return box;
}

function addRow(body, { name, n_melanoma: melanomas, n_other: others, figures }) {
  const row = body.insertRow();
  row.append(make("th", name, "", { scope: "row" }));
  const cells = [
    `${formatNumber(melanomas)} / ${formatNumber(others)}`,
    inHundred(figures.sensitivity),
    inHundred(figures.specificity),
    sayInterval(figures.auroc, (value) => formatNumber(value, 2)),
  ];
  for (const text of cells) row.insertCell().textContent = text;
}

function make(tag, text, className = "", attributes = {}) {
  const element = document.createElement(tag);
  element.textContent = text;
  if (className) element.className = className;
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
  return element;
}
