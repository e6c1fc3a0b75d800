// The last six seconds of the microphone as a strip: its level, where the server heard speech, and where it judged the
// turn to be over.

const PIECES = 300; // of 20 ms
const PER_MS = 1 / 20;
const QUIETEST = -60; // dB, an empty bar

export class Meter {
  constructor(canvas) {
    this.canvas = canvas;
    this.levels = new Float32Array(PIECES);
    this.count = 0; // pieces that were heard
    this.spans = []; // {from, to} in pieces, `to` null while it lasts
    this.overs = []; // pieces at which a turn was judged over
    this.drawing = false;
  }

  add(level) {
    const decibel = 20 * Math.log10(Math.max(level, 1e-6));
    this.levels[this.count % PIECES] = Math.max(0, 1 - decibel / QUIETEST);
    this.count += 1;
    this.draw();
  }

  speechStarted(atMs) {
    this.spans.push({ from: atMs * PER_MS, to: null });
    this.spans = this.spans.slice(-8);
  }

  speechStopped(atMs) {
    const last = this.spans.at(-1);
    if (last) last.to = atMs * PER_MS;
    this.overs.push(this.count);
    this.overs = this.overs.slice(-8);
    this.draw();
  }

  /** The server counts anew. */
  forget() {
    this.levels.fill(0);
    this.count = 0;
    this.spans = [];
    this.overs = [];
    this.draw();
  }

  draw() {
    if (this.drawing) return;
    this.drawing = true;
    requestAnimationFrame(() => {
      this.drawing = false;
      this.paint();
    });
  }

  paint() {
    const { canvas } = this;
    const ratio = window.devicePixelRatio || 1;
    const [width, height] = [canvas.clientWidth * ratio, canvas.clientHeight * ratio];
    if (width === 0) return;
    if (canvas.width !== Math.round(width)) canvas.width = Math.round(width);
    if (canvas.height !== Math.round(height)) canvas.height = Math.round(height);
    const pen = canvas.getContext("2d");
    const style = getComputedStyle(canvas);
    const [quiet, speech, over] = ["--line-strong", "--accent", "--endpoint"].map((name) =>
      style.getPropertyValue(name),
    );
    pen.clearRect(0, 0, canvas.width, canvas.height);
    const step = canvas.width / PIECES;
    const first = this.count - PIECES;
    for (let i = Math.max(0, first); i < this.count; i += 1) {
      const spoken = this.spans.some(({ from, to }) => i >= from && (to === null || i < to));
      const tall = Math.max(ratio, this.levels[i % PIECES] * canvas.height);
      pen.fillStyle = spoken ? speech : quiet;
      pen.fillRect((i - first) * step, (canvas.height - tall) / 2, Math.max(1, step * 0.7), tall);
    }
    pen.fillStyle = over;
    for (const at of this.overs) {
      if (at > first) pen.fillRect((at - first) * step, 0, 2 * ratio, canvas.height);
    }
  }
}
