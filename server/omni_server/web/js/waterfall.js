// The waterfall of one answer as a picture: its stages from left to right, to scale, and the same as a table for
// whoever does not see it.

import { element, svg } from "./element.js";

const STAGES = {
  uplink: ["Way to the server", "uplink"],
  endpoint: ["Waiting whether you go on", "endpoint"],
  stt: ["Speech to text", "work"],
  llm: ["First word of the text model", "work-2"],
  clause: ["First clause", "work-3"],
  tts: ["Text to speech", "work"],
  prefill: ["Taking in the rest", "work"],
  first_text: ["First word", "work-2"],
  first_codes: ["First sound tokens", "work-3"],
  decode: ["Tokens to sound", "decode"],
  send: ["Sending", "way-back"],
  downlink: ["Way back", "way-back"],
  playout: ["Buffer and loudspeaker", "uplink"],
};
const ENDS = { audible: "audible to you", received: "arrived here", first_sent: "sent by the server" };
const BEGINS = {
  speech_end_sent: "your last sound",
  speech_end: "your last sound at the server",
  turn_over: "the end of your turn",
};
const WIDTH = 360;
const ROW = 22;
const BAR = 10;

export const milliseconds = (ms) => (ms < 10 ? `${ms.toFixed(1)} ms` : `${Math.round(ms).toLocaleString()} ms`);

/** Rows of the picture: {label, colour, ms, from}, in order; what no stage has comes last. */
export function rows(latency) {
  let from = 0;
  const found = latency.stages.map(({ name, ms }) => {
    const [label, colour] = STAGES[name] ?? [name, "work"];
    const row = { label, colour, ms, from };
    from += ms;
    return row;
  });
  if (Math.abs(latency.residual_ms) >= 0.05) {
    found.push({ label: "Not accounted for", colour: "rest", ms: latency.residual_ms, from });
  }
  return found;
}

/** Draw into `place`. */
export function drawWaterfall(place, latency) {
  const lines = rows(latency);
  const scale = WIDTH / Math.max(latency.total_ms, 1);
  const height = lines.length * ROW + 8;
  const picture = svg("svg", { viewBox: `0 0 ${WIDTH} ${height}`, "aria-hidden": "true", class: "waterfall" });
  lines.forEach(({ colour, ms, from }, i) => {
    const y = i * ROW + 6;
    picture.append(svg("line", { x1: 0, x2: WIDTH, y1: y + BAR + 5, y2: y + BAR + 5, class: "rule" }));
    const width = Math.max(1.5, Math.abs(ms) * scale);
    const x = Math.min(from * scale, WIDTH - width);
    picture.append(svg("rect", { x, y, width, height: BAR, rx: 2, style: `fill: var(--${colour})` }));
  });
  const table = element("table", { class: "stages" });
  table.append(
    element("caption", { class: "unseen" }, "Stages of the last answer"),
    element(
      "thead",
      { class: "unseen" },
      element("tr", {}, element("th", { scope: "col" }, "Stage"), element("th", { scope: "col" }, "Time")),
    ),
    element(
      "tbody",
      {},
      ...lines.map(({ label, colour, ms }) =>
        element(
          "tr",
          {},
          element("th", { scope: "row" }, element("i", { style: `background: var(--${colour})` }), label),
          element("td", {}, milliseconds(ms)),
        ),
      ),
    ),
  );
  const about = `From ${BEGINS[latency.origin]} until the answer was ${ENDS[latency.end]}`;
  const excluded = latency.excluded.length ? ` This answer was ${latency.excluded.join(", ")}: it is not counted.` : "";
  place.replaceChildren(
    element(
      "p",
      { class: "total" },
      element("b", {}, milliseconds(latency.total_ms)),
      element("span", {}, `${about}.${excluded}`),
    ),
    picture,
    table,
  );
}
