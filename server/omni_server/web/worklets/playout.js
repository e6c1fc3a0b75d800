// The loudspeaker on the audio thread. Answers are played in order, each after a small buffer has filled; the buffer
// grows by a step with every underrun and shrinks slowly while there is none: a steady network gets a short one.

const LEAST_MS = 20;
const MOST_MS = 300;
const STEP_MS = 30;
const CALM_S = 20; // without an underrun, after which the buffer shrinks
const FADE = 0.004; // s of gain change: no click when it gets quiet or stops
const REPORT_S = 0.1;
const DUCKED = 0.2; // gain while somebody may be interrupting

class Playout extends AudioWorkletProcessor {
  constructor() {
    super();
    this.target = LEAST_MS; // ms
    this.before = LEAST_MS; // ms, the target before it ran dry
    this.underruns = 0;
    this.calmSince = 0;
    this.gain = 1;
    this.wanted = 1;
    this.power = 0; // of what was played since the last report
    this.powerSamples = 0;
    this.reported = 0;
    this.forget();
    this.port.onmessage = ({ data }) => this.told(data);
  }

  forget() {
    this.queue = []; // {item, samples, at}
    this.waiting = 0; // samples
    this.item = null; // that is playing
    this.played = 0; // samples of it
    this.running = false;
    this.ended = new Set(); // items whose last sample is here
    this.stopping = false;
    this.later = []; // what was said behind a stop: it is of the next answer
  }

  told(said) {
    if (this.stopping) {
      this.later.push(said);
    } else if (said.kind === "sound") {
      this.queue.push({ item: said.item, samples: said.samples, at: 0 });
      this.waiting += said.samples.length;
    } else if (said.kind === "end") {
      this.ended.add(said.item);
      if (!this.running && this.item === said.item && this.waiting === 0) {
        this.underruns -= 1; // it was not dry in the middle, but over: only nobody had said so yet
        this.target = this.before;
        this.finish();
      }
    } else if (said.kind === "duck") {
      this.wanted = said.on ? DUCKED : 1;
    } else if (said.kind === "stop") {
      this.stopping = true; // fades out first: see process
    }
  }

  process(_inputs, outputs) {
    const out = outputs[0][0];
    if (this.stopping && (!this.running || this.gain < 0.01)) {
      this.report("stopped");
      const { later } = this;
      this.forget();
      Object.assign(this, { gain: 1, wanted: 1 });
      for (const said of later) this.told(said);
    }
    if (!this.running) this.begin();
    if (this.running) this.fill(out);
    for (let i = 0; i < out.length; i += 1) this.power += out[i] * out[i];
    this.powerSamples += out.length;
    if (currentTime - this.reported >= REPORT_S) this.report("playing");
    return true;
  }

  begin() {
    const first = this.queue[0];
    if (!first) return;
    const enough = (this.waiting / sampleRate) * 1000 >= this.target || this.ended.has(first.item);
    if (!enough) return;
    this.running = true;
    this.calmSince = currentTime;
    this.next(first.item);
  }

  next(item) {
    if (this.item === item) return;
    if (this.item !== null) this.finish();
    this.item = item;
    this.played = 0;
    this.port.postMessage({ kind: "audible", item, at: currentTime });
  }

  fill(out) {
    const step = 1 / (FADE * sampleRate);
    const aim = this.stopping ? 0 : this.wanted;
    let i = 0;
    while (i < out.length && this.queue.length > 0) {
      const head = this.queue[0];
      this.next(head.item);
      while (i < out.length && head.at < head.samples.length) {
        this.gain += Math.max(-step, Math.min(step, aim - this.gain));
        out[i] = head.samples[head.at] * this.gain;
        i += 1;
        head.at += 1;
        this.played += 1;
        this.waiting -= 1;
      }
      if (head.at === head.samples.length) this.queue.shift();
    }
    if (i < out.length) this.dry();
    else if (currentTime - this.calmSince > CALM_S) {
      this.target = Math.max(LEAST_MS, this.target - STEP_MS);
      this.calmSince = currentTime;
    }
  }

  dry() {
    this.running = false;
    if (this.ended.has(this.item)) {
      this.finish();
      return;
    }
    this.underruns += 1;
    this.before = this.target;
    this.target = Math.min(MOST_MS, this.target + STEP_MS);
  }

  finish() {
    this.report("finished");
    this.ended.delete(this.item);
    this.item = null;
  }

  report(kind) {
    const level = this.powerSamples ? Math.sqrt(this.power / this.powerSamples) : 0;
    this.power = 0;
    this.powerSamples = 0;
    this.reported = currentTime;
    const { item, underruns, target } = this;
    const ms = (this.played / sampleRate) * 1000;
    this.port.postMessage({ kind, item, ms, level, underruns, target, waiting: (this.waiting / sampleRate) * 1000 });
  }
}

registerProcessor("playout", Playout);
