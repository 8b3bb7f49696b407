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

// A probability in per cent, never rounded to a certainty that is none.
export function formatPercent(probability) {
  const percent = 100 * probability;
  if (percent < 0.1) return `< ${formatNumber(0.1, 1)} %`;
  if (percent > 99.9) return `> ${formatNumber(99.9, 1)} %`;
  return `${formatNumber(percent, percent < 10 || percent > 99 ? 1 : 0)} %`;
}

// Puts words where elements ask for them: as their text (data-words) or as their label (data-label).
export function fill(root) {
  for (const element of root.querySelectorAll("[data-words]")) element.textContent = say(element.dataset.words);
  for (const element of root.querySelectorAll("[data-label]")) element.setAttribute("aria-label", say(element.dataset.label));
}
