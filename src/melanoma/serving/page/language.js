// Words and numbers in the reader's language, as far as `words.js` has it.

import { words } from "./words.js";

export const language =
  navigator.languages.map((tag) => tag.split("-")[0]).find((name) => Object.hasOwn(words, name)) ?? "en";
const own = { ...words.en, ...words[language] };

// The words of a key with {names} filled in.
export function say(key, values = {}) {
  return own[key].replace(/\{(\w+)\}/g, (_, name) => String(values[name]));
}

// A sentence of the server.
export const translate = (sentence) => own.sentences?.[sentence] ?? sentence;

// Where a set of images is from.
export const saySource = (where) => own.sources[where] ?? own.sources["not known"];

export function formatNumber(value, digits = 0) {
  return value.toLocaleString(language, { minimumFractionDigits: digits, maximumFractionDigits: digits });
}

// A share of 100, with as many digits as a share has that people state.
export const formatShare = (share) => (100 * share).toLocaleString(language, { maximumSignificantDigits: 3 });

// A probability in per cent: two digits that say something, also near 0 and near 100.
export function formatPercent(probability) {
  const percent = 100 * probability;
  const digits = Math.ceil(-Math.log10(Math.max(Math.min(percent, 100 - percent), 1e-9)));
  return `${formatNumber(percent, Math.min(Math.max(digits + 1, percent < 10 || percent > 99 ? 1 : 0), 6))} %`;
}

// A number as people type it, with a comma or a point; NaN for anything else.
export function parseNumber(text) {
  const plain = text.trim().replace(",", ".");
  return /^\d*\.?\d+$/.test(plain) ? Number(plain) : NaN;
}

export const formatMoment = (date) => date.toLocaleString(language, { dateStyle: "long", timeStyle: "short" });

// Puts words where elements ask for them: as their text (data-words) or as their label (data-label).
export function fill(root) {
  for (const element of root.querySelectorAll("[data-words]")) element.textContent = say(element.dataset.words);
  for (const element of root.querySelectorAll("[data-label]")) element.setAttribute("aria-label", say(element.dataset.label));
}
