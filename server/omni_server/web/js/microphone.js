// The microphone: opened on demand, echo cancelled, and every way that can fail said in a sentence with its remedy.

import { leave, listenTo, onPageClock } from "./sound.js";

const WANTED = { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 };

const REFUSED = {
  NotAllowedError:
    "The browser does not let this page use the microphone. Allow it in the address bar, or type instead.",
  NotFoundError: "There is no microphone. Connect one and try again, or type your message below.",
  NotReadableError: "Another program holds the microphone. Close it there and try again, or type your message below.",
  SecurityError: "Microphones only work on https:// or on localhost. Open the page there, or type your message below.",
};

export class NoMicrophone extends Error {}

export class Microphone {
  /** `piece({samples, level, endedAt})` every 20 ms; `gone(message)` when the device goes away. */
  constructor({ piece, gone }) {
    this.piece = piece;
    this.gone = gone;
    this.stream = null;
    this.nodes = [];
    this.rate = null; // Hz
    this.starting = null; // what whoever starts it meanwhile waits for as well
  }

  get on() {
    return this.stream !== null;
  }

  /** Begin to listen; throws `NoMicrophone` with what to do. */
  async start() {
    if (this.on) return;
    this.starting ??= this.open().finally(() => {
      this.starting = null;
    });
    await this.starting;
  }

  async open() {
    if (!navigator.mediaDevices?.getUserMedia) throw new NoMicrophone(REFUSED.SecurityError);
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: WANTED });
    } catch (error) {
      throw new NoMicrophone(REFUSED[error.name] ?? `The microphone does not open (${error.name}). Type instead.`);
    }
    let source;
    try {
      source = await listenTo(stream);
    } catch (error) {
      for (const track of stream.getTracks()) track.stop();
      throw error;
    }
    const { context } = source;
    const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0 });
    capture.port.onmessage = ({ data }) => this.piece({ ...data, endedAt: onPageClock(context, data.ended) });
    source.connect(capture);
    this.rate = context.sampleRate;
    this.stream = stream;
    this.nodes = [source, capture];
    stream.getAudioTracks()[0].addEventListener("ended", () => {
      this.stop();
      this.gone("The microphone was disconnected. Connect it and switch it on again, or type instead.");
    });
  }

  stop() {
    for (const node of this.nodes) {
      node.disconnect();
      node.port?.postMessage("stop");
    }
    for (const track of this.stream?.getTracks() ?? []) track.stop();
    if (this.nodes.length) leave(this.nodes[0].context);
    this.stream = null;
    this.nodes = [];
  }
}
