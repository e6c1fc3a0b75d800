// The conversation as people read it: who said what, live, and what became of it.

import { element } from "./element.js";
import { milliseconds } from "./waterfall.js";

export class Log {
  /** `chosen(id)` when somebody wants to see an answer's time again. */
  constructor(place, chosen) {
    this.place = place;
    this.chosen = chosen;
    this.turns = new Map(); // id of an item or answer to its parts on the page
  }

  /** The entry of an id, made if it is new. */
  turn(id, role) {
    const known = this.turns.get(id);
    if (known) return known;
    this.place.querySelector(".welcome")?.remove();
    const words = element("p", { class: "words" });
    const pictures = element("div", { class: "shown" });
    const foot = element("p", { class: "foot" });
    const entry = element(
      "article",
      { class: `said ${role}` },
      element("h2", { class: "who" }, role === "user" ? "You" : "Omni"),
      pictures,
      words,
      foot,
    );
    const turn = { entry, words, pictures, foot, notes: new Map() };
    this.turns.set(id, turn);
    const stick = this.atEnd();
    this.place.append(entry);
    if (stick) this.toEnd();
    return turn;
  }

  has(id) {
    return this.turns.has(id);
  }

  say(id, role, text, { more = false } = {}) {
    const { words } = this.turn(id, role);
    const stick = this.atEnd();
    words.classList.remove("waiting");
    words.textContent = more ? words.textContent + text : text;
    if (stick) this.toEnd();
  }

  /** Something is coming: dots, or a word that says what. */
  wait(id, role, what = "") {
    const { words } = this.turn(id, role);
    if (words.textContent && !words.classList.contains("waiting")) return;
    words.classList.add("waiting");
    words.textContent = what;
  }

  show(id, role, addresses) {
    const { pictures } = this.turn(id, role);
    const alt = "Picture of this message";
    pictures.replaceChildren(...addresses.map((src) => element("img", { src, alt })));
    this.toEnd();
  }

  /** A remark below: one for each kind. */
  note(id, role, kind, text) {
    const turn = this.turn(id, role);
    turn.words.classList.remove("waiting");
    const note = turn.notes.get(kind) ?? element("span", { class: kind });
    note.textContent = text;
    turn.notes.set(kind, note);
    turn.foot.append(note);
  }

  time(id, latency) {
    const turn = this.turn(id, "assistant");
    const old = turn.notes.get("time");
    const label = milliseconds(latency.total_ms);
    const button = element(
      "button",
      { type: "button", class: "time", "aria-label": `${label}: show where the time went` },
      label,
    );
    button.addEventListener("click", () => this.chosen(id));
    turn.notes.set("time", button);
    if (old) old.replaceWith(button);
    else turn.foot.prepend(button);
  }

  drop(id) {
    this.turns.get(id)?.entry.remove();
    this.turns.delete(id);
  }

  /** A line between conversations. */
  divide(text) {
    if (this.turns.size === 0) return;
    this.place.append(element("p", { class: "divide" }, text));
    this.toEnd();
  }

  atEnd() {
    const { place } = this;
    return place.scrollHeight - place.scrollTop - place.clientHeight < 80;
  }

  toEnd() {
    this.place.scrollTop = this.place.scrollHeight;
  }
}
