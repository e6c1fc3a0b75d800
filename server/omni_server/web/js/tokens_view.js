// Tokens: text, a picture and speech as the one sequence that the model reads, and what it costs.

import { element, svg } from "./element.js";
import { Inspect, newest } from "./inspect.js";
import { ofFile } from "./pictures.js";
import { ofSoundFile, recordButton } from "./recording.js";
import { samplePicture } from "./sample.js";

const PATCHES = [32, 16, 14, 8];
const PAUSE = 150; // ms after a key before the server is asked
const COLOURS = { text: "text", image: "image", audio: "audio" };

const many = (n, word) => `${n.toLocaleString()} ${word}${n === 1 ? "" : "s"}`;

export function setUp(place, key) {
  const inspect = new Inspect(key);
  const state = { image: samplePicture(), sound: null };
  const text = element("textarea", { id: "tokens-text", rows: 3 });
  text.value = "What is on the picture, and where?";
  const slider = element("input", { type: "range", id: "tokens-patch", min: 0, max: 3, step: 1, value: 1 });
  const slid = element("output", { for: "tokens-patch" });
  const budget = element("input", { type: "number", id: "tokens-budget", min: 1, max: 1000000, value: 512 });
  const file = element("input", { type: "file", accept: "image/*,audio/*", hidden: true });
  const add = element("button", { type: "button", class: "quiet" }, "Choose a picture or sound");
  const record = element("button", { type: "button", class: "quiet" }, "Record speech");
  const clear = element("button", { type: "button", class: "quiet" }, "Text alone");
  const notice = element("p", { class: "notice", role: "alert", hidden: true });
  const result = element("div", { class: "result", "aria-live": "polite" });

  place.append(
    element(
      "header",
      {},
      element("h1", { id: "tokens-title" }, "Tokens"),
      element("p", {}, "One sequence for everything: bytes or pieces of text, patches of a picture, frames of sound."),
    ),
    element(
      "div",
      { class: "panel" },
      element("label", { for: "tokens-text" }, "Text", text),
      element("div", { class: "tools" }, add, record, clear, file),
      element(
        "div",
        { class: "pair" },
        element("label", { for: "tokens-patch" }, "Patch size", element("span", { class: "range" }, slider, slid)),
        element("label", { for: "tokens-budget" }, "Budget in tokens", budget),
      ),
    ),
    notice,
    result,
  );

  function failed(message) {
    notice.textContent = message;
    notice.hidden = message === "";
  }

  const ask = newest(async () => {
    const parts = [];
    if (state.image) parts.push({ image: state.image });
    if (text.value) parts.push({ text: text.value });
    if (state.sound) parts.push({ audio: state.sound.audio, rate: state.sound.rate });
    const answer = await inspect.ask("tokens", { parts, patch: PATCHES[slider.value] });
    failed("");
    draw(result, answer, Number(budget.value) || 1);
  }, failed);

  async function took(files) {
    for (const one of files) {
      try {
        if (one.type.startsWith("audio/")) state.sound = await ofSoundFile(one);
        else state.image = await ofFile(one);
      } catch (error) {
        failed(error.message);
        return;
      }
    }
    ask();
  }

  let pause = 0;
  text.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(ask, PAUSE);
  });
  const slide = () => {
    slid.textContent = `${PATCHES[slider.value]} pixels`;
    slider.setAttribute("aria-valuetext", slid.textContent);
  };
  slider.addEventListener("input", () => {
    slide();
    ask();
  });
  budget.addEventListener("input", ask);
  add.addEventListener("click", () => file.click());
  file.addEventListener("change", async () => {
    await took([...file.files]);
    file.value = ""; // the same file may be chosen again
  });
  clear.addEventListener("click", () => {
    Object.assign(state, { image: null, sound: null });
    ask();
  });
  recordButton(
    record,
    (recorded) => {
      state.sound = recorded;
      ask();
    },
    failed,
  );
  slide();
  ask();
  return { took };
}

