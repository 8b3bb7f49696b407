// All images as a table, and as a CSV file.

import { hideWhileBroken } from "./card.js";
import { formatPercent, say } from "./language.js";

// What needs attention first; images that are not judged last.
const ORDER = ["refer", "cannotAssess", "noSign", "failed", "pending"];
const KEYS = {
  name: (lesion) => lesion.name,
  probability: (lesion, prevalence) => (lesion.isAssessed ? lesion.probabilityAt(prevalence) : -1),
  decision: (lesion) => -ORDER.indexOf(lesion.group),
};
const FIELDS = ["source", "path", "image_id", "y_prob", "decision", "reason", "error", "bundle_digest", "prevalence"];
const sorting = { by: "probability", down: true };
const made = new WeakMap(); // rows of lesions

// A click on a head sorts by it, another turns the order.
export function sortBy(name) {
  sorting.down = sorting.by === name ? !sorting.down : name !== "name";
  sorting.by = name;
}

function sort(lesions, prevalence) {
  const key = (lesion) => KEYS[sorting.by](lesion, prevalence);
  const compare = (a, b) => (typeof a === "string" ? a.localeCompare(b, undefined, { numeric: true }) : a - b);
  const direction = sorting.down ? -1 : 1;
  return [...lesions].sort((a, b) => direction * compare(key(a), key(b))); // as they came where alike
}

// `open` shows the card of an image.
export function showTable(lesions, prevalence, open) {
  for (const button of document.querySelectorAll("#table [data-sort]")) {
    const chosen = button.dataset.sort === sorting.by;
    const direction = sorting.down ? "descending" : "ascending";
    button.closest("th").setAttribute("aria-sort", chosen ? direction : "none");
  }
  const body = document.getElementById("rows");
  const rows = sort(lesions, prevalence).map((lesion) => updateRow(lesion, prevalence, open));
  const focused = document.activeElement;
  rows.forEach((row, place) => {
    if (body.children[place] !== row) body.insertBefore(row, body.children[place] ?? null);
  });
  while (body.children.length > rows.length) body.lastElementChild.remove();
  if (body.contains(focused)) focused.focus({ preventScroll: true });
}

// A row stays the same element, so that whoever reads or tabs through the table does not lose their place.
function updateRow(lesion, prevalence, open) {
  if (!made.has(lesion)) made.set(lesion, makeRow(lesion, open));
  const row = made.get(lesion);
  row.dataset.group = lesion.group;
  const picture = row.querySelector("img");
  if (picture.src !== lesion.url) picture.src = lesion.url;
  const shown = lesion.isAssessed ? formatPercent(lesion.probabilityAt(prevalence)) : "–";
  [shown, say(lesion.verdict), lesion.remarks].forEach((text, place) => {
    const cell = row.cells[place + 2];
    if (cell.textContent !== text) cell.textContent = text;
  });
  return row;
}

function makeRow(lesion, open) {
  const row = document.createElement("tr");
  const picture = document.createElement("img");
  picture.alt = "";
  picture.draggable = false;
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

// The rows of `melanoma predict --format csv` with the prevalence that their `y_prob` is for. What was not judged has
// no decision, and why as its error.
export function writeCsv(lesions, prevalence) {
  const settled = lesions.filter((lesion) => lesion.group !== "pending");
  const rows = sort(settled, prevalence).map((lesion) => ({
    source: "",
    decision: "",
    reason: "",
    error: lesion.trouble,
    bundle_digest: "",
    ...lesion.row,
    path: lesion.name,
    image_id: lesion.name.replace(/(?<=[^/])\.[^./]*$/, ""),
    y_prob: lesion.probabilityAt(prevalence) ?? "",
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
