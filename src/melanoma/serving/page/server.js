// All requests to the server, a few at a time; a busy server is asked again when it says so.

const AT_ONCE = 3;
const TRIES = 40;
const SECONDS = 120; // for one answer

let key = ""; // in this page's memory only
let asked = null; // the key that is being asked for
let declined = false; // the reader gave none
const queue = []; // of { start, urgent }
let running = 0;

// `askForKey(again)` gives a key, or "" when the reader gives none; `again`: that of before was wrong.
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

// One result row, and the prevalence that its `y_prob` is for. `tell(true)` when it has to wait since the server is
// busy, `tell(false)` when it is sent.
export async function judge(file, signal, tell) {
  const body = makeForm(file);
  try {
    const answer = await inTurn(() => send("v1/predictions", { method: "POST", body, signal }, tell), true, signal);
    const [row] = await answer.json();
    return { row, prevalence: Number(answer.headers.get("X-Prevalence")) };
  } catch (error) {
    if (error instanceof Refusal && error.problem.predictions) return { row: error.problem.predictions[0], prevalence: NaN };
    throw error;
  }
}

// A picture of the image as a blob, with its heat map or without (strength 0), and the digest of the bundle that drew it.
export async function draw(file, signal, strength, longestSide) {
  const path = `v1/explanations?strength=${strength}&longest_side=${longestSide}`;
  const work = async () => {
    const answer = await send(path, { method: "POST", body: makeForm(file), signal });
    return { picture: await answer.blob(), digest: answer.headers.get("X-Bundle-Digest") };
  };
  return inTurn(work, false, signal);
}

function makeForm(file) {
  const form = new FormData();
  form.append("files", file, file.name);
  return form;
}

// What is urgent comes before what is not; what is aborted never begins.
function inTurn(work, urgent, signal) {
  return new Promise((resolve, reject) => {
    const start = async () => {
      signal.throwIfAborted();
      return work();
    };
    const place = urgent ? queue.findIndex((one) => !one.urgent) : -1;
    queue.splice(place < 0 ? queue.length : place, 0, { start: () => start().then(resolve, reject), urgent });
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
    if (answer.status === 401 && (used !== key || (await renewKey(used)))) continue;
    if ((answer.status === 429 || answer.status === 503) && tried < TRIES) {
      tell(true);
      await wait(Number(answer.headers.get("Retry-After")) || 1);
      options.signal?.throwIfAborted();
      continue;
    }
    throw new Refusal(await answer.json().catch(() => ({ detail: `${answer.status} ${answer.statusText}` })));
  }
}

async function reach(path, options) {
  const late = AbortSignal.timeout(1000 * SECONDS);
  const signal = options.signal ? AbortSignal.any([options.signal, late]) : late;
  try {
    return await fetch(path, { ...options, cache: "no-store", signal });
  } catch (error) {
    options.signal?.throwIfAborted();
    throw new Unreachable(path, { cause: error });
  }
}

// The reader wants something anew: a key that was not given may be asked for again.
export function forgetRefusal() {
  declined = false;
}

// One question for all requests that found out at the same time; none any more once the reader has given no key.
async function renewKey(wrong) {
  if (declined) return false;
  asked ??= askForKey(wrong !== "").finally(() => {
    asked = null;
  });
  const given = await asked;
  declined = given === "";
  key = /^[\x21-\x7e]*$/.test(given) ? given : "?"; // no other letter can be sent, so no key has one
  return !declined;
}

const wait = (seconds) => new Promise((resolve) => setTimeout(resolve, 1000 * seconds));
