// The models that judged, by digest: the server may get a new one while the page is open.

import { describe } from "./server.js";

const known = new Map();
let latest = null;

// Asks the server which model it has now.
export async function learnModel() {
  latest = await describe();
  known.set(latest.bundle_digest, latest);
  return latest;
}

// The last one that the server was asked about, null before.
export const currentModel = () => latest;

// The one that made a row; null when the server has another one again.
export async function findModel(digest) {
  if (!known.has(digest)) await learnModel();
  return known.get(digest) ?? null;
}

export const sayModel = (model) => ({
  name: model.name,
  digest: model.bundle_digest.slice(0, 12),
  version: model.melanoma_version,
});
