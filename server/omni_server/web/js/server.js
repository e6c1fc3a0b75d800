// What the server says over HTTP: which models it has, and, since a browser hides why a websocket was refused, why.

import { element } from "./element.js";
import { Kept } from "./kept.js";

export const AWAY = "The server does not answer. Is it still running? Start it with `omni serve`.";
const KEPT_AS = "omni.mode";

async function models(key) {
  const headers = key ? { Authorization: `Bearer ${key}` } : {};
  let answer;
  try {
    answer = await fetch("/v1/models", { headers });
  } catch {
    return { names: [], why: AWAY };
  }
  if (answer.status === 401) {
    return {
      names: [],
      why: key
        ? "The server does not know this key. Correct it in the settings."
        : "This server wants a key. Enter it in the settings.",
    };
  }
  if (!answer.ok) return { names: [], why: `The server says ${answer.status}. Try again in a moment.` };
  return { names: (await answer.json()).data.map((one) => one.id), why: "" };
}

/** Offer the modes as a switch, where there is more than one; `chosen(name)` when the user takes another. */
export async function chooseModes(place, key, chosen) {
  const { names, why } = await models(key);
  place.hidden = names.length < 2;
  const kept = new Kept("localStorage");
  const before = kept.read(KEPT_AS);
  const first = names.includes(before) ? before : (names[0] ?? null);
  place.replaceChildren(
    place.querySelector("legend"),
    ...names.map((name) => {
      const input = element("input", { type: "radio", name: "mode", value: name, checked: name === first });
      input.addEventListener("change", () => {
        kept.write(KEPT_AS, name);
        chosen(name);
      });
      return element("label", {}, input, element("span", {}, name));
    }),
  );
  return { chosen: first, why };
}

/** One sentence for a connection that did not come about, or ended. */
export async function whyNot(state, { code, reason }, key) {
  if (code === 1013) return `The server is full: ${reason || "try again in a moment"}.`;
  const { why } = await models(key);
  if (why) return why;
  if (state === "ended") {
    if (code === 1001)
      return "The server is stopping. Whatever you say next begins a new conversation when it is back.";
    return `The conversation ended${reason ? ` (${reason})` : ""}. Whatever you say next begins a new one.`;
  }
  return (
    "The server did not let this page in. It may be full or restarting: try again in a moment. " +
    `Or it does not know this address: open it by its number, or start it with --limits-origins ${location.origin}.`
  );
}
