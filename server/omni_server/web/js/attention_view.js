// Attention: pick a patch or a word, and see where it looks; by layer and head.

import { element } from "./element.js";
import { Inspect, newest } from "./inspect.js";
import { ofFile } from "./pictures.js";
import { samplePicture } from "./sample.js";

const PAUSE = 250; // ms after a key before the server is asked

const percent = (weight) => `${(100 * weight).toFixed(weight < 0.01 ? 2 : 1)} %`;

export function setUp(place, key) {
  const inspect = new Inspect(key);
  const state = { image: samplePicture(), answer: null, weights: null, token: null };
  const text = element("textarea", { id: "attention-text", rows: 2 });
  text.value = "What is on the picture?";
  const layer = element("select", { id: "attention-layer" });
  const head = element("select", { id: "attention-head" });
  const file = element("input", { type: "file", accept: "image/*", hidden: true });
  const add = element("button", { type: "button", class: "quiet" }, "Choose a picture");
  const notice = element("p", { class: "notice", role: "alert", hidden: true });
  const model = element("p", { class: "model" });
  const seen = element("div", { class: "result looks" });
  const words = element("p", { class: "said-of", "aria-live": "polite" });

  place.append(
    element(
      "header",
      {},
      element("h1", { id: "attention-title" }, "Attention"),
      element("p", {}, "Pick a patch or a word. What it looks at is filled in, the strongest the most."),
    ),
    element(
      "div",
      { class: "panel" },
      element("label", { for: "attention-text" }, "Text", text),
      element(
        "div",
        { class: "pair" },
        element("label", { for: "attention-layer" }, "Layer", layer),
        element("label", { for: "attention-head" }, "Head", head),
      ),
      element("div", { class: "tools" }, add, file),
      model,
    ),
    notice,
    words,
    seen,
  );

  function failed(message) {
    notice.textContent = message;
    notice.hidden = message === "";
  }

  const ask = newest(async () => {
    const fields = { text: text.value, layer: Number(layer.value || 0), head: Number(head.value || -1) };
    if (state.image) fields.image = state.image;
    const answer = await inspect.ask("attention", fields);
    failed("");
    const bytes = Uint8Array.from(atob(answer.weights), (c) => c.charCodeAt(0));
    state.weights = new Uint16Array(bytes.buffer);
    const before = state.answer;
    state.answer = answer;
    options(layer, answer.layers, answer.layer, (i) => `Layer ${i + 1}`, 0);
    options(head, answer.heads, answer.head, (i) => (i < 0 ? "All, their mean" : `Head ${i + 1}`), -1);
    model.textContent = answer.trained
      ? `Model: ${answer.model}.`
      : "No trained model is installed here. This is a small model with random weights: it shows how attention " +
        "is built, not what a model has learned.";
    if (JSON.stringify(before?.spans) !== JSON.stringify(answer.spans)) build();
    fill();
  }, failed);

  /** One button for every token; the arrow keys go from one to the next. */
  function build() {
    const { spans, tokens } = state.answer;
    state.token = tokens - 1;
    const buttons = [];
    const token = (index, about, content = []) => {
      const button = element("button", { type: "button", class: "token", tabindex: -1 }, ...content);
      button.dataset.about = about;
      button.addEventListener("click", () => pick(index));
      buttons[index] = button;
      return button;
    };
    seen.replaceChildren(
      ...spans.map((span) => {
        if (span.modality === "text") {
          return element(
            "div",
            { class: "words-of", role: "group", "aria-label": "Text" },
            ...span.pieces.map((piece, i) => token(span.start + i, `“${piece}”`, [piece])),
          );
        }
        const grid = element("div", {
          class: "grid",
          role: "group",
          "aria-label": "Picture",
          style: `grid-template-columns: repeat(${span.columns}, 1fr)`,
        });
        for (let i = 0; i < span.tokens; i += 1) {
          const [row, column] = [Math.floor(i / span.columns) + 1, (i % span.columns) + 1];
          grid.append(token(span.start + i, `patch in row ${row}, column ${column}`));
        }
        return element(
          "div",
          { class: "picture-of" },
          element("img", { src: span.picture, alt: "The picture as the model sees it" }),
          grid,
        );
      }),
    );
    state.buttons = buttons;
  }

  function pick(index) {
    state.token = index;
    fill();
    state.buttons[index].focus();
  }

  function fill() {
    const { answer, weights, token, buttons } = state;
    const row = weights.subarray(token * answer.tokens, (token + 1) * answer.tokens);
    const strongest = Math.max(...row.map((weight, i) => (i === token ? 0 : weight)), 1);
    buttons.forEach((button, i) => {
      const share = row[i] / answer.full;
      button.style.setProperty("--look", Math.min(1, row[i] / strongest).toFixed(3));
      button.setAttribute("aria-label", `${button.dataset.about}: ${percent(share)}`);
      button.setAttribute("aria-pressed", String(i === token));
      button.tabIndex = i === token ? 0 : -1;
    });
    const order = [...row.keys()].sort((a, b) => row[b] - row[a]).slice(0, 3);
    words.textContent = `The ${buttons[token].dataset.about} looks most at ${order
      .map((i) => `${i === token ? "itself" : buttons[i].dataset.about} (${percent(row[i] / answer.full)})`)
      .join(", ")}.`;
  }

  seen.addEventListener("keydown", (event) => {
    const columns =
      state.answer?.spans.find((span) => state.token >= span.start && state.token < span.start + span.tokens)
        ?.columns ?? 1;
    const step = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: columns, ArrowUp: -columns }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    pick(Math.max(0, Math.min(state.answer.tokens - 1, state.token + step)));
  });

  async function took(files) {
    if (files.length === 0) return;
    try {
      state.image = await ofFile(files[0]);
      ask();
    } catch (error) {
      failed(error.message);
    }
  }

  let pause = 0;
  text.addEventListener("input", () => {
    clearTimeout(pause);
    pause = setTimeout(ask, PAUSE);
  });
  layer.addEventListener("change", ask);
  head.addEventListener("change", ask);
  add.addEventListener("click", () => file.click());
  file.addEventListener("change", async () => {
    await took([...file.files]);
    file.value = ""; // the same file may be chosen again
  });
  ask();
  return { took };
}

function options(select, count, chosen, name, first) {
  if (select.options.length === count - first) return;
  select.replaceChildren(
    ...Array.from({ length: count - first }, (_, i) =>
      element("option", { value: i + first, selected: i + first === chosen }, name(i + first)),
    ),
  );
}
