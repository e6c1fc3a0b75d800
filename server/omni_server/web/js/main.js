// The page: its views, and the conversation wired to what is seen and touched.

import { setUpCamera } from "./camera.js";
import { byId, element } from "./element.js";
import { History } from "./history.js";
import { Log } from "./log.js";
import { Meter } from "./meter.js";
import { Pictures, NoPicture, ofFile, onDropped } from "./pictures.js";
import { chooseModes, whyNot } from "./server.js";
import { Settings } from "./settings.js";
import { Talk } from "./talk.js";
import { setUpViews } from "./views.js";
import { drawWaterfall } from "./waterfall.js";

const TURNS = {
  off: "The microphone is off",
  listening: "Listening",
  hearing: "Hearing you",
  over: "Your turn is over",
  thinking: "Thinking",
  speaking: "Speaking",
};

const latencies = new Map(); // answer to {latency, mode}
const history = new History(byId("history"));
const pictures = new Pictures(byId("pictures"));
const meter = new Meter(byId("level"));
const log = new Log(byId("log"), (id) => drawWaterfall(byId("waterfall"), latencies.get(id).latency));

const show = {
  status(state, words) {
    byId("status").dataset.state = state;
    byId("status").textContent = words;
  },
  notice(words) {
    byId("notice").textContent = words;
    byId("notice").hidden = words === "";
  },
  turn(state) {
    if (byId("turn").dataset.state === state) return;
    byId("turn").dataset.state = state;
    byId("turn").textContent = TURNS[state];
  },
  buttons({ mic, busy, pushes }) {
    byId("microphone").setAttribute("aria-pressed", String(mic));
    byId("stop").hidden = !busy;
    byId("done-speaking").hidden = !pushes;
  },
  latency(answer, latency) {
    const mode = latencies.get(answer)?.mode ?? talk.model ?? "this server";
    latencies.set(answer, { latency, mode });
    log.time(answer, latency);
    drawWaterfall(byId("waterfall"), latency);
    history.add(answer, latency, mode);
  },
  facts({ underruns, target, roundTrip }) {
    const lines = [
      ["Play-out buffer", `${target} ms`],
      ["Gaps in play-out", String(underruns)],
    ];
    if (roundTrip !== null) lines.push(["Round trip", `${roundTrip.toFixed(1)} ms`]);
    byId("facts").replaceChildren(
      ...lines.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))),
    );
  },
  async failed(state, about) {
    show.notice(await whyNot(state, about, settings.key));
  },
};

const settings = new Settings((_now, keyChanged) => {
  if (keyChanged) {
    talk.leave("A new key");
    refreshModes();
  } else talk.configure();
});
const talk = new Talk({ settings, log, meter, show });

async function took(files) {
  for (const file of files) await added(() => ofFile(file));
}

/** Show a picture, or say why it cannot be taken. */
async function added(picture) {
  try {
    await shown(await picture());
  } catch (error) {
    if (!(error instanceof NoPicture)) throw error;
    show.notice(error.message);
  }
}

/** While somebody speaks, a picture goes out at once: the question about it is asked aloud. Else it waits for words. */
async function shown(address) {
  show.notice("");
  if (talk.microphone.on) await talk.send("", [address], { answer: false });
  else {
    pictures.add(address);
    byId("message").focus();
  }
}

async function send() {
  const box = byId("message");
  const text = box.value.trim();
  if (!text && pictures.addresses.length === 0) {
    box.focus();
    return;
  }
  box.value = "";
  box.style.height = "";
  const addresses = pictures.take();
  try {
    await talk.send(text, addresses);
  } catch (error) {
    box.value = text;
    for (const address of addresses) pictures.add(address);
    show.notice(error.message);
  }
}

byId("composer").addEventListener("submit", (event) => {
  event.preventDefault();
  send();
});
byId("message").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  send();
});
byId("message").addEventListener("input", ({ target }) => {
  target.style.height = "";
  target.style.height = `${Math.min(target.scrollHeight, 160)}px`;
});
byId("microphone").addEventListener("click", () => talk.listen(!talk.microphone.on));
byId("stop").addEventListener("click", () => talk.stop());
byId("done-speaking").addEventListener("click", () => talk.doneSpeaking());
byId("attach").addEventListener("click", () => byId("file").click());
byId("file").addEventListener("change", async ({ target }) => {
  await took([...target.files]);
  target.value = "";
});
document.addEventListener("keydown", (event) => {
  if (event.key === "Escape" && talk.busy && !document.querySelector("dialog[open]")) talk.stop();
});
window.addEventListener("pagehide", () => {
  talk.listen(false);
  talk.leave("Left");
});

setUpCamera((address) => added(() => address));
const views = setUpViews(() => settings.key);
onDropped(byId("drop"), (files) => views.took(files) || took(files));

function refreshModes() {
  return chooseModes(byId("modes"), settings.key, (model) => {
    talk.leave(`From here on: ${model}`);
    talk.model = model;
  }).then((models) => {
    talk.model = models.chosen;
    if (models.why) show.notice(models.why);
  });
}
await refreshModes();

window.omni = { talk, history, latencies }; // for whoever looks into the page: tests, and the curious
