// One conversation after another with the server: the microphone and the keyboard go in, the log and the loudspeaker
// show what comes out.

import { Loudspeaker } from "./loudspeaker.js";
import { Microphone } from "./microphone.js";
import { configuration } from "./settings.js";
import { Wire, now } from "./wire.js";

const PLAYED_EVERY = 0.5; // s between play-out acknowledgements
const PLAYED_RATE = 24_000; // Hz

export class Talk {
  /** `show` is the page: status, turn, notice, log, meter, latency, facts, buttons. */
  constructor({ settings, log, meter, show }) {
    this.settings = settings;
    this.log = log;
    this.meter = meter;
    this.show = show;
    this.wire = null;
    this.model = null;
    this.answer = null; // id of the answer that is being made
    this.turn = "listening"; // or hearing, over, thinking: whose turn it is, and how far
    this.items = new Map(); // spoken item to {answer, receivedAt, acknowledged}
    this.microphone = new Microphone({
      piece: (piece) => this.piece(piece),
      gone: (message) => {
        show.notice(message);
        this.refresh();
      },
    });
    this.loudspeaker = new Loudspeaker({
      audible: (item, at) => this.audible(item, at),
      progress: (report) => this.progress(report),
      finished: (item, ms) => {
        this.wire?.ask("played", { item, ms });
        this.refresh();
      },
    });
  }

  get busy() {
    return this.answer !== null || this.loudspeaker.now.item !== null;
  }

  // The connection

  connect() {
    if (this.wire !== null) return;
    this.show.status("connecting", "Connecting");
    this.show.notice("");
    this.wire = new Wire({
      model: this.model,
      key: this.settings.key,
      told: (event) => this[event.type]?.(event),
      changed: (state, about) => this.changed(state, about),
    });
    this.configure();
    this.wire.open();
  }

  configure() {
    const format = (rate) => ({ type: "pcm16", rate });
    this.wire?.ask("configure", {
      ...configuration(this.settings.now),
      audio_in: format(this.microphone.rate ?? PLAYED_RATE),
      audio_out: format(PLAYED_RATE),
    });
    this.refresh();
  }

  /** End this conversation; the next thing that is said begins another. */
  leave(why) {
    if (this.wire === null) return;
    this.wire.close();
    this.forget();
    this.log.divide(why);
    this.show.status("off", "Not connected");
  }

  forget() {
    this.wire = null;
    this.answer = null;
    this.turn = "listening";
    this.loudspeaker.stop([...this.items.keys()]);
    this.items.clear();
    this.meter.forget();
    this.refresh();
  }

  changed(state, about) {
    if (state === "open") {
      this.show.status("on", "Connected");
    } else if (state === "lost") {
      this.show.status("lost", "Connection lost, coming back");
    } else if (state === "resumed") {
      this.show.status("on", "Connected again");
      if (about.lost) this.show.notice(`The connection was away for long: ${about.lost} messages of yours are lost.`);
    } else {
      this.forget();
      this.show.status("off", "Not connected");
      if (state === "ended") this.log.divide("The conversation ended");
      this.show.failed(state, about);
      this.microphone.stop();
      this.refresh();
    }
  }

  // What the user does

  async listen(on) {
    if (!on) {
      this.microphone.stop();
      this.refresh();
      return;
    }
    this.show.notice("");
    try {
      await this.loudspeaker.start();
      const rate = this.microphone.rate;
      await this.microphone.start();
      this.connect();
      if (rate !== this.microphone.rate) this.configure();
    } catch (error) {
      this.show.notice(error.message);
    }
    this.refresh();
  }

  async send(text, pictures, { answer = true } = {}) {
    if (this.settings.now.speaks) await this.loudspeaker.start();
    this.connect();
    if (answer) this.stop();
    const images = pictures.map((url) => ({ url }));
    this.wire.ask("say", { ...(text ? { text } : {}), ...(images.length ? { images } : {}) });
    if (answer) this.wire.ask("respond");
  }

  doneSpeaking() {
    this.wire?.ask("commit");
    this.wire?.ask("respond");
  }

  /** Be quiet, and do not go on. */
  stop() {
    if (this.answer !== null) this.wire?.ask("cancel");
    this.silence();
  }

  silence() {
    const was = this.loudspeaker.stop(this.answer === null ? [] : this.itemsOf(this.answer));
    if (was !== null) this.wire?.ask("truncate", { item: was.item, ms: Math.round(was.ms) });
    this.refresh();
  }

  itemsOf(answer) {
    return [...this.items].filter(([, about]) => about.answer === answer).map(([item]) => item);
  }

  piece({ samples, level, endedAt }) {
    if (!this.microphone.on) return;
    this.connect();
    this.wire.append(samples, endedAt);
    this.meter.add(level);
  }

  // What is heard

