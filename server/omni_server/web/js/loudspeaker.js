// The loudspeaker: plays answers in order, and knows what of them was heard and when.

import { onPageClock, outputLatency, sound } from "./sound.js";

export class Loudspeaker {
  /** `audible(item, at)`: its first sample is heard; `progress(report)`: ten times a second while something plays. */
  constructor({ audible, progress, finished }) {
    this.audible = audible;
    this.progress = progress;
    this.finished = finished;
    this.node = null;
    this.silenced = new Set(); // items of which no more is to be played
    this.now = { item: null, ms: 0, level: 0, underruns: 0, target: 0, waiting: 0 };
    this.energy = 0; // of all that was played, for whoever wants to know whether there was sound
  }

  async start() {
    if (this.node !== null) return;
    const context = await sound();
    this.node ??= new AudioWorkletNode(context, "playout", { numberOfInputs: 0, outputChannelCount: [1] });
    this.node.port.onmessage = ({ data }) => this.told(data);
    this.node.connect(context.destination);
  }

  play(item, samples) {
    if (this.node === null || this.silenced.has(item)) return;
    this.node.port.postMessage({ kind: "sound", item, samples }, [samples.buffer]);
  }

  end(item) {
    this.node?.port.postMessage({ kind: "end", item });
  }

  duck(on) {
    this.node?.port.postMessage({ kind: "duck", on });
  }

  /** Stop with a short fade; returns what was playing: {item, ms}. */
  stop(items = []) {
    const { item, ms } = this.now;
    for (const one of [item, ...items]) if (one) this.silenced.add(one);
    this.node?.port.postMessage({ kind: "stop" });
    this.now = { ...this.now, item: null, ms: 0 };
    return item === null ? null : { item, ms };
  }

  told(data) {
    if (data.kind === "audible") {
      if (!this.silenced.has(data.item)) {
        this.now = { ...this.now, item: data.item, ms: 0 };
        this.audible(data.item, onPageClock(this.node.context, data.at) + outputLatency(this.node.context));
      }
      return;
    }
    this.energy += data.level * data.level;
    const over = data.kind !== "playing" || this.silenced.has(data.item);
    this.now = { ...data, item: over ? null : data.item };
    this.progress(data);
    if (data.kind === "finished") this.finished(data.item, data.ms);
  }
}
