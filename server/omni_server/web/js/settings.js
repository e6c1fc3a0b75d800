// What the user wants of a session, and the dialog it is set in. Kept in the browser; the key only for this tab.

import { byId } from "./element.js";
import { Kept } from "./kept.js";

const KEPT_AS = "omni.settings";
const KEY_AS = "omni.key";
const kept = new Kept("localStorage");
const keptForTab = new Kept("sessionStorage");

const FIRST = {
  instructions: "",
  turns: "silence",
  silence: 500, // ms
  eagerness: "auto",
  interrupts: true,
  speaks: true,
  transcribe: true,
};

function stored() {
  try {
    const said = JSON.parse(kept.read(KEPT_AS) ?? "{}");
    return Object.fromEntries(
      Object.entries(FIRST).map(([name, value]) => [name, typeof said[name] === typeof value ? said[name] : value]),
    );
  } catch {
    return { ...FIRST };
  }
}

/** As `configure` of omni.v1 takes it. */
export function configuration(settings) {
  const turns = { by: settings.turns };
  if (settings.turns !== "client") turns.interrupt_response = settings.interrupts;
  if (settings.turns === "silence") turns.silence_duration_ms = settings.silence;
  if (settings.turns === "meaning") turns.eagerness = settings.eagerness;
  const { instructions, speaks, transcribe } = settings;
  return { instructions, speaks, transcribe, turns };
}

export class Settings {
  /** `changed(now)` when the user saves. */
  constructor(changed) {
    this.now = stored();
    this.key = keptForTab.read(KEY_AS) ?? "";
    this.dialog = byId("settings");
    this.form = byId("settings-form");
    this.changed = changed;
    byId("open-settings").addEventListener("click", () => this.show());
    this.form.addEventListener("input", () => this.fit());
    this.dialog.addEventListener("close", () => {
      if (this.dialog.returnValue === "save") this.save();
    });
  }

  show() {
    const { elements } = this.form;
    for (const [name, value] of Object.entries(this.now)) {
      if (typeof value === "boolean") elements[name].checked = value;
      else elements[name].value = value;
    }
    elements.key.value = this.key;
    this.fit();
    this.dialog.returnValue = "cancel";
    this.dialog.showModal();
  }

  fit() {
    const { elements } = this.form;
    for (const label of this.form.querySelectorAll("[data-for]")) {
      label.hidden = label.dataset.for !== elements.turns.value;
    }
    elements.interrupts.closest("label").hidden = elements.turns.value === "client";
    this.form.querySelector("output").textContent = `${elements.silence.value} ms`;
  }

  save() {
    const { elements } = this.form;
    for (const [name, value] of Object.entries(FIRST)) {
      if (typeof value === "boolean") this.now[name] = elements[name].checked;
      else this.now[name] = typeof value === "number" ? Number(elements[name].value) : elements[name].value;
    }
    const keyBefore = this.key;
    this.key = elements.key.value.trim();
    kept.write(KEPT_AS, JSON.stringify(this.now));
    keptForTab.write(KEY_AS, this.key);
    this.changed(this.now, this.key !== keyBefore);
  }
}
