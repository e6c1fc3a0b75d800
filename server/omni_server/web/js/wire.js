// A conversation in omni.v1: what the page asks for goes out, what the session says comes in as plain objects.
// Sound arrives as {type: "sound", item, answer, samples}; everything else as the JSON that docs/protocol.md lists.

import { LAST, packSound, unpack } from "./frame.js";
import { Link } from "./link.js";

const PING_EVERY = 5000; // ms
const FIRST_PINGS = 4; // at once, one after the other: the clocks have to be known before the first answer

export const now = () => performance.now() / 1000; // s on this page's clock

export class Wire {
  /** `told(event)` takes what the session says, `changed(state, about)` what happens to the connection. */
  constructor({ model, key, told, changed }) {
    this.told = told;
    this.streams = new Map(); // number of a stream to {item, answer, rate}
    this.sequence = 0;
    this.sample = 0;
    this.roundTrip = null; // ms, the shortest that was seen
    this.pings = 0;
    const socket = new URL("/v1/omni", window.location.href);
    socket.protocol = socket.protocol === "https:" ? "wss:" : "ws:";
    const protocols = ["omni.v1"];
    if (key) protocols.push(`omni-key.${key}`);
    this.link = new Link({
      url: (query) => socket.href + query + (model ? `&model=${encodeURIComponent(model)}` : ""),
      protocols,
      heard: (data) => this.heard(data),
      changed: (state, about) => {
        if (this.link.over) clearInterval(this.pinging);
        changed(state, about);
      },
    });
  }

  open() {
    this.link.open();
    this.pinging = setInterval(() => this.ping(), PING_EVERY);
  }

  close() {
    clearInterval(this.pinging);
    this.link.close();
  }

  // Out

  ask(type, fields = {}) {
    this.link.send(JSON.stringify({ type, ...fields }));
  }

  /** 20 ms of the microphone, and when the last of it was spoken. */
  append(samples, endedAt) {
    this.link.send(packSound(samples, this.sequence, this.sample, endedAt));
    this.sequence += 1;
    this.sample += samples.length;
  }

  ping() {
    if (!this.link.ready) return;
    this.pings += 1;
    this.ask("ping", { t: now(), ...(this.roundTrip === null ? {} : { round_trip_ms: this.roundTrip }) });
  }

  // In

  heard(event) {
    if (event instanceof ArrayBuffer) {
      this.frame(unpack(event));
      return;
    }
    if (event.type === "opened") this.ping();
    if (event.type === "output_started" && event.stream !== undefined) {
      this.streams.set(event.stream, { item: event.item, answer: event.answer, rate: event.audio.rate });
    } else if (event.type === "pong") {
      const took = (now() - event.t) * 1000;
      this.roundTrip = Math.min(this.roundTrip ?? took, took);
      if (this.pings < FIRST_PINGS) this.ping();
    }
    this.told(event);
  }

  frame({ stream, flags, samples }) {
    const from = this.streams.get(stream);
    if (!from) return;
    if (samples?.length) this.told({ type: "sound", ...from, samples });
    if (flags & LAST) {
      this.streams.delete(stream);
      this.told({ type: "sound_ended", ...from });
    }
  }
}
