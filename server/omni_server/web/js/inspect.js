// Questions to /v1/inspect: each is answered by its number. The socket is opened by the first one.

const PATIENCE = 60_000; // ms

export class Inspect {
  constructor(key) {
    this.key = key;
    this.socket = null;
    this.number = 0;
    this.waiting = new Map(); // number to {resolve, reject}
  }

  /** The answer to a question; throws with one sentence that says what is wrong. */
  async ask(ask, fields = {}) {
    const socket = await this.open();
    this.number += 1;
    const id = this.number;
    const answer = new Promise((resolve, reject) => {
      const late = setTimeout(
        () => this.settle(id, { error: { message: "The server takes very long. Try again." } }),
        PATIENCE,
      );
      this.waiting.set(id, { resolve, reject, late });
    });
    socket.send(JSON.stringify({ id, ask, ...fields }));
    return answer;
  }

  open() {
    if (this.socket !== null && this.socket.readyState <= WebSocket.OPEN) return this.opened;
    const address = new URL("/v1/inspect", window.location.href);
    address.protocol = address.protocol === "https:" ? "wss:" : "ws:";
    const key = this.key();
    const socket = new WebSocket(address, key ? ["omni.inspect", `omni-key.${key}`] : ["omni.inspect"]);
    this.socket = socket;
    this.opened = new Promise((resolve, reject) => {
      socket.onopen = () => resolve(socket);
      socket.onclose = () => {
        reject(new Error("The server does not answer. Is it running, and does it want a key?"));
        for (const id of [...this.waiting.keys()])
          this.settle(id, { error: { message: "The connection was lost. Try again." } });
      };
    });
    socket.onmessage = ({ data }) => {
      const said = JSON.parse(data);
      this.settle(said.id, said);
    };
    return this.opened;
  }

  settle(id, { answer, error }) {
    const one = this.waiting.get(id);
    if (!one) return;
    clearTimeout(one.late);
    this.waiting.delete(id);
    if (error) one.reject(new Error(error.message));
    else one.resolve(answer);
  }
}

/** Runs `work` for the newest state only: what changes while it runs is worked on once, afterwards. */
export function newest(work, failed) {
  let running = false;
  let again = false;
  return async function run() {
    if (running) {
      again = true;
      return;
    }
    running = true;
    do {
      again = false;
      try {
        await work();
      } catch (error) {
        failed(error.message);
      }
    } while (again);
    running = false;
  };
}
