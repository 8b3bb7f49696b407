// Probabilities at the share of melanomas in one's own practice, and where they lie on the scale.

const logit = (p) => Math.log(p / (1 - p));
const expit = (x) => 1 / (1 + Math.exp(-x));
const ENDS = [0.001, 0.999].map(logit); // of the scale, which is one of log-odds so that small shares can be told apart

export const TICKS = [0.001, 0.01, 0.1, 0.5, 0.9, 0.99];

// The same evidence where `to` instead of `from` of all are melanomas: inference/calibration.py does likewise.
export function rebase(probability, from, to) {
  if (from === to || probability <= 0 || probability >= 1) return probability;
  return expit(logit(probability) + logit(to) - logit(from));
}

// From 0 (left) to 1.
export function place(probability) {
  const clipped = Math.min(Math.max(logit(Math.min(Math.max(probability, 1e-9), 1 - 1e-9)), ENDS[0]), ENDS[1]);
  return (clipped - ENDS[0]) / (ENDS[1] - ENDS[0]);
}