  audible(item, at) {
    const about = this.items.get(item);
    if (!about) return;
    this.wire?.ask("played", { item, ms: 0, received_at: about.receivedAt, first_at: at });
    about.acknowledged = now();
    this.refresh();
  }

  progress({ item, ms, underruns, target }) {
    this.show.facts({ underruns, target, roundTrip: this.wire?.roundTrip ?? null });
    const about = this.items.get(item);
    if (about && now() - about.acknowledged >= PLAYED_EVERY) {
      about.acknowledged = now();
      this.wire?.ask("played", { item, ms });
    }
  }

  refresh() {
    const mic = this.microphone.on;
    this.show.buttons({ mic, busy: this.busy, pushes: mic && this.settings.now.turns === "client" });
    const turn = this.turn === "listening" && this.loudspeaker.now.item !== null ? "speaking" : this.turn;
    this.show.turn(mic || turn === "thinking" ? turn : "off");
  }

  // What the session says: one method for each type of event

  opened({ model }) {
    this.show.status("on", `Connected to ${model}`);
  }

  speech_started({ item, at_ms }) {
    this.meter.speechStarted(at_ms);
    this.turn = "hearing";
    if (this.settings.now.interrupts) this.silence();
    this.log.wait(item, "user", "…");
    this.refresh();
  }

  speech_stopped({ at_ms }) {
    this.meter.speechStopped(at_ms);
    this.turn = "over";
    this.refresh();
  }

  item_added({ item }) {
    if (item.type !== "message" || item.role !== "user") return;
    for (const part of item.parts) {
      if (part.type === "text") this.log.say(item.id, "user", part.text);
      else if (part.type === "speech") this.log.wait(item.id, "user", "…");
    }
    const pictures = item.parts.filter((part) => part.type === "image").map((part) => part.url);
    if (pictures.length) this.log.show(item.id, "user", pictures);
  }

  item({ item }) {
    if (item.role !== "assistant" || !this.items.has(item.id)) return;
    const heard = item.parts.map((part) => part.transcript ?? part.text ?? "").join("");
    this.log.say(this.items.get(item.id).answer, "assistant", heard);
  }

  heard({ item, text, final }) {
    this.log.say(item, "user", text, { more: !final && this.log.has(item) && this.pieces.has(item) });
    this.pieces.add(item);
  }

  pieces = new Set(); // items of which some words are there

  not_heard({ item }) {
    if (this.pieces.has(item)) return; // some of it was understood
    this.log.say(item, "user", "");
    this.log.note(item, "user", "aside", "spoken; this engine does not write down what it hears");
  }

  answer_started({ answer, aside }) {
    if (aside) return;
    this.answer = answer;
    this.log.wait(answer, "assistant", "…");
    this.refresh();
  }

  thinking({ answer, on }) {
    if (on) this.log.wait(answer, "assistant", "Thinking …");
    this.turn = on ? "thinking" : "listening";
    this.refresh();
  }

  text({ answer, text }) {
    this.log.say(answer, "assistant", text, { more: this.pieces.has(answer) });
    this.pieces.add(answer);
  }

  sound({ item, answer, samples }) {
    if (!this.items.has(item)) {
      this.items.set(item, { answer, receivedAt: now(), acknowledged: now() });
      if (this.turn !== "hearing") this.turn = "listening";
    }
    this.loudspeaker.play(item, samples);
  }

  sound_ended({ item }) {
    this.loudspeaker.end(item);
  }

  answer_done({ answer, status, reason, error, latency }) {
    if (this.answer === answer) this.answer = null;
    if (!this.log.has(answer)) return;
    if (!this.pieces.has(answer)) {
      this.log.say(answer, "assistant", "");
      if (this.itemsOf(answer).length) this.log.note(answer, "assistant", "aside", "sound without words");
    }
    if (status === "cancelled") {
      this.log.note(answer, "assistant", "aside", reason === "turn_detected" ? "you spoke" : "stopped");
    } else if (status === "incomplete") {
      this.log.note(answer, "assistant", "aside", "as long as an answer may be");
    } else if (status === "failed") {
      this.log.note(answer, "assistant", "wrong", error?.message ?? "this answer failed");
    }
    if (latency) this.show.latency(answer, latency);
    if (this.turn !== "hearing") this.turn = "listening";
    this.refresh();
  }

  measured({ answer, latency }) {
    if (latency && this.log.has(answer)) this.show.latency(answer, latency);
  }

  truncated({ item }) {
    const about = this.items.get(item);
    if (!about) return;
    this.log.note(about.answer, "assistant", "aside", "stopped here");
    this.wire?.ask("show", { item });
  }

  duck({ on }) {
    this.loudspeaker.duck(on);
  }

  error({ code, message }) {
    if (code === "response_cancel_not_active") return; // it had just ended by itself
    this.show.notice(message);
  }

  ended({ message }) {
    this.show.notice(message);
  }
}
