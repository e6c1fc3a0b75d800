// What the browser keeps for this page. One that may keep nothing, with cookies blocked, forgets it with the page.

export class Kept {
  /** `store` is localStorage or sessionStorage by its name: only to look at it may be forbidden. */
  constructor(store) {
    this.store = store;
  }

  read(key) {
    try {
      return window[this.store].getItem(key);
    } catch {
      return null;
    }
  }

  write(key, value) {
    try {
      window[this.store].setItem(key, value);
    } catch {
      // It holds until the page is left.
    }
  }
}
