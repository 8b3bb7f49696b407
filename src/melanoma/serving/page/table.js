// All images as a table, and as a CSV file.

import { hideWhileBroken } from "./card.js";
import { formatPercent, say } from "./language.js";
import { rebase } from "./probability.js";

// What needs attention first; images that are not judged last.
const ORDER = ["refer", "cannotAssess", "noSign", "failed", "pending"];
const KEYS = {
  name: (lesion) => lesion.name,
  probability: (lesion) => lesion.probability ?? -1,
  decision: (lesion) => -ORDER.indexOf(lesion.group),
};
const FIELDS = ["source", "path", "image_id", "y_prob", "decision", "reason", "error", "bundle_digest", "prevalence"];

const made = new WeakMap(); // rows of lesions

export const sorting = { by: "probability", down: true };

export function sort(lesions) {
  const key = KEYS[sorting.by];
  const compare = (a, b) =>
    typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b;
  const direction = sorting.down ? -1 : 1;
  return [...lesions].sort((a, b) => direction * compare(key(a), key(b)) || a.id - b.id);
}

// A click on a head sorts by it, another turns the order.
export function sortBy(name) {
  sorting.down = sorting.by === name ? !sorting.down : name !== "name";
  sorting.by = name;
}

// `open` shows the card of an image.
export function showTable(lesions, model, prevalence, open) {
  for (const button of document.querySelectorAll("#table [data-sort]")) {
    const chosen = button.dataset.sort === sorting.by;
    const direction = sorting.down ? "descending" : "ascending";
    button.closest("th").setAttribute("aria-sort", chosen ? direction : "none");
  }
  const body = document.getElementById("rows");
  const rows = sort(lesions).map((lesion) => updateRow(lesion, model, prevalence, open));
  if (rows.length === body.children.length && rows.every((row, place) => row === body.children[place])) return;
  const focused = document.activeElement;
  body.replaceChildren(...rows);
  if (body.contains(focused)) focused.focus();
}

// A row stays the same element, so that whoever reads or tabs through the table does not lose their place.
function updateRow(lesion, model, prevalence, open) {
  if (!made.has(lesion)) made.set(lesion, makeRow(lesion, open));
  const row = made.get(lesion);
  row.dataset.group = lesion.group;
  const picture = row.querySelector("img");
  if (picture.src !== lesion.url) picture.src = lesion.url;
  const { probability } = lesion;
  const shown = probability === null ? "–" : formatPercent(rebase(probability, model.prevalence, prevalence));
  const texts = [shown, say(lesion.verdict), lesion.remarks];
  texts.forEach((text, place) => {
    row.cells[place + 2].textContent = text;
  });
  return row;
}

function makeRow(lesion, open) {
  const row = document.createElement("tr");
  const picture = document.createElement("img");
  picture.alt = "";
  hideWhileBroken(picture);
  row.insertCell().append(picture);
  const name = document.createElement("button");
  name.type = "button";
  name.className = "link";
  name.textContent = lesion.name;
  name.addEventListener("click", () => open(lesion));
  const head = document.createElement("th");
  head.scope = "row";
  head.append(name);
  row.append(head);
  for (let place = 2; place < 5; place++) row.insertCell();
  return row;
}

// The rows of `melanoma predict --format csv` with the prevalence that their `y_prob` is for; only what was judged.
export function writeCsv(lesions, model, prevalence) {
  const rows = sort(lesions.filter((lesion) => lesion.row)).map(({ row, name }) => ({
    ...row,
    path: row.path || name,
    y_prob: row.y_prob === null ? "" : rebase(row.y_prob, model.prevalence, prevalence),
    prevalence,
  }));
  const lines = [FIELDS, ...rows.map((row) => FIELDS.map((field) => row[field]))];
  return lines.map((cells) => cells.map(quote).join(",") + "\r\n").join("");
}

// A name that a spreadsheet would take for a formula gets an apostrophe before it.
function quote(value) {
  let text = String(value);
  if (typeof value === "string" && /^[=+\-@\t\r]/.test(text)) text = `'${text}`;
  return /[",\r\n']/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
