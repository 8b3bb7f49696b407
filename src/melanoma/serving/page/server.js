// All requests to the server, a few at a time; a busy server is asked again when it says so.

const AT_ONCE = 3;
const TRIES = 40;
const SECONDS = 120; // for one answer

let key = ""; // in this page's memory only
let asked = null; // the key that is being asked for
const queue = []; // of { start, urgent }
let running = 0;

// `askForKey` gives a key, or "" when the reader gives none.
let askForKey = async () => "";
export function onKeyNeeded(ask) {
  askForKey = ask;
}

export class Refusal extends Error {
  constructor(problem) {
    super(problem.detail ?? "");
    this.problem = problem;
  }
}

export class Unreachable extends Error {}

// What the model says of itself.
export const describe = () => send("v1/model", {}).then((answer) => answer.json());

// One result row. `tell(true)` when it has to wait since the server is busy, `tell(false)` when it is sent.
export async function judge(file, tell) {
  const form = new FormData();
  form.append("files", file, file.name);
  try {
    const answer = await inTurn(() => send("v1/predictions", { method: "POST", body: form }, tell), true);
    return (await answer.json())[0];
  } catch (error) {
    if (error instanceof Refusal && error.problem.predictions) return error.problem.predictions[0];
    throw error;
  }
}

// A picture of the image as a blob: with its heat map, or without (strength 0).
export async function draw(file, strength, longestSide) {
  const form = new FormData();
  form.append("files", file, file.name);
  const path = `v1/explanations?strength=${strength}&longest_side=${longestSide}`;
  return inTurn(async () => (await send(path, { method: "POST", body: form })).blob(), false);
}

// What is urgent comes before what is not.
function inTurn(work, urgent) {
  return new Promise((resolve, reject) => {
    const start = () => work().then(resolve, reject);
    const place = urgent ? queue.findIndex((one) => !one.urgent) : -1;
    queue.splice(place < 0 ? queue.length : place, 0, { start, urgent });
    next();
  });
}

function next() {
  if (running >= AT_ONCE || !queue.length) return;
  running += 1;
  queue.shift().start().finally(() => {
    running -= 1;
    next();
  });
}

async function send(path, options, tell = () => {}) {
  for (let tried = 1; ; tried++) {
    tell(false);
    const used = key;
    const answer = await reach(path, used ? { ...options, headers: { Authorization: `Bearer ${used}` } } : options);
    if (answer.ok) return answer;
    if (answer.status === 401 && (used !== key || (await renewKey()))) continue;
    if ((answer.status === 429 || answer.status === 503) && tried < TRIES) {
      tell(true);
      await wait(Number(answer.headers.get("Retry-After")) || 1);
      continue;
    }
    throw new Refusal(await answer.json().catch(() => ({ detail: `${answer.status} ${answer.statusText}` })));
  }
}

async function reach(path, options) {
  try {
    return await fetch(path, { ...options, cache: "no-store", signal: AbortSignal.timeout(1000 * SECONDS) });
  } catch (error) {
    throw new Unreachable(path, { cause: error });
  }
}

// One question for all requests that found out at the same time.
async function renewKey() {
  asked ??= askForKey().finally(() => {
    asked = null;
  });
  key = await asked;
  return key !== "";
}

const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
