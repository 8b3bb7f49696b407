// Every way an image comes in: chosen, photographed, dropped (folders too), pasted.

import { say } from "./language.js";

const HIDDEN = /^\./;
const IMAGE = /\.(jpe?g|png|bmp|tiff?|webp|gif|dcm|dicom)$|^[^.]+$/i; // in folders; DICOM files often have no suffix

// `take` gets a list of { file, name }; `complain` a line when there was none.
export function listen(take, complain) {
  for (const id of ["files", "camera"]) {
    const input = document.getElementById(id);
    input.addEventListener("change", () => {
      take([...input.files].map(bring));
      input.value = ""; // so that the same file can be chosen again
    });
  }
  const hand = (files) => (files.length ? take(files) : complain(say("noFile")));
  listenToDrops(hand);
  document.addEventListener("paste", (event) => {
    const { files } = event.clipboardData;
    if (isField(event.target) || !event.clipboardData.types.includes("Files")) return;
    event.preventDefault();
    hand([...files].map(bring));
  });
}

const bring = (file) => ({ file, name: file.name });

// A key or a number may be pasted as text.
const isField = (element) => element instanceof HTMLInputElement && element.type !== "file";

function listenToDrops(hand) {
  const zone = document.getElementById("drop");
  let inside = 0; // elements under the pointer: leaving a child is not leaving the page
  const hasFiles = (event) => event.dataTransfer.types.includes("Files");
  const mark = () => zone.classList.toggle("over", inside > 0);
  document.addEventListener("dragenter", (event) => {
    inside += hasFiles(event) ? 1 : 0;
    mark();
  });
  document.addEventListener("dragleave", () => {
    inside = Math.max(inside - 1, 0);
    mark();
  });
  document.addEventListener("dragover", (event) => event.preventDefault());
  document.addEventListener("drop", async (event) => {
    event.preventDefault();
    inside = 0;
    mark();
    if (hasFiles(event)) hand(await unpack(event.dataTransfer));
  });
}

// All files of a drop, in alphabetical order within each folder, and there only those that may be images.
async function unpack(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files].map(bring);
  const files = [];
  for (const entry of entries) await walk(entry, files);
  return files;
}

async function walk(entry, files) {
  if (HIDDEN.test(entry.name)) return;
  try {
    if (entry.isDirectory) for (const one of await list(entry)) await walk(one, files);
    else if (IMAGE.test(entry.name)) {
      const file = await new Promise((resolve, reject) => entry.file(resolve, reject));
      files.push({ file, name: entry.fullPath.replace(/^\//, "") });
    }
  } catch {
    // gone or locked since the drop; the others are taken
  }
}

async function list(folder) {
  const reader = folder.createReader();
  const inside = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // at most 100 at a time
    if (!some.length) break;
    inside.push(...some);
  }
  return inside.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
}
