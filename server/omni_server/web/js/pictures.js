// Pictures on their way into a message: from a file, from the clipboard, dropped, or taken. Made small enough first.

import { element } from "./element.js";

const LARGEST = 1024; // pixels of a side; more is no use to a model that cuts it into patches
const QUALITY = 0.9; // of JPEG
const MOST = 4; // in one message

export class NoPicture extends Error {}

/** Any source of pixels as a data address. */
export function asAddress(source, width, height) {
  const scale = Math.min(1, LARGEST / Math.max(width, height));
  const canvas = document.createElement("canvas");
  canvas.width = Math.max(1, Math.round(width * scale));
  canvas.height = Math.max(1, Math.round(height * scale));
  const pen = canvas.getContext("2d");
  pen.fillStyle = "#fff"; // behind what is transparent
  pen.fillRect(0, 0, canvas.width, canvas.height);
  pen.drawImage(source, 0, 0, canvas.width, canvas.height);
  return canvas.toDataURL("image/jpeg", QUALITY);
}

/** A file as a data address; throws `NoPicture` with what to do. */
export async function ofFile(file) {
  let bitmap;
  try {
    bitmap = await createImageBitmap(file);
  } catch {
    throw new NoPicture(`${file.name || "This"} is no picture that the browser can read. Take a PNG, JPEG or WebP.`);
  }
  const address = asAddress(bitmap, bitmap.width, bitmap.height);
  bitmap.close();
  return address;
}

/** The pictures that go with the next message. */
export class Pictures {
  constructor(place) {
    this.place = place;
    this.addresses = [];
  }

  add(address) {
    if (this.addresses.length === MOST) throw new NoPicture(`A message takes ${MOST} pictures. Remove one first.`);
    this.addresses.push(address);
    this.draw();
  }

  take() {
    const taken = this.addresses;
    this.addresses = [];
    this.draw();
    return taken;
  }

  draw() {
    this.place.hidden = this.addresses.length === 0;
    this.place.replaceChildren(
      ...this.addresses.map((address, i) => {
        const remove = element("button", { type: "button", "aria-label": `Remove picture ${i + 1}` }, "×");
        remove.addEventListener("click", () => {
          this.addresses.splice(i, 1);
          this.draw();
        });
        return element("li", {}, element("img", { src: address, alt: `Picture ${i + 1} to send` }), remove);
      }),
    );
  }
}

/** Everything that is dropped on the page, or pasted into it. */
export function onDropped(veil, took) {
  let inside = 0;
  const holdsFiles = (event) => [...(event.dataTransfer?.types ?? [])].includes("Files");
  const show = (on) => {
    veil.hidden = !on;
  };
  window.addEventListener("dragenter", (event) => {
    if (!holdsFiles(event)) return;
    inside += 1;
    show(true);
  });
  window.addEventListener("dragleave", (event) => {
    if (!holdsFiles(event)) return;
    inside -= 1;
    if (inside <= 0) show(false);
  });
  window.addEventListener("dragover", (event) => {
    if (holdsFiles(event)) event.preventDefault();
  });
  window.addEventListener("drop", (event) => {
    if (!holdsFiles(event)) return;
    event.preventDefault();
    inside = 0;
    show(false);
    took([...event.dataTransfer.files]);
  });
  window.addEventListener("paste", (event) => {
    const files = [...(event.clipboardData?.files ?? [])];
    if (files.length) took(files);
  });
}
