// A few seconds of the microphone or of a sound file, as /v1/inspect takes them.

import { Microphone } from "./microphone.js";
import { RATE } from "./sound.js";

const LONGEST = 10; // s

function asAsked(samples, rate) {
  const bytes = new Uint8Array(samples.length * 2);
  const view = new DataView(bytes.buffer);
  samples.forEach((x, i) => view.setInt16(2 * i, Math.max(-32768, Math.min(32767, Math.round(x * 32768))), true));
  let text = "";
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return { audio: btoa(text), rate, seconds: samples.length / rate };
}

/** A sound file, its first seconds; throws with what to do. */
export async function ofSoundFile(file) {
  const context = new OfflineAudioContext(1, 1, RATE); // the one that plays would first wait for a touch
  let decoded;
  try {
    decoded = await context.decodeAudioData(await file.arrayBuffer());
  } catch {
    throw new Error(`${file.name} is no sound that the browser can read. Take a WAV, MP3 or Ogg file.`);
  }
  return asAsked(decoded.getChannelData(0).slice(0, LONGEST * decoded.sampleRate), decoded.sampleRate);
}

/** A button that records while it is pressed in; `took({audio, rate, seconds})`, `failed(message)`. */
export function recordButton(button, took, failed) {
  let pieces = [];
  const microphone = new Microphone({
    piece: ({ samples }) => {
      pieces.push(samples);
      if (pieces.length * 0.02 >= LONGEST) stop();
    },
    gone: (message) => {
      stop();
      failed(message);
    },
  });
  const words = button.textContent;

  function stop() {
    const rate = microphone.rate;
    microphone.stop();
    button.setAttribute("aria-pressed", "false");
    button.textContent = words;
    const samples = new Float32Array(pieces.reduce((sum, piece) => sum + piece.length, 0));
    pieces.reduce((at, piece) => {
      samples.set(piece, at);
      return at + piece.length;
    }, 0);
    pieces = [];
    if (samples.length) took(asAsked(samples, rate));
  }

  button.setAttribute("aria-pressed", "false");
  button.addEventListener("click", async () => {
    if (microphone.on) {
      stop();
      return;
    }
    try {
      await microphone.start();
      button.setAttribute("aria-pressed", "true");
      button.textContent = "Stop recording";
    } catch (error) {
      failed(error.message);
    }
  });
}
