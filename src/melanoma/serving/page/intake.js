// Every way an image comes in: chosen, photographed, dropped (folders too), pasted.

import { say } from "./language.js";

const HIDDEN = /^\./;

// `take` gets a list of files; `complain` a line when there was none.
export function listen(take, complain) {
  for (const id of ["files", "camera"]) {
    const input = document.getElementById(id);
    input.addEventListener("change", () => {
      take([...input.files]);
      input.value = ""; // so that the same file can be chosen again
    });
  }
  const hand = (files) => (files.length ? take(files) : complain(say("noFile")));
  listenToDrops(hand);
  document.addEventListener("paste", (event) => {
    if (isField(event.target)) return;
    event.preventDefault();
    hand([...event.clipboardData.files]);
  });
}

// A key or a number may be pasted as text.
const isField = (element) =>
  element instanceof HTMLInputElement && ["search", "number", "password", "text"].includes(element.type);

function listenToDrops(hand) {
  const zone = document.getElementById("drop");
  let inside = 0; // elements under the pointer: leaving a child is not leaving the page
  const mark = () => zone.classList.toggle("over", inside > 0);
  document.addEventListener("dragenter", () => {
    inside += 1;
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
    hand(await unpack(event.dataTransfer).catch(() => [])); // a file may be gone by now
  });
}

// All files of a drop, in alphabetical order within each folder.
async function unpack(transfer) {
  const entries = [...transfer.items].map((item) => item.webkitGetAsEntry?.()).filter(Boolean);
  if (!entries.some((entry) => entry.isDirectory)) return [...transfer.files];
  const files = [];
  for (const entry of entries) await walk(entry, files);
  return files;
}

async function walk(entry, files) {
  if (HIDDEN.test(entry.name)) return;
  if (entry.isFile) {
    files.push(await new Promise((resolve, reject) => entry.file(resolve, reject)));
    return;
  }
  const reader = entry.createReader();
  const inside = [];
  for (;;) {
    const some = await new Promise((resolve, reject) => reader.readEntries(resolve, reject)); // at most 100 at a time
    if (!some.length) break;
    inside.push(...some);
  }
  inside.sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  for (const one of inside) await walk(one, files);
}
