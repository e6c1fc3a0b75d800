// The microphone on the audio thread: gathers 20 ms, and hands them over with their level and the moment they ended.

const PIECE_MS = 20;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.piece = new Float32Array(Math.round((sampleRate * PIECE_MS) / 1000));
    this.filled = 0;
    this.stopped = false;
    this.port.onmessage = () => {
      this.stopped = true;
    };
  }

  process(inputs) {
    if (this.stopped) return false; // else the browser goes on calling for as long as the page is open
    const channels = inputs[0];
    if (channels.length === 0) return true; // the microphone is not connected yet
    for (let i = 0; i < channels[0].length; i += 1) {
      let sum = 0;
      for (const channel of channels) sum += channel[i];
      this.piece[this.filled] = sum / channels.length;
      this.filled += 1;
      if (this.filled === this.piece.length) this.hand(currentTime + (i + 1) / sampleRate);
    }
    return true;
  }

  hand(ended) {
    const samples = this.piece;
    let power = 0;
    for (const x of samples) power += x * x;
    const level = Math.sqrt(power / samples.length);
    this.piece = new Float32Array(samples.length);
    this.filled = 0;
    this.port.postMessage({ samples, level, ended }, [samples.buffer]);
  }
}

registerProcessor("capture", Capture);
