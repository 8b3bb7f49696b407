// Probabilities at the share of melanomas in one's own practice, and where they lie on the scale.

const logit = (p) => Math.log(p / (1 - p));
const expit = (x) => 1 / (1 + Math.exp(-x));
const ENDS = [0.001, 0.999];
const MARKS = [0.00001, 0.0001, 0.001, 0.01, 0.1, 0.5, 0.9, 0.99, 0.999, 0.9999];

// The same evidence where `to` instead of `from` of all are melanomas: inference/calibration.py does likewise.
export function rebase(probability, from, to) {
  if (from === to || probability <= 0 || probability >= 1) return probability;
  return expit(logit(probability) + logit(to) - logit(from));
}

// A scale of log-odds, so that small shares can be told apart, from end to end wide enough for all of `values`.
export class Scale {
  constructor(values) {
    const inside = values.map((value) => Math.min(Math.max(value, 1e-9), 1 - 1e-9));
    this.low = logit(Math.min(ENDS[0], ...inside.map((value) => value / 3)));
    this.high = logit(Math.max(ENDS[1], ...inside.map((value) => 1 - (1 - value) / 3)));
  }

  // From 0 (left) to 1.
  place(probability) {
    const at = logit(Math.min(Math.max(probability, 1e-9), 1 - 1e-9));
    return Math.min(Math.max((at - this.low) / (this.high - this.low), 0), 1);
  }

  get ticks() {
    return MARKS.filter((mark) => this.place(mark) > 0.03 && this.place(mark) < 0.97);
  }
}
