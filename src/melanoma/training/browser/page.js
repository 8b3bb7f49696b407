// Judges images in the browser as `melanoma predict` does without its domain check.

const BITS = 22; // of the fixed-point weights, as in Pillow's resampling
const MIN_SIDE = 32;

const said = JSON.parse(document.getElementById("description").textContent);

async function unpack(id) {
  const text = document.getElementById(id).textContent.trim();
  const packed = Uint8Array.from(atob(text), (c) => c.charCodeAt(0));
  const stream = new Blob([packed]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}

async function load() {
  const source = URL.createObjectURL(new Blob([await unpack("runtime")], { type: "text/javascript" }));
  const ort = await import(source);
  ort.env.wasm.numThreads = 1;
  ort.env.wasm.wasmBinary = await unpack("wasm");
  const session = await ort.InferenceSession.create(await unpack("network"), { executionProviders: ["wasm"] });
  return { ort, session };
}

const loading = load();

// Weights of a triangle filter as wide as the reduction, for every output pixel: Pillow's precompute_coeffs.
function weigh(size, side, from, to) {
  const step = (to - from) / side;
  const reach = Math.max(step, 1);
  return Array.from({ length: side }, (_, place) => {
    const centre = from + (place + 0.5) * step;
    const first = Math.max(Math.trunc(centre - reach + 0.5), 0);
    const last = Math.min(Math.trunc(centre + reach + 0.5), size);
    const raw = [];
    for (let x = first; x < last; x++) raw.push(Math.max(1 - Math.abs((x - centre + 0.5) / reach), 0));
    const sum = raw.reduce((a, b) => a + b, 0);
    return { first, weights: raw.map((w) => Math.trunc(0.5 + (w / sum) * 2 ** BITS)) };
  });
}

function round(sum) {
  return Math.min(Math.max(Math.floor((sum + 2 ** (BITS - 1)) / 2 ** BITS), 0), 255);
}

// RGBA of any size to RGB (side, side): across, then down, each rounded to whole grey levels, as Pillow does.
export function resize({ data, width, height }, side, [left, upper, right, lower]) {
  const across = weigh(width, side, left, right);
  const down = weigh(height, side, upper, lower);
  const middle = new Uint8Array(height * side * 3);
  for (let y = 0; y < height; y++)
    for (let x = 0; x < side; x++)
      for (let c = 0; c < 3; c++) {
        let sum = 0;
        const { first, weights } = across[x];
        for (let k = 0; k < weights.length; k++) sum += weights[k] * data[(y * width + first + k) * 4 + c];
        middle[(y * side + x) * 3 + c] = round(sum);
      }
  const out = new Uint8Array(side * side * 3);
  for (let y = 0; y < side; y++) {
    const { first, weights } = down[y];
    for (let i = 0; i < side * 3; i++) {
      let sum = 0;
      for (let k = 0; k < weights.length; k++) sum += weights[k] * middle[(first + k) * side * 3 + i];
      out[y * side * 3 + i] = round(sum);
    }
  }
  return out;
}

export function prepare(pixels) {
  const { size, fit } = said.preprocessing;
  const { width, height } = pixels;
  if (fit === "squash") return resize(pixels, size, [0, 0, width, height]);
  const side = Math.min(width, height);
  const left = (width - side) / 2;
  const upper = (height - side) / 2;
  return resize(pixels, size, [left, upper, left + side, upper + side]);
}

async function decode(file) {
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none", imageOrientation: "from-image" };
  const bitmap = await createImageBitmap(file, options);
  if (Math.min(bitmap.width, bitmap.height) < MIN_SIDE) throw new Error(`each side must have at least ${MIN_SIDE} pixels`);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { alpha: false }); // transparency lies over black
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, bitmap.width, bitmap.height);
}

export async function judge(file) {
  const { ort, session } = await loading;
  const { size } = said.preprocessing;
  const image = new ort.Tensor("uint8", prepare(await decode(file)), [1, size, size, 3]);
  const answer = await session.run({ image }, ["y_prob"]);
  return answer.y_prob.data[0];
}

function show(card, name, y_prob) {
  const refer = y_prob >= said.operating_point.threshold;
  card.querySelector("h2").textContent = name;
  card.querySelector(".decision").textContent = refer ? "Refer for examination" : "No sign found by this model";
  card.querySelector(".bar").style.width = `${100 * y_prob}%`;
  card.querySelector(".mark").style.left = `${100 * said.operating_point.threshold}%`;
  const threshold = (100 * said.operating_point.threshold).toFixed(1);
  card.querySelector(".number").textContent = `Probability of melanoma ${(100 * y_prob).toFixed(1)} %; refers from ${threshold} % on`;
}

async function take(files) {
  for (const file of files) {
    const card = document.getElementById("card").content.cloneNode(true).firstElementChild;
    document.getElementById("cards").prepend(card);
    card.querySelector("h2").textContent = file.name;
    card.querySelector(".decision").textContent = "Judging …";
    card.querySelector("img").src = URL.createObjectURL(file);
    try {
      show(card, file.name, await judge(file));
    } catch (error) {
      card.querySelector(".decision").textContent = "Cannot be read as an image";
      card.querySelector(".number").textContent = error.message;
      card.querySelector(".scale").remove();
    }
  }
}

const input = document.getElementById("files");
input.addEventListener("change", () => take(input.files));
document.addEventListener("dragover", (event) => event.preventDefault());
document.addEventListener("drop", (event) => {
  event.preventDefault();
  take(event.dataTransfer.files);
});
loading.then(
  () => (document.getElementById("state").textContent = "Ready."),
  (error) => (document.getElementById("state").textContent = `The network cannot be loaded: ${error.message}`),
);
globalThis.melanoma = { judge, prepare };
