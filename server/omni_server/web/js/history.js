// All answers so far, one column each: how long until it was heard, against the lines that people know.

import { element, svg } from "./element.js";
import { milliseconds } from "./waterfall.js";

const WIDTH = 360;
const HEIGHT = 120;
const SHOWN = 40; // answers
const LINES = [[200, "people: 200 ms"]];

export class History {
  constructor(place) {
    this.place = place;
    this.answers = new Map(); // id to {ms, counted, mode}
  }

  add(id, latency, mode) {
    this.answers.set(id, { ms: latency.total_ms, counted: latency.excluded.length === 0, mode });
    this.draw();
  }

  /** Median and 95th percentile of what counts, or null. */
  numbers(mode) {
    const counted = [...this.answers.values()].filter((one) => one.counted && one.mode === mode).map((one) => one.ms);
    if (counted.length === 0) return null;
    const sorted = counted.sort((a, b) => a - b);
    const at = (share) => {
      const place = share * (sorted.length - 1);
      const low = Math.floor(place);
      return sorted[low] + (sorted[Math.min(low + 1, sorted.length - 1)] - sorted[low]) * (place - low);
    };
    return { n: sorted.length, p50: at(0.5), p95: at(0.95) };
  }

  draw() {
    const shown = [...this.answers.values()].slice(-SHOWN);
    const top = Math.max(400, ...shown.map((one) => one.ms)) * 1.1;
    const y = (ms) => HEIGHT - (ms / top) * HEIGHT;
    const step = WIDTH / Math.max(12, shown.length);
    const modes = [...new Set([...this.answers.values()].map((one) => one.mode))];
    const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${HEIGHT + 4}`, "aria-hidden": "true", class: "history" });
    for (const [ms, label] of LINES) {
      picture.append(
        svg("line", { x1: 0, x2: WIDTH, y1: y(ms), y2: y(ms), class: "mark" }),
        svg("text", { x: WIDTH, y: y(ms) - 4, "text-anchor": "end" }, label),
      );
    }
    shown.forEach(({ ms, counted, mode }, i) => {
      const kind = `answer mode${modes.indexOf(mode) % 2}${counted ? "" : " apart"}`;
      picture.append(
        svg("rect", { x: i * step + 1, y: y(ms), width: step - 3, height: HEIGHT - y(ms), rx: 2, class: kind }),
      );
    });
    picture.append(svg("line", { x1: 0, x2: WIDTH, y1: HEIGHT, y2: HEIGHT, class: "rule" }));
    this.place.replaceChildren(picture, ...modes.map((mode, i) => this.summary(mode, i, modes.length > 1)));
  }

  summary(mode, i, several) {
    const numbers = this.numbers(mode);
    const words =
      numbers === null
        ? "none that counts yet"
        : `median ${milliseconds(numbers.p50)}, 95 % within ${milliseconds(numbers.p95)}, ` +
          `${numbers.n} answer${numbers.n === 1 ? "" : "s"}`;
    return element(
      "p",
      { class: "summary" },
      ...(several ? [element("i", { class: `mode${i % 2}` }), `${mode}: `] : []),
      words,
    );
  }
}
