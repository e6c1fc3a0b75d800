// Which of the views is seen: the one that the address names. The views besides the talk are made when first seen.

import { byId, element } from "./element.js";
import { AWAY } from "./server.js";

const LOADERS = {
  tokens: () => import("./tokens_view.js"),
  attention: () => import("./attention_view.js"),
  masked: () => import("./masked_view.js"),
};
const NAMES = ["talk", ...Object.keys(LOADERS)];

/** `key()` is what the server may want; returns `took(files)`, true when the view that is seen takes them. */
export function setUpViews(key) {
  const made = new Map();
  let seen = null;

  async function make(name, place) {
    try {
      const { setUp } = await LOADERS[name]();
      return setUp(place, key);
    } catch {
      // A browser asks for a module once: only the page as a whole can be tried again.
      const words = `${AWAY} Then load this page again.`;
      place.replaceChildren(element("p", { class: "notice", role: "alert" }, words));
      return { took() {} };
    }
  }

  async function go() {
    const wanted = window.location.hash.slice(1);
    const name = NAMES.includes(wanted) ? wanted : "talk";
    window.scrollTo(0, 0); // the address names a section, and the browser has gone to it
    if (name === seen) return;
    const moved = seen !== null;
    seen = name;
    for (const one of NAMES) byId(one).hidden = one !== name;
    for (const link of document.querySelectorAll(".top nav a")) {
      if (link.hash === `#${name}`) link.setAttribute("aria-current", "page");
      else link.removeAttribute("aria-current");
    }
    if (name in LOADERS && !made.has(name)) made.set(name, make(name, byId(name)));
    if (moved) byId("view").focus({ preventScroll: true });
  }

  window.addEventListener("hashchange", go);
  go();
  return {
    took(files) {
      if (!made.has(seen)) return false;
      made.get(seen).then((view) => view.took(files));
      return true;
    },
  };
}