function draw(place, answer, budget) {
  place.replaceChildren(
    element(
      "p",
      { class: "total" },
      element("b", {}, many(answer.tokens, "token")),
      element(
        "span",
        {},
        `${many(answer.pairs, "pair")} of tokens in every attention map. Text by ${answer.vocabulary}.`,
      ),
    ),
    ribbon(answer),
    legend(answer),
    budgetBar(answer.tokens, budget),
    element("h2", {}, "What the patch size costs"),
    costs(answer),
    element("h2", {}, "In order"),
    ...answer.spans.map(card),
  );
}

const colour = (modality) => `--tone: var(--${COLOURS[modality] ?? "other"})`;

function ribbon({ spans, tokens }) {
  const parts = spans.map((one) => `${one.tokens} ${one.modality}`).join(", ");
  return element(
    "div",
    {
      class: "ribbon",
      role: "img",
      "aria-label": `The sequence of ${many(tokens, "token")}: ${parts}`,
    },
    ...spans.map((one) => element("span", { style: `flex: ${one.tokens}; ${colour(one.modality)}` })),
  );
}

function legend({ counts, tokens }) {
  return element(
    "ul",
    { class: "legend" },
    ...Object.entries(counts).map(([modality, count]) =>
      element(
        "li",
        { style: colour(modality) },
        `${modality} `,
        element("b", {}, count.toLocaleString()),
        ` ${Math.round((100 * count) / Math.max(tokens, 1))} %`,
      ),
    ),
  );
}

function budgetBar(tokens, budget) {
  const left = budget - tokens;
  const words =
    left >= 0
      ? `${many(left, "token")} left of ${budget.toLocaleString()}`
      : `${many(-left, "token")} too many for ${budget.toLocaleString()}`;
  const share = Math.min(1, tokens / budget);
  return element(
    "div",
    { class: `budget${left < 0 ? " over" : ""}` },
    element("div", {}, element("i", { style: `width: ${share * 100}%` })),
    element("p", {}, words),
  );
}

function costs({ costs: rows, patch }) {
  const most = Math.max(...rows.map((row) => row.pairs), 1);
  return element(
    "table",
    { class: "costs" },
    element(
      "thead",
      {},
      element(
        "tr",
        {},
        ...["Patch", "Tokens", "Attention pairs"].map((name) => element("th", { scope: "col" }, name)),
        element("td"),
      ),
    ),
    element(
      "tbody",
      {},
      ...rows.map((row) =>
        element(
          "tr",
          { class: row.patch === patch ? "chosen" : "" },
          element("th", { scope: "row" }, `${row.patch} px`),
          element("td", {}, row.tokens.toLocaleString()),
          element("td", {}, row.pairs.toLocaleString()),
          element(
            "td",
            { class: "bar", "aria-hidden": "true" },
            element("i", { style: `width: ${(row.pairs / most) * 100}%` }),
          ),
        ),
      ),
    ),
  );
}

function card(span) {
  return element(
    "article",
    { class: "span", style: colour(span.modality) },
    element(
      "header",
      {},
      element("h3", {}, span.modality),
      element("span", {}, many(span.tokens, "token")),
      element("span", {}, span.about),
      element("span", { class: "at" }, `from token ${span.start.toLocaleString()}`),
    ),
    content(span),
  );
}

function content(span) {
  if (span.pieces) return element("p", { class: "pieces" }, ...span.pieces.map((piece) => element("span", {}, piece)));
  if (span.modality === "image" && span.picture) {
    const lines = svg("svg", {
      viewBox: `0 0 ${span.columns} ${span.rows}`,
      preserveAspectRatio: "none",
      "aria-hidden": "true",
    });
    for (let x = 1; x < span.columns; x += 1) lines.append(svg("line", { x1: x, x2: x, y1: 0, y2: span.rows }));
    for (let y = 1; y < span.rows; y += 1) lines.append(svg("line", { x1: 0, x2: span.columns, y1: y, y2: y }));
    return element(
      "div",
      { class: "patches" },
      element("img", {
        src: span.picture,
        alt: `The picture made again from its ${span.tokens} tokens, ${span.rows} rows of ${span.columns}`,
      }),
      lines,
    );
  }
  if (span.picture) {
    return element("img", {
      class: "mel",
      src: span.picture,
      alt: `${span.frames} Mel frames, ${span.group} in a token, low tones at the bottom`,
    });
  }
  return "";
}
