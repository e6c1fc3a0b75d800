// The audio contexts of the page: a browser only allows them after somebody has touched the page.

import { AWAY } from "./server.js";

export const RATE = 24_000; // Hz, of what goes over the wire, where the browser lets us choose

let shared = null;

async function opened(options) {
  const context = new AudioContext({ latencyHint: "interactive", ...options });
  try {
    await context.audioWorklet.addModule("/worklets/capture.js");
    await context.audioWorklet.addModule("/worklets/playout.js");
  } catch {
    context.close();
    throw new Error(AWAY);
  }
  return context;
}

/** The context that plays, and in most browsers listens; running. */
export async function sound() {
  shared ??= opened({ sampleRate: RATE }).catch((error) => {
    shared = null; // the next touch tries again
    throw error;
  });
  const context = await shared;
  if (context.state !== "running") await context.resume();
  return context;
}

/** A microphone in a context: Firefox only connects it at the rate of its device. */
export async function listenTo(stream) {
  const context = await sound();
  try {
    return context.createMediaStreamSource(stream);
  } catch (error) {
    if (error.name !== "NotSupportedError") throw error;
    return (await opened({})).createMediaStreamSource(stream);
  }
}

/** A microphone has ended: a context that was opened for it alone ends as well. */
export async function leave(context) {
  if (context !== (await shared)) await context.close();
}

/** A moment of a context on the page's clock, in seconds. */
export function onPageClock(context, moment) {
  return performance.now() / 1000 - context.currentTime + moment;
}

/** From a context to the ear, in seconds, as far as the browser knows. */
export function outputLatency(context) {
  return context.outputLatency || context.baseLatency || 0;
}
