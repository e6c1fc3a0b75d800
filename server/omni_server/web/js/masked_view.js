// Masked: what a masked autoencoder sees of a picture and paints from it, and which spans of speech wav2vec hides.

import { element, svg } from "./element.js";
import { Inspect, newest } from "./inspect.js";
import { ofFile } from "./pictures.js";
import { ofSoundFile, recordButton } from "./recording.js";

export function setUp(place, key) {
  const inspect = new Inspect(key);
  const state = { image: null, pictureSeed: 0, sound: null, soundSeed: 0 };
  const file = element("input", { type: "file", accept: "image/*,audio/*", hidden: true });
  const button = (words) => element("button", { type: "button", class: "quiet" }, words);
  const [add, drawn, again, other, record, addSound] = [
    "Choose a picture",
    "Draw another",
    "Another mask",
    "Another mask",
    "Record speech",
    "Choose a sound",
  ].map(button);
  const notice = element("p", { class: "notice", role: "alert", hidden: true });
  const pictures = element("div", { class: "result three" });
  const pictureWords = element("p", { class: "said-of", "aria-live": "polite" });
  const stretches = element(
    "div",
    { class: "result" },
    element("p", { class: "empty" }, "Record a sentence, or choose a sound file."),
  );
  const soundWords = element("p", { class: "said-of", "aria-live": "polite" });
  other.disabled = true;

  place.append(
    element(
      "header",
      {},
      element("h1", { id: "masked-title" }, "Masked"),
      element(
        "p",
        {},
        "How models learn without labels: most of the input is hidden, and they have to say what was there.",
      ),
    ),
    notice,
    element("h2", {}, "A picture, three quarters hidden"),
    element("div", { class: "tools" }, add, drawn, again, file),
    pictures,
    pictureWords,
    element("h2", {}, "Speech, in hidden spans"),
    element("div", { class: "tools" }, record, addSound, other),
    stretches,
    soundWords,
  );

  function failed(message) {
    notice.textContent = message;
    notice.hidden = message === "";
  }

  const paint = newest(async () => {
    const image = state.image ? { image: state.image } : {};
    const answer = await inspect.ask("masked", { seed: state.pictureSeed, ...image });
    failed("");
    const share = Math.round((100 * answer.hidden) / answer.patches);
    pictures.replaceChildren(
      ...[
        ["drawn", "The picture"],
        ["seen", `Seen: ${answer.patches - answer.hidden} of ${answer.patches} patches`],
        ["painted", "Painted from what was seen"],
      ].map(([name, words]) =>
        element("figure", {}, element("img", { src: answer[name], alt: words }), element("figcaption", {}, words)),
      ),
    );
    pictureWords.textContent =
      `${share} % is hidden. Squared error on the hidden patches ${answer.error.toFixed(4)}; ` +
      `painting the mean colour of what is seen gives ${answer.plain.toFixed(4)}. ` +
      `This small model was trained on ${answer.trained_on}, so a photograph only comes back as its coarse colours.`;
  }, failed);

  const hide = newest(async () => {
    if (!state.sound) return;
    const { audio, rate } = state.sound;
    const answer = await inspect.ask("spans", { audio, rate, seed: state.soundSeed });
    failed("");
    const cover = svg(
      "svg",
      { viewBox: `0 0 ${Math.max(answer.frames, 1)} 1`, preserveAspectRatio: "none", "aria-hidden": "true" },
      ...answer.stretches.map(([from, to]) => svg("rect", { x: from, width: to - from, y: 0, height: 1 })),
    );
    stretches.replaceChildren(
      element(
        "div",
        { class: "covered" },
        element("img", { src: answer.picture, alt: `${answer.seconds.toFixed(1)} seconds of sound as Mel frames` }),
        cover,
      ),
    );
    const share = Math.round((100 * answer.hidden) / Math.max(answer.frames, 1));
    soundWords.textContent = answer.hidden
      ? `${answer.hidden} of ${answer.frames} frames are hidden (${share} %), in ${answer.stretches.length} ` +
        `stretches of spans of ${answer.span} frames, ` +
        `${Math.round(answer.span * answer.step_s * 1000)} ms each; they may overlap.`
      : `${answer.frames} frames: shorter than one span, so nothing is hidden.`;
    other.disabled = false;
  }, failed);

  async function took(files) {
    try {
      for (const one of files) {
        if (one.type.startsWith("audio/")) {
          state.sound = await ofSoundFile(one);
          hide();
        } else {
          state.image = await ofFile(one);
          paint();
        }
      }
    } catch (error) {
      failed(error.message);
    }
  }

  add.addEventListener("click", () => {
    file.accept = "image/*";
    file.click();
  });
  addSound.addEventListener("click", () => {
    file.accept = "audio/*";
    file.click();
  });
  file.addEventListener("change", async () => {
    await took([...file.files]);
    file.value = "";
  });
  drawn.addEventListener("click", () => {
    state.image = null;
    state.pictureSeed += 1;
    paint();
  });
  again.addEventListener("click", () => {
    state.pictureSeed += 1;
    if (state.image === null) state.image = pictures.querySelector("img")?.src ?? null; // the same picture again
    paint();
  });
  other.addEventListener("click", () => {
    state.soundSeed += 1;
    hide();
  });
  recordButton(
    record,
    (recorded) => {
      state.sound = recorded;
      hide();
    },
    failed,
  );
  paint();
  return { took };
}
