// One session over one connection after another. A websocket keeps its order, so both sides only count: who comes back
// says how many messages it has, and the other side sends the rest again (docs/protocol.md, resuming).

const GIVEN_UP_ON = new Set([1000, 1001, 1013]); // close codes after which coming back makes no sense
const FIRST_WAIT = 250; // ms
const LONGEST_WAIT = 4000; // ms
const KEPT = 6 * 1024 * 1024; // bytes of what was sent, to be sent again: a minute of sound at 48 kHz

export class Link {
  /**
   * `url(query)` is the address; `heard(message)` takes sound as bytes and JSON as objects; `changed(state, about)`
   * takes what happens to the connection.
   */
  constructor({ url, protocols, heard, changed }) {
    this.url = url;
    this.protocols = protocols;
    this.heard = heard;
    this.changed = changed;
    this.token = null;
    this.grace = 0; // s that the session waits for us
    this.received = 0; // messages of the server
    this.sent = 0; // messages of ours
    this.kept = []; // the newest of them
    this.keptBytes = 0;
    this.socket = null;
    this.ready = false; // messages may go out
    this.over = false;
    this.opened = false;
    this.lostAt = null;
    this.wait = FIRST_WAIT;
    this.timer = null;
    this.back = () => this.retry();
  }

  open() {
    window.addEventListener("online", this.back);
    this.dial("?resume=new");
  }

  /** Leave for good: the server ends the session at once. */
  close() {
    this.finish();
    this.socket?.close(1000);
  }

  send(message) {
    if (this.over) return;
    this.sent += 1;
    this.kept.push(message);
    this.keptBytes += message.byteLength ?? message.length;
    while (this.keptBytes > KEPT) {
      const oldest = this.kept.shift();
      this.keptBytes -= oldest.byteLength ?? oldest.length;
    }
    if (this.ready) this.socket.send(message);
  }

  dial(query) {
    const socket = new WebSocket(this.url(query), this.protocols);
    socket.binaryType = "arraybuffer";
    this.socket = socket;
    socket.onopen = () => {
      if (this.socket !== socket) return;
      this.wait = FIRST_WAIT;
      if (this.token === null) this.begin();
    };
    socket.onmessage = ({ data }) => {
      if (this.socket === socket) this.take(data);
    };
    socket.onclose = (event) => {
      if (this.socket === socket) this.lost(event);
    };
  }

  begin() {
    for (const message of this.kept) this.socket.send(message);
    this.ready = true;
    this.opened = true;
    this.changed("open");
  }

  take(data) {
    const message = typeof data === "string" ? JSON.parse(data) : data;
    if (message.type === "transport.resumable") {
      this.token = message.token;
      this.grace = message.grace_s;
    } else if (message.type === "transport.resumed") {
      this.token = message.token;
      this.again(message.received);
    } else {
      this.received += 1;
      this.heard(message);
    }
  }

  again(handled) {
    const lacking = this.sent - handled;
    const there = Math.min(lacking, this.kept.length);
    for (const message of this.kept.slice(this.kept.length - there)) this.socket.send(message);
    this.ready = true;
    this.lostAt = null;
    this.changed("resumed", { lost: lacking - there });
  }

  lost(event) {
    this.ready = false;
    if (this.over) return;
    const now = performance.now();
    this.lostAt ??= now;
    const tooLate = this.token !== null && now - this.lostAt > this.grace * 1000;
    if (!this.opened || this.token === null || GIVEN_UP_ON.has(event.code) || tooLate) {
      const opened = this.opened;
      this.finish();
      this.changed(opened ? "ended" : "refused", { code: event.code, reason: event.reason });
      return;
    }
    this.changed("lost", { seconds: this.grace - (now - this.lostAt) / 1000 });
    this.timer = setTimeout(() => this.retry(), this.wait);
    this.wait = Math.min(LONGEST_WAIT, 2 * this.wait);
  }

  retry() {
    if (this.over || this.ready || this.lostAt === null) return;
    if (this.socket.readyState <= WebSocket.OPEN) return; // on its way: a second one would take the session from it
    clearTimeout(this.timer);
    this.dial(`?resume=${encodeURIComponent(this.token)}&received=${this.received}`);
  }

  finish() {
    this.over = true;
    this.ready = false;
    clearTimeout(this.timer);
    window.removeEventListener("online", this.back);
  }
}
